//! Indices for dnf, against createrepo_c.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::Path;
use std::process::Command;

use forge::index::{IndexCompression, PackageFile, RpmIndex, Settings};
use forge::store::{LocalStore, Tree};

use super::ours;
use super::pairs::compare;
use super::pool::{self, Pool};
use super::report::Section;
use super::tool::{mebibytes, output, run};

const NOTE: &str = "The pool is of real packages as for apt. Both write `primary`, `filelists` and `other` as gz, createrepo_c without its databases; forge writes \
    `primary` twice, for clients of the root and of a generation. \"With one new\" finds what the others say remembered by the digest of \
    each, and what was compressed by what it is made of; createrepo_c reads it from the metadata that it wrote before, without a look at \
    the files (`--skip-stat`). After each, the packages of both sides are compared by name, version, size and digest; the tests compare \
    the metadata with createrepo_c's field by field.";

pub fn measure() -> Section {
    let mut section = Section::new("Indices for dnf", "rpm");
    section.peer(&["createrepo_c", "--version"]);
    let pool = pool::rpms();
    let (dir, settings) = (pool.dir.path(), Settings::Rpm(RpmIndex { compression: IndexCompression::Gz }));
    let stores = Cell::new(0);
    let built = || {
        let store = LocalStore::open(dir.join(format!("store-{}", stores.replace(stores.get() + 1))));
        let store = store.expect("a store");
        (ours::built(&pool.first, "", &store), store)
    };
    let last: RefCell<Option<(Vec<PackageFile>, LocalStore, Tree)>> = RefCell::new(None);
    let pairs = compare(
        built,
        |(files, store)| {
            let (tree, _) = ours::in_a_run(&store, || ours::index(&settings, &files, &store));
            last.replace(Some((files, store, tree)));
        },
        || {
            let _ = fs::remove_dir_all(dir.join("pool/repodata"));
        },
        |()| createrepo(dir, &[]),
    );
    let work = format!("index of {} packages from nothing", pool::SIZE);
    section.compared(&work, "createrepo_c", &pairs, 0.5);
    let (files, store, tree) = last.take().expect("it was measured");
    check(dir, &tree, &store);
    sizes(&mut section, dir, &tree, &store);

    let (files, last) = (RefCell::new(files), RefCell::new(tree));
    let (ours, theirs) = (Cell::new(0), Cell::new(0));
    let pairs = compare(
        || {
            let at = ours.replace(ours.get() + 1);
            files.borrow_mut().extend(ours::built(&pool.later[at..=at], "", &store));
        },
        |()| {
            let run = || ours::index(&settings, &files.borrow(), &store);
            last.replace(ours::in_a_run(&store, run).0);
        },
        || arrives(&pool, theirs.replace(theirs.get() + 1)),
        |()| createrepo(dir, &["--update", "--skip-stat"]),
    );
    section.compared("the same with one new", "createrepo_c --update --skip-stat", &pairs, 0.2);
    check(dir, &last.borrow(), &store);
    section.note(NOTE);
    section
}

fn createrepo(dir: &Path, flags: &[&str]) {
    let mut command = Command::new("createrepo_c");
    run(command
        .args(["--quiet", "--no-database", "--general-compress-type=gz"])
        .args(flags)
        .arg("pool")
        .current_dir(dir));
}

/// Puts the next package where createrepo_c finds it.
fn arrives(pool: &Pool, at: usize) {
    let from = &pool.later[at];
    let to = pool.dir.path().join("pool/main").join(from.file_name().expect("a file has a name"));
    fs::copy(from, to).expect("a package arrives");
}

/// The one file of a kind.
fn ours_of(kind: &str, tree: &Tree, store: &LocalStore) -> Vec<u8> {
    let is_it = |path: &str| path.starts_with("repodata/") && path.ends_with(&format!("-{kind}.xml.gz"));
    let entry = tree.entries().iter().find(|entry| is_it(&entry.path));
    ours::bytes(tree, &entry.expect("it is in the index").path, store)
}

fn theirs_of(kind: &str, dir: &Path) -> Vec<u8> {
    let files = fs::read_dir(dir.join("pool/repodata")).expect("createrepo_c wrote it");
    let mut paths = files.map(|file| file.expect("a file").path());
    let path = paths.find(|path| path.to_string_lossy().ends_with(&format!("-{kind}.xml.gz")));
    fs::read(path.expect("it is there")).expect("it is read")
}

fn check(dir: &Path, tree: &Tree, store: &LocalStore) {
    let packages = |bytes: Vec<u8>, name: &str| {
        let path = dir.join(name);
        fs::write(&path, bytes).expect("a file");
        let text = output(Command::new("gzip").arg("-dc").arg(path));
        let document = roxmltree::Document::parse(&text).expect("it is XML");
        let mut all: Vec<String> = Vec::new();
        for package in document
            .root_element()
            .children()
            .filter(|node| node.has_tag_name("package") || node.tag_name().name() == "package")
        {
            let mut said = String::new();
            for part in package.children().filter(roxmltree::Node::is_element) {
                match part.tag_name().name() {
                    "name" | "arch" | "checksum" | "summary" | "description" => {
                        said.push_str(part.text().unwrap_or_default())
                    }
                    "version" | "size" => {
                        said.extend(part.attributes().map(|one| format!(" {}={}", one.name(), one.value())))
                    }
                    _ => {}
                }
                said.push('\n');
            }
            all.push(said);
        }
        all.sort();
        all
    };
    let ours = packages(ours_of("primary", tree, store), "ours.xml.gz");
    assert!(ours == packages(theirs_of("primary", dir), "theirs.xml.gz"), "both indices say the same");
}

fn sizes(section: &mut Section, dir: &Path, tree: &Tree, store: &LocalStore) {
    for kind in ["primary", "filelists", "other"] {
        let (ours, theirs) = (ours_of(kind, tree, store).len() as u64, theirs_of(kind, dir).len() as u64);
        let ratio = ours as f64 / theirs as f64;
        section.row(
            &format!("size of `{kind}.xml.gz`"),
            "createrepo_c",
            &mebibytes(ours),
            &mebibytes(theirs),
            ratio,
            1.1,
        );
    }
}
