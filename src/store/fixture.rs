//! What several tests of this room need.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
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

/// A store, in a directory of its own.
pub fn store() -> (tempfile::TempDir, LocalStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path().join("cache")).unwrap();
    (dir, store)
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

impl LocalStore {
    /// Takes an object away, wherever it is.
    pub fn lose(&self, object: Digest) {
        match self.object_path(object) {
            path if path.exists() => fs::remove_file(path).unwrap(),
            _ => self.retain_small(object.as_bytes()[0], |digest| digest != object).unwrap(),
        }
    }

    /// Takes all objects away, as on another machine.
    pub fn lose_all(&self) {
        fs::remove_dir_all(self.root().join("objects")).unwrap();
        self.forget_small();
    }

    /// Changes the last byte of an object, wherever it is.
    pub fn damage(&self, object: Digest) {
        let path = self.object_path(object);
        if path.exists() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let file = fs::File::options().read(true).write(true).open(&path).unwrap();
            return flip(&file, file.metadata().unwrap().len() - 1);
        }
        let (file, last) = self.place_of_small(object).unwrap();
        flip(&file, last);
    }
}

fn flip(file: &fs::File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}
