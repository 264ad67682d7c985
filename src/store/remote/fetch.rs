//! Objects come down: hashed while they are written, and refused where they are not what was promised.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::mpsc;

use super::RemoteStore;
use super::codec;
use super::health::Way;
use super::lookup::{Located, is_damage, run};
use super::pack::{self, PACK_MEMORY};
use super::record::{Alone, Encoding, Name, Packed, Places};
use crate::digest::Digest;
use crate::s3::S3Error;
use crate::store::staging::Staging;
use crate::store::{LocalStore, Outputs, StoreError};

/// How many packs and objects of one result are on their way at a time.
const BESIDE: usize = 8;
/// How often an object is fetched whose bytes come to grief, before it is given up.
const ATTEMPTS: usize = 3;
/// The largest pack that is believed to be one.
const LARGEST_PACK: u64 = 64 << 20;
/// What an object that is not held in memory takes of it, in bytes.
const STREAM_MEMORY: u64 = 1 << 20;

/// Why something did not come.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0} is gone")]
    Gone(String),
    #[error("{0}: {1}")]
    Damaged(String, String),
    #[error("{0}")]
    Service(#[from] S3Error),
    #[error("{0}")]
    Here(#[from] StoreError),
    #[error("forge itself failed: {0}")]
    Panic(#[from] tokio::task::JoinError),
    #[error("the shared cache is not read any more")]
    Closed,
}

impl RemoteStore {
    /// Brings the objects of output trees of the result under `key`. Where that cannot be, the result is
    /// lost: it says why, and asks for it no more. Any runtime may await it.
    pub async fn bring(&self, key: Digest, trees: Outputs) -> Result<(), String> {
        let store = self.clone();
        let brought = run(async move { store.bring_here(key, trees).await }).await;
        match brought {
            Some(Ok(())) => {
                self.note_found(key);
                Ok(())
            }
            Some(Err(trouble)) => {
                self.note_lost(key);
                Err(trouble.to_string())
            }
            None => Err("forge itself failed".to_owned()),
        }
    }

    /// Brings the log of the result under `key`, if it has it. Nothing depends on a log.
    pub async fn bring_log(&self, key: Digest, log: Digest) {
        let store = self.clone();
        run(async move {
            if let Ok(places) = store.places(key).await
                && let Some(alone) = places.alone.iter().find(|alone| alone.object == log).copied()
            {
                let _ = store.bring_alone(alone).await;
            }
        })
        .await;
    }

    async fn bring_here(&self, key: Digest, trees: Outputs) -> Result<(), Trouble> {
        let local = self.0.local.clone();
        if holds(&local, trees.trees().collect()).await? {
            return Ok(());
        }
        let places = Arc::new(self.places(key).await?);
        let mut done = BTreeSet::new();
        self.bring_all(manifests(&local, key, &places, &trees), &mut done).await?;
        let (of, named) = (local.clone(), (places.clone(), trees.clone()));
        let files = tokio::task::spawn_blocking(move || files(&of, key, &named.0, &named.1)).await??;
        self.bring_all(files, &mut done).await?;
        if !holds(&local, trees.trees().collect()).await? {
            return Err(Trouble::Gone(format!("an object of result {}", key.short())));
        }
        let result = local.result(key);
        let whole = result.map(|result| result.outputs.into_values().collect::<Vec<_>>()).unwrap_or_default();
        if holds(&local, whole).await? {
            local.drop_places(key);
        }
        Ok(())
    }

    /// Where the objects are: as it was told when the result was found, or by asking again.
    async fn places(&self, key: Digest) -> Result<Places, Trouble> {
        let known = || self.0.local.places::<Located>(key);
        let is_here = |located: &Located| located.location == self.location().to_string();
        if let Some(located) = known().filter(is_here) {
            return Ok(located.places);
        }
        self.look_up(vec![key]).await;
        let located = known().filter(is_here);
        located.map(|located| located.places).ok_or_else(|| Trouble::Gone(self.url(Name::Result(key))))
    }

    async fn bring_all(&self, wanted: BTreeSet<Wanted>, done: &mut BTreeSet<Wanted>) -> Result<(), Trouble> {
        let new = wanted.into_iter().filter(|wanted| done.insert(*wanted));
        let coming: Vec<_> = new.map(|wanted| self.bring_one(wanted).boxed()).collect();
        let mut coming = stream::iter(coming).buffer_unordered(BESIDE);
        while let Some(came) = coming.next().await {
            came?;
        }
        Ok(())
    }

    /// Bytes that came to grief on their way are fetched again; those that lie there so are not believed.
    async fn bring_one(&self, wanted: Wanted) -> Result<(), Trouble> {
        let mut attempt = 1;
        loop {
            if !self.is_read() {
                return Err(Trouble::Closed);
            }
            let came = match wanted {
                Wanted::Record(key) => self.bring_record(key).await,
                Wanted::Pack(name, size) => self.bring_pack(Packed { name, size }).await,
                Wanted::Alone(object, size, encoding) => {
                    self.bring_alone(Alone { object, size, encoding }).await
                }
            };
            let trouble = match came {
                Ok(()) => {
                    self.0.health.well(Way::Read);
                    return Ok(());
                }
                Err(trouble) => trouble,
            };
            let may_pass = match &trouble {
                Trouble::Damaged(..) => true,
                Trouble::Service(error) => error.is_passing(),
                _ => false,
            };
            if may_pass && attempt < ATTEMPTS {
                tokio::time::sleep(std::time::Duration::from_millis(100 << attempt)).await;
                attempt += 1;
                continue;
            }
            match &trouble {
                Trouble::Damaged(_, reason) => self.disbelieve(wanted.name(), reason),
                Trouble::Service(error) if is_damage(error) => self.disbelieve(wanted.name(), &error.message),
                Trouble::Service(error) => self.0.health.fault(Way::Read, error),
                Trouble::Here(error) => {
                    self.0.health.trouble(format!("what the shared cache has cannot be kept here: {error}"));
                }
                Trouble::Gone(_) | Trouble::Panic(_) | Trouble::Closed => {}
            }
            return Err(trouble);
        }
    }

    /// What is wrong with it is told where it is read.
    async fn bring_record(&self, key: Digest) -> Result<(), Trouble> {
        let gone = || Trouble::Gone(self.url(Name::Result(key)));
        let record = self.record(key).await.ok_or_else(gone)?;
        self.take_in(vec![record]).await;
        Ok(())
    }

    async fn bring_pack(&self, Packed { name, size }: Packed) -> Result<(), Trouble> {
        let name = Name::Pack(name);
        let damaged = |reason: String| Trouble::Damaged(self.url(name), reason);
        if size > LARGEST_PACK {
            return Err(damaged(format!("a pack of {size} bytes is none")));
        }
        let _memory = self.memory(PACK_MEMORY).await;
        let download = self.0.bucket.download(&name.to_string()).await?;
        let download = download.ok_or_else(|| Trouble::Gone(self.url(name)))?;
        let modified = download.modified();
        let bytes = download.whole(size + STREAM_MEMORY).await?;
        let local = self.0.local.clone();
        let unpacked = tokio::task::spawn_blocking(move || unpack(&local, &bytes, size)).await?;
        unpacked.map_err(|error| error.into_trouble(self.url(name)))?;
        self.used(name, modified).await;
        Ok(())
    }

    /// The object is not held in memory: what comes is hashed and written by a thread that may wait.
    async fn bring_alone(&self, alone: Alone) -> Result<(), Trouble> {
        let name = alone.name();
        let _memory = self.memory(STREAM_MEMORY).await;
        let download = self.0.bucket.download(&name.to_string()).await?;
        let mut download = download.ok_or_else(|| Trouble::Gone(self.url(name)))?;
        let (sender, receiver) = mpsc::channel(8);
        let local = self.0.local.clone();
        let writing = tokio::task::spawn_blocking(move || write(&local, alone, Incoming::new(receiver)));
        let mut fault = None;
        loop {
            match download.chunk().await {
                Ok(Some(bytes)) => {
                    // The writer has given up: it says why.
                    if sender.send(Some(bytes)).await.is_err() {
                        break;
                    }
                }
                Ok(None) => {
                    let _ = sender.send(None).await;
                    break;
                }
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        drop(sender);
        let written = writing.await?;
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        written.map_err(|error| error.into_trouble(self.url(name)))?;
        self.used(name, download.modified()).await;
        Ok(())
    }

    async fn used(&self, name: Name, modified: Option<std::time::SystemTime>) {
        if self.is_aging(modified) {
            self.touch(name).await;
        }
    }

    /// So many bytes of the memory that all traffic together may take, until what is given is dropped.
    pub(super) async fn memory(&self, bytes: u64) -> Option<tokio::sync::SemaphorePermit<'_>> {
        let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).min(super::remote_store::MEMORY_KIB);
        // It is never closed.
        self.0.memory.acquire_many(kib).await.ok()
    }
}

/// Something in the bucket that has objects which are not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    /// The record of the result under this key, which has objects in it.
    Record(Digest),
    Pack(Digest, u64),
    Alone(Digest, u64, Encoding),
}

impl Wanted {
    fn name(self) -> Name {
        match self {
            Self::Record(key) => Name::Result(key),
            Self::Pack(name, _) => Name::Pack(name),
            Self::Alone(object, _, encoding) => Name::Object(object, encoding),
        }
    }

    fn alone(places: &Places, object: Digest) -> Option<Self> {
        let alone = places.alone.iter().find(|alone| alone.object == object)?;
        Some(Self::Alone(alone.object, alone.size, alone.encoding))
    }

    /// What has the small objects of an output of the result under `key`.
    fn small<'p>(key: Digest, places: &'p Places, output: &str) -> impl Iterator<Item = Self> + use<'p> {
        let packs = places.packs.get(output).into_iter().flatten();
        let packs = packs.map(|pack| Self::Pack(pack.name, pack.size));
        places.in_record.then_some(Self::Record(key)).into_iter().chain(packs)
    }
}

