use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::scratch::Scratch;

/// A filesystem of its own, gone with the value.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Needs root; without it the test that asks for one has nothing to stand on.
    pub fn tmpfs(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        if !rustix::process::geteuid().is_root() {
            eprintln!("not run: a filesystem can be mounted by root only");
            return None;
        }
        mount(&["-t", "tmpfs", "-o", options, "tmpfs", at.to_str().unwrap()]);
        Some(Self(at))
    }

    fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}"), self.0.to_str().unwrap()]);
    }
}

fn mount(arguments: &[&str]) {
    assert!(Command::new("mount").args(arguments).status().unwrap().success(), "mount {arguments:?}");
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn scratch() -> Scratch {
    Scratch::new(
        r#"
axis "n" {
    value "1"
    value "2"
    value "3"
    value "4"
}
target "small" {
    run "mkdir $OUT/o; echo small > $OUT/o/f"
    output "o"
}
target "big" over="n" {
    use "small" into="."
    run "mkdir $OUT/o; yes {n} | head -c 3000000 > $OUT/o/big"
    output "o"
}
target "source" {
    files "big.txt" into="."
    run "mkdir $OUT/o; wc -c < big.txt > $OUT/o/size"
    output "o"
}
"#,
    )
}

#[test]
fn a_full_disk_is_told_and_the_run_goes_on_when_there_is_room() {
    let scratch = scratch();
    let Some(disk) = Mounted::tmpfs(scratch.path("cache"), "size=8m") else { return };
    scratch.write("big.txt", "x");
    let done = scratch.forge("run --jobs 1 big").ends_with(3);
    assert!(done.stderr.contains("No space left on device"), "{}", done.stderr);
    let report = scratch.store().verify().unwrap();
    assert_eq!((report.damaged, report.incomplete), (vec![], 0));
    let plan = scratch.plan("big");
    assert_eq!(plan.verdict("small"), "hit");
    disk.remount("size=64m");
    let done = scratch.ok("run --jobs 1");
    assert!(!done.stderr.contains("start   small"), "what is done is kept:\n{}", done.stderr);
    assert_eq!(scratch.output_file("big[n=4]", "big").len(), 3_000_000);
    scratch.ok("cache verify");
}

#[test]
fn a_source_that_does_not_fit_is_no_failure_of_the_action() {
    let scratch = scratch();
    let Some(disk) = Mounted::tmpfs(scratch.path("cache"), "size=2m") else { return };
    scratch.write("big.txt", &"x".repeat(3_000_000));
    let done = scratch.forge("run source").ends_with(3);
    let said = &done.stderr;
    assert!(said.contains("cannot ") && said.contains("big.txt") || said.contains("cache/scratch"), "{said}");
    assert!(said.contains("No space left on device") && said.contains("free some room"), "{said}");
    assert_eq!(scratch.plan("source").verdict("source"), "run", "it did not fail: it did not run");
    disk.remount("size=64m");
    scratch.ok("run source");
    assert_eq!(scratch.output_file("source", "size"), "3000000\n");
}

#[test]
fn a_store_that_cannot_be_written_is_told() {
    let scratch = scratch();
    let Some(disk) = Mounted::tmpfs(scratch.path("cache"), "size=8m") else { return };
    scratch.ok("run small");
    disk.remount("ro");
    let said = scratch.forge("run big").ends_with(1).error_text();
    assert!(said.contains("cache/locks/store") && said.contains("Read-only file system"), "{said}");
    disk.remount("rw");
    scratch.ok("run small");
}
