//! What the tests of this room share.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::store::{Entry, Kind, LocalStore};

/// A real tool; where it is absent the test fails and says how to get it.
pub fn tool(program: &str, package: &str) -> Command {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|dir| dir.join(program).is_file());
    assert!(found, "this test needs {program}: apt-get install {package}");
    let mut command = Command::new(program);
    command
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin");
    command
}

/// Runs a tool that must succeed and gives its standard output.
pub fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// A store in a directory of its own, trees in it, and packages beside it.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub store: LocalStore,
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        Self { dir, store }
    }

    pub fn file(&self, path: &str, mode: u32, bytes: &[u8]) -> Entry {
        let object = self.store.put(bytes).unwrap();
        Entry { path: path.into(), mode, kind: Kind::File { object, size: bytes.len() as u64 } }
    }

    pub fn link(&self, path: &str, target: &str) -> Entry {
        Entry { path: path.into(), mode: 0o777, kind: Kind::Symlink { target: target.into() } }
    }

    pub fn dir(&self, path: &str, mode: u32) -> Entry {
        Entry { path: path.into(), mode, kind: Kind::Dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        Path::new(self.dir.path()).join(name)
    }
}

/// Bytes that compress about as text does, always the same ones.
pub fn text_like(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words: Vec<Vec<u8>> = (0..4096)
        .map(|_| (0..3 + next() % 9).map(|_| b'a' + (next() % 26) as u8).chain([b' ']).collect())
        .collect();
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        // The lesser of two picks is a common word more often than not.
        let pick = (next() % 4096).min(next() % 4096);
        text.extend_from_slice(&words[pick as usize]);
    }
    text.truncate(length);
    text
}
