use std::cmp::Reverse;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rayon::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::time::{ClockId, clock_gettime};

use crate::digest::Digest;

/// What a look at a path tells of its content: as long as it stays the same, so does the content, if it is
/// [older](Sighting::is_before) than that look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    size: u64,
    /// Nanoseconds since 1970.
    mtime: i64,
    /// Nanoseconds since 1970.
    ctime: i64,
    inode: u64,
}

/// A time of the clock that filesystems take times from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(
    /// Nanoseconds since 1970.
    i64,
);

impl Moment {
    /// The time of a file that is written now: it may be some milliseconds behind other clocks.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::RealtimeCoarse);
        Self(at(time.tv_sec, time.tv_nsec))
    }

    /// The time to the nanosecond: no file has a later one yet.
    #[cfg(test)]
    pub fn exact() -> Self {
        let time = clock_gettime(ClockId::Realtime);
        Self(at(time.tv_sec, time.tv_nsec))
    }

    /// So much earlier.
    pub fn before(self, age: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// So much later.
    #[cfg(test)]
    pub fn after(self, age: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl Sighting {
    /// The bytes that it is written in.
    pub(super) const LENGTH: usize = 32;

    /// Of what was looked at.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            mtime: at(metadata.mtime(), metadata.mtime_nsec()),
            ctime: at(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// Of what is at `path`, or of the link that is there; `None` if nothing is.
    pub fn at(path: &Path) -> Option<Self> {
        std::fs::symlink_metadata(path).ok().map(|metadata| Self::of(&metadata))
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Of what was looked at by a call of the kernel.
    pub fn of_stat(stat: &Stat) -> Self {
        #[expect(clippy::unnecessary_cast, reason = "the types differ between architectures")]
        Self {
            size: stat.st_size as u64,
            mtime: at(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime: at(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            inode: stat.st_ino as u64,
        }
    }

    /// Whether it was changed for the last time before `moment`: whatever changed it since would show. A file that is
    /// edited twice within one tick of the clock looks the same after both (git's "racy" rule).
    /// One on a filesystem that seems to count whole seconds, or two at a time, has long ticks.
    pub fn is_before(&self, moment: Moment) -> bool {
        const SECOND: i64 = 1_000_000_000;
        let is_coarse = self.mtime % SECOND == 0 && self.ctime % SECOND == 0;
        let tick = if is_coarse { 2 * SECOND } else { 0 };
        self.mtime.max(self.ctime).saturating_add(tick) < moment.0
    }

    /// The same if it is older than `moment`; if not, with the same times, what nothing ever looks like, as another change might not
    /// show.
    pub(super) fn if_before(self, moment: Moment) -> Self {
        match self.is_before(moment) {
            true => self,
            // No file has this inode.
            false => Self { inode: 0, ..self },
        }
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        for part in [self.size, self.mtime as u64, self.ctime as u64, self.inode] {
            bytes.extend_from_slice(&part.to_le_bytes());
        }
    }

    pub(super) fn read(bytes: &mut Reader<'_>) -> Option<Self> {
        let mut part = || bytes.number();
        Some(Self { size: part()?, mtime: part()? as i64, ctime: part()? as i64, inode: part()? })
    }
}

fn at(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// Sightings with what was noted of each, as bytes: directory by directory, so that a look at all of them finds each
/// directory once.
pub struct Sightings;

/// Notes of no more than this share one block, so that a large directory is looked at by several threads.
const BLOCK: usize = 512;

/// What was written is not what is read.
#[derive(Debug, PartialEq, Eq)]
pub struct SightingsError;

/// What may be noted beside a sighting.
pub trait Note: Sized + Send {
    /// Adds its bytes.
    fn write(&self, bytes: &mut Vec<u8>);
    /// Takes them.
    fn read(bytes: &mut Reader<'_>) -> Option<Self>;
}

impl Note for () {
    fn write(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut Reader<'_>) -> Option<Self> {
        Some(())
    }
}

impl Note for Digest {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.as_bytes());
    }

    fn read(bytes: &mut Reader<'_>) -> Option<Self> {
        bytes.take(Digest::LENGTH)?.try_into().ok().map(Self::from_bytes)
    }
}

/// Takes bytes piece by piece.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes were not taken.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The byte behind so many.
    pub(super) fn peek(&self, behind: usize) -> Option<u8> {
        self.0.get(behind).copied()
    }

    /// All that was not taken.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// Bytes after their length.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.take(4)?.try_into().ok().map(u32::from_le_bytes)?;
        self.take(length as usize)
    }
}

pub(super) fn write_text(text: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&length_of(text));
    bytes.extend_from_slice(text);
}

/// What stands before a text.
pub(super) fn length_of(text: &[u8]) -> [u8; 4] {
    // A path is no longer than a page, and what is known of one directory never takes 4 GiB.
    (text.len() as u32).to_le_bytes()
}

impl Sightings {
    /// `seen` as bytes. Directories are absolute and have no `..`. Of what comes twice, what was changed last counts.
    pub fn write<N: Note>(mut seen: Vec<(Place<'_>, Sighting, N)>) -> Vec<u8> {
        seen.sort_unstable_by_key(|(place, sighting, _)| (*place, Reverse(sighting.ctime)));
        seen.dedup_by_key(|(place, ..)| *place);
        let mut bytes = Vec::with_capacity(seen.len() * 96);
        for of_dir in seen.chunk_by(|((a, _), ..), ((b, _), ..)| a == b) {
            for block in of_dir.chunks(BLOCK) {
                let mut inside = Vec::with_capacity(block.len() * 96);
                write_text(block[0].0.0, &mut inside);
                for ((_, name), sighting, note) in block {
                    write_text(name, &mut inside);
                    sighting.write(&mut inside);
                    note.write(&mut inside);
                }
                write_text(&inside, &mut bytes);
            }
        }
        bytes
    }

    fn blocks(bytes: &[u8]) -> Result<Vec<&[u8]>, SightingsError> {
        let mut reader = Reader(bytes);
        let mut blocks = Vec::new();
        while !reader.is_empty() {
            blocks.push(reader.text().ok_or(SightingsError)?);
        }
        Ok(blocks)
    }

    /// The directories in what [`Sightings::write`] wrote, each with what is said of it; one may come several times.
    pub fn dirs(bytes: &[u8]) -> Result<Vec<SaidOf<'_>>, SightingsError> {
        let dir = |block| {
            let mut reader = Reader(block);
            Some((reader.text()?, reader.rest()))
        };
        Self::blocks(bytes)?.into_iter().map(|block| dir(block).ok_or(SightingsError)).collect()
    }

    /// What is said of a directory: the notes by name.
    pub fn read<N: Note>(said: &[u8]) -> Result<Vec<Seen<'_, N>>, SightingsError> {
        let mut reader = Reader(said);
        let mut seen = Vec::new();
        while !reader.is_empty() {
            seen.push(Self::next(&mut reader).ok_or(SightingsError)?);
        }
        Ok(seen)
    }

    /// The next one of a directory.
    pub(super) fn next<'a, N: Note>(said: &mut Reader<'a>) -> Option<Seen<'a, N>> {
        Some((said.text()?, Sighting::read(said)?, N::read(said)?))
    }

    /// Whether every path in `bytes`, which have no notes, looks as it did.
    pub fn hold(bytes: &[u8]) -> bool {
        Self::changed(bytes).is_ok_and(|changed| changed.is_empty())
    }

    /// The paths in `bytes`, which have no notes, that do not look as they did.
    pub fn changed(bytes: &[u8]) -> Result<Vec<PathBuf>, SightingsError> {
        let of_blocks =
            Self::blocks(bytes)?.into_par_iter().map(|block| changed(block).ok_or(SightingsError));
        Ok(of_blocks.collect::<Result<Vec<_>, _>>()?.concat())
    }
}

