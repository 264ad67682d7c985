//! What the tests of this room share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Compression, Deb, Priority, Substvars};
use crate::store::{Entry, Kind, LocalStore, Tree};

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

/// A package with nothing special about it.
pub fn deb() -> Deb {
    Deb {
        name: "forge-sample".parse().unwrap(),
        version: "1:1.2.3-2".parse().unwrap(),
        architecture: "all".parse().unwrap(),
        maintainer: "Forge Sample <sample@example.org>".into(),
        section: "misc".into(),
        priority: Priority::Optional,
        homepage: Some("https://example.org/sample".into()),
        summary: "sample of what a package may hold".into(),
        description: "It holds files, links and directories, so that their way\n\
                      through dpkg can be seen.\n\nNothing depends on it."
            .into(),
        relations: BTreeMap::new(),
        scripts: BTreeMap::new(),
        conffiles: Vec::new(),
        triggers: Vec::new(),
        changelog: "New upstream release.".into(),
        copyright: "Copyright 2026 Forge Sample\n\n\
                    License: MIT\n Permission is hereby granted, free of charge, to any person.\n"
            .into(),
        lintian_overrides: Vec::new(),
        compression: Compression::Xz { level: 1 },
        source_date_epoch: 1_700_000_000,
    }
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

    pub fn bytes(&self, deb: &Deb, payload: &Tree) -> Vec<u8> {
        let mut bytes = Vec::new();
        deb.write(payload, &Substvars::default(), &self.store, &mut bytes).unwrap();
        bytes
    }

    pub fn fault(&self, deb: &Deb, payload: Vec<Entry>) -> String {
        let mut bytes = Vec::new();
        let result = deb.write(&Tree::new(payload), &Substvars::default(), &self.store, &mut bytes);
        result.unwrap_err().to_string()
    }

    /// Writes the package as a file under its own name.
    pub fn package(&self, deb: &Deb, payload: &Tree) -> PathBuf {
        let path = self.path(&deb.file_name());
        std::fs::write(&path, self.bytes(deb, payload)).unwrap();
        path
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
