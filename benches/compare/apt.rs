//! Indices for apt, against the tools that write them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use forge::index::{
    AptIndex, Holds, IndexCompression, PackageFile, PoolLayout, Settings, Suite, apt::stanzas,
};
use forge::store::{LocalStore, Tree};

use super::ours::{self, SUITE};
use super::pairs::compare;
use super::pool::{self, Pool};
use super::report::Section;
use super::tool::{mebibytes, run};

/// The index of the one suite, plain.
pub const PACKAGES: &str = "dists/x/main/binary-amd64/Packages";

const NOTE: &str = "The pool is of real packages with names, relations, texts and paths of their own, most of them below 4 KiB. All write `Packages` plain, \
    as gz and as xz (aptly: gz and bz2), with SHA256 alone where they can be told so (aptly and reprepro sum up more), without `Contents` and unsigned. \
    \"Index\" is the work of forge's index node: package files are in its store; what they say is read, the repository and its catalog are \
    written. \"With one new\" finds what the others say remembered by the digest of each, and what was compressed by what it is made of; \
    apt-ftparchive has its cache. \"Published\" is the index of what is new and its publishing beside 10,000 that are live, pool, state and \
    history included; for aptly it is `repo add` and `publish repo` or `publish update`, for reprepro `includedeb`. After each, the packages of \
    both sides are compared: field by field with apt-ftparchive, by name, version, size and digest with the others.";

pub fn measure() -> Section {
    let mut section = Section::new("Indices for apt", "apt");
    section.peer(&["apt-ftparchive", "--version"]);
    section.peer(&["aptly", "version"]);
    section.peer(&["reprepro", "--version"]);
    let bench = Bench { pool: pool::debs(), stores: Cell::new(0) };
    bench.index(&mut section);
    bench.publish(&mut section, &Aptly(bench.dir()));
    bench.publish(&mut section, &Reprepro(bench.dir()));
    section.note(NOTE);
    section
}

struct Bench {
    pool: Pool,
    stores: Cell<usize>,
}

/// A store with the packages that are there first.
struct Built {
    store: LocalStore,
    files: Vec<PackageFile>,
}

impl Bench {
    fn dir(&self) -> &Path {
        self.pool.dir.path()
    }

    fn built(&self) -> Built {
        self.stores.set(self.stores.get() + 1);
        let store = LocalStore::open(self.dir().join(format!("store-{}", self.stores.get())));
        let store = store.expect("a store");
        Built { files: ours::built(&self.pool.first, SUITE, &store), store }
    }

    /// Puts the next package where a tool that goes through the pool finds it.
    fn arrives(&self, at: usize) {
        let from = &self.pool.later[at];
        let to = self.dir().join("pool/main").join(from.file_name().expect("a file has a name"));
        fs::copy(from, to).expect("a package arrives");
    }

    fn index(&self, section: &mut Section) {
        let (dir, settings) = (self.dir(), settings());
        configure_ftparchive(dir);
        let last: RefCell<Option<(Built, Tree)>> = RefCell::new(None);
        let pairs = compare(
            || self.built(),
            |built| {
                let (tree, _) =
                    ours::in_a_run(&built.store, || ours::index(&settings, &built.files, &built.store));
                last.replace(Some((built, tree)));
            },
            || {
                let _ = fs::remove_file(dir.join("cache.db"));
            },
            |()| ftparchive(dir),
        );
        let work = format!("index of {} packages from nothing", pool::SIZE);
        section.compared(&work, "apt-ftparchive, no cache", &pairs, 0.5);
        let (Built { store, files }, tree) = last.take().expect("it was measured");
        self.check_index(&tree, &store);
        self.sizes(section, &tree, &store);

        let (files, last) = (RefCell::new(files), RefCell::new(tree));
        let (ours, theirs) = (Cell::new(0), Cell::new(0));
        let pairs = compare(
            || {
                let at = ours.replace(ours.get() + 1);
                files.borrow_mut().extend(ours::built(&self.pool.later[at..=at], SUITE, &store));
            },
            |()| {
                let run = || ours::index(&settings, &files.borrow(), &store);
                last.replace(ours::in_a_run(&store, run).0);
            },
            || self.arrives(theirs.replace(theirs.get() + 1)),
            |()| ftparchive(dir),
        );
        section.compared("the same with one new", "apt-ftparchive with its cache", &pairs, 0.05);
        self.check_index(&last.borrow(), &store);
        for new in &self.pool.later {
            let _ = fs::remove_file(dir.join("pool/main").join(new.file_name().expect("a file has a name")));
        }
    }

