//! What clients complained of, by kind.

use std::collections::BTreeMap;

/// What a client finds wrong with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Other bytes than the metadata says.
    HashMismatch,
    /// Another length than the metadata says.
    UnexpectedSize,
    /// Metadata that nobody signed as it is.
    BadSignature,
    /// A file that is listed and not there.
    NotFound,
    /// Anything else.
    Other,
}

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::HashMismatch, Self::UnexpectedSize, Self::BadSignature, Self::NotFound, Self::Other];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::HashMismatch => "hash mismatch",
            Self::UnexpectedSize => "unexpected size",
            Self::BadSignature => "bad signature",
            Self::NotFound => "404",
            Self::Other => "other",
        }
    }

    /// By what apt 2.6 or dnf 4.14 said. A file of another size is one with other bytes too: the more
    /// particular of the two counts.
    pub fn of(said: &str) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        match () {
            () if says(&["unexpected size", "size does not match"]) => Self::UnexpectedSize,
            () if says(&["Hash Sum mismatch", "checksum"]) => Self::HashMismatch,
            () if says(&["BADSIG", "NODATA", "Clearsigned", "not signed", "GPG", "gpg"]) => {
                Self::BadSignature
            }
            () if says(&["404", "does not have a Release file"]) => Self::NotFound,
            () => Self::Other,
        }
    }
}

/// What clients did, and what of it failed.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often metadata was brought up to date.
    pub updates: usize,
    /// How often packages were installed, or found to be the newest.
    pub installs: usize,
    /// Every complaint: of which kind, who made it, and the words.
    pub failures: Vec<(Kind, String, String)>,
}

impl Tally {
    /// That `client` brought its metadata up to date, or could not.
    pub fn updated(&mut self, client: &str, outcome: &Result<(), String>) {
        self.updates += 1;
        let _ = outcome.as_ref().inspect_err(|said| self.complaint(client, said));
    }

    /// That `client` installed packages, or could not.
    pub fn installed(&mut self, client: &str, outcome: &Result<(), String>) {
        self.installs += 1;
        let _ = outcome.as_ref().inspect_err(|said| self.complaint(client, said));
    }

    pub fn complaint(&mut self, client: &str, said: &str) {
        self.failures.push((Kind::of(said), client.to_owned(), said.to_owned()));
    }

    /// How many complaints there are of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.failures.iter().filter(|(one, ..)| *one == kind).count()
    }

    /// One complaint of each kind, in full.
    pub fn examples(&self) -> String {
        let first: BTreeMap<Kind, _> = self.failures.iter().rev().map(|one| (one.0, one)).collect();
        first.values().map(|(kind, client, said)| format!("{}, {client}:\n{said}\n", kind.name())).collect()
    }
}