/// What has the manifests of trees that are not here. Short ones came with the result.
fn manifests(local: &LocalStore, key: Digest, places: &Places, trees: &Outputs) -> BTreeSet<Wanted> {
    let mut wanted = BTreeSet::new();
    for (output, tree) in trees.iter().filter(|(_, tree)| !local.contains(*tree)) {
        match Wanted::alone(places, tree) {
            Some(alone) => drop(wanted.insert(alone)),
            None => wanted.extend(Wanted::small(key, places, output)),
        }
    }
    wanted
}

/// What has the files of trees that are not here.
fn files(
    local: &LocalStore,
    key: Digest,
    places: &Places,
    trees: &Outputs,
) -> Result<BTreeSet<Wanted>, StoreError> {
    let mut wanted = BTreeSet::new();
    for (output, tree) in trees.iter() {
        for (object, _) in local.tree(tree)?.files().filter(|(object, _)| !local.contains(*object)) {
            match Wanted::alone(places, object) {
                Some(alone) => drop(wanted.insert(alone)),
                None => wanted.extend(Wanted::small(key, places, output)),
            }
        }
    }
    Ok(wanted)
}

async fn holds(local: &Arc<LocalStore>, trees: Vec<Digest>) -> Result<bool, tokio::task::JoinError> {
    let local = local.clone();
    tokio::task::spawn_blocking(move || trees.into_iter().all(|tree| local.holds_tree(tree))).await
}