    /// Every stanza is that of apt-ftparchive, but for where the package is.
    fn check_index(&self, tree: &Tree, store: &LocalStore) {
        let theirs = fs::read(self.dir().join("Packages")).expect("apt-ftparchive wrote it");
        let sorted = |bytes: Vec<u8>| {
            let mut all = stanzas(&String::from_utf8_lossy(&bytes)).expect("it is read");
            all.iter_mut().for_each(|one| one.0.retain(|(field, _)| field != "Filename"));
            all.sort_by(|a, b| a.get("Package").cmp(&b.get("Package")));
            all
        };
        assert!(sorted(ours::bytes(tree, PACKAGES, store)) == sorted(theirs), "both indices say the same");
    }

    fn sizes(&self, section: &mut Section, tree: &Tree, store: &LocalStore) {
        for (ending, aim) in [("gz", 1.1), ("xz", 1.2)] {
            let ours = ours::bytes(tree, &format!("{PACKAGES}.{ending}"), store).len() as u64;
            let theirs =
                fs::metadata(self.dir().join(format!("Packages.{ending}"))).expect("it is there").len();
            let ratio = ours as f64 / theirs as f64;
            let work = format!("size of `Packages.{ending}`");
            section.row(&work, "apt-ftparchive", &mebibytes(ours), &mebibytes(theirs), ratio, aim);
        }
    }

    fn publish(&self, section: &mut Section, peer: &dyn Peer) {
        let (settings, site) = (settings(), self.dir().join("site"));
        let last = RefCell::new(None);
        let pairs = compare(
            || {
                let _ = fs::remove_dir_all(&site);
                self.built()
            },
            |built| {
                ours::in_a_run(&built.store, || {
                    let (_, catalog) = ours::index(&settings, &built.files, &built.store);
                    ours::publish(&settings, &catalog, &site, &built.store);
                });
                last.replace(Some(built.store));
            },
            || peer.begin(),
            |()| peer.publish_all(&self.pool.first),
        );
        section.compared("published from nothing", peer.name(), &pairs, 0.5);
        let store = last.take().expect("it was measured");
        let (ours, theirs) = (Cell::new(0), Cell::new(0));
        let pairs = compare(
            || {
                let at = ours.replace(ours.get() + 1);
                ours::built(&self.pool.later[at..=at], SUITE, &store)
            },
            |new| {
                ours::in_a_run(&store, || {
                    let (_, catalog) = ours::index(&settings, &new, &store);
                    ours::publish(&settings, &catalog, &site, &store);
                });
            },
            || theirs.replace(theirs.get() + 1),
            |at| peer.publish_one(&self.pool.later[at]),
        );
        section.compared("published with one new", peer.name(), &pairs, 0.05);
        let packages = |path: PathBuf| {
            let text = fs::read_to_string(path).expect("an index is there");
            let fields = ["Package", "Version", "Architecture", "Size", "SHA256"];
            let all = stanzas(&text).expect("it is read");
            all.iter()
                .map(|one| fields.map(|field| one.get(field).map(str::to_owned)))
                .collect::<BTreeSet<_>>()
        };
        assert!(packages(site.join(PACKAGES)) == packages(peer.packages()), "both publish the same");
    }
}

