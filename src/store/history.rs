//! The latest results of each node, in one file that is only ever added to: whoever asks for many nodes reads one file, and
//! a result is remembered by one write.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::files::{add_to, added_since, open_to_add};
use super::record::now;
use super::{LocalStore, StoreError};
use crate::digest::Digest;

/// How many results of one node are remembered to explain a later miss and to foretell durations.
pub(super) const HISTORY_LENGTH: usize = 16;

/// One result of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Under which key the result is.
    pub key: Digest,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// When it was stored, in seconds since 1970.
    pub at: u64,
}

impl HistoryEntry {
    /// How many bytes are written: the digest of the node's name, the key, two numbers and a check of all these.
    const LENGTH: usize = 2 * Digest::LENGTH + 3 * 8;

    fn written(&self, node: Digest) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let (told, check) = bytes.split_at_mut(Self::LENGTH - 8);
        let numbers = [self.duration_ms.to_le_bytes(), self.at.to_le_bytes()].concat();
        told.copy_from_slice(&[node.as_bytes(), self.key.as_bytes(), numbers.as_slice()].concat());
        check.copy_from_slice(&check_of(told));
        bytes
    }

    /// Whether an entry may begin there, by the time that it tells: no digest begins so by chance, and a duration is shorter.
    fn is_likely(bytes: &[u8]) -> bool {
        /// In seconds since 1970, from 2004 on. Where a clock says less, entries are looked at one by one.
        const TIMES: Range<u64> = 1 << 30..1 << 36;
        let at = bytes.get(2 * Digest::LENGTH + 8..).filter(|_| bytes.len() >= Self::LENGTH);
        at.and_then(|at| at.first_chunk()).is_some_and(|at| TIMES.contains(&u64::from_le_bytes(*at)))
    }

    fn read(bytes: &[u8]) -> Option<(Digest, Self)> {
        let (told, check) = bytes.split_at_checked(Self::LENGTH - 8)?;
        (check_of(told) == check.get(..8)?).then_some(())?;
        let digest = |at: usize| Some(Digest::from_bytes(told.get(at..)?.first_chunk().copied()?));
        let number = |at: usize| Some(u64::from_le_bytes(told.get(at..)?.first_chunk().copied()?));
        let (node, key) = (digest(0)?, digest(Digest::LENGTH)?);
        let (duration_ms, at) = (number(2 * Digest::LENGTH)?, number(2 * Digest::LENGTH + 8)?);
        Some((node, Self { key, duration_ms, at }))
    }
}

fn check_of(told: &[u8]) -> [u8; 8] {
    let digest = Digest::of(told);
    std::array::from_fn(|at| digest.as_bytes()[at])
}

/// What was read of the file. There may be millions of entries, few of which are asked for: each is looked at when it is.
#[derive(Debug, Default)]
pub(super) struct Histories {
    file: Option<File>,
    /// How long the file was when it was read last: its end may be torn, and is not kept.
    length: u64,
    bytes: Vec<u8>,
    /// Where entries begin, in the order in which they were written, each with the number of the one before it of the same node.
    entries: Vec<(usize, Option<usize>)>,
    /// The number of the latest one of each node.
    latest: HashMap<Name, usize, RandomState>,
}

/// What tells a node from all others by chance: the first bytes of the digest of its name. Whoever reads an entry compares all of it.
type Name = [u8; 8];

impl Histories {
    /// Whether nothing was added since.
    fn is_caught_up(&self) -> bool {
        let length = self.file.as_ref().and_then(|file| Some(file.metadata().ok()?.len()));
        length == Some(self.length)
    }

