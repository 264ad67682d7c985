//! Many small objects in one, so that keeping them is one file, and reading them all one request.
//!
//! A bundle is a tar archive in frames of Zstandard. What follows its last frame is skipped by whoever unpacks all of it (RFC 8878,
//! section 3.1.2): a list of the frames and of the objects in each, so that one object is read without the others.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Packs records in their order, equal ones once, and stages the bundle.
    pub(super) fn of_records<'r>(
        records: impl IntoIterator<Item = (Digest, &'r [u8])>,
        staging: &Staging<'_>,
    ) -> Result<Self, StoreError> {
        let mut seen = HashSet::new();
        let bytes = pack(records.into_iter().filter(|(record, _)| seen.insert(*record)))?;
        Ok(Self { object: staging.put(&bytes)?, size: bytes.len() as u64 })
    }
}

/// The records of packages, and whatever else an index is made from: in bundles of the store, which are opened once one of them is
/// asked for, or objects of their own.
pub struct Bundles<'a> {
    store: &'a LocalStore,
    bundles: Vec<Digest>,
    opened: Mutex<Option<Arc<Opened>>>,
}

struct Opened {
    frames: Vec<Frame>,
    /// In which frame an object is.
    places: HashMap<Digest, usize>,
}

struct Frame {
    bundle: Arc<Vec<u8>>,
    range: Range<usize>,
    objects: Mutex<Option<Arc<Objects>>>,
}

type Objects = HashMap<Digest, Vec<u8>>;

impl<'a> Bundles<'a> {
    /// None of them is read yet.
    pub fn new(store: &'a LocalStore, bundles: impl IntoIterator<Item = Digest>) -> Self {
        let mut bundles: Vec<Digest> = bundles.into_iter().collect();
        bundles.sort_unstable();
        bundles.dedup();
        Self { store, bundles, opened: Mutex::default() }
    }

    /// The bytes of a record by its digest.
    ///
    /// # Errors
    ///
    /// A bundle that is not in the store or damaged, and a record that is in none of them and no object either.
    pub fn record(&self, record: Digest) -> Result<Vec<u8>, StoreError> {
        let opened = once(&self.opened, || self.open())?;
        let frame = opened.places.get(&record).map(|at| &opened.frames[*at]);
        let objects = frame.map(Frame::objects).transpose()?;
        match objects.and_then(|objects| objects.get(&record).cloned()) {
            Some(bytes) => Ok(bytes),
            None => self.store.get(record),
        }
    }

    fn open(&self) -> Result<Opened, StoreError> {
        let (mut frames, mut places) = (Vec::new(), HashMap::new());
        for bundle in &self.bundles {
            let bytes = Arc::new(self.store.get(*bundle)?);
            let listed = list_of(&bytes).map_or_else(|| Ok(vec![whole(&bytes)?]), Ok)?;
            for (range, objects) in listed {
                places.extend(objects.into_iter().map(|object| (object, frames.len())));
                frames.push(Frame { bundle: bytes.clone(), range, objects: Mutex::default() });
            }
        }
        Ok(Opened { frames, places })
    }
}

impl Frame {
    fn objects(&self) -> Result<Arc<Objects>, StoreError> {
        once(&self.objects, || Ok(unpack(&self.bundle[self.range.clone()])?.into_iter().collect()))
    }
}

/// What is made when it is first asked for. Others wait for it meanwhile, so nothing that rayon does may make it.
fn once<T>(
    place: &Mutex<Option<Arc<T>>>,
    make: impl FnOnce() -> Result<T, StoreError>,
) -> Result<Arc<T>, StoreError> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    match &*place {
        Some(made) => Ok(made.clone()),
        None => Ok(place.insert(Arc::new(make()?)).clone()),
    }
}

