//! Small objects, one behind the other in a file for each directory of objects, which is only ever added to. A file for each of
//! them takes an inode, a block and half a dozen calls of the system: with small actions, that is most of what there is to do.
//!
//! An object is written by one call, behind its digest and its length. What a full disk or a power cut tore is not what its
//! digest says, and is passed over. Few objects of a file are asked for: where lengths lead from each to the next and what is asked for is
//! there, nothing else is hashed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::files::{add_to, added_since, open_to_add};
use super::{LocalStore, StoreError};
use crate::digest::Digest;

/// Bytes of the longest object that is small: a file with more takes more than one block.
pub(super) const LONGEST: usize = 4 << 10;

/// What stands before an object: its digest, and its length in four bytes.
const HEAD: usize = Digest::LENGTH + 4;

/// Where the small objects of a store are, as far as anybody asked: by the first byte of their digests.
#[derive(Debug)]
pub(super) struct SmallObjects(Box<[Mutex<Shard>]>);

impl Default for SmallObjects {
    fn default() -> Self {
        Self((0..=u8::MAX).map(|_| Mutex::default()).collect())
    }
}

impl SmallObjects {
    fn shard(&self, first: u8) -> MutexGuard<'_, Shard> {
        self.0[usize::from(first)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was read of one file. There may be millions of objects in all, and each is told by few bytes.
#[derive(Debug, Default)]
struct Shard {
    /// How much of it.
    length: u64,
    /// In so much of it every object was hashed.
    hashed: u64,
    places: HashMap<Name, Place, RandomState>,
}

/// What tells an object from all others by chance: half of its digest. Whoever reads its bytes compares all of it.
type Name = [u8; Digest::LENGTH / 2];

fn name(digest: Digest) -> Name {
    std::array::from_fn(|at| digest.as_bytes()[at])
}

/// Where the bytes of an object are.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    length: u16,
    /// Whether they were found to be what the digest says.
    is_checked: bool,
}

impl Place {
    /// None behind the first 4 GiB of a file: of what is there, nothing is known.
    fn of(start: u64, length: usize, is_checked: bool) -> Option<Self> {
        Some(Self { start: start.try_into().ok()?, length: length.try_into().ok()?, is_checked })
    }

    fn read(self, file: &File) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length.into()];
        file.read_exact_at(&mut bytes, self.start.into())?;
        Ok(bytes)
    }
}

impl Shard {
    /// Takes what was added since.
    fn catch_up(&mut self, file: &File) -> io::Result<()> {
        let bytes = added_since(file, self.length)?;
        match Records::of(&bytes).chained() {
            Some(objects) => self.take(objects, false, bytes.len()),
            None => self.hash_rest(file)?,
        }
        Ok(())
    }

    /// Takes what was not hashed once more, each object by its bytes.
    fn hash_rest(&mut self, file: &File) -> io::Result<()> {
        let bytes = added_since(file, self.hashed)?;
        let mut records = Records::of(&bytes);
        let objects = records.by_ref().flatten().collect();
        self.length = self.hashed;
        self.take(objects, true, records.at);
        self.hashed = self.length;
        Ok(())
    }

    /// Takes objects that were added, in so many bytes.
    fn take(&mut self, objects: Vec<(Digest, Range<usize>)>, is_checked: bool, bytes: usize) {
        self.places.reserve(objects.len());
        for (digest, range) in objects {
            let place = Place::of(self.length + range.start as u64, range.len(), is_checked);
            self.places.extend(place.map(|place| (name(digest), place)));
        }
        self.length += bytes as u64;
    }

    /// Where an object is, after a look at its bytes.
    fn find(&mut self, digest: Digest, file: &File) -> io::Result<Option<Place>> {
        if !self.places.contains_key(&name(digest)) {
            self.catch_up(file)?;
        }
        if !self.is_in_place(digest, file)? && self.hashed < self.length {
            // One that was torn, or changed, may hide it.
            self.places.remove(&name(digest));
            self.hash_rest(file)?;
        }
        Ok(self.places.get(&name(digest)).copied())
    }

    fn is_in_place(&mut self, digest: Digest, file: &File) -> io::Result<bool> {
        let Some(place) = self.places.get_mut(&name(digest)) else { return Ok(false) };
        if !place.is_checked {
            place.is_checked = Digest::of(&place.read(file)?) == digest;
        }
        Ok(place.is_checked)
    }
}

