//! Actions without a sandbox, and what they gather.

use std::time::Duration;

use super::scratch::Scratch;

#[test]
fn what_agrees_is_gathered_each_in_its_place() {
    let scratch = Scratch::new(
        r#"
axis "unit" {
    value "a" "b" pack="one"
    value "c" pack="two"
}
target "object" over="unit" image="bare" {
    run "echo {unit} > $OUT/o"
    output "o"
}
target "pack" over="unit.pack" {
    gather "object" into="in/{unit}"
    run "for unit in in/*; do echo $unit $(cat $unit/o); done > $OUT/pack"
    output "pack"
}
"#,
    );
    scratch.ok("run").says("5 run");
    assert_eq!(scratch.output_file("pack[unit.pack=one]", "pack"), "in/a a\nin/b b\n");
    assert_eq!(scratch.output_file("pack[unit.pack=two]", "pack"), "in/c c\n");
    scratch.edit("Buildfile.kdl", "value \"c\" pack=\"two\"", "value \"c\" pack=\"one\"");
    scratch.ok("run").says("1 run, 3 known");
    assert_eq!(scratch.output_file("pack[unit.pack=one]", "pack"), "in/a a\nin/b b\nin/c c\n");
}

#[test]
fn a_place_of_what_is_gathered_is_of_its_own_cell() {
    let scratch = Scratch::new(
        r#"
axis "unit" { value "a" pack="one" }
target "object" over="unit.pack" { run "echo > $OUT/o"; output "o" }
target "pack" { gather "object" into="in/{unit}"; run "true"; output "pack" }
"#,
    );
    let error = scratch.forge("plan").ends_with(1).error_text();
    assert!(error.contains("'{unit}' has no value here"), "{error}");
}

#[test]
fn on_one_core_the_next_action_waits_for_the_end_of_the_last() {
    let values: String = (0..40).map(|unit| format!("\"u{unit}\" ")).collect();
    let scratch = Scratch::new(&format!(
        r#"
axis "unit" {{ value {values} }}
target "alone" over="unit" image="bare" {{
    run "mkdir ../../../../../busy; echo {{unit}} > $OUT/o; rmdir ../../../../../busy"
    output "o"
}}
"#
    ));
    scratch.ok("run --jobs 1").says("40 run");
}

#[test]
fn a_bare_action_sees_the_machine_and_has_a_key_of_its_own() {
    let mut scratch = Scratch::new(
        r#"
target "t" image="bare" {
    run "cat ../../../../../beside > $OUT/o; echo said; echo \"${FORGE_SECRET:-no secret} $LANG\" >> $OUT/o"
    output "o"
}
"#,
    );
    scratch.env("FORGE_SECRET", "secret");
    scratch.write("beside", "beside\n");
    let (done, events) = scratch.run_with_events("");
    done.ends_with(0);
    assert!(events.of("node-line").any(|line| line["line"] == "said"), "{events:?}");
    assert_eq!(scratch.output_file("t", "o"), "beside\nno secret C.UTF-8\n");
    let key = scratch.plan("t").keys()["t"].clone();
    scratch.edit("Buildfile.kdl", " image=\"bare\"", "");
    assert_ne!(scratch.plan("t").keys()["t"], key);
    assert!(scratch.scratch_files().is_empty(), "{:?}", scratch.scratch_files());
}

#[test]
fn nothing_is_mounted_without_a_sandbox() {
    let scratch = Scratch::new(
        "target \"t\" image=\"bare\" { files \"Buildfile.kdl\" at=\"/src\"; run \"true\"; output \"o\" }\n",
    );
    let error = scratch.forge("plan").ends_with(1).error_text();
    assert!(error.contains("nothing is mounted where there is no sandbox"), "{error}");
}

/// Runs targets each of which fails, and looks for what is said of them.
fn fails(targets: &str, said: &[&str]) {
    let scratch = Scratch::new(targets);
    let done = scratch.forge("run --keep-going").ends_with(3);
    for text in said {
        assert!(done.stderr.contains(text), "no '{text}' in {}", done.stderr);
    }
    scratch.assert_no_action();
}

#[test]
fn a_bare_action_fails_with_its_code_its_signal_and_its_timeout() {
    fails(
        r#"
target "code" image="bare" { run "echo why; exit 7"; output "o" }
target "signal" image="bare" { run "kill -9 $$"; output "o" }
target "lacking" image="bare" { run "true"; output "o" }
target "late" image="bare" { env "N" "@NAME@"; run "sleep 600 & sleep 600"; output "o"; timeout "1s" }
"#,
        &["exit code 7", "SIGKILL", "output 'o' was not made", "killed after its timeout", "why"],
    );
}

#[test]
fn a_command_that_needs_no_shell_sees_what_the_shell_would_show_it() {
    let scratch = Scratch::new(
        r#"
target "alone" image="bare" { env "TWO" "two words"; run "/usr/bin/env > $OUT/o"; output "o" }
target "shell" image="bare" { env "TWO" "two words"; run "/usr/bin/env > $OUT/o;"; output "o" }
target "words" image="bare" { env "TWO" "two words"; run "/usr/bin/printf %s, \"$TWO\" '$TWO' $HOSTNAME > $OUT/o"; output "o" }
"#,
    );
    scratch.ok("run").says("3 run");
    let of = |target: &str| -> Vec<String> {
        let text = scratch.output_file(target, "o");
        // Each has a stage of its own, or not.
        let mut lines: Vec<_> =
            text.lines().map(|line| line.split("/scratch/").next().unwrap().to_owned()).collect();
        lines.sort();
        lines
    };
    assert_eq!(of("alone"), of("shell"));
    assert!(of("alone").contains(&"TWO=two words".to_owned()));
    assert_eq!(scratch.output_file("words", "o"), "two words,$TWO,forge,");
}

#[test]
fn a_command_that_needs_no_shell_fails_as_it_does_in_one() {
    fails(
        r#"
target "code" image="bare" { run "cat no-file"; output "o" }
target "signal" image="bare" { run "sh -c 'kill -9 $$'"; output "o" }
target "none" image="bare" { run "no-such-program"; output "o" }
target "unread" image="bare" { run "cat < no-input > $OUT/o"; output "o" }
target "late" image="bare" { env "N" "@NAME@"; run "sleep 600"; output "o"; timeout "1s" }
"#,
        &[
            "exit code 1",
            "no-file: No such file",
            "SIGKILL",
            "exit code 127",
            "no-such-program: not found",
            "exit code 2",
            "cannot open no-input",
            "killed after its timeout",
        ],
    );
}

#[test]
fn what_a_bare_action_leaves_behind_ends_with_it_and_with_an_interrupt() {
    let scratch = Scratch::new(
        r#"
target "left" image="bare" { env "N" "@NAME@"; run "sleep 600 & echo > $OUT/o"; output "o" }
target "long" image="bare" { env "N" "@NAME@"; run "sleep 600; echo > $OUT/o"; output "o" }
"#,
    );
    scratch.ok("run left").says("1 run");
    scratch.assert_no_action();
    let running = scratch.start("run long --events events.jsonl");
    scratch.wait_until("the action", || scratch.has_action());
    running.signal(rustix::process::Signal::INT);
    let (code, time) = running.end();
    assert_eq!(code, Some(130));
    assert!(time < Duration::from_secs(60));
    scratch.assert_no_action();
}
