//! Installed, upgraded and removed by a real dnf, into a root of its own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use super::{rich_package, rich_payload};
use crate::package::rpm::testing::{Bench, package, run, tool, write};
use crate::package::{Rpm, RpmVersion};
use crate::store::Tree;

struct System {
    bench: Bench,
    root: PathBuf,
}

impl System {
    /// A root with a shell, which scriptlets need, and packages that provide what is required.
    fn new() -> Self {
        let bench = Bench::new();
        let root = bench.path("root");
        for dir in ["bin", "tmp", "log", "cache"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let busybox =
            ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| fs::metadata(path).is_ok());
        let busybox = busybox.expect("this test needs busybox: apt-get install busybox-static");
        fs::copy(busybox, root.join("bin/sh")).unwrap();
        let system = Self { bench, root };
        let mut base = Rpm { name: "forge-base".parse().unwrap(), ..package() };
        let provides = "forge-needed (= 1:2-1), forge-three (= 3~beta-1), /bin/sh";
        let relation = crate::package::RpmRelation::Provides;
        base.relations.insert(relation, relation.parse("x", provides, &base.version).unwrap());
        system.install(&base, &Tree::default());
        system
    }

    fn dnf(&self) -> Command {
        let mut dnf = tool("dnf", "dnf");
        dnf.args([
            "-y",
            "--releasever=9",
            "--disablerepo=*",
            "--setopt=reposdir=/nonexistent",
            "--setopt=keepcache=0",
        ])
        .args(["--setopt=install_weak_deps=0", "--nogpgcheck"])
        .arg(format!("--installroot={}", self.root.display()))
        .arg(format!("--setopt=logdir={}", self.root.join("log").display()))
        .arg(format!("--setopt=cachedir={}", self.root.join("cache").display()))
        .env("HOME", self.bench.dir.path());
        dnf
    }

    fn install(&self, rpm: &Rpm, payload: &Tree) {
        let package = write(&self.bench, rpm, payload);
        run(self.dnf().arg("install").arg(package));
    }

    fn rpm(&self, arguments: &[&str]) -> String {
        let mut rpm = tool("rpm", "rpm");
        rpm.env("HOME", self.bench.dir.path()).arg("--root").arg(&self.root);
        let output = rpm.args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.root.join(path)).unwrap().permissions().mode() & 0o7777
    }
}

#[test]
fn a_package_is_installed_verified_upgraded_and_removed_by_dnf() {
    let system = System::new();
    let payload = rich_payload(&system.bench);
    system.install(&rich_package(), &payload);
    assert_eq!(system.rpm(&["-q", "forge-sample"]), "forge-sample-1.2.3-2.el9.noarch\n");
    assert_eq!(system.rpm(&["-V", "forge-sample"]), "", "nothing differs from what the header says");
    assert_eq!(
        (system.mode("usr/lib/sample/bin/tool"), system.mode("usr/lib/sample/empty")),
        (0o4755, 0o750)
    );
    assert_eq!(
        fs::read_link(system.root.join("usr/bin/sample")).unwrap(),
        PathBuf::from("../lib/sample/bin/tool")
    );
    let owner = fs::metadata(system.root.join("usr/lib/sample/gr\u{fc}\u{df}e \u{2603}.txt")).unwrap();
    assert_eq!((owner.uid(), owner.gid(), owner.mtime()), (0, 0, 1_700_000_000));
    assert_eq!(system.text("calls"), "pre 1\npost 1\n");

    // What the administrator changed stays, and the new one is put beside it.
    fs::write(system.root.join("etc/forge-sample.conf"), "answer = 43\n").unwrap();
    assert!(system.rpm(&["-V", "forge-sample"]).contains("c /etc/forge-sample.conf"));
    let newer = Rpm { version: RpmVersion::new(Some(1), "1.2.4", "1.el9").unwrap(), ..rich_package() };
    let mut entries = payload.entries().to_vec();
    entries.push(system.bench.file("etc/forge-sample.conf", 0o644, b"answer = 44\n"));
    entries.retain(|entry| entry.path != "usr/lib/sample/bin-more");
    system.install(&newer, &Tree::new(entries));
    assert_eq!(system.text("etc/forge-sample.conf"), "answer = 43\n");
    assert_eq!(system.text("etc/forge-sample.conf.rpmnew"), "answer = 44\n");
    assert!(!system.root.join("usr/lib/sample/bin-more").exists());
    assert!(system.text("calls").ends_with("pre 2\npost 2\npreun 1\npostun 1\n"), "{}", system.text("calls"));

    run(system.dnf().args(["remove", "forge-sample"]));
    assert!(system.text("calls").ends_with("preun 0\npostun 0\n"));
    for gone in ["usr/lib/sample", "usr/share/doc/forge-sample", "usr/share/licenses/forge-sample"] {
        assert!(!system.root.join(gone).exists(), "{gone}");
    }
}

#[test]
fn dnf_s_solver_refuses_what_is_not_provided() {
    let system = System::new();
    let mut rpm = rich_package();
    let relation = crate::package::RpmRelation::Requires;
    rpm.relations
        .insert(relation, relation.parse("x", "forge-needed (>= 1:3) | forge-absent", &rpm.version).unwrap());
    let package = write(&system.bench, &rpm, &rich_payload(&system.bench));
    let refused = system.dnf().arg("install").arg(package).output().unwrap();
    let told =
        String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success());
    assert!(told.contains("nothing provides (forge-needed >= 1:3 or forge-absent)"), "{told}");
}