/// What the name of a bundle ends with.
const ENDING: &str = ".tar.zst";
/// So many bytes of the archive, at least, are in a frame.
const FRAME: usize = 128 << 10;
/// Level 3 gives 2.5 % less of records.
const LEVEL: i32 = 1;
/// What a frame that is skipped begins with, before its length (RFC 8878, section 3.1.2).
const SKIPPED: [u8; 4] = 0x184d_2a50_u32.to_le_bytes();
/// So many bytes are made room for before they are there.
const MOST: u64 = 1 << 20;

/// What a bundle is called, by the digest of its bytes.
pub fn file_name(bundle: Digest) -> String {
    format!("{bundle}{ENDING}")
}

/// The bundle that is called so.
pub fn named(file: &OsStr) -> Option<Digest> {
    file.to_str()?.strip_suffix(ENDING)?.parse().ok()
}

/// A bundle of objects, each named by its digest. What is asked for together should be beside each other.
pub fn pack<'a>(objects: impl IntoIterator<Item = (Digest, &'a [u8])>) -> Result<Vec<u8>, StoreError> {
    let write = || {
        let mut archive = tar::Builder::new(Vec::new());
        // Where each frame begins in the archive, and what is in it.
        let mut frames: Vec<(usize, Vec<Digest>)> = vec![(0, Vec::new())];
        for (digest, bytes) in objects {
            let length = archive.get_ref().len();
            match frames.last_mut() {
                Some((start, objects)) if length - *start < FRAME => objects.push(digest),
                _ => frames.push((length, vec![digest])),
            }
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            archive.append_data(&mut header, digest.to_string(), bytes)?;
        }
        in_frames(&archive.into_inner()?, &frames)
    };
    write().map_err(StoreError::io("pack", "the records of packages"))
}

fn in_frames(archive: &[u8], frames: &[(usize, Vec<Digest>)]) -> io::Result<Vec<u8>> {
    let (mut bundle, mut list) = (Vec::new(), Vec::new());
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let ends = frames.iter().skip(1).map(|(start, _)| *start).chain([archive.len()]);
    for ((start, objects), end) in frames.iter().zip(ends) {
        let frame = compressor.compress(&archive[*start..end])?;
        [frame.len(), objects.len()].iter().try_for_each(|number| push_number(&mut list, *number))?;
        objects.iter().for_each(|object| list.extend_from_slice(object.as_bytes()));
        bundle.extend(frame);
    }
    // Its length once more at the end, from where it is found.
    let length = list.len();
    push_number(&mut list, length)?;
    bundle.extend(SKIPPED);
    push_number(&mut bundle, list.len())?;
    bundle.extend(list);
    Ok(bundle)
}

fn push_number(to: &mut Vec<u8>, number: usize) -> io::Result<()> {
    let number = u32::try_from(number).map_err(io::Error::other)?;
    to.extend(number.to_le_bytes());
    Ok(())
}

/// Where a frame is in a bundle, and the objects in it.
type Listed = (Range<usize>, Vec<Digest>);

/// The frames of a bundle, and the objects in each; `None` if it does not end in their list.
fn list_of(bundle: &[u8]) -> Option<Vec<Listed>> {
    let (before, length) = bundle.split_last_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (before, mut list) = before.split_at_checked(before.len().checked_sub(length)?)?;
    let (before, _) = before.split_last_chunk::<4>()?;
    let archive = before.strip_suffix(&SKIPPED)?;
    let (mut frames, mut start) = (Vec::new(), 0);
    while !list.is_empty() {
        let [length, count] = [take_number(&mut list)?, take_number(&mut list)?];
        let (objects, rest) = list.split_at_checked(count.checked_mul(Digest::LENGTH)?)?;
        list = rest;
        let range = start..start + length;
        archive.get(range.clone())?;
        start = range.end;
        let objects = objects.chunks_exact(Digest::LENGTH);
        let objects = objects.map(|bytes| bytes.first_chunk().map(|bytes| Digest::from_bytes(*bytes)));
        frames.push((range, objects.collect::<Option<_>>()?));
    }
    Some(frames)
}