/// A directory, and what is said of it.
pub type SaidOf<'a> = (&'a [u8], &'a [u8]);

/// A name, how it looked, and what was noted.
pub type Seen<'a, N> = (&'a [u8], Sighting, N);

/// The paths of a block that do not look as they did.
fn changed(block: &[u8]) -> Option<Vec<PathBuf>> {
    let mut reader = Reader(block);
    let path = reader.text()?;
    let dir = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok();
    let mut changed = Vec::new();
    while !reader.is_empty() {
        let name = reader.text()?;
        let then = Sighting::read(&mut reader)?;
        let now = dir.as_ref().and_then(|dir| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok());
        if now.is_none_or(|now| Sighting::of_stat(&now) != then) {
            changed.push(path_of(path).join(path_of(name)));
        }
    }
    Some(changed)
}

/// Where something is: its directory and its name there.
pub type Place<'a> = (&'a [u8], &'a [u8]);

/// The directory and the name of an absolute path, as bytes. The root is its own name.
pub(super) fn parts(path: &Path) -> Place<'_> {
    let bytes = path.as_os_str().as_bytes();
    match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(0) if bytes.len() == 1 => (b"/", b"."),
        Some(0) => (b"/", &bytes[1..]),
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (b".", bytes),
    }
}

pub(super) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_tick_of_whole_seconds_is_waited_for() {
        let seen = |mtime, ctime| Sighting { size: 1, mtime, ctime, inode: 1 };
        let moment = Moment(10_500_000_000);
        assert!(seen(10_400_000_000, 10_400_000_001).is_before(moment));
        assert!(!seen(10_500_000_000, 10_400_000_001).is_before(moment));
        assert!(!seen(10_000_000_000, 10_000_000_000).is_before(moment));
        assert!(seen(8_000_000_000, 8_000_000_000).is_before(moment));
    }

    #[test]
    fn of_what_comes_twice_what_was_changed_last_is_written() {
        let at = |ctime| Sighting { size: 1, mtime: 1, ctime, inode: 1 };
        let place = parts(Path::new("/dir/file"));
        for times in [[3, 5, 4], [5, 3, 4], [3, 4, 5]] {
            let bytes = Sightings::write(times.map(|time| (place, at(time), ())).to_vec());
            let dirs = Sightings::dirs(&bytes).unwrap();
            let seen = Sightings::read(dirs[0].1).unwrap();
            assert_eq!((dirs.len(), seen), (1, vec![(b"file".as_slice(), at(5), ())]));
        }
    }

    #[test]
    fn sightings_round_trip_and_hold_until_something_changes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::create_dir(dir.join("sub")).unwrap();
        let paths: Vec<PathBuf> = (0..2 * BLOCK)
            .map(|at| dir.join(format!("sub/{at}")))
            .chain([dir.join("one"), dir.clone()])
            .collect();
        paths.iter().filter(|path| !path.exists()).for_each(|path| fs::write(path, "x").unwrap());
        let seen = |digest| {
            paths.iter().map(move |path| (parts(path), Sighting::at(path).unwrap(), digest)).collect()
        };
        let bytes = Sightings::write::<Digest>(seen(Digest::of(b"x")));
        let dirs = Sightings::dirs(&bytes).unwrap();
        let read = dirs.iter().map(|(dir, said)| (path_of(dir), Sightings::read::<Digest>(said).unwrap()));
        let read: Vec<_> = read.collect();
        assert_eq!(read.iter().map(|(_, seen)| seen.len()).sum::<usize>(), paths.len());
        assert!(read.iter().all(|(dir, seen)| seen.iter().all(|(name, then, digest)| {
            Sighting::at(&dir.join(OsStr::from_bytes(name))) == Some(*then) && *digest == Digest::of(b"x")
        })));
        let (_, said) = dirs[0];
        assert_eq!(Sightings::read::<Digest>(&said[..said.len() - 1]).unwrap_err(), SightingsError);
        assert_eq!(Sightings::dirs(&bytes[..bytes.len() - 1]).unwrap_err(), SightingsError);

        let of = |paths: &[PathBuf]| {
            let seen = paths.iter().filter_map(|path| Some((parts(path), Sighting::at(path)?, ())));
            Sightings::write(seen.collect())
        };
        let plain = || of(&paths);
        let bytes = plain();
        let changed = |bytes: &[u8]| {
            let mut changed = Sightings::changed(bytes).unwrap();
            changed.sort();
            assert_eq!(Sightings::hold(bytes), changed.is_empty());
            changed
        };
        assert_eq!(changed(&bytes), [] as [PathBuf; 0]);
        fs::set_permissions(dir.join("sub/7"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(changed(&bytes), [dir.join("sub/7")]);
        let bytes = plain();
        fs::remove_file(dir.join("sub/7")).unwrap();
        assert_eq!(changed(&bytes), [dir.join("sub/7")]);
        fs::remove_file(dir.join("one")).unwrap();
        assert_eq!(changed(&bytes), [dir.clone(), dir.join("one"), dir.join("sub/7")]);
        let bytes = of(&[dir.join("sub/8"), dir.join("sub/9")]);
        fs::rename(dir.join("sub"), dir.join("other")).unwrap();
        assert_eq!(changed(&bytes), [dir.join("sub/8"), dir.join("sub/9")]);
    }
}
