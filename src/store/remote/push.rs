//! Results go up: their objects first.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};

use super::RemoteStore;
use super::codec;
use super::health::Way;
use super::lookup::{BYTES, run};
use super::pack::{self, Members, PACK_MEMORY, SMALL};
use super::record::{Alone, Encoding, IN_RECORD, LONGEST, Name, Packed, Places, Record, RemoteHistory};
use super::remote_store::is_older;
use crate::digest::Digest;
use crate::s3::{Body, Condition, Put, S3Error, Written};
use crate::store::history::HISTORY_LENGTH;
use crate::store::record::now;
use crate::store::{ActionResult, Earlier, LocalStore, Scratch, StoreError};

/// Manifests up to this size (bytes) go into the record, so that a plan asks for nothing more.
const SHORT_MANIFEST: usize = 64 << 10;
/// How many packs and objects of one result are on their way at a time.
const BESIDE: usize = 4;
/// What a file that is sent in parts takes of memory, in bytes.
const PARTS_MEMORY: u64 = 64 << 20;
/// An object that is there already and is older than this is touched before a new result names it, so
/// that neither a gc beside nor the bucket's lifecycle takes it.
const FRESH: Duration = Duration::from_secs(12 * 3600);

/// A result that is there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes that went up.
    pub bytes: u64,
    /// Whether it was there already.
    pub was_there: bool,
}

