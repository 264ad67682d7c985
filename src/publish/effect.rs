use std::cmp::Ordering;
use std::collections::btree_set::Difference;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::PublishedPackage;
use crate::index::apt::compare_versions;

/// What a publish changes for the clients of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// The suites and architectures in which something changes, sorted.
    pub suites: Vec<SuiteEffect>,
}

/// What changes in one suite for one architecture of packages (`all` for itself).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SuiteEffect {
    /// The suite's codename.
    pub suite: String,
    /// The packages' architecture.
    pub architecture: String,
    /// Name and version of what was not there.
    pub added: Vec<(String, String)>,
    /// What takes the place of something.
    pub replaced: Vec<Replaced>,
    /// Name and version of what is gone.
    pub dropped: Vec<(String, String)>,
}

/// A package that takes the place of one with the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Replaced {
    /// The package's name.
    pub name: String,
    /// The version that was there.
    pub from: String,
    /// The version that is there now; the same one if only the bytes differ.
    pub to: String,
}

impl Effect {
    /// What changes between two lists of packages.
    pub fn between(before: &[PublishedPackage], after: &[PublishedPackage]) -> Self {
        let (old, new) = (by_name(before), by_name(after));
        let mut suites: BTreeMap<(&str, &str), SuiteEffect> = BTreeMap::new();
        let none = BTreeSet::new();
        for key @ (suite, architecture, name) in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let (old, new) = (old.get(key).unwrap_or(&none), new.get(key).unwrap_or(&none));
            let effect = suites.entry((suite, architecture)).or_insert_with(|| SuiteEffect {
                suite: (*suite).to_owned(),
                architecture: (*architecture).to_owned(),
                ..SuiteEffect::default()
            });
            effect.compare(name, old, new);
        }
        Self { suites: suites.into_values().filter(|suite| !suite.is_empty()).collect() }
    }

    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.suites.is_empty()
    }
}

impl SuiteEffect {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.replaced.is_empty() && self.dropped.is_empty()
    }

    /// Pairs what is gone with what is new, the highest versions first; the rest was added or dropped.
    fn compare(&mut self, name: &str, old: &BTreeSet<Held<'_>>, new: &BTreeSet<Held<'_>>) {
        let highest_first =
            |held: Difference<'_, _>| held.copied().collect::<Vec<Held<'_>>>().into_iter().rev();
        let mut gone = highest_first(old.difference(new));
        let mut come = highest_first(new.difference(old));
        let named = |version: &str| (name.to_owned(), version.to_owned());
        loop {
            match (gone.next(), come.next()) {
                (Some(from), Some(to)) => {
                    let (from, to) = (from.version.to_owned(), to.version.to_owned());
                    self.replaced.push(Replaced { name: name.to_owned(), from, to });
                }
                (Some(gone), None) => self.dropped.push(named(gone.version)),
                (None, Some(come)) => self.added.push(named(come.version)),
                (None, None) => break,
            }
        }
    }
}

/// One content under one version.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Held<'a> {
    version: &'a str,
    sha256: &'a str,
}

impl Ord for Held<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_versions(self.version, other.version)
            .then_with(|| (self.version, self.sha256).cmp(&(other.version, other.sha256)))
    }
}

impl PartialOrd for Held<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

type ByName<'a> = BTreeMap<(&'a str, &'a str, &'a str), BTreeSet<Held<'a>>>;

fn by_name(packages: &[PublishedPackage]) -> ByName<'_> {
    let mut all = ByName::new();
    for package in packages {
        let key = (package.suite.as_str(), package.architecture.as_str(), package.name.as_str());
        let held = Held { version: &package.version, sha256: &package.sha256 };
        all.entry(key).or_default().insert(held);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn package(suite: &str, name: &str, version: &str, sha256: &str) -> PublishedPackage {
        PublishedPackage {
            suite: suite.into(),
            name: name.into(),
            version: version.into(),
            architecture: "amd64".into(),
            path: format!("pool/{name}_{version}.deb"),
            size: 1,
            sha256: sha256.into(),
            object: Digest::of(sha256.as_bytes()),
        }
    }

    #[test]
    fn each_change_is_told_once_per_suite() {
        let before = [
            package("x", "a", "27.2-1", "1"),
            package("x", "a", "27.1-1", "2"),
            package("x", "b", "1", "3"),
            package("x", "c", "1", "4"),
            package("y", "c", "1", "4"),
        ];
        let after = [
            package("x", "a", "27.2-1", "1"),
            package("x", "a", "27.10-1", "5"),
            package("x", "c", "1", "6"),
            package("x", "d", "1", "7"),
            package("y", "c", "1", "4"),
        ];
        let effect = Effect::between(&before, &after);
        let replaced = |name: &str, from: &str, to: &str| Replaced {
            name: name.into(),
            from: from.into(),
            to: to.into(),
        };
        assert_eq!(
            effect.suites,
            [SuiteEffect {
                suite: "x".into(),
                architecture: "amd64".into(),
                added: vec![("d".into(), "1".into())],
                replaced: vec![replaced("a", "27.1-1", "27.10-1"), replaced("c", "1", "1")],
                dropped: vec![("b".into(), "1".into())],
            }]
        );
        assert!(Effect::between(&after, &after).is_empty());
    }
}
