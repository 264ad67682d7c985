use super::scratch::{Events, Scratch};

/// Whether the actions of two nodes ran at the same time at any moment. What one made may be stored while the next runs.
fn overlap(events: &Events, one: &str, two: &str) -> bool {
    let span = |node| (events.line(node, "begin"), events.line(node, "end"));
    let (one, two) = (span(one), span(two));
    one.0 < two.1 && two.0 < one.1
}

fn pair(resources: &str) -> Scratch {
    let text = ["a", "b"].map(|name| {
        format!("target \"{name}\" {{\n    run \"echo begin; echo {name}; sleep 0.5; mkdir $OUT/o; echo end\"\n    output \"o\"\n    {resources}\n}}\n")
    });
    Scratch::new(&text.concat())
}

#[test]
fn nodes_run_beside_each_other_while_there_are_cores() {
    let (done, events) = pair("").run_with_events("--jobs 2");
    done.ends_with(0);
    assert!(overlap(&events, "a", "b"));
}

#[test]
fn two_nodes_of_two_cores_do_not_run_on_two_cores_at_once() {
    let scratch = pair("resources cpu=2");
    let (done, events) = scratch.run_with_events("--jobs 2");
    done.ends_with(0);
    assert!(!overlap(&events, "a", "b"));
}

#[test]
fn a_node_that_wants_more_cores_than_there_are_gets_them_all() {
    let (done, events) = pair("resources cpu=8").run_with_events("--jobs 1");
    done.ends_with(0);
    assert!(!overlap(&events, "a", "b"));
}

#[test]
fn memory_is_shared_like_cores() {
    let (done, events) = pair("resources memory=\"100000GiB\"").run_with_events("--jobs 2");
    done.ends_with(0);
    assert!(!overlap(&events, "a", "b"));
}

#[test]
fn a_script_is_told_how_many_cores_are_its_own_outside_of_its_key() {
    let buildfile = "target \"t\" {\n    run \"mkdir $OUT/o; echo {jobs} > $OUT/o/jobs\"\n    output \"o\"\n    resources cpu=3\n}\n";
    let (one, two) = (Scratch::new(buildfile), Scratch::new(buildfile));
    one.ok("run --jobs 8");
    two.ok("run --jobs 2");
    assert_eq!((one.output_file("t", "jobs"), two.output_file("t", "jobs")), ("3\n".into(), "2\n".into()));
    assert_eq!(one.plan("").keys(), two.plan("").keys());
}

#[test]
fn the_longest_path_goes_first_once_durations_are_known() {
    let scratch = Scratch::new(
        r#"
target "a-short" {
    run "mkdir $OUT/o; : one"
    output "o"
}
target "b-long" {
    run "sleep 0.6; mkdir $OUT/o; : one"
    output "o"
}
target "c-first-of-two" {
    run "sleep 0.3; mkdir $OUT/o; echo > $OUT/o/one"
    output "o"
}
target "d-second-of-two" {
    use "c-first-of-two" into="."
    run "sleep 0.6; mkdir $OUT/o; : one"
    output "o"
}
"#,
    );
    let (done, events) = scratch.run_with_events("--jobs 1");
    done.ends_with(0);
    assert!(events.of("run-started").next().unwrap()["estimate_ms"].is_null(), "nothing is known yet");
    scratch.edit("Buildfile.kdl", "one", "two");
    assert!(scratch.ok("plan").stdout.contains(", about "));
    let (done, events) = scratch.run_with_events("--jobs 1");
    done.ends_with(0);
    // The end of a path of two is as urgent as the path that is left: the second of two follows at its turn.
    let order = events.nodes("node-started");
    assert_eq!(order[0], "c-first-of-two");
    assert_eq!(order[3], "a-short");
    let estimate = events.of("run-started").next().unwrap()["estimate_ms"].as_u64().unwrap();
    assert!((1_500..10_000).contains(&estimate), "{estimate}");
}

#[test]
fn what_is_about_to_be_ready_is_not_overtaken_by_what_ends_sooner() {
    let scratch = Scratch::new(
        r#"
target "a" { run "sleep 0.1; mkdir $OUT/o; : one"; output "o" }
target "b" { use "a" into="."; run "sleep 1.5; mkdir $OUT/o; : one"; output "o" }
target "c" { run "sleep 0.5; mkdir $OUT/o; : one"; output "o" }
"#,
    );
    scratch.ok("run");
    scratch.edit("Buildfile.kdl", "one", "two");
    let (done, events) = scratch.run_with_events("--jobs 1");
    done.ends_with(0);
    assert_eq!(events.nodes("node-started"), ["a", "b", "c"]);
}
