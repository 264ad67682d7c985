//! What the tests of both wings need.

use std::process::{Command, Stdio};

use super::{Bundle, Bundles, CatalogEntry, IndexError, Indexed, Settings};
use crate::store::{LocalStore, Staging, Tree};

/// A directory with a store and room for packages.
pub(crate) struct Fixture {
    pub dir: tempfile::TempDir,
    pub store: LocalStore,
}

impl Fixture {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        Self { dir, store }
    }
}

/// What is entered, with its records in a bundle of the store; each comes from the origin beside it.
pub(crate) fn entered(
    packages: impl Iterator<Item = (String, Result<(CatalogEntry, Vec<u8>), IndexError>)>,
    store: &LocalStore,
) -> Result<Vec<Indexed>, IndexError> {
    let (mut entries, mut records) = (Vec::new(), Vec::new());
    for (origin, entered) in packages {
        let (entry, record) = entered?;
        entries.push((origin, entry));
        records.push(record);
    }
    let staging = Staging::new(store)?;
    let bundle = Bundle::of_records(&records, &staging)?;
    staging.commit()?;
    Ok(entries.into_iter().map(|(origin, entry)| Indexed { entry, bundle, origin }).collect())
}

/// The index of these packages.
pub(crate) fn build(
    settings: &Settings,
    packages: &[Indexed],
    updateinfo: Option<&[u8]>,
    date: u64,
    store: &LocalStore,
) -> Result<Tree, IndexError> {
    let members: Vec<_> = packages.iter().map(Indexed::member).collect();
    let records = Bundles::new(store, packages.iter().map(|package| package.bundle.object));
    settings.build(&members, updateinfo, date, store, &|record| Ok(records.record(record)?))
}

/// Runs a command that must succeed and gives what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output =
        command.stderr(Stdio::piped()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