/// Why a result did not go up.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The bucket did not take it. It is counted already.
    #[error(transparent)]
    Service(#[from] S3Error),
    /// It cannot be read here.
    #[error("cannot be read for the shared cache: {0}")]
    Here(#[from] StoreError),
    /// Nothing is written any more; why was said.
    #[error("nothing is written to the shared cache")]
    Closed,
}

/// A result, shared out.
struct Arranged {
    places: Places,
    packs: Vec<Members>,
    /// What goes into the record.
    objects: Vec<u8>,
}

impl RemoteStore {
    /// Sends the result under `key`, which the local store has with all its objects. Any runtime may await it.
    pub async fn send(&self, key: Digest) -> Result<Sent, SendError> {
        let store = self.clone();
        run(async move { store.send_here(key).await }).await.unwrap_or(Err(SendError::Closed))
    }

    pub(super) async fn send_here(&self, key: Digest) -> Result<Sent, SendError> {
        if !self.is_written() {
            return Err(SendError::Closed);
        }
        let sent = self.try_send(key).await;
        if let Err(SendError::Here(error)) = &sent {
            self.0.health.trouble(format!("a result cannot be read for the shared cache: {error}"));
        }
        sent
    }

    async fn try_send(&self, key: Digest) -> Result<Sent, SendError> {
        let name = Name::Result(key);
        let mut condition = Condition::Absent;
        if let Some(modified) = self.modified(name).await? {
            if !self.is_aging(modified) && !self.is_bad(&name) && !self.is_lost(key) {
                return Ok(Sent { bytes: 0, was_there: true });
            }
            condition = Condition::Always;
        }
        let local = self.0.local.clone();
        let result = local.result(key).ok_or(StoreError::Missing(key))?;
        let node = result.node.clone();
        let of = result.clone();
        let arranged = blocking(move || arrange(&local, &of)).await?;
        let mut bytes = 0;
        let packs = arranged.packs.into_iter().map(|members| self.send_pack(members).boxed());
        let alone = arranged.places.alone.iter().map(|alone| self.send_alone(*alone).boxed());
        let going: Vec<_> = packs.chain(alone).collect();
        let mut going = stream::iter(going).buffer_unordered(BESIDE);
        while let Some(sent) = going.next().await {
            bytes += sent?;
        }
        let record = Record::new(result.clone(), arranged.places, arranged.objects).to_bytes();
        let record = record.map_err(StoreError::io("encode a record for", "the shared cache"))?;
        bytes += self.put(name, record.into(), condition).await?;
        self.add_to_history(&node, key, result).await;
        Ok(Sent { bytes, was_there: false })
    }

    async fn send_pack(&self, members: Members) -> Result<u64, SendError> {
        let name = Name::Pack(pack::name(&members));
        if self.has(name).await? {
            return Ok(0);
        }
        let _memory = self.memory(PACK_MEMORY).await;
        let local = self.0.local.clone();
        let packed = blocking(move || {
            let plain = pack::write(&members, &local)?;
            codec::compress(&plain).map_err(StoreError::io("compress objects of", local.root()))
        });
        let packed = packed.await?;
        self.put(name, packed.into(), self.condition(&name)).await
    }

    async fn send_alone(&self, alone: Alone) -> Result<u64, SendError> {
        let name = alone.name();
        if self.has(name).await? {
            return Ok(0);
        }
        let local = self.0.local.clone();
        let (path, _scratch) = blocking(move || readied(&local, alone)).await?;
        let _memory = self.memory(alone.size.min(PARTS_MEMORY)).await;
        self.put(name, Body::File(path), self.condition(&name)).await
    }

    /// Whether it is there, and sound as far as is known, and stays there for a while.
    async fn has(&self, name: Name) -> Result<bool, SendError> {
        if !self.is_written() {
            return Err(SendError::Closed);
        }
        if self.is_bad(&name) {
            return Ok(false);
        }
        match self.modified(name).await? {
            None => Ok(false),
            Some(modified) if is_older(modified, FRESH) => Ok(self.touch(name).await),
            Some(_) => Ok(true),
        }
    }

    /// When it was written, if it is there.
    async fn modified(&self, name: Name) -> Result<Option<Option<std::time::SystemTime>>, SendError> {
        let looked = self.attempt(Way::Write, || async { self.0.bucket.head(&name.to_string()).await });
        Ok(looked.await?.map(|(listed, _)| listed.modified))
    }

    /// What is bad is replaced.
    fn condition(&self, name: &Name) -> Condition {
        if self.is_bad(name) { Condition::Always } else { Condition::Absent }
    }

    /// Gives how many bytes went up. Where somebody was quicker, it is there all the same.
    async fn put(&self, name: Name, body: Body, condition: Condition) -> Result<u64, SendError> {
        let length = match &body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File(path) => path.metadata().map_or(0, |metadata| metadata.len()),
        };
        let put = Put { name: name.to_string(), body, content_type: BYTES, cache_control: None, condition };
        let written = self.attempt(Way::Write, || async { self.0.bucket.put(put.clone()).await }).await?;
        self.note_good(&name);
        Ok(if matches!(written, Written::Done(_)) { length } else { 0 })
    }

    /// As well as it goes: a history explains, and nothing depends on it.
    async fn add_to_history(&self, node: &str, key: Digest, result: ActionResult) {
        const ATTEMPTS: usize = 4;
        let name = Name::history(node);
        let entry = Earlier { key, at: now(), result };
        for _ in 0..ATTEMPTS {
            let read = self.attempt(Way::Write, || async { self.0.bucket.get(&name.to_string()).await });
            let Ok(found) = read.await else { return };
            let (mut history, condition) = match found {
                None => (RemoteHistory::default(), Condition::Absent),
                Some(found) if found.bytes.len() as u64 > LONGEST => {
                    (RemoteHistory::default(), Condition::Always)
                }
                Some(found) => {
                    let history = RemoteHistory::read(&found.bytes, node).unwrap_or_default();
                    (history, Condition::Matches(found.etag))
                }
            };
            history.entries.retain(|earlier| earlier.key != key);
            history.entries.push(entry.clone());
            let surplus = history.entries.len().saturating_sub(HISTORY_LENGTH);
            history.entries.drain(..surplus);
            let Ok(bytes) = encoded(&history) else { return };
            let put = Put {
                name: name.to_string(),
                body: bytes.into(),
                content_type: BYTES,
                cache_control: None,
                condition,
            };
            match self.attempt(Way::Write, || async { self.0.bucket.put(put.clone()).await }).await {
                // Another machine wrote it meanwhile.
                Ok(Written::Refused) => {}
                Ok(Written::Done(_)) | Err(_) => return,
            }
        }
    }
}

