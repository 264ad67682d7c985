use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::sealed::unsealed;
use super::{LocalStore, StoreError};
use crate::digest::{Digest, Field};

/// What an action gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionResult {
    /// The node it was first built for.
    pub node: String,
    /// The action's description, so that a later miss can be explained.
    pub action: Vec<Field>,
    /// Output trees by name.
    pub outputs: BTreeMap<String, Digest>,
    /// What it printed; none for work forge does itself.
    pub log: Option<Digest>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Where it ran.
    pub runner: String,
}

/// That an action failed, so that the next plan can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The node it was tried for.
    pub node: String,
    /// What went wrong.
    pub error: String,
    /// What it printed, if it ran at all.
    pub log: Option<Digest>,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// A result of a node and the key it is under, to explain a later miss and to foretell durations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// Under which key the result is, or was.
    pub key: Digest,
    /// When it was stored, in seconds since 1970.
    pub at: u64,
    /// The result.
    pub result: ActionResult,
}

impl LocalStore {
    pub(super) fn result_path(&self, key: Digest) -> PathBuf {
        self.sharded("results", key)
    }

    fn failure_path(&self, key: Digest) -> PathBuf {
        self.sharded("failures", key)
    }

    /// The result under `key`.
    pub fn result(&self, key: Digest) -> Option<ActionResult> {
        self.read_record(&self.result_path(key))
    }

    /// Whether every object that the result names is here. Where one is gone, the result is a miss.
    pub fn is_complete(&self, result: &ActionResult) -> bool {
        result.outputs.values().all(|tree| self.holds_tree(*tree))
    }

    /// Stores a result, its objects being stored already, and remembers it in the node's history.
    pub fn put_result(&self, key: Digest, result: &ActionResult) -> Result<(), StoreError> {
        self.write_record(&self.result_path(key), result)?;
        let _ = std::fs::remove_file(self.failure_path(key));
        self.add_to_history(&result.node, key, result.duration_ms)
    }

    /// The same for a result that came from elsewhere; its objects may still be there alone.
    pub(super) fn take_result(&self, key: Digest, result: &ActionResult) -> Result<(), StoreError> {
        self.write_lightly(&self.result_path(key), result)?;
        let _ = std::fs::remove_file(self.failure_path(key));
        self.add_to_history(&result.node, key, result.duration_ms)
    }

    /// Remembers that the action under `key` failed.
    pub fn put_failure(
        &self,
        key: Digest,
        node: &str,
        error: &str,
        log: Option<Digest>,
    ) -> Result<(), StoreError> {
        let failure = Failure { node: node.to_owned(), error: error.to_owned(), log, at: now() };
        self.write_record(&self.failure_path(key), &failure)?;
        self.failures.add(key);
        Ok(())
    }

    /// The last failure under `key`, if it has not succeeded since.
    pub fn failure(&self, key: Digest) -> Option<Failure> {
        self.failures.may_hold(key).then(|| self.read_record(&self.failure_path(key)))?
    }