/// What went wrong with bytes that came.
enum Unfit {
    /// They are not what they should be.
    Damaged(String),
    /// They cannot be kept.
    Here(StoreError),
}

impl Unfit {
    fn into_trouble(self, url: String) -> Trouble {
        match self {
            Self::Damaged(reason) => Trouble::Damaged(url, reason),
            Self::Here(error) => Trouble::Here(error),
        }
    }
}

/// All of a pack, or nothing.
fn unpack(local: &LocalStore, bytes: &[u8], size: u64) -> Result<(), Unfit> {
    let damaged = |error: io::Error| Unfit::Damaged(error.to_string());
    let plain = codec::decompress(bytes, size).map_err(damaged)?;
    let objects = pack::read(&plain).map_err(damaged)?;
    let staging = Staging::new(local).map_err(Unfit::Here)?;
    objects.iter().try_for_each(|(digest, bytes)| staging.add(*digest, bytes)).map_err(Unfit::Here)?;
    staging.commit().map_err(Unfit::Here)
}

fn write(local: &LocalStore, alone: Alone, incoming: Incoming) -> Result<(), Unfit> {
    let damaged = |error: io::Error| Unfit::Damaged(error.to_string());
    let mut from: Box<dyn Read> = match alone.encoding {
        Encoding::Plain => Box::new(incoming),
        Encoding::Zstd => Box::new(zstd::Decoder::new(incoming).map_err(damaged)?),
    };
    let mut object = local.writer().map_err(Unfit::Here)?;
    let mut buffer = vec![0; 64 << 10];
    let mut left = alone.size;
    loop {
        let read = from.read(&mut buffer).map_err(damaged)?;
        if read == 0 {
            break;
        }
        left = left.checked_sub(read as u64).ok_or_else(|| {
            Unfit::Damaged(format!("it has more than the {} bytes that it may have", alone.size))
        })?;
        let written = object.write_all(&buffer[..read]);
        written.map_err(StoreError::io("write", local.object_path(alone.object))).map_err(Unfit::Here)?;
    }
    object.finish_as(alone.object).map_err(|error| match error {
        StoreError::Damaged(digest) => {
            Unfit::Damaged(format!("the bytes of object {digest} are not those of that digest"))
        }
        error => Unfit::Here(error),
    })
}

/// Bytes that another task receives. The end has to be said: a sender that is gone is an error.
struct Incoming {
    receiver: mpsc::Receiver<Option<Vec<u8>>>,
    bytes: Vec<u8>,
    at: usize,
    is_over: bool,
}

impl Incoming {
    fn new(receiver: mpsc::Receiver<Option<Vec<u8>>>) -> Self {
        Self { receiver, bytes: Vec::new(), at: 0, is_over: false }
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.bytes.len() && !self.is_over {
            match self.receiver.blocking_recv() {
                Some(Some(bytes)) => (self.bytes, self.at) = (bytes, 0),
                Some(None) => self.is_over = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let length = buffer.len().min(self.bytes.len() - self.at);
        buffer[..length].copy_from_slice(&self.bytes[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
