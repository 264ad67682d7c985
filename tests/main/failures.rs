use super::scratch::Scratch;

/// Cells of which the bad ones fail as long as `broken` says so.
fn scratch() -> Scratch {
    let scratch = Scratch::new(
        r#"
axis "otp" {
    value "26"
    value "27"
}
axis "os" {
    value "deb"
    value "rpm"
}
target "cell" over="otp os" {
    files "broken" into="."
    run "for n in $(seq 30); do echo line $n of {os}; done; [ {otp}{os} = 27deb ] && cat broken && grep -q 7 broken && exit 7; mkdir $OUT/o; touch $OUT/o/{otp}"
    output "o"
}
target "after" over="otp os" {
    use "cell" into="."
    run "mkdir $OUT/o; echo {otp} {os} > $OUT/o/f"
    output "o"
}
"#,
    );
    scratch.write("broken", "7\n");
    scratch
}

const BAD: &str = "cell[otp=27,os=deb]";

#[test]
fn a_failure_tells_its_end_its_log_and_the_command_to_run_it_again() {
    let scratch = scratch();
    let done = scratch.forge(&format!("run {BAD}")).ends_with(3);
    let said = &done.stderr;
    assert!(said.contains(&format!("FAILED  {BAD} after ")) && said.contains("exit code 7"), "{said}");
    assert!(
        said.contains("| line 30 of deb") && !said.contains("| line 5 of deb"),
        "the last lines:\n{said}"
    );
    assert!(said.contains(&format!("the whole log: forge log '{BAD}'")), "{said}");
    assert!(said.contains(&format!("to run it again: forge run '{BAD}'")), "{said}");
    let log = scratch.ok(&format!("log {BAD}")).stdout;
    assert!(log.starts_with("line 1 of deb\n") && log.ends_with("line 30 of deb\n7\n"), "{log}");
    scratch.ok("run cell[otp=26,os=rpm]");
    assert!(scratch.ok("log cell[otp=26,os=rpm]").stdout.ends_with("line 30 of rpm\n"));
    scratch.forge("log after[otp=26,os=rpm]").ends_with(1).says("has no log");
}

#[test]
fn without_keep_going_nothing_new_starts() {
    let scratch = Scratch::new(
        r#"
target "bad" {
    run "exit 1"
    output "o"
}
target "other" {
    run "mkdir $OUT/o"
    output "o"
}
"#,
    );
    let (done, events) = scratch.run_with_events("--jobs 1");
    done.ends_with(3);
    assert_eq!(events.nodes("node-started"), ["bad"]);
    let (done, events) = scratch.run_with_events("--jobs 1 --failed");
    done.ends_with(3);
    assert_eq!(events.nodes("node-started"), ["bad"], "in the same order");
    let (done, events) = scratch.run_with_events("--jobs 1 --keep-going");
    done.ends_with(3);
    assert_eq!(events.nodes("node-started"), ["bad", "other"]);
}

#[test]
fn with_keep_going_the_rest_is_built_and_failures_are_counted_by_axis() {
    let scratch = scratch();
    let (done, events) = scratch.run_with_events("--keep-going");
    let said = done.ends_with(3).stderr;
    assert!(said.contains("1 node failed:\n") && said.contains(": 6 run, 0 known"), "{said}");
    assert!(said.contains("by os: deb 1 of 2\n") && said.contains("by otp: 27 1 of 2\n"), "{said}");
    assert!(said.contains("1 failed, 1 not run for that"), "{said}");
    assert_eq!(events.nodes("node-skipped"), ["after[otp=27,os=deb]"]);
    assert_eq!(events.outcome("after[otp=26,os=rpm]"), Some("built"));
}

#[test]
fn failed_nodes_and_what_waited_for_them_are_run_again_and_nothing_else() {
    let scratch = scratch();
    scratch.forge("run --failed").ends_with(1).says("nothing failed last time");
    scratch.forge("run --keep-going").ends_with(3);
    let plan = scratch.plan("");
    assert_eq!((plan.verdict(BAD), plan.verdict("after[otp=27,os=deb]")), ("failed before", "unknown"));
    let told = scratch.ok("plan").stdout;
    assert!(told.contains("run again: failed before, the command failed: exit code 7"), "{told}");
    scratch.write("broken", "0\n");
    let (done, events) = scratch.run_with_events("--failed");
    // Their 'broken' is another now: the other cells would be built again, but nobody asked for them.
    done.ends_with(0);
    assert_eq!(events.nodes("node-started"), [BAD, "after[otp=27,os=deb]"]);
}

#[test]
fn an_output_that_is_not_made_is_a_failure() {
    let scratch = Scratch::new("target \"t\" {\n    run \"mkdir $OUT/one\"\n    output \"one\" \"two\"\n}\n");
    scratch
        .forge("run")
        .ends_with(3)
        .says("output 'two' was not made; the command must leave it at $OUT/two");
    assert_eq!(scratch.plan("").verdict("t"), "failed before");
}

#[test]
fn an_action_is_killed_after_its_timeout() {
    let scratch = Scratch::new(
        "target \"t\" {\n    env \"N\" \"@NAME@\"\n    run \"echo waiting; sleep 300 & sleep 300\"\n    output \"o\"\n    timeout \"1s\"\n}\n",
    );
    let started = std::time::Instant::now();
    scratch.forge("run").ends_with(3).says("killed after its timeout of 1s").says("| waiting");
    assert!(started.elapsed().as_secs() < 20);
    scratch.assert_no_process();
}

#[test]
fn a_required_test_is_a_gate() {
    let scratch = Scratch::new(
        r#"
axis "os" {
    value "deb"
    value "rpm"
}
target "build" over="os" {
    run "mkdir $OUT/o; echo {os} > $OUT/o/f"
    output "o"
}
test "check" over="os" {
    use "build" into="."
    files "verdict" into="."
    run "! grep {os} verdict"
}
target "ship" over="os" {
    requires "check"
    use "build" into="."
    run "mkdir $OUT/o; echo ship {os} > $OUT/o/f"
    output "o"
}
target "aside" over="os" {
    use "build" into="."
    run "mkdir $OUT/o; echo aside {os} > $OUT/o/f"
    output "o"
}
"#,
    );
    scratch.write("verdict", "rpm is bad\n");
    let (done, events) = scratch.run_with_events("--keep-going");
    done.ends_with(3).says("FAILED  check[os=rpm]");
    assert_eq!(events.nodes("node-skipped"), ["ship[os=rpm]"]);
    assert!(events.place("node-finished", "check[os=deb]") < events.place("node-started", "ship[os=deb]"));
    assert_eq!(events.outcome("aside[os=rpm]"), Some("built"));

    scratch.write("verdict", "all is well\n");
    let (done, events) = scratch.run_with_events("");
    done.ends_with(0);
    assert_eq!(events.outcome("ship[os=rpm]"), Some("built"));
    // What a test says does not change what passes it.
    assert!(!events.nodes("node-started").contains(&"ship[os=deb]".to_owned()));
    assert_eq!(events.outcome("ship[os=deb]"), None, "known from the plan on");
}