/// Objects as they are written: each with the place of its bytes, or what should be the digest of one that was torn.
struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The object at a place, if there is a whole one.
    fn read(&self, at: usize) -> Option<(Digest, Range<usize>)> {
        let (digest, length) = self.head(at)?;
        let range = at + HEAD..at + HEAD + length;
        (Digest::of(self.bytes.get(range.clone())?) == digest).then_some((digest, range))
    }

    fn head(&self, at: usize) -> Option<(Digest, usize)> {
        let (digest, rest) = self.bytes.get(at..)?.split_first_chunk()?;
        Some((Digest::from_bytes(*digest), u32::from_le_bytes(*rest.first_chunk()?) as usize))
    }

    /// The objects, if the length of each leads to the next one, and that of the last one to the end.
    fn chained(&self) -> Option<Vec<(Digest, Range<usize>)>> {
        let (mut objects, mut at) = (Vec::new(), 0);
        while at < self.bytes.len() {
            let (digest, length) = self.head(at)?;
            // Where nothing was written are zeros.
            let is_likely = length <= LONGEST && (length > 0 || digest == Digest::of(b""));
            is_likely.then_some(())?;
            let range = at + HEAD..at + HEAD + length;
            at = range.end;
            objects.push((digest, range));
        }
        (at == self.bytes.len()).then_some(objects)
    }

    /// Whether what begins at a place may be an object of which the end is still to be written.
    fn is_unfinished(&self, at: usize) -> bool {
        self.head(at).is_none_or(|(_, length)| length <= LONGEST && at + HEAD + length > self.bytes.len())
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(Digest, Range<usize>), Digest>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((digest, range)) = self.read(self.at) {
            self.at = range.end;
            return Some(Ok((digest, range)));
        }
        let (torn, _) = self.head(self.at)?;
        let behind = self.at + 1..self.bytes.len();
        // Where one was torn, others may begin before the end that it should have.
        match behind.clone().find(|at| self.read(*at).is_some()) {
            Some(next) => self.at = next,
            None if self.is_unfinished(self.at) => return None,
            None => self.at = behind.end,
        }
        Some(Err(torn))
    }
}

impl LocalStore {
    fn small_path(&self, first: u8) -> PathBuf {
        self.root().join(format!("objects/{first:02x}/small"))
    }

    /// Whether the small object is known to be here, without a look at the disk.
    pub(super) fn knows_small(&self, digest: Digest) -> bool {
        self.small.shard(first(digest)).places.get(&name(digest)).is_some_and(|place| place.is_checked)
    }

    /// Whether it is here.
    pub(super) fn has_small(&self, digest: Digest) -> bool {
        self.find_small(digest).is_ok_and(|found| found.is_some())
    }

    /// Its bytes, if it is here.
    pub(super) fn small(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.small_path(first(digest));
        let read = || {
            let Some((place, file)) = self.find_small(digest)? else { return Ok(None) };
            let Some(file) = file.map_or_else(|| open(&path), |file| Ok(Some(file)))? else {
                return Ok(None);
            };
            place.read(&file).map(Some)
        };
        read().map_err(StoreError::io("read", &path))
    }

    /// Where it is, and its file if that was opened for this.
    fn find_small(&self, digest: Digest) -> io::Result<Option<(Place, Option<File>)>> {
        let mut shard = self.small.shard(first(digest));
        if let Some(place) = shard.places.get(&name(digest)).filter(|place| place.is_checked) {
            return Ok(Some((*place, None)));
        }
        let Some(file) = open(&self.small_path(first(digest)))? else { return Ok(None) };
        Ok(shard.find(digest, &file)?.map(|place| (place, Some(file))))
    }

    /// Adds an object of no more than [`LONGEST`] bytes, whose digest this is, if it is not here.
    pub(super) fn put_small(&self, digest: Digest, bytes: &[u8], is_flushed: bool) -> Result<(), StoreError> {
        if self.knows_small(digest) || self.object_path(digest).exists() {
            return Ok(());
        }
        let path = self.small_path(first(digest));
        let mut shard = self.small.shard(first(digest));
        let file = open_to_add(&path)?;
        let mut add = || {
            if shard.find(digest, &file)?.is_some() {
                return Ok(());
            }
            let length = bytes.len();
            let record = [digest.as_bytes(), (length as u32).to_le_bytes().as_slice(), bytes].concat();
            let end = add_to(&file, &record)?;
            let place = Place::of(end - length as u64, length, true).ok_or(ErrorKind::FileTooLarge)?;
            shard.places.insert(name(digest), place);
            // Else others added something before it, which is still to be read.
            if shard.length + record.len() as u64 == end {
                (shard.length, shard.hashed) = (end, end);
            }
            if is_flushed { file.sync_data() } else { Ok(()) }
        };
        add().map_err(StoreError::io("write", &path))
    }

