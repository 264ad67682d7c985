use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::support::{Fixture, both};
use crate::runner::{Exit, RunError, Runner};

/// Starts what would go on after its parents, each in a way that survives a simple kill.
fn survivors(word: &str) -> String {
    format!(
        "(trap '' TERM HUP INT; while :; do sleep 0.1; done) & setsid sh -c 'while :; do sleep {word}; done' & \
         (sh -c 'sleep {word} &' &); "
    )
}

/// How many processes on this machine have `word` among their arguments.
fn alive(word: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).split('\0').any(|argument| argument == word)).count()
}

#[tokio::test]
async fn a_timeout_ends_the_whole_family_at_once() {
    let fixture = Fixture::new();
    for (runner, word) in both().await.into_iter().zip(["7000101", "7000102"]) {
        let mut command = fixture.command(&format!("{} echo started; sleep {word}", survivors(word)));
        command.timeout = Some(Duration::from_secs(2));
        let begun = Instant::now();
        let error = fixture.run(&runner, &command).await.unwrap_err();
        let exit = Exit::TimedOut(Duration::from_secs(2));
        assert!(matches!(error, RunError::Failed { exit: found, .. } if found == exit), "{error}");
        assert_eq!(fixture.log_of(&error), "started\n");
        assert!(begun.elapsed() < Duration::from_secs(20), "{}: {:?}", runner.name(), begun.elapsed());
        assert_eq!(alive(word), 0, "{}", runner.name());
        fixture.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_cancelled_command_is_gone_when_the_call_returns() {
    let fixture = Fixture::new();
    for (runner, word) in both().await.into_iter().zip(["7000201", "7000202"]) {
        let (cancel, cancelled) = watch::channel(false);
        let command = fixture.command(&format!("{} echo started; sleep {word}", survivors(word)));
        let ended = runner.run(&command, &fixture.store, |_| _ = cancel.send(true), cancelled).await;
        assert!(matches!(ended, Err(RunError::Cancelled)), "{}", runner.name());
        assert_eq!(alive(word), 0, "{}", runner.name());
        fixture.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_command_cancelled_before_it_began_does_not_run() {
    let fixture = Fixture::new();
    let (_cancel, cancelled) = watch::channel(true);
    for runner in both().await {
        let command = fixture.command("sleep 600");
        let ended = runner.run(&command, &fixture.store, |_| {}, cancelled.clone()).await;
        assert!(matches!(ended, Err(RunError::Cancelled)), "{}", runner.name());
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn a_future_that_is_dropped_takes_its_command_along() {
    let fixture = Fixture::new();
    for (runner, word) in both().await.into_iter().zip(["7000301", "7000302"]) {
        let (_cancel, never) = watch::channel(false);
        let (started, mut begun) = watch::channel(false);
        let command = fixture.command(&format!("echo go; sleep {word}"));
        {
            let run = runner.run(&command, &fixture.store, |_| _ = started.send(true), never);
            tokio::select! {
                _ = run => panic!("{}: it ended", runner.name()),
                _ = begun.changed() => {}
            }
            assert!(alive(word) > 0, "{}", runner.name());
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while alive(word) > 0 {
            assert!(Instant::now() < deadline, "{}: it lives", runner.name());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn memory_is_limited_and_its_end_has_a_name() {
    let fixture = Fixture::new();
    for runner in both().await {
        assert_enforces_limits(&runner);
        let mut command = fixture.command("echo fill; tail -c 200000000 /dev/zero; echo unreached");
        command.memory = Some(64 << 20);
        let error = fixture.run(&runner, &command).await.unwrap_err();
        let RunError::Failed { exit, .. } = &error else { panic!("{}: {error}", runner.name()) };
        assert_eq!(*exit, Exit::OutOfMemory(64 << 20), "{}", runner.name());
        command.script = "tail -c 20000000 /dev/zero | wc -c".to_owned();
        assert_eq!(fixture.said(&runner, &command).await, "20000000\n");
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn processor_time_is_limited() {
    let fixture = Fixture::new();
    for runner in both().await {
        assert_enforces_limits(&runner);
        // Two busy loops for two seconds on a fifth of a processor: 40 ticks of a hundredth of a
        // second, and not the 200 and more that they would take.
        let script = "busy() { timeout 2 sh -c 'while :; do :; done' || true; }; busy & busy & wait; \
                      cut -d' ' -f16,17 /proc/$$/stat";
        let mut command = fixture.command(script);
        command.cpus = Some(0.2);
        let said = fixture.said(&runner, &command).await;
        let ticks: u64 = said.split_whitespace().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        assert!((10..100).contains(&ticks), "{}: {ticks} ticks", runner.name());
    }
}

fn assert_enforces_limits(runner: &Runner) {
    if let Runner::Sandbox(sandbox) = runner {
        let said = sandbox.describe();
        assert!(
            !said.contains("not enforced"),
            "this test needs writable control groups (run it as root): {said}"
        );
    }
}
