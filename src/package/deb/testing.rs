//! What the tests of Debian packages share.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Deb, Priority, Substvars};
use crate::package::Compression;
pub use crate::package::testing::{Bench, run, tool};
use crate::store::{Entry, Tree};

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

impl Bench {
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
}