    /// The file that a small object is in, and the place of its last byte.
    #[cfg(test)]
    pub(super) fn place_of_small(&self, digest: Digest) -> Option<(File, u64)> {
        let (place, _) = self.find_small(digest).ok()??;
        let file = File::options().read(true).write(true).open(self.small_path(first(digest))).ok()?;
        Some((file, u64::from(place.start) + u64::from(place.length) - 1))
    }

    /// What was read so far may be damaged now.
    pub(super) fn forget_small(&self) {
        (0..=u8::MAX).for_each(|first| *self.small.shard(first) = Shard::default());
    }

    /// All small objects with their lengths in bytes, and what should be the digests of torn ones, by the first bytes of
    /// their digests.
    pub(super) fn small_objects(&self) -> impl Iterator<Item = (u8, Written)> {
        (0..=u8::MAX).map(|first| {
            let bytes = std::fs::read(self.small_path(first)).unwrap_or_default();
            let mut written = Written::default();
            for record in Records::of(&bytes) {
                match record {
                    Ok((digest, range)) => written.whole.push((digest, range.len() as u64)),
                    Err(digest) => written.torn.push(digest),
                }
            }
            (first, written)
        })
    }

    /// Keeps some of the small objects whose digests begin with a byte, and nothing that is torn. Nobody else has the store open.
    pub(super) fn retain_small(&self, first: u8, is_kept: impl Fn(Digest) -> bool) -> Result<(), StoreError> {
        let path = self.small_path(first);
        let mut shard = self.small.shard(first);
        let bytes = std::fs::read(&path).map_err(StoreError::io("read", &path))?;
        let kept = Records::of(&bytes).flatten().filter(|(digest, _)| is_kept(*digest));
        let kept: Vec<u8> =
            kept.flat_map(|(_, range)| &bytes[range.start - HEAD..range.end]).copied().collect();
        match kept.is_empty() {
            true => std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?,
            false => self.write_atomically(&path, &kept, 0o644)?,
        }
        *shard = Shard::default();
        Ok(())
    }
}

/// What is written of small objects.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Each with its length in bytes.
    pub whole: Vec<(Digest, u64)>,
    /// What should be the digests of those that are not what these say.
    pub torn: Vec<Digest>,
}

