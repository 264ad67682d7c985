//! Against dpkg, which installs into a directory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use super::{LONG, rich_deb, rich_payload};
use crate::package::Deb;
use crate::package::deb::testing::{Bench, run, tool};
use crate::store::Tree;

/// A system of its own, with a dpkg database and no packages.
struct System {
    bench: Bench,
    root: PathBuf,
}

impl System {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "dpkg sets owners: run this test as root");
        let bench = Bench::new();
        let root = bench.path("system");
        for dir in ["info", "updates", "triggers"] {
            fs::create_dir_all(root.join("var/lib/dpkg").join(dir)).unwrap();
        }
        fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        Self { bench, root }
    }

    fn dpkg(&self) -> Command {
        let mut dpkg = tool("dpkg", "dpkg");
        let log = format!("--log={}", self.bench.path("log").display());
        dpkg.arg(format!("--root={}", self.root.display()))
            .args(["--force-script-chrootless", "--force-depends", "--force-bad-path", "--force-confold"])
            .arg(log);
        dpkg
    }

    fn install(&self, deb: &Deb, payload: &Tree) -> String {
        let package = self.bench.package(deb, payload);
        run(self.dpkg().arg("--install").arg(package))
    }

    fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.root.join(path)).unwrap().permissions().mode() & 0o7777
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }
}

/// dpkg would look for what `forge-before` is before it unpacks.
fn installable() -> Deb {
    let mut deb = rich_deb();
    deb.relations.clear();
    deb
}

#[test]
fn a_package_is_installed_verified_upgraded_and_purged() {
    let system = System::new();
    let payload = rich_payload(&system.bench);
    system.install(&installable(), &payload);

    let status = run(system.dpkg().args(["--status", "forge-sample"]));
    assert!(status.contains("Status: install ok installed"), "{status}");
    assert!(status.contains("Conffiles:\n /etc/forge-sample.conf "), "{status}");
    assert_eq!(system.mode("opt/sample/bin/tool"), 0o4755);
    assert_eq!(system.mode("opt/sample/empty"), 0o750);
    assert_eq!(system.mode("opt/sample/empty-file"), 0o640);
    assert_eq!(fs::read_link(system.root.join("opt/sample/bin/alias")).unwrap(), PathBuf::from("tool"));
    assert_eq!(fs::read_to_string(system.root.join("opt/sample/far")).unwrap(), "long\n");
    assert_eq!(system.text(LONG), "long\n");
    assert_eq!(system.text("opt/sample/gr\u{fc}\u{df}e \u{2603}.txt"), "utf-8\n");
    let owner = fs::metadata(system.root.join(LONG)).unwrap();
    assert_eq!((owner.uid(), owner.gid(), owner.mtime()), (0, 0, 1_700_000_000));
    assert!(system.text("var/lib/dpkg/triggers/File").contains("/opt/sample/watched forge-sample/noawait"));
    assert_eq!(run(system.dpkg().args(["--verify", "forge-sample"])), "");
    assert_eq!(system.text("calls"), "postinst configure \n");

    // What the administrator changed stays; dpkg asks or, here, keeps it.
    fs::write(system.root.join("etc/forge-sample.conf"), "answer = 43\n").unwrap();
    let newer = Deb { version: "1:1.2.4-1".parse().unwrap(), ..installable() };
    let mut entries = payload.entries().to_vec();
    entries.push(system.bench.file("etc/forge-sample.conf", 0o644, b"answer = 44\n"));
    entries.retain(|entry| entry.path != LONG);
    system.install(&newer, &Tree::new(entries));
    assert_eq!(system.text("etc/forge-sample.conf"), "answer = 43\n");
    assert!(!system.root.join(LONG).exists());
    assert!(
        system
            .text("calls")
            .ends_with("prerm upgrade 1:1.2.4-1\npostrm upgrade 1:1.2.4-1\npostinst configure 1:1.2.3-2\n")
    );

    run(system.dpkg().args(["--purge", "forge-sample"]));
    assert!(system.text("calls").ends_with("prerm remove\npostrm remove\npostrm purge\n"));
    for gone in ["opt/sample", "etc/forge-sample.conf", "usr/share/doc/forge-sample"] {
        assert!(!system.root.join(gone).exists(), "{gone}");
    }
}

#[test]
fn dpkg_notices_a_changed_file_by_our_md5sums() {
    let system = System::new();
    system.install(&installable(), &rich_payload(&system.bench));
    fs::write(system.root.join("opt/sample/bin/plain"), "#!/bin/sh\nevil\n").unwrap();
    let verified = run(system.dpkg().args(["--verify", "forge-sample"]));
    assert_eq!(verified, "??5??????   /opt/sample/bin/plain\n");
}
