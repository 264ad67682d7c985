//! Everything is read and hashed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;

use futures_util::{FutureExt, StreamExt, stream};
use serde::Serialize;

use super::RemoteStore;
use super::codec;
use super::lookup::run;
use super::pack;
use super::record::{Alone, Encoding, LONGEST, Name, Packed, RESULTS, Record};
use crate::s3::{S3Error, S3Fault};

/// How many objects are read at a time.
const BESIDE: usize = 8;

/// What a verification found, and removed where it may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RemoteVerify {
    /// Results that were read.
    pub results: u64,
    /// Objects and packs that were read and hashed.
    pub objects: u64,
    /// What is not what its name says, and why.
    pub damaged: BTreeMap<String, String>,
    /// Results that name something that is damaged or gone.
    pub incomplete: u64,
    /// Whether what is damaged or incomplete was removed.
    pub is_removed: bool,
}

/// Something that results name.
#[derive(Clone, Copy)]
enum Named {
    Pack(Packed),
    Alone(Alone),
}

impl RemoteStore {
    /// Reads and hashes every object that a result names. What is damaged is removed where this machine may
    /// write, with the results that name it.
    pub async fn verify(&self) -> Result<RemoteVerify, S3Error> {
        let store = self.clone();
        run(async move { store.verify_here().await }).await.unwrap_or_else(|| Ok(RemoteVerify::default()))
    }

    async fn verify_here(&self) -> Result<RemoteVerify, S3Error> {
        let mut report = RemoteVerify::default();
        let mut named = HashMap::new();
        let mut needs: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
        let results = self.lying(RESULTS).await?;
        let reading: Vec<_> = results.iter().map(|lying| self.read_record(lying.name).boxed()).collect();
        let mut reading = stream::iter(reading).buffer_unordered(BESIDE);
        while let Some(read) = reading.next().await {
            let (name, record) = read?;
            report.results += 1;
            match record {
                None => {}
                Some(Err(reason)) => drop(report.damaged.insert(name.to_string(), reason)),
                Some(Ok(record)) => {
                    needs.insert(name, record.places.names().collect());
                    let packs = record.places.packs.values().flatten();
                    named.extend(packs.map(|pack| (Name::Pack(pack.name), Named::Pack(*pack))));
                    let alone = record.places.alone.iter();
                    named.extend(alone.map(|alone| (alone.name(), Named::Alone(*alone))));
                }
            }
        }
        drop(reading);
        let mut unfit = BTreeSet::new();
        let read = |(name, named)| async move { (name, self.try_read(name, named).await) }.boxed();
        let reading: Vec<_> = named.into_iter().map(read).collect();
        let mut reading = stream::iter(reading).buffer_unordered(BESIDE);
        while let Some((name, read)) = reading.next().await {
            report.objects += 1;
            match read? {
                State::Sound => {}
                State::Gone => drop(unfit.insert(name)),
                State::Damaged(reason) => {
                    unfit.insert(name);
                    report.damaged.insert(name.to_string(), reason);
                }
            }
        }
        drop(reading);
        let incomplete: Vec<String> = needs
            .iter()
            .filter(|(_, needs)| needs.iter().any(|need| unfit.contains(need)))
            .map(|(name, _)| name.to_string())
            .collect();
        report.incomplete = incomplete.len() as u64;
        // Results first: what they name is there as long as they are.
        let removed: Vec<String> = incomplete.into_iter().chain(report.damaged.keys().cloned()).collect();
        if self.0.access.write && !removed.is_empty() {
            self.0.bucket.delete(&removed).await?;
            report.is_removed = true;
        }
        Ok(report)
    }

    async fn read_record(&self, name: Name) -> Result<(Name, Option<Result<Record, String>>), S3Error> {
        let Name::Result(key) = name else { return Ok((name, None)) };
        let Some(download) = self.0.bucket.download(&name.to_string()).await? else {
            return Ok((name, None));
        };
        let bytes = download.whole(LONGEST).await?;
        Ok((name, Some(Record::read(&bytes, key))))
    }

    async fn try_read(&self, name: Name, named: Named) -> Result<State, S3Error> {
        let longest = match named {
            Named::Pack(pack) => pack.size,
            Named::Alone(alone) => alone.size,
        };
        // Compressing what cannot be compressed adds a little.
        let longest = longest + longest / 128 + (1 << 20);
        let _memory = self.memory(pack::PACK_MEMORY).await;
        let Some(mut download) = self.0.bucket.download(&name.to_string()).await? else {
            return Ok(State::Gone);
        };
        let scratch = self.0.local.scratch().map_err(|error| here(&error))?;
        let path = scratch.path().join("object");
        let mut file = tokio::fs::File::create(&path).await.map_err(|error| here(&error))?;
        let mut length = 0;
        while let Some(bytes) = download.chunk().await? {
            length += bytes.len() as u64;
            if length > longest {
                return Ok(State::Damaged("it is longer than it may be".to_owned()));
            }
            tokio::io::AsyncWriteExt::write_all(&mut file, &bytes).await.map_err(|error| here(&error))?;
        }
        tokio::io::AsyncWriteExt::flush(&mut file).await.map_err(|error| here(&error))?;
        drop(file);
        let checked = tokio::task::spawn_blocking(move || check(&path, named)).await;
        Ok(match checked.map_err(|panic| here(&panic))? {
            Ok(()) => State::Sound,
            Err(error) => State::Damaged(error.to_string()),
        })
    }
}

enum State {
    Sound,
    Gone,
    Damaged(String),
}

fn check(path: &std::path::Path, named: Named) -> std::io::Result<()> {
    match named {
        Named::Pack(pack) => {
            let plain = codec::decompress(&std::fs::read(path)?, pack.size)?;
            let members: pack::Members =
                pack::read(&plain)?.into_iter().map(|(digest, bytes)| (digest, bytes.len() as u64)).collect();
            match pack::name(&members) == pack.name {
                true => Ok(()),
                false => Err(std::io::Error::other("it has other objects than its name says")),
            }
        }
        Named::Alone(alone) => {
            let file = std::fs::File::open(path)?;
            let digest = match alone.encoding {
                Encoding::Plain => pack::digest_of(file)?,
                Encoding::Zstd => pack::digest_of(zstd::Decoder::new(file)?.take(alone.size + 1))?,
            };
            match digest == alone.object {
                true => Ok(()),
                false => Err(std::io::Error::other("its bytes are not those of its digest")),
            }
        }
    }
}

/// Trouble on this machine.
fn here(error: &dyn std::fmt::Display) -> S3Error {
    let (action, url, message) = ("check", "what the bucket has".to_owned(), error.to_string());
    S3Error { action, url, fault: S3Fault::Local, message }
}