    /// Takes what was added since.
    fn catch_up(&mut self) -> std::io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut at = self.bytes.len();
        match at {
            0 => self.bytes = added_since(file, 0)?,
            _ => self.bytes.extend(added_since(file, at as u64)?),
        }
        self.length = self.bytes.len() as u64;
        let is_torn = self.is_torn_behind(at);
        while self.bytes.len() - at >= HistoryEntry::LENGTH {
            match is_torn && self.read(at).is_none() {
                // The next begins somewhere behind it.
                true => at += 1,
                false => {
                    self.add(at);
                    at += HistoryEntry::LENGTH;
                }
            }
        }
        self.bytes.truncate(at);
        Ok(())
    }

    /// Whether a full disk or a power cut tore an entry of those that begin there: then the others are not where they should be.
    fn is_torn_behind(&self, start: usize) -> bool {
        let mut entries = self.bytes[start..].chunks(HistoryEntry::LENGTH);
        !entries.all(HistoryEntry::is_likely)
    }

    fn read(&self, at: usize) -> Option<(Digest, HistoryEntry)> {
        HistoryEntry::read(self.bytes.get(at..)?)
    }

    /// Writes an entry.
    fn append(&mut self, node: Digest, entry: HistoryEntry) -> std::io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let (at, written) = (self.bytes.len(), entry.written(node));
        let end = add_to(file, &written)?;
        // Else others added something before it, which is still to be read.
        if end == (at + HistoryEntry::LENGTH) as u64 {
            self.bytes.extend(written);
            self.length = end;
            self.add(at);
        }
        Ok(())
    }

    /// Takes the entry that begins there.
    fn add(&mut self, at: usize) {
        if let Some(name) = self.bytes.get(at..).and_then(|entry| entry.first_chunk()) {
            let before = self.latest.insert(*name, self.entries.len());
            self.entries.push((at, before));
        }
    }

    /// The latest entries of a node, newest last, each key once.
    fn of(&self, node: Digest) -> Vec<HistoryEntry> {
        let mut of_node: Vec<HistoryEntry> = Vec::new();
        let mut ahead = node.as_bytes().first_chunk().and_then(|name| self.latest.get(name)).copied();
        while let Some((at, before)) = ahead.and_then(|number| self.entries.get(number)) {
            if of_node.len() == HISTORY_LENGTH {
                break;
            }
            if let Some((of, entry)) = self.read(*at)
                && of == node
                && of_node.iter().all(|known| known.key != entry.key)
            {
                of_node.push(entry);
            }
            ahead = *before;
        }
        of_node.reverse();
        of_node
    }

    /// The nodes that there are entries of.
    fn nodes(&self) -> HashSet<Digest, RandomState> {
        self.entries.iter().filter_map(|(at, _)| Some(self.read(*at)?.0)).collect()
    }
}

impl LocalStore {
    fn history_path(&self) -> PathBuf {
        self.root().join("histories")
    }