/// What both sides write.
pub fn settings() -> Settings {
    let holds = Holds::Packages { component: "main".into(), architectures: vec!["amd64".into()] };
    Settings::Apt(AptIndex {
        origin: "Sample".into(),
        label: "Sample".into(),
        description: "packages of a measurement".into(),
        suites: vec![Suite { codename: SUITE.into(), suite: None, version: None, holds }],
        compressions: vec![IndexCompression::Gz, IndexCompression::Xz],
        contents: false,
        pool: PoolLayout::Shared,
    })
}

fn configure_ftparchive(dir: &Path) {
    let text = "Dir { ArchiveDir \".\"; CacheDir \".\"; };\nDefault { Packages::Compress \". gzip xz\"; };\n\
        BinDirectory \"pool\" { Packages \"Packages\"; BinCacheDB \"cache.db\"; };\n";
    fs::write(dir.join("ftparchive.conf"), text).expect("a file");
}

fn ftparchive(dir: &Path) {
    let flags = ["--md5=no", "--sha1=no", "--sha512=no"];
    run(Command::new("apt-ftparchive").args(flags).args(["generate", "ftparchive.conf"]).current_dir(dir));
}

/// A tool that publishes a repository.
trait Peer {
    fn name(&self) -> &'static str;
    /// Nothing is published.
    fn begin(&self);
    fn publish_all(&self, debs: &[PathBuf]);
    fn publish_one(&self, deb: &Path);
    /// Where the index is that clients read.
    fn packages(&self) -> PathBuf;
}

struct Aptly<'a>(&'a Path);

impl Aptly<'_> {
    fn run(&self, words: &[&str]) {
        let config = format!("-config={}", self.0.join("aptly.conf").display());
        run(Command::new("aptly").arg(config).args(words).current_dir(self.0));
    }
}

impl Peer for Aptly<'_> {
    fn name(&self) -> &'static str {
        "aptly"
    }

    fn begin(&self) {
        let root = self.0.join("aptly");
        let _ = fs::remove_dir_all(&root);
        let config = format!("{{\"rootDir\": \"{}\"}}", root.display());
        fs::write(self.0.join("aptly.conf"), config).expect("a file");
        self.run(&["repo", "create", "r"]);
    }

    fn publish_all(&self, _: &[PathBuf]) {
        self.run(&["repo", "add", "r", "pool"]);
        let flags = ["-skip-signing", "-skip-contents", "-distribution=x", "-architectures=amd64"];
        self.run(&[&["publish", "repo"], &flags[..], &["r"]].concat());
    }

    fn publish_one(&self, deb: &Path) {
        self.run(&["repo", "add", "r", &deb.to_string_lossy()]);
        self.run(&["publish", "update", "-skip-signing", "-skip-contents", SUITE]);
    }

    fn packages(&self) -> PathBuf {
        self.0.join("aptly/public").join(PACKAGES)
    }
}

struct Reprepro<'a>(&'a Path);

impl Reprepro<'_> {
    fn include(&self, debs: &[PathBuf]) {
        let mut command = Command::new("reprepro");
        run(command.arg("-b").arg(self.0.join("reprepro")).args(["includedeb", SUITE]).args(debs));
    }
}

impl Peer for Reprepro<'_> {
    fn name(&self) -> &'static str {
        "reprepro"
    }

    fn begin(&self) {
        let root = self.0.join("reprepro");
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("conf")).expect("a directory");
        let text =
            "Codename: x\nArchitectures: amd64\nComponents: main\nDebIndices: Packages Release . .gz .xz\n";
        fs::write(root.join("conf/distributions"), text).expect("a file");
    }

    fn publish_all(&self, debs: &[PathBuf]) {
        self.include(debs);
    }

    fn publish_one(&self, deb: &Path) {
        self.include(&[deb.to_owned()]);
    }

    fn packages(&self) -> PathBuf {
        self.0.join("reprepro").join(PACKAGES)
    }
}
