//! What the tests of both wings need.

use std::process::{Command, Stdio};

use super::{IndexError, Indexed, Settings};
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

/// Packages with their records in the store, where each is entered by `enter`.
pub(crate) fn entered<P: Clone>(
    packages: &[P],
    store: &LocalStore,
    enter: impl Fn(P, &Staging<'_>) -> Result<Indexed, IndexError>,
) -> Result<Vec<Indexed>, IndexError> {
    let staging = Staging::new(store)?;
    let entered =
        packages.iter().map(|package| enter(package.clone(), &staging)).collect::<Result<_, _>>()?;
    staging.commit()?;
    Ok(entered)
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
    settings.build(&members, updateinfo, date, store, &|record| Ok(store.get(record)?))
}

/// Runs a command that must succeed and gives what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output =
        command.stderr(Stdio::piped()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
