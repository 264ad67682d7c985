use std::process::Command as Process;
use std::time::{Duration, Instant};

use super::support::{Fixture, sandbox};
use crate::runner::{Command, Root, Runner};

/// Figures, not a test: `cargo test --release overhead -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures; needs a quiet machine"]
async fn overhead_of_a_trivial_command() {
    const TIMES: u32 = 200;
    let (fixture, runner) = (Fixture::new(), sandbox().await);
    let in_tree = fixture.command("exit 0");
    let on_host = Command { root: Root::Host, ..in_tree.clone() };
    let plain = "bwrap --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
                 --proc /proc --dev /dev --tmpfs /tmp --unshare-pid --unshare-ipc --unshare-uts --unshare-net \
                 --die-with-parent /bin/sh -eu -c 'exit 0'";
    let loops = format!("i=0; while [ $i -lt {TIMES} ]; do {plain} || exit 1; i=$((i+1)); done");
    for round in 0..2 {
        let begun = Instant::now();
        assert!(Process::new("sh").args(["-c", &loops]).status().unwrap().success());
        let plain = begun.elapsed() / TIMES;
        let host = measure(&fixture, &runner, &on_host, TIMES).await;
        let tree = measure(&fixture, &runner, &in_tree, TIMES).await;
        println!(
            "round {round}: plain bwrap {plain:?}, Root::Host {host:?}, Root::Tree {tree:?} per command"
        );
    }
}

async fn measure(fixture: &Fixture, runner: &Runner, command: &Command, times: u32) -> Duration {
    let begun = Instant::now();
    for _ in 0..times {
        fixture.run(runner, command).await.unwrap();
    }
    begun.elapsed() / times
}
