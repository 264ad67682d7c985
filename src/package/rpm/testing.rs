//! What the tests of rpm packages share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use crate::package::testing::{Bench, run, tool};

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