fn encoded(record: &impl serde::Serialize) -> Result<Vec<u8>, StoreError> {
    codec::encode(record).map_err(StoreError::io("encode a record for", "the shared cache"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let panicked = |panic| StoreError::io("read objects of", "the store")(std::io::Error::other(panic));
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}

/// Which of a result's objects go where.
fn arrange(local: &LocalStore, result: &ActionResult) -> Result<Arranged, StoreError> {
    let mut alone = BTreeMap::new();
    let (mut manifests, mut packs, mut all) = (Vec::new(), BTreeMap::new(), Vec::new());
    for (output, digest) in &result.outputs {
        let tree = local.tree(*digest)?;
        let text = tree.to_text();
        let mut objects = Vec::new();
        if text.len() <= SHORT_MANIFEST {
            manifests.push(text);
        } else {
            objects.push((*digest, text.len() as u64));
        }
        objects.extend(tree.files());
        let mut small = Members::new();
        let mut seen = HashSet::new();
        for (object, size) in objects.into_iter().filter(|(object, _)| seen.insert(*object)) {
            if size <= SMALL {
                small.push((object, size));
            } else if let std::collections::btree_map::Entry::Vacant(vacant) = alone.entry(object) {
                vacant.insert(standing_alone(local, object, size)?);
            }
        }
        let shared_out = pack::share_out(small);
        let packed =
            shared_out.iter().map(|members| Packed { name: pack::name(members), size: pack::size(members) });
        packs.insert(output.clone(), packed.collect());
        all.extend(shared_out);
    }
    // A log may have been removed; the result is as good without it.
    if let Some(log) = result.log
        && let Ok(Ok(size)) = local.open_object(log).map(|log| log.size())
        && !alone.contains_key(&log)
    {
        alone.insert(log, standing_alone(local, log, size)?);
    }
    let alone = alone.into_values().collect();
    let in_record = !all.is_empty() && all.iter().map(pack::size).sum::<u64>() <= IN_RECORD;
    if in_record {
        let objects = pack::write(&all.concat(), local)?;
        let places = Places { in_record, packs: BTreeMap::new(), alone, manifests };
        return Ok(Arranged { places, packs: Vec::new(), objects });
    }
    let places = Places { in_record, packs, alone, manifests };
    Ok(Arranged { places, packs: all, objects: Vec::new() })
}

fn standing_alone(local: &LocalStore, object: Digest, size: u64) -> Result<Alone, StoreError> {
    let is_worthwhile = codec::is_worthwhile(local.open_object(object)?);
    let is_worthwhile = is_worthwhile.map_err(StoreError::io("read", local.object_path(object)))?;
    let encoding = if is_worthwhile { Encoding::Zstd } else { Encoding::Plain };
    Ok(Alone { object, size, encoding })
}

/// The file to send, hashed while it is read: damage that happened here must not spread.
fn readied(local: &LocalStore, alone: Alone) -> Result<(std::path::PathBuf, Option<Scratch>), StoreError> {
    let path = local.object_file(alone.object)?;
    let object = local.open_object(alone.object)?;
    let (digest, readied) = match alone.encoding {
        Encoding::Plain => (pack::digest_of(object).map_err(StoreError::io("read", &path))?, (path, None)),
        Encoding::Zstd => {
            let scratch = local.scratch()?;
            let smaller = scratch.path().join("object.zst");
            let mut object = pack::Hashed::new(object);
            std::fs::File::create(&smaller)
                .and_then(|file| codec::compress_into(&mut object, file))
                .map_err(StoreError::io("compress", &path))?;
            (object.digest(), (smaller, Some(scratch)))
        }
    };
    match digest == alone.object {
        true => Ok(readied),
        false => Err(StoreError::Damaged(alone.object)),
    }
}
