//! What several tests of this room need.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{ActionResult, Ingest, LocalStore, Moment};
use crate::digest::Digest;

/// The clock of files has ticks. Where one was looked at, the next change may get a finer time, which is ahead of it
/// (Linux since 6.13): all that was written before is older than what this waits for.
pub fn wait_for_tick() {
    let now = Moment::exact();
    while Moment::now() <= now {
        std::thread::yield_now();
    }
}

/// A result with these outputs.
pub fn result(outputs: BTreeMap<String, Digest>) -> ActionResult {
    let (node, runner) = ("node".to_owned(), "sandbox".to_owned());
    ActionResult { node, action: vec![], outputs, log: None, duration_ms: 1, runner }
}

/// A result of one object, made below `root`: its key and the object.
pub fn put_result(store: &LocalStore, root: &Path) -> (Digest, Digest) {
    fs::create_dir_all(root.join("out")).unwrap();
    fs::write(root.join("out/file"), "bytes").unwrap();
    let tree = store.ingest(&root.join("out"), Ingest::Copy).unwrap();
    let outputs = [("root".to_owned(), store.put_tree(&tree).unwrap())].into();
    let key = Digest::of(b"key");
    store.put_result(key, &result(outputs)).unwrap();
    (key, Digest::of(b"bytes"))
}
