//! Packages of one large tree, against the tools that distributions write them with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use forge::package::{Compression, Deb, Priority, Rpm, RpmGenerated, RpmVersion, Substvars};
use forge::store::{Ingest, LocalStore, Tree};

use super::pairs::{Pairs, compare};
use super::report::Section;
use super::tool::{mebibytes, output, run};

/// Where compiled code and much else is found on a Debian machine.
const SOURCES: [&str; 3] = ["usr/lib/python3", "usr/lib/x86_64-linux-gnu", "usr/share/perl"];
/// How many bytes are taken of it, and none of larger files.
const BYTES: u64 = 104 << 20;
const LARGEST: u64 = 4 << 20;
const DATE: u64 = 1_700_000_000;

const NOTE: &str = "The tree is a part of this machine's own: compiled code, libraries and scripts. Both sides compress by the same preset on all \
    cores and begin from a tree: forge's is in its store, and every object is checked against its digest as it is read. A deb has \
    the sums of its files in it (`md5sums`), which forge makes on the way; for dpkg-deb they are made by `md5sum` first, as debhelper \
    does. rpmbuild makes no dependencies, strips nothing and takes its tree by hard links. What forge writes goes into its store, hashed \
    and flushed.";

pub fn measure() -> Section {
    let mut section = Section::new("Packages", "packages");
    section.peer(&["dpkg-deb", "--version"]);
    section.peer(&["rpmbuild", "--version"]);
    let bench = Bench::new();
    eprintln!("  {} files, {}", bench.files, mebibytes(bench.bytes));
    let tree = format!("{} files, {}", bench.files, mebibytes(bench.bytes));
    for (compression, flags) in
        [(Compression::Zstd { level: 3 }, ["-Zzstd", "-z3"]), (Compression::Xz { level: 6 }, ["-Zxz", "-z6"])]
    {
        let pairs = bench.debs(compression, flags);
        section.compared(&format!("deb of {tree}, {compression}"), "dpkg-deb", &pairs, 1.0);
        bench.check_debs(&mut section, compression);
    }
    for (compression, payload) in
        [(Compression::Zstd { level: 3 }, "w3T0.zstdio"), (Compression::Xz { level: 6 }, "w6T0.xzdio")]
    {
        let pairs = bench.rpms(compression, payload);
        section.compared(&format!("rpm of the same, {compression}"), "rpmbuild", &pairs, 1.0);
        bench.check_rpms(&mut section, compression);
    }
    section.note(NOTE);
    section
}

/// One tree, in a store and in a directory.
struct Bench {
    dir: tempfile::TempDir,
    store: LocalStore,
    tree: Tree,
    files: usize,
    bytes: u64,
    cores: NonZeroUsize,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        let (mut files, mut bytes) = (0, 0);
        for (path, size) in found() {
            if bytes + size > BYTES {
                break;
            }
            let to = root.join(&path);
            fs::create_dir_all(to.parent().expect("a file is in a directory")).expect("a directory");
            fs::copy(Path::new("/").join(&path), &to).expect("a copy");
            (files, bytes) = (files + 1, bytes + size);
        }
        let store = LocalStore::open(dir.path().join("store")).expect("a store");
        let tree = store.ingest(&root, Ingest::Copy).expect("the tree goes into the store");
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { dir, store, tree, files, bytes, cores }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn debs(&self, compression: Compression, flags: [&str; 2]) -> Pairs {
        let control = self.path("root/DEBIAN");
        fs::create_dir_all(&control).expect("a directory");
        let stanza = "Package: sample\nVersion: 1.0-1\nArchitecture: amd64\nMaintainer: S <s@example.org>\nDescription: sample\n";
        fs::write(control.join("control"), stanza).expect("a file");
        let sums = "find usr -type f -print0 | sort -z | xargs -0 md5sum > DEBIAN/md5sums";
        let (deb, theirs) = (deb(compression), self.path("theirs.deb"));
        let pairs = compare(
            || (),
            |()| {
                let mut object = self.store.writer().expect("an object");
                let written =
                    deb.write_on(self.cores, &self.tree, &Substvars::default(), &self.store, &mut object);
                written.expect("a deb is written");
                let object = object.finish().expect("an object");
                self.give(object, "ours.deb");
            },
            || {
                let _ = fs::remove_file(&theirs);
            },
            |()| {
                run(Command::new("sh").args(["-c", sums]).current_dir(self.path("root")));
                let mut build = Command::new("dpkg-deb");
                build
                    .arg("--root-owner-group")
                    .args(flags)
                    .arg("--build")
                    .arg(self.path("root"))
                    .arg(&theirs);
                run(build.env("SOURCE_DATE_EPOCH", DATE.to_string()));
            },
        );
        fs::remove_dir_all(control).expect("the control files go away");
        pairs
    }

    /// The same object is not written twice: it is moved out of the store.
    fn give(&self, object: forge::digest::Digest, name: &str) {
        fs::rename(self.store.object_path(object), self.path(name)).expect("the package is moved");
    }

