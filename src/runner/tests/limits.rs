use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::support::{Fixture, alive, all, until};
use crate::runner::{Exit, RunError, Runner};

/// Starts what would go on after its parents, each in a way that survives a simple kill.
fn survivors(word: &str) -> String {
    format!(
        "(trap '' TERM HUP INT; while :; do sleep 0.1; done) & setsid sh -c 'while :; do sleep {word}; done' & \
         (sh -c 'sleep {word} &' &); "
    )
}

#[tokio::test]
async fn a_timeout_ends_the_whole_family_at_once() {
    let fixture = Fixture::new();
    for (runner, word) in all().await.into_iter().zip(["7000101", "7000102", "7000103"]) {
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
    for (runner, word) in all().await.into_iter().zip(["7000201", "7000202", "7000203"]) {
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
    for runner in all().await {
        let command = fixture.command("sleep 600");
        let ended = runner.run(&command, &fixture.store, |_| {}, cancelled.clone()).await;
        assert!(matches!(ended, Err(RunError::Cancelled)), "{}", runner.name());
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn a_future_that_is_dropped_takes_its_command_along() {
    let fixture = Fixture::new();
    for (runner, word) in all().await.into_iter().zip(["7000301", "7000302", "7000303"]) {
        let (_cancel, never) = watch::channel(false);
        let (started, mut begun) = watch::channel(false);
        let command = fixture.command(&format!("echo go; sleep {word}"));
        {
            let mut run =
                std::pin::pin!(runner.run(&command, &fixture.store, |_| _ = started.send(true), never));
            tokio::select! {
                _ = &mut run => panic!("{}: it ended", runner.name()),
                _ = begun.changed() => {}
            }
            until("the command runs", async || alive(word) > 0).await;
        }
        until("the command is gone", async || alive(word) == 0).await;
    }
}

#[tokio::test]
async fn memory_is_limited_and_its_end_has_a_name() {
    let fixture = Fixture::new();
    for runner in all().await {
        assert_enforces_limits(&runner);
        let mut command =
            fixture.command("head -c 200000000 /dev/zero | tail -c 200000000 >/dev/null; echo unreached");
        command.memory = Some(64 << 20);
        let error = fixture.run(&runner, &command).await.unwrap_err();
        let RunError::Failed { exit, .. } = &error else { panic!("{}: {error}", runner.name()) };
        assert_eq!(*exit, Exit::OutOfMemory(64 << 20), "{}", runner.name());
        assert_eq!(fixture.log_of(&error).matches("unreached").count(), 0);
        // What was made without the killed process is not what the command makes elsewhere.
        command.script = "head -c 200000000 /dev/zero | tail -c 200000000 >/dev/null || true".to_owned();
        let error = fixture.run(&runner, &command).await.unwrap_err();
        assert!(
            matches!(error, RunError::Failed { exit: Exit::OutOfMemory(_), .. }),
            "{}: {error}",
            runner.name()
        );
        command.script = "head -c 20000000 /dev/zero | tail -c 20000000 | wc -c".to_owned();
        assert_eq!(fixture.said(&runner, &command).await, "20000000\n");
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn processor_time_is_limited() {
    let fixture = Fixture::new();
    for runner in all().await {
        assert_enforces_limits(&runner);
        // Two busy loops for two seconds on a fifth of a processor: 40 ticks of a hundredth of a
        // second, and not the 200 and more that they would take.
        let script = "busy() { timeout 2 sh -c 'while :; do :; done' || true; }; busy & busy & wait; \
                      cut -d' ' -f16,17 /proc/$$/stat";
        let mut command = fixture.command(script);
        command.cpus = Some(0.2);
        let said = fixture.said(&runner, &command).await;
        let last = said.lines().last().unwrap_or_default();
        let ticks: u64 = last.split_whitespace().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
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