    /// All that was added, by whomever. Many may look at it at the same time.
    fn histories(&self) -> Result<RwLockReadGuard<'_, Histories>, StoreError> {
        let known = self.histories.read().unwrap_or_else(PoisonError::into_inner);
        if known.is_caught_up() {
            return Ok(known);
        }
        drop(known);
        Ok(RwLockWriteGuard::downgrade(self.histories_to_change()?))
    }

    fn histories_to_change(&self) -> Result<RwLockWriteGuard<'_, Histories>, StoreError> {
        let mut histories = self.histories.write().unwrap_or_else(PoisonError::into_inner);
        let path = self.history_path();
        if histories.file.is_none() {
            histories.file = Some(open_to_add(&path)?);
        }
        histories.catch_up().map_err(StoreError::io("read", path))?;
        Ok(histories)
    }

    /// The latest results of the node whose name has this digest, newest last, as far as they can be read.
    pub(super) fn history(&self, node: Digest) -> Vec<HistoryEntry> {
        let Ok(histories) = self.histories() else { return Vec::new() };
        histories.of(node)
    }

    /// Remembers that a result of `node` was stored now.
    pub(super) fn add_to_history(&self, node: &str, key: Digest, duration_ms: u64) -> Result<(), StoreError> {
        let entry = HistoryEntry { key, duration_ms, at: now() };
        let node = Digest::of(node.as_bytes());
        let mut histories = self.histories_to_change()?;
        histories.append(node, entry).map_err(StoreError::io("write", self.history_path()))
    }

    /// Drops what is as old as `age`, and all but the latest. Nobody else has the file open.
    pub(super) fn drop_old_history(&self, age: Duration) -> Result<(), StoreError> {
        let mut histories = self.histories_to_change()?;
        let young = |entry: &&HistoryEntry| now().saturating_sub(entry.at) < age.as_secs();
        let kept = histories.nodes().into_iter().flat_map(|node| {
            let entries = histories.of(node);
            entries.iter().filter(young).map(|one| one.written(node)).collect::<Vec<_>>()
        });
        self.write_atomically(&self.history_path(), &kept.collect::<Vec<_>>().concat(), 0o644)?;
        *histories = Histories::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &tempfile::TempDir) -> LocalStore {
        LocalStore::open(dir.path().join("cache")).unwrap()
    }

    fn keys(store: &LocalStore, node: &str) -> Vec<Digest> {
        store.history(Digest::of(node.as_bytes())).iter().map(|entry| entry.key).collect()
    }

    #[test]
    fn the_latest_results_are_remembered_whoever_stored_them() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (store(&dir), store(&dir));
        let all: Vec<Digest> = (0..20).map(|at: u8| Digest::of(&[at])).collect();
        for (at, key) in all.iter().enumerate() {
            let store = if at % 2 == 0 { &one } else { &two };
            store.add_to_history("node", *key, 7).unwrap();
        }
        assert_eq!(keys(&one, "node"), all[4..]);
        assert_eq!(keys(&two, "node"), all[4..]);
        one.add_to_history("node", all[5], 8).unwrap();
        assert_eq!(keys(&two, "node").last(), Some(&all[5]), "a key that came again is the latest");
        assert_eq!(keys(&store(&dir), "node").len(), HISTORY_LENGTH);
        assert!(keys(&two, "other").is_empty());
    }

    #[test]
    fn a_torn_entry_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let first = store(&dir);
        first.add_to_history("node", a, 1).unwrap();
        let file = File::options().append(true).open(first.history_path()).unwrap();
        for torn in [&[7; 5][..], &[0; HistoryEntry::LENGTH + 3]] {
            add_to(&file, torn).unwrap();
            first.add_to_history("node", b, 2).unwrap();
            assert_eq!(keys(&first, "node"), [a, b]);
            assert_eq!(keys(&store(&dir), "node"), [a, b]);
        }
    }

    #[test]
    fn entries_that_two_torn_ones_moved_are_found() {
        for torn in 1..HistoryEntry::LENGTH {
            let dir = tempfile::tempdir().unwrap();
            let all: Vec<Digest> = (0..4).map(|at: u8| Digest::of(&[at])).collect();
            let first = store(&dir);
            let entry = HistoryEntry { key: all[3], duration_ms: 1 << 20, at: now() };
            let written = entry.written(Digest::of(b"other"));
            first.add_to_history("node", all[0], 1).unwrap();
            let file = File::options().append(true).open(first.history_path()).unwrap();
            for (key, piece) in all[1..3].iter().zip([torn, HistoryEntry::LENGTH - torn]) {
                add_to(&file, &written[..piece]).unwrap();
                first.add_to_history("node", *key, 1 << 20).unwrap();
            }
            assert_eq!(keys(&store(&dir), "node"), all[..3], "{torn}");
        }
    }

    #[test]
    fn gc_drops_what_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        store.add_to_history("node", Digest::of(b"a"), 1).unwrap();
        store.drop_old_history(Duration::from_secs(3600)).unwrap();
        assert_eq!(keys(&store, "node"), [Digest::of(b"a")]);
        store.drop_old_history(Duration::ZERO).unwrap();
        assert!(keys(&store, "node").is_empty());
    }
}