    fn check_debs(&self, section: &mut Section, compression: Compression) {
        let listed = |name: &str| {
            let list = output(
                Command::new("sh")
                    .args(["-c", &format!("dpkg-deb --fsys-tarfile {name} | tar -tv --full-time")])
                    .current_dir(self.dir.path()),
            );
            self.own(&list)
        };
        assert!(listed("ours.deb") == listed("theirs.deb"), "both packages install the same");
        self.sizes(
            section,
            &format!("size of that deb, {compression}"),
            "dpkg-deb",
            "ours.deb",
            "theirs.deb",
        );
    }

    fn rpms(&self, compression: Compression, payload: &str) -> Pairs {
        let (rpm, top) = (rpm(compression), self.path("rpmbuild"));
        fs::create_dir_all(&top).expect("a directory");
        let root = self.path("root");
        let spec = format!(
            "%global debug_package %{{nil}}\n%global __os_install_post %{{nil}}\n%global _build_id_links none\n\
             Name: sample\nVersion: 1.0\nRelease: 1\nSummary: sample\nLicense: MIT\nAutoReqProv: no\n%description\nsample\n\
             %install\nmkdir -p %{{buildroot}}\ncp -al {}/. %{{buildroot}}\n%files\n/usr\n",
            root.display()
        );
        fs::write(top.join("sample.spec"), spec).expect("a file");
        compare(
            || (),
            |()| {
                let mut object = self.store.writer().expect("an object");
                let generated = RpmGenerated::default();
                let written =
                    rpm.write_on(self.cores, &self.tree, &generated, None, &self.store, &mut object);
                written.expect("an rpm is written");
                self.give(object.finish().expect("an object"), "ours.rpm");
            },
            || (),
            |()| {
                let mut build = Command::new("rpmbuild");
                build.args(["-bb", "--quiet", "--define"]).arg(format!("_topdir {}", top.display()));
                build.args(["--define", &format!("_binary_payload {payload}"), "sample.spec"]);
                run(build.current_dir(&top));
            },
        )
    }

    fn check_rpms(&self, section: &mut Section, compression: Compression) {
        let theirs = "rpmbuild/RPMS/x86_64/sample-1.0-1.x86_64.rpm";
        let listed = |name: &str| {
            let format = "[%{FILENAMES} %{FILESIZES} %{FILEDIGESTS}\\n]";
            let list =
                output(Command::new("rpm").args(["-qp", "--qf", format, name]).current_dir(self.dir.path()));
            // rpmbuild packs the directories of the system, too.
            list.lines()
                .filter(|line| line.split(' ').nth(2).is_some_and(|sum| !sum.is_empty()))
                .map(str::to_owned)
                .collect::<BTreeSet<_>>()
        };
        assert!(listed("ours.rpm") == listed(theirs), "both packages install the same");
        self.sizes(section, &format!("size of that rpm, {compression}"), "rpmbuild", "ours.rpm", theirs);
    }

    /// Lines of a listing that are of the tree's files, without what differs by intent.
    fn own(&self, list: &str) -> BTreeSet<String> {
        let file = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let is_own = words[0].starts_with('-') && !line.contains("./usr/share/doc/sample/");
            is_own.then(|| format!("{} {} {} {}", words[0], words[1], words[2], words[5..].join(" ")))
        };
        list.lines().filter_map(file).collect()
    }

    fn sizes(&self, section: &mut Section, work: &str, peer: &str, ours: &str, theirs: &str) {
        let size = |name: &str| fs::metadata(self.path(name)).expect("a package").len();
        let (ours, theirs) = (size(ours), size(theirs));
        section.row(work, peer, &mebibytes(ours), &mebibytes(theirs), ours as f64 / theirs as f64, 1.01);
    }
}

/// Files of this machine, always in one order.
fn found() -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    for source in SOURCES {
        for entry in walkdir::WalkDir::new(Path::new("/").join(source)).sort_by_file_name() {
            let Ok(entry) = entry else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() && metadata.len() <= LARGEST {
                let path = entry.path().strip_prefix("/").expect("it is absolute").to_owned();
                files.push((path, metadata.len()));
            }
        }
    }
    files
}

fn deb(compression: Compression) -> Deb {
    Deb {
        name: "sample".parse().expect("a name"),
        version: "1.0-1".parse().expect("a version"),
        architecture: "amd64".parse().expect("an architecture"),
        maintainer: "S <s@example.org>".into(),
        section: "devel".into(),
        priority: Priority::Optional,
        homepage: None,
        summary: "sample".into(),
        description: String::new(),
        relations: BTreeMap::new(),
        scripts: BTreeMap::new(),
        conffiles: Vec::new(),
        triggers: Vec::new(),
        changelog: "sample".into(),
        copyright: "sample".into(),
        lintian_overrides: Vec::new(),
        compression,
        source_date_epoch: DATE,
    }
}

fn rpm(compression: Compression) -> Rpm {
    Rpm {
        name: "sample".parse().expect("a name"),
        version: RpmVersion::new(None, "1.0", "1").expect("a version"),
        architecture: "x86_64".parse().expect("an architecture"),
        packager: "S <s@example.org>".into(),
        vendor: None,
        license: "MIT".into(),
        group: None,
        homepage: None,
        summary: "sample".into(),
        description: "sample".into(),
        relations: BTreeMap::new(),
        generated: BTreeSet::new(),
        scripts: BTreeMap::new(),
        conffiles: Vec::new(),
        changelog: "sample".into(),
        copyright: None,
        compression,
        source_date_epoch: DATE,
    }
}
