//! Against the apt mirror of this machine; as root.

use std::time::Instant;

use super::*;
use crate::upstream::{AptRoot, Sha256, Wanted, resolve};

const NEEDS_MIRROR: &str = "this test needs the apt mirror of this machine";

struct Bench {
    dir: tempfile::TempDir,
    root: AptRoot,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = AptRoot::of_host(dir.path().join("apt")).expect(NEEDS_MIRROR);
        Self { dir, root }
    }

    fn resolve(&self, packages: &[&str]) -> BootstrapLock {
        let wanted = Wanted {
            suite: "bookworm".into(),
            arch: "amd64".into(),
            foreign: vec![],
            packages: packages.iter().map(|&name| name.to_owned()).collect(),
        };
        timed("resolve", || resolve(&self.root, &wanted).expect(NEEDS_MIRROR))
    }

    /// Builds in a store of its own, which `name` names.
    fn build(&self, name: &str, lock: &BootstrapLock) -> (LocalStore, Tree) {
        let store = LocalStore::open(self.dir.path().join(name)).unwrap();
        timed("download", || download(&store, lock, self.root.mirrors(), &|_| {}).unwrap());
        let tree = timed("install", || build(&store, lock, self.root.mirrors(), &|_| {}).unwrap());
        (store, tree)
    }

    fn chroot(&self, store: &LocalStore, tree: &Tree, script: &str) -> String {
        let to = self.dir.path().join("root");
        if !to.exists() {
            store.materialize(tree, &to, 1).unwrap();
        }
        let mut command = Command::new("chroot");
        command.arg(&to).args(["sh", "-c", script]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let done = command.output().unwrap();
        let told =
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{script}: {told}");
        told
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    eprintln!("{what}: {:.1} s", start.elapsed().as_secs_f32());
    result
}

/// The first few that differ say more than two digests.
fn assert_same(one: &Tree, two: &Tree) {
    let differing: Vec<_> =
        one.entries().iter().filter(|entry| two.get(&entry.path) != Some(entry)).take(10).collect();
    assert!(one.digest() == two.digest(), "{differing:#?}");
}

fn assert_of_no_machine(tree: &Tree) {
    for path in
        ["etc/hostname", "etc/resolv.conf", "etc/machine-id", "etc/apt/sources.list", "var/log/dpkg.log"]
    {
        assert!(tree.get(path).is_none(), "{path}");
    }
    let below = |dir: &str| tree.below(dir).entries().len();
    assert_eq!(
        (below("dev"), below("var/lib/apt/lists"), below("var/cache/apt"), below("var/log")),
        (0, 0, 0, 0)
    );
    assert!(!tree.entries().iter().any(|entry| entry.mode & 0o6000 != 0));
}

#[test]
fn a_minimal_suite_is_the_same_twice_and_whole() {
    let bench = Bench::new();
    let lock = bench.resolve(&[]);
    let (store, one) = bench.build("one", &lock);
    let (_, two) = bench.build("two", &lock);
    assert_same(&one, &two);
    assert_of_no_machine(&one);
    eprintln!("{} packages, {} entries, {} bytes", lock.packages.len(), one.entries().len(), one.size());
    assert_eq!(bench.chroot(&store, &one, "dpkg --audit"), "");
    assert!(bench.chroot(&store, &one, "apt-get check && cat /etc/debian_version").contains("12."));
}

#[test]
fn a_package_the_mirror_has_not_is_told_with_what_to_do() {
    let bench = Bench::new();
    let gone = LockedPackage {
        name: "gone".into(),
        version: "1:2.0-1".into(),
        architecture: "all".into(),
        mirror: crate::upstream::MirrorKind::Main,
        path: "pool/main/g/gone/gone_2.0-1_all.deb".into(),
        sha256: Sha256::of(b"gone"),
        size: 4,
    };
    let lock = BootstrapLock {
        suite: "bookworm".into(),
        arch: "amd64".into(),
        foreign: vec![],
        releases: vec![],
        packages: vec![gone],
    };
    let store = LocalStore::open(bench.dir.path().join("store")).unwrap();
    let told = build(&store, &lock, bench.root.mirrors(), &|_| {}).unwrap_err().to_string();
    for part in ["gone 1:2.0-1", "pool/main/g/gone/gone_2.0-1_all.deb", "forge update"] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn packages_that_make_no_system_show_mmdebstraps_log() {
    let bench = Bench::new();
    let lock = bench.resolve(&[]);
    let without_dpkg = lock.packages.iter().filter(|package| package.name != "dpkg").cloned().collect();
    let lock = BootstrapLock { packages: without_dpkg, ..lock };
    let store = LocalStore::open(bench.dir.path().join("store")).unwrap();
    match build(&store, &lock, bench.root.mirrors(), &|_| {}).unwrap_err() {
        BootstrapError::Failed { log, .. } => assert!(log.contains("dpkg"), "{log}"),
        other => panic!("{other}"),
    }
}
