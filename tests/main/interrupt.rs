use std::time::Duration;

use rustix::process::Signal;

use super::scratch::Scratch;

fn scratch() -> Scratch {
    Scratch::new(
        r#"
target "quick" {
    run "mkdir $OUT/o"
    output "o"
}
target "slow" {
    use "quick" into="."
    env "N" "@NAME@"
    run "trap '' INT TERM; sleep 300 & sleep 300"
    output "o"
}
target "after" {
    use "slow" into="."
    run "mkdir $OUT/o"
    output "o"
}
"#,
    )
}

fn interrupted(signals: &[Signal]) {
    let scratch = scratch();
    let run = scratch.start("run --events ev");
    scratch.await_event("ev", "node-started", "slow");
    scratch.wait_until("the action", || scratch.has_action());
    for signal in signals {
        run.signal(*signal);
    }
    let (code, took) = run.end();
    assert_eq!(code, Some(130), "{}", scratch.read("out"));
    assert!(took < Duration::from_secs(2), "{took:?}");
    scratch.assert_no_process();

    // What is done is kept; what was under way is neither known nor failed.
    let plan = scratch.plan("");
    assert_eq!((plan.verdict("quick"), plan.verdict("slow")), ("hit", "run"));
    scratch.edit("Buildfile.kdl", "sleep 300 & sleep 300", "mkdir $OUT/o");
    let (done, events) = scratch.run_with_events("--failed");
    done.ends_with(0);
    assert_eq!(events.nodes("node-started"), ["slow", "after"]);
    assert!(scratch.scratch_files().is_empty(), "{:?}", scratch.scratch_files());
}

#[test]
fn one_interrupt_ends_the_run_and_keeps_what_is_done() {
    interrupted(&[Signal::INT]);
}

#[test]
fn a_second_interrupt_ends_it_at_once() {
    interrupted(&[Signal::INT, Signal::INT]);
}

#[test]
fn a_termination_is_an_interrupt() {
    interrupted(&[Signal::TERM]);
}

#[test]
fn the_end_is_told_in_the_events_and_in_words() {
    let scratch = scratch();
    let run = scratch.start("run --events ev");
    scratch.await_event("ev", "node-started", "slow");
    run.signal(Signal::INT);
    assert_eq!(run.end().0, Some(130));
    let events = scratch.events("ev");
    let last = events.0.last().unwrap();
    assert_eq!((&last["event"], &last["interrupted"]), (&"run-finished".into(), &true.into()));
    assert!(scratch.read("out").contains("interrupted after"), "{}", scratch.read("out"));
}
