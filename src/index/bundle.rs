//! Many small objects in one, so that keeping them is one file, and reading them all one request.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::store::{LocalStore, Staging, StoreError};

/// A bundle in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bundle {
    /// Its bytes.
    pub object: Digest,
    /// Their number.
    pub size: u64,
}

impl Bundle {
    /// Packs records, equal ones once, and stages the bundle.
    pub(super) fn of_records(records: &[Vec<u8>], staging: &Staging<'_>) -> Result<Self, StoreError> {
        let records: BTreeMap<Digest, &[u8]> =
            records.iter().map(|bytes| (Digest::of(bytes), bytes.as_slice())).collect();
        let bytes = pack(records)?;
        Ok(Self { object: staging.put(&bytes)?, size: bytes.len() as u64 })
    }
}

/// The records of packages, and whatever else an index is made from: in bundles of the store, all of which are read once
/// one of them is asked for, or objects of their own.
pub struct Bundles<'a> {
    store: &'a LocalStore,
    bundles: Vec<Digest>,
    records: Mutex<Option<Arc<HashMap<Digest, Vec<u8>>>>>,
}

impl<'a> Bundles<'a> {
    /// None of them is read yet.
    pub fn new(store: &'a LocalStore, bundles: impl IntoIterator<Item = Digest>) -> Self {
        let mut bundles: Vec<Digest> = bundles.into_iter().collect();
        bundles.sort_unstable();
        bundles.dedup();
        Self { store, bundles, records: Mutex::default() }
    }

    /// The bytes of a record by its digest.
    ///
    /// # Errors
    ///
    /// A bundle that is not in the store or damaged, and a record that is in none of them and no object either.
    pub fn record(&self, record: Digest) -> Result<Vec<u8>, StoreError> {
        match self.all()?.get(&record) {
            Some(bytes) => Ok(bytes.clone()),
            None => self.store.get(record),
        }
    }

    fn all(&self) -> Result<Arc<HashMap<Digest, Vec<u8>>>, StoreError> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        match &*records {
            Some(all) => Ok(all.clone()),
            None => Ok(records.insert(Arc::new(self.read()?)).clone()),
        }
    }

    /// By threads of its own: those of rayon could meanwhile take up work that asks for a record, and wait for themselves.
    fn read(&self) -> Result<HashMap<Digest, Vec<u8>>, StoreError> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = self.bundles.len().div_ceil(threads).max(1);
        let read = |bundles: &[Digest]| {
            let read = bundles.iter().map(|bundle| unpack(&self.store.get(*bundle)?));
            read.collect::<Result<Vec<_>, StoreError>>()
        };
        let read = thread::scope(|scope| {
            let shares = self.bundles.chunks(share).map(|bundles| scope.spawn(move || read(bundles)));
            let ended = shares.collect::<Vec<_>>().into_iter().map(thread::ScopedJoinHandle::join);
            ended
                .map(|read| read.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Vec<_>>()
        });
        let mut records = HashMap::new();
        for read in read {
            read?.into_iter().for_each(|bundle| records.extend(bundle));
        }
        Ok(records)
    }
}

/// So many bytes are made room for before they are there.
const MOST: u64 = 1 << 20;

/// What the name of a bundle ends with.
const ENDING: &str = ".tar.zst";

/// What a bundle is called, by the digest of its bytes.
pub fn file_name(bundle: Digest) -> String {
    format!("{bundle}{ENDING}")
}

/// The bundle that is called so.
pub fn named(file: &OsStr) -> Option<Digest> {
    file.to_str()?.strip_suffix(ENDING)?.parse().ok()
}

/// A compressed archive of objects, each named by its digest.
pub fn pack<'a>(objects: impl IntoIterator<Item = (Digest, &'a [u8])>) -> Result<Vec<u8>, StoreError> {
    let write = || {
        let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 3)?);
        for (digest, bytes) in objects {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            archive.append_data(&mut header, digest.to_string(), bytes)?;
        }
        archive.into_inner()?.finish()
    };
    write().map_err(StoreError::io("pack", "the records of packages"))
}

/// The objects of an archive, each by the digest that it really has.
pub fn unpack(bytes: &[u8]) -> Result<Vec<(Digest, Vec<u8>)>, StoreError> {
    let read = || {
        let mut archive = tar::Archive::new(zstd::Decoder::new(bytes)?);
        let mut objects = Vec::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            let mut bytes = Vec::with_capacity(entry.size().min(MOST) as usize);
            entry.read_to_end(&mut bytes)?;
            objects.push((Digest::of(&bytes), bytes));
        }
        Ok(objects)
    };
    read().map_err(StoreError::io("unpack", "the records of packages"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again_and_the_same_gives_the_same() {
        let objects: Vec<_> =
            [&b"one"[..], b"", &[7; 10_000]].map(|bytes| (Digest::of(bytes), bytes.to_vec())).into();
        let pack = || pack(objects.iter().map(|(digest, bytes)| (*digest, bytes.as_slice()))).unwrap();
        let packed = pack();
        assert_eq!(unpack(&packed).unwrap(), objects);
        assert_eq!(pack(), packed);
        assert!(unpack(&packed[..packed.len() / 2]).is_err());
    }
}