    /// A small record about this working copy, such as what the last run left undone.
    pub fn note<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.read_record(&self.root().join(name))
    }

    /// Writes such a record.
    pub fn put_note<T: Serialize>(&self, name: &str, note: &T) -> Result<(), StoreError> {
        self.write_record(&self.root().join(name), note)
    }

    fn fact_path(&self, kind: &str, object: Digest) -> PathBuf {
        self.sharded("facts", Digest::of(format!("{kind} of {object}").as_bytes()))
    }

    /// What was found out of an object before, such as what a package says of itself. `kind` has
    /// to change whenever the same object would give something else.
    pub fn fact<T: serde::de::DeserializeOwned>(&self, kind: &str, object: Digest) -> Option<T> {
        self.read_record(&self.fact_path(kind, object))
    }

    /// Remembers what was found out of an object. It can be found out again, so it is not flushed.
    pub fn put_fact<T: Serialize>(&self, kind: &str, object: Digest, fact: &T) -> Result<(), StoreError> {
        self.write_lightly(&self.fact_path(kind, object), fact)
    }

    fn piece_path(&self, kind: &str, of: Digest) -> PathBuf {
        self.sharded("pieces", Digest::of(format!("{kind} of {of}").as_bytes()))
    }

    /// Bytes that were made of something before, such as a compressed part of an index. `kind` has to change whenever
    /// the same would give other bytes.
    pub fn piece(&self, kind: &str, of: Digest) -> Option<Vec<u8>> {
        let mut bytes = std::fs::read(self.piece_path(kind, of)).ok()?;
        let length = unsealed(&bytes)?.len();
        bytes.drain(..bytes.len() - length);
        Some(bytes)
    }

    /// Whether they are remembered, as far as can be told without a look at them.
    pub fn knows_piece(&self, kind: &str, of: Digest) -> bool {
        self.piece_path(kind, of).exists()
    }

    /// Remembers bytes that can be made again. They are not flushed.
    pub fn put_piece(&self, kind: &str, of: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_sealed(&self.piece_path(kind, of), bytes)
    }

    fn seen_path(&self, url: &str) -> PathBuf {
        self.sharded("seen", Digest::of(url.as_bytes()))
    }

    /// What an object elsewhere that changes said when this store last heard of it, in one word: which generation is live.
    pub fn last_seen(&self, url: &str) -> Option<String> {
        self.read_record(&self.seen_path(url))
    }

    /// Remembers that. Whoever reads it has to ask whether it still is so.
    pub fn put_last_seen(&self, url: &str, seen: &str) -> Result<(), StoreError> {
        self.write_lightly(&self.seen_path(url), &seen)
    }

    /// What a remote store told of the node whose name has this digest.
    fn told(&self, node: Digest) -> Option<Vec<Earlier>> {
        self.earlier.may_hold(node).then(|| self.read_record(&self.sharded("earlier", node)))?
    }

    /// Results that are remembered of a node, the latest first: its own, and what a remote store told.
    pub fn earlier(&self, node: &str) -> impl Iterator<Item = Earlier> + use<'_> {
        let node = Digest::of(node.as_bytes());
        let own = self.history(node).into_iter().rev().filter_map(|entry| {
            Some(Earlier { key: entry.key, at: entry.at, result: self.result(entry.key)? })
        });
        own.chain(self.told(node).unwrap_or_default().into_iter().rev())
    }

    /// Whether anything is remembered of a node.
    pub fn remembers(&self, node: &str) -> bool {
        self.earlier(node).next().is_some()
    }

    /// Remembers what a remote store tells of a node, the latest last.
    pub(super) fn put_earlier(&self, node: &str, earlier: &[Earlier]) -> Result<(), StoreError> {
        let node = Digest::of(node.as_bytes());
        self.write_lightly(&self.sharded("earlier", node), &earlier)?;
        self.earlier.add(node);
        Ok(())
    }

    fn places_path(&self, key: Digest) -> PathBuf {
        self.sharded("places", key)
    }

    /// Where the objects of a result are, that came from elsewhere without them.
    pub(super) fn places<T: serde::de::DeserializeOwned>(&self, key: Digest) -> Option<T> {
        self.read_record(&self.places_path(key))
    }

    /// Remembers where the objects of a result are.
    pub(super) fn put_places<T: Serialize>(&self, key: Digest, places: &T) -> Result<(), StoreError> {
        self.write_lightly(&self.places_path(key), places)
    }

    /// The objects are here now, or nowhere.
    pub(super) fn drop_places(&self, key: Digest) {
        let _ = std::fs::remove_file(self.places_path(key));
    }

    /// Whether the result came from elsewhere, and not all of its objects with it.
    pub(super) fn is_elsewhere(&self, key: Digest) -> bool {
        self.places_path(key).exists()
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}
