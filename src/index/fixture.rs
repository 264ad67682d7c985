//! What the tests of both wings need.

use std::process::{Command, Stdio};

use super::record::Entered;
use super::{Bundle, Bundles, IndexError, Indexed, Settings};
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
pub(in crate::index) fn entered(
    packages: impl Iterator<Item = (String, Result<Entered, IndexError>)>,
    store: &LocalStore,
) -> Result<Vec<Indexed>, IndexError> {
    let packages = packages.map(|(origin, entered)| Ok((origin, entered?)));
    let packages = packages.collect::<Result<Vec<_>, IndexError>>()?;
    let records = packages.iter().map(|(_, one)| (one.entry.record, one.bytes.as_slice()));
    let staging = Staging::new(store)?;
    let bundle = Bundle::of_records(records, &staging)?;
    staging.commit()?;
    let indexed =
        |(origin, Entered { entry, record, .. })| Indexed { entry, bundle, record: Some(record), origin };
    Ok(packages.into_iter().map(indexed).collect())
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
