//! What the tests of rpm packages share.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Rpm, RpmGenerated, RpmVersion};
use crate::package::Compression;
pub use crate::package::testing::{Bench, run, tool};
use crate::store::{Entry, Tree};

/// rpm with a database of its own, and none of this machine's settings for packages.
pub fn rpm(program: &str, dir: &Path) -> Command {
    let mut command = tool(program, "rpm");
    command.env("HOME", dir).arg("--define").arg(format!("_dbpath {}", dir.join("rpmdb").display()));
    command
}

/// Builds a package from a spec file by rpmbuild and gives its file.
pub fn rpmbuild(bench: &Bench, spec: &str, define: &[&str]) -> PathBuf {
    let top = bench.path("rpmbuild");
    let _ = fs::remove_dir_all(&top);
    fs::create_dir_all(&top).unwrap();
    let file = top.join("package.spec");
    fs::write(&file, spec).unwrap();
    let mut command = rpm("rpmbuild", &top);
    command.arg("-bb").arg("--define").arg(format!("_topdir {}", top.display()));
    for define in define {
        command.args(["--define", define]);
    }
    run(command.arg(file).env("SOURCE_DATE_EPOCH", "1700000000"));
    let built = walkdir::WalkDir::new(top.join("RPMS")).into_iter().flatten();
    let is_package = |entry: &walkdir::DirEntry| entry.path().extension().is_some_and(|e| e == "rpm");
    built.into_iter().find(is_package).expect("rpmbuild writes a package").into_path()
}

/// What `rpm -qp` tells of a package in a format of its own.
pub fn query(package: &Path, format: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    run(rpm("rpm", home.path()).args(["-qp", "--queryformat", format]).arg(package))
}

/// A package with nothing special about it.
pub fn package() -> Rpm {
    Rpm {
        name: "forge-sample".parse().unwrap(),
        version: RpmVersion::new(Some(1), "1.2.3", "2.el9").unwrap(),
        architecture: "noarch".parse().unwrap(),
        packager: "Forge Sample <sample@example.org>".into(),
        vendor: None,
        license: "MIT".into(),
        group: None,
        homepage: Some("https://example.org/sample".into()),
        summary: "Sample of what a package may hold".into(),
        description: "It holds files, links and directories, so that their way\n\
                      through rpm can be seen.\n\nNothing depends on it."
            .into(),
        relations: BTreeMap::new(),
        generated: BTreeSet::new(),
        scripts: BTreeMap::new(),
        conffiles: Vec::new(),
        changelog: "New upstream release.".into(),
        copyright: Some("Copyright 2026 Forge Sample\n".into()),
        compression: Compression::Xz { level: 1 },
        source_date_epoch: 1_700_000_000,
    }
}

pub fn bytes(bench: &Bench, rpm: &Rpm, payload: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    let (threads, generated) = (NonZeroUsize::MIN, RpmGenerated::default());
    rpm.write_on(threads, payload, &generated, None, &bench.store, &mut out).unwrap();
    out
}

/// Writes the package as a file under its own name.
pub fn write(bench: &Bench, rpm: &Rpm, payload: &Tree) -> PathBuf {
    let path = bench.path(&rpm.file_name());
    fs::write(&path, bytes(bench, rpm, payload)).unwrap();
    path
}

pub fn fault(bench: &Bench, rpm: &Rpm, payload: Vec<Entry>) -> String {
    let (threads, generated) = (NonZeroUsize::MIN, RpmGenerated::default());
    let payload = Tree::new(payload);
    rpm.write_on(threads, &payload, &generated, None, &bench.store, &mut Vec::new()).unwrap_err().to_string()
}