/// The same of one without a list, as an earlier forge wrote them.
fn whole(bundle: &[u8]) -> Result<Listed, StoreError> {
    Ok((0..bundle.len(), unpack(bundle)?.into_iter().map(|(object, _)| object).collect()))
}

fn take_number(from: &mut &[u8]) -> Option<usize> {
    let (number, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u32::from_le_bytes(*number) as usize)
}

/// The objects of a bundle or of one of its frames, each by the digest that it really has.
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
    use crate::index::fixture::{Fixture, run};

    fn objects(count: usize) -> Vec<(Digest, Vec<u8>)> {
        let object = |at: usize| format!("{at} ").repeat(at % 1_000).into_bytes();
        (0..count).map(|at| (Digest::of(&object(at)), object(at))).collect()
    }

    fn packed(objects: &[(Digest, Vec<u8>)]) -> Vec<u8> {
        pack(objects.iter().map(|(digest, bytes)| (*digest, bytes.as_slice()))).unwrap()
    }

    #[test]
    fn what_is_packed_comes_out_again_and_the_same_gives_the_same() {
        for count in [0, 1, 3, 2_500] {
            let objects = objects(count);
            let bundle = packed(&objects);
            assert_eq!(unpack(&bundle).unwrap(), objects);
            assert_eq!(packed(&objects), bundle);
            let frames = list_of(&bundle).unwrap();
            assert!((count < 2_500) == (frames.len() == 1), "{} frames", frames.len());
            for (range, listed) in &frames {
                let found = unpack(&bundle[range.clone()]).unwrap();
                assert_eq!(found.into_iter().map(|(object, _)| object).collect::<Vec<_>>(), *listed);
            }
        }
        let bundle = packed(&objects(2_500));
        assert!(unpack(&bundle[..bundle.len() / 2]).is_err());
    }

    #[test]
    fn other_programs_unpack_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let objects = objects(600);
        let path = dir.path().join("bundle.tar.zst");
        std::fs::write(&path, packed(&objects)).unwrap();
        let mut tar = std::process::Command::new("tar");
        run(tar.args(["--zstd", "-xf"]).arg(&path).arg("-C").arg(dir.path()));
        for (object, bytes) in &objects {
            assert_eq!(std::fs::read(dir.path().join(object.to_string())).unwrap(), *bytes);
        }
    }

    #[test]
    fn a_list_that_is_cut_or_damaged_is_none() {
        let bundle = packed(&objects(2_000));
        let end = bundle.len();
        (1..100).for_each(|cut| assert!(list_of(&bundle[..end - cut]).is_none(), "{cut} bytes less"));
        for at in [end - 4, end - 2, end - 1] {
            let mut damaged = bundle.clone();
            damaged[at] ^= 1;
            assert!(list_of(&damaged).is_none(), "byte {at}");
        }
        assert!(list_of(b"").is_none());
    }

    #[test]
    fn a_record_is_found_in_any_bundle_or_by_itself() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let all = objects(2_500);
        let put = |objects: &[(Digest, Vec<u8>)]| store.put(&packed(objects)).unwrap();
        // An earlier forge ended its bundles with the archive.
        let unlisted = packed(&all[2_000..2_400]);
        let frames: usize = list_of(&unlisted).unwrap().iter().map(|(range, _)| range.len()).sum();
        let unlisted = store.put(&unlisted[..frames]).unwrap();
        let bundles = Bundles::new(store, [put(&all[..2_000]), unlisted, put(&all[1_000..1_500])]);
        let alone = store.put(&all[2_450].1).unwrap();
        for (object, bytes) in all[..2_400].iter().chain([&all[2_450]]) {
            assert_eq!(bundles.record(*object).unwrap(), *bytes);
        }
        assert_eq!(alone, all[2_450].0);
        let missing = bundles.record(all[2_499].0).unwrap_err();
        assert!(missing.to_string().contains(&all[2_499].0.to_string()), "{missing}");
    }
}