fn first(digest: Digest) -> u8 {
    digest.as_bytes()[0]
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &tempfile::TempDir) -> LocalStore {
        LocalStore::open(dir.path().join("cache")).unwrap()
    }

    /// So many different objects whose digests begin alike.
    fn alike(count: usize) -> Vec<(Digest, Vec<u8>)> {
        let all = (0..).map(|at: u32| at.to_string().into_bytes());
        let all = all.map(|bytes| (Digest::of(&bytes), bytes)).filter(|(digest, _)| first(*digest) == 7);
        all.take(count).collect()
    }

    fn add(store: &LocalStore, objects: &[(Digest, Vec<u8>)]) {
        objects.iter().for_each(|(digest, bytes)| store.put_small(*digest, bytes, true).unwrap());
    }

    #[test]
    fn what_one_process_adds_the_other_finds() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (store(&dir), store(&dir));
        let objects = alike(3);
        for (at, (digest, bytes)) in objects.iter().enumerate() {
            let (adding, asking) = if at % 2 == 0 { (&one, &other) } else { (&other, &one) };
            assert!(!asking.has_small(*digest));
            add(adding, &objects[at..=at]);
            // Once more changes nothing.
            add(asking, &objects[at..=at]);
            assert_eq!(asking.small(*digest).unwrap().as_ref(), Some(bytes));
        }
        assert_eq!(one.small_objects().map(|(_, written)| written.whole.len()).sum::<usize>(), 3);
    }

    #[test]
    fn what_was_torn_hides_only_itself() {
        let objects = alike(4);
        for cut in [1, 20, Digest::LENGTH + 2, HEAD] {
            let dir = tempfile::tempdir().unwrap();
            let old = store(&dir);
            add(&old, &objects[..2]);
            let path = old.small_path(7);
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(file.metadata().unwrap().len() - cut.min(objects[1].1.len() + HEAD - 1) as u64)
                .unwrap();
            let new = store(&dir);
            let is_here = |at: usize| new.has_small(objects[at].0);
            assert!(is_here(0) && !is_here(1), "{cut}");
            add(&new, &objects[2..]);
            add(&new, &objects[1..2]);
            assert!((0..4).all(is_here), "{cut}");
            let again = store(&dir);
            assert!(
                objects.iter().all(|(digest, bytes)| again.small(*digest).unwrap().as_ref() == Some(bytes))
            );
        }
    }

    #[test]
    fn what_should_have_been_long_hides_none_that_came_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let objects = alike(2);
        let long = (0..).map(|at: u16| [&at.to_le_bytes()[..], &[0; 4000]].concat());
        let long = long.map(|bytes| (Digest::of(&bytes), bytes)).find(|(digest, _)| first(*digest) == 7);
        let old = store(&dir);
        add(&old, &[long.unwrap()]);
        File::options().write(true).open(old.small_path(7)).unwrap().set_len(100).unwrap();
        add(&store(&dir), &objects);
        let again = store(&dir);
        assert!(objects.iter().all(|(digest, _)| again.has_small(*digest)));
        assert_eq!(again.small_objects().map(|(_, written)| written.torn.len()).sum::<usize>(), 1);
    }

    #[test]
    fn a_torn_one_whose_length_leads_to_another_hides_none() {
        let dir = tempfile::tempdir().unwrap();
        let objects = alike(3);
        let hidden = HEAD + objects[1].1.len();
        let torn = (0..).map(|at: u16| [&at.to_le_bytes()[..], &[0; 100]].concat());
        let torn =
            torn.map(|bytes| (Digest::of(&bytes), bytes)).find(|(digest, _)| first(*digest) == 7).unwrap();
        let old = store(&dir);
        add(&old, std::slice::from_ref(&torn));
        let file = File::options().write(true).open(old.small_path(7)).unwrap();
        file.set_len((HEAD + torn.1.len() - hidden) as u64).unwrap();
        let file = open_to_add(&old.small_path(7)).unwrap();
        for (digest, bytes) in &objects[1..] {
            let record = [digest.as_bytes(), (bytes.len() as u32).to_le_bytes().as_slice(), bytes].concat();
            add_to(&file, &record).unwrap();
        }
        for asked in [&objects[1], &objects[2], &torn, &objects[0]] {
            let new = store(&dir);
            let expected = objects[1..].contains(asked).then_some(&asked.1);
            assert_eq!(new.small(asked.0).unwrap().as_ref(), expected);
        }
        let new = store(&dir);
        add(&new, &[torn.clone(), objects[0].clone()]);
        assert!(objects.iter().chain([&torn]).all(|(digest, _)| store(&dir).has_small(*digest)));
    }

    #[test]
    fn a_flipped_bit_makes_an_object_absent_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let objects = alike(3);
        let path = {
            let store = store(&dir);
            add(&store, &objects);
            store.small_path(7)
        };
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEAD + objects[0].1.len() + HEAD] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let store = store(&dir);
        let is_here: Vec<bool> = objects.iter().map(|(digest, _)| store.has_small(*digest)).collect();
        assert_eq!(is_here, [true, false, true]);
        let torn: Vec<Digest> = store.small_objects().flat_map(|(_, written)| written.torn).collect();
        assert_eq!(torn, [objects[1].0]);
        store.retain_small(7, |_| true).unwrap();
        assert!(store.small_objects().all(|(_, written)| written.torn.is_empty()));
        assert!(store.has_small(objects[0].0) && store.has_small(objects[2].0));
    }

    #[test]
    fn those_that_are_not_kept_are_gone_and_can_come_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let objects = alike(3);
        add(&store, &objects);
        store.retain_small(7, |digest| digest == objects[1].0).unwrap();
        let is_here = |at: usize| store.has_small(objects[at].0);
        assert!(!is_here(0) && is_here(1) && !is_here(2));
        add(&store, &objects);
        assert!(is_here(0) && is_here(1) && is_here(2));
        store.retain_small(7, |_| false).unwrap();
        assert!(!store.small_path(7).exists() && !is_here(1));
    }
}
