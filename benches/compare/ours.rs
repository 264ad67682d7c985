//! forge's side of the comparisons of indices: what its index and publish nodes do.

use std::path::{Path, PathBuf};

use forge::digest::Digest;
use forge::index::{
    Bundles, IndexError, Indexed, Member, PackageFile, Settings, bundles_of, catalog, read_catalog,
    read_packages,
};
use forge::publish::{DirectoryTarget, Edition, Repository, Target};
use forge::store::{Entry, Ingest, Kind, LocalStore, Tree};
use rayon::prelude::*;

/// The date of every index, in seconds since 1970.
pub const DATE: u64 = 1_795_366_800;
/// The one suite of an index for apt.
pub const SUITE: &str = "x";

/// What nodes of packages give: package files as objects.
pub fn built(paths: &[PathBuf], suite: &str, store: &LocalStore) -> Vec<PackageFile> {
    let tree = store.ingest_paths(Path::new("/"), paths.to_vec(), Ingest::Copy);
    let file = |entry: &Entry| {
        let Kind::File { object, .. } = entry.kind else { panic!("{} is no file", entry.path) };
        PackageFile { object, suite: suite.to_owned(), origin: entry.path.clone() }
    };
    tree.expect("packages go into the store").entries().iter().map(file).collect()
}

/// What nodes do in a run, which flushes once for all that its store writes.
pub fn in_a_run<T>(store: &LocalStore, work: impl FnOnce() -> T) -> T {
    let _unflushed = store.flush_later().expect("a run begins");
    work()
}

/// What a node of an index does; gives the repository, and its catalog.
pub fn index(settings: &Settings, files: &[PackageFile], store: &LocalStore) -> (Tree, Tree) {
    let packages = read_packages(settings.kind(), files, store).expect("packages are read");
    let members: Vec<Member<'_>> = packages.iter().map(Indexed::member).collect();
    let records = Bundles::new(store, packages.iter().map(|package| package.bundle.object));
    let record = |record: Digest| records.record(record).map_err(IndexError::from);
    let (tree, catalog) = rayon::join(
        || settings.build(&members, None, DATE, store, &record),
        || catalog(&packages, None, store),
    );
    packages.into_par_iter().for_each(drop);
    let (tree, catalog) = (tree.expect("an index is built"), catalog.expect("a catalog is written"));
    for tree in [&tree, &catalog] {
        store.put_tree(tree).expect("a tree is stored");
    }
    (tree, catalog)
}

/// What a node of a publish does: puts the packages of a catalog beside those that are live, unsigned.
pub fn publish(settings: &Settings, catalog: &Tree, to: &Path, store: &LocalStore) {
    let target = Target::Directory(DirectoryTarget::new(to));
    let live = target.state("").expect("the state is read");
    let repository = Repository {
        prefix: String::new(),
        index: settings.clone(),
        url: Some("https://packages.example.org/x".into()),
        updateinfo: None,
        keep: None,
        packages: read_catalog(catalog, store).expect("a catalog is read"),
        bundles: bundles_of(catalog),
        instead: None,
        expected: live.map(|live| live.id),
    };
    let edition = Edition { repositories: &[repository], keys: None, now: DATE, store };
    target.publish(&edition, &mut |_| {}).expect("it is published");
}

/// The bytes of a file of a tree.
pub fn bytes(tree: &Tree, path: &str, store: &LocalStore) -> Vec<u8> {
    let entry = tree.get(path).unwrap_or_else(|| panic!("no {path}"));
    let Kind::File { object, .. } = entry.kind else { panic!("{path} is no file") };
    store.get(object).expect("an object is read")
}
