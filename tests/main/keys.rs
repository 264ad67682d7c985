use super::scratch::Scratch;

const BUILDFILE: &str = r#"
axis "os" {
    value "deb" init="systemd"
    value "rpm" init="systemd"
}
target "source" {
    files "src/**" into="."
    run "cp -r src $OUT/all; head -n 1 src/main > $OUT/first; chmod 644 $OUT/first"
    output "all" "first"
}
target "built" over="os" {
    use "source" output="first" into="first"
    env "OS" "{os}"
    env "INIT" "{os.init}"
    run "mkdir $OUT/o; { cat first/first; echo $OS $INIT; } > $OUT/o/built"
    output "o"
}
target "last" over="os" {
    use "built" into="built"
    run "mkdir $OUT/o; cat built/built > $OUT/o/last"
    output "o"
}
target "apart" {
    run "mkdir $OUT/o"
    output "o"
}
"#;

fn scratch() -> Scratch {
    let scratch = Scratch::new(BUILDFILE);
    scratch.write("src/main", "first\nsecond\n");
    scratch.write("src/tool", "tool\n");
    scratch.ok("run");
    scratch
}

#[test]
fn an_action_that_gives_the_same_bytes_stops_the_change() {
    let scratch = scratch();
    scratch.edit("src/main", "second", "other");
    let plan = scratch.plan("");
    assert_eq!((plan.verdict("source"), plan.verdict("built[os=deb]")), ("run", "unknown"));
    // The output 'all' differs, 'first' does not: only what uses 'all' would follow.
    let (done, events) = scratch.run_with_events("");
    done.ends_with(0).says("1 run");
    assert_eq!(events.nodes("node-started"), ["source"]);
    assert_eq!(events.outcome("built[os=deb]"), Some("hit"));
    assert_eq!(events.outcome("last[os=rpm]"), Some("hit"));
}

#[test]
fn a_rebuild_with_equal_outputs_is_told_as_unchanged() {
    let scratch = scratch();
    scratch.edit("Buildfile.kdl", "cp -r src $OUT/all", "true; cp -r src $OUT/all");
    let (done, events) = scratch.run_with_events("");
    done.ends_with(0).says("same    source");
    assert_eq!(events.outcome("source"), Some("unchanged"));
    assert_eq!(events.outcome("built[os=rpm]"), Some("hit"));
    assert_eq!(events.nodes("node-started"), ["source"]);
    assert!(scratch.ok("plan").stdout.starts_with("nothing to do"));
}

#[test]
fn what_means_the_same_has_the_same_keys() {
    let scratch = scratch();
    let keys = scratch.plan("").keys();
    assert!(keys.values().all(|key| key.len() == 64), "{keys:?}");
    let same = |scratch: &Scratch, how: &str| assert_eq!(scratch.plan("").keys(), keys, "{how}");

    scratch.write(
        "Buildfile.kdl",
        &format!("// A remark.\n{}", BUILDFILE.replace("    env", "    /* why */ env")),
    );
    same(&scratch, "comments");
    scratch.write("Buildfile.kdl", &BUILDFILE.replace("    ", "\t\t").replace("\n\t\tenv", "\n\n\n\t\tenv"));
    same(&scratch, "reformatted");
    let (axis, targets) = BUILDFILE.split_once("target").unwrap();
    let mut targets: Vec<&str> = targets.split("\ntarget").collect();
    targets.reverse();
    scratch.write("Buildfile.kdl", &format!("target{}\n{axis}", targets.join("\ntarget")));
    same(&scratch, "targets and axes in another order");
    let env = (
        "    env \"OS\" \"{os}\"\n    env \"INIT\" \"{os.init}\"\n",
        "    env \"INIT\" \"{os.init}\"\n    env \"OS\" \"{os}\"\n",
    );
    assert!(BUILDFILE.contains(env.0));
    scratch.write("Buildfile.kdl", &BUILDFILE.replace(env.0, env.1));
    same(&scratch, "variables in another order");
    scratch.write("Buildfile.kdl", &BUILDFILE.replace("\"all\" \"first\"", "\"first\" \"all\""));
    same(&scratch, "outputs in another order");
    scratch.write(
        "Buildfile.kdl",
        &BUILDFILE.replace("    run ", "    resources cpu=2\n    timeout \"1h\"\n    run "),
    );
    same(&scratch, "what it takes of the machine");
}

#[test]
fn the_machine_and_the_caller_are_not_in_the_key() {
    let mut scratch = scratch();
    let keys = scratch.plan("").keys();
    scratch.env("PATH", format!("/opt/elsewhere:{}", std::env::var("PATH").unwrap()));
    scratch.env("USER", "somebody");
    scratch.env("CFLAGS", "-O3");
    assert_eq!(scratch.plan("").keys(), keys);
    let other = Scratch::new(BUILDFILE);
    other.write("src/main", "first\nsecond\n");
    other.write("src/tool", "tool\n");
    other.set_mode("src/main", 0o600);
    other.ok("run --jobs 1");
    assert_eq!(other.plan("").keys(), keys, "in another directory, with another umask");
}

#[test]
fn everything_that_may_change_an_output_changes_its_key() {
    type Edit = (&'static str, fn(&Scratch));
    let edits: [Edit; 7] = [
        ("script", |s| s.edit("Buildfile.kdl", "cp -r src", "cp -a src")),
        ("environment", |s| {
            s.edit("Buildfile.kdl", "files \"src/**\"", "env \"A\" \"1\"\n    files \"src/**\"")
        }),
        ("content", |s| s.edit("src/main", "first", "1st")),
        ("executable bit", |s| s.set_mode("src/tool", 0o755)),
        ("name of a file", |s| std::fs::rename(s.path("src/tool"), s.path("src/tool2")).unwrap()),
        ("name of an output", |s| {
            s.edit("Buildfile.kdl", "output \"all\" \"first\"", "output \"whole\" \"first\"");
        }),
        ("network", |s| s.edit("Buildfile.kdl", "target \"source\"", "target \"source\" network=#true")),
    ];
    let scratch = scratch();
    let before = scratch.plan("").keys();
    for (what, edit) in edits {
        let changed = Scratch::new(BUILDFILE);
        changed.write("src/main", "first\nsecond\n");
        changed.write("src/tool", "tool\n");
        assert_eq!(changed.plan("").keys()["source"], before["source"]);
        edit(&changed);
        let after = changed.plan("").keys();
        assert_ne!(after["source"], before["source"], "{what}");
        assert_eq!(after["apart"], before["apart"], "{what}");
    }
}

#[test]
fn what_git_ignores_is_not_there() {
    let scratch = Scratch::new(
        r#"
target "all" {
    files "**" into="."
    run "mkdir $OUT/o; find . -type f | sort > $OUT/o/list"
    output "o"
}
"#,
    );
    scratch.write(".gitignore", "*.swp\ntarget/\n");
    scratch.write("a.txt", "a");
    scratch.write("x.swp", "swap");
    scratch.write("target/debug/x", "object");
    scratch.ok("run");
    let list = scratch.output_file("all", "list");
    assert_eq!(list, "./.gitignore\n./Buildfile.kdl\n./a.txt\n", "neither git's ignored files nor the store");
    let key = scratch.plan("").keys();
    std::fs::rename(scratch.path("x.swp"), scratch.path("y.swp")).unwrap();
    scratch.write("target/debug/y", "another");
    assert_eq!(scratch.plan("").keys(), key);
    scratch.write("b.txt", "b");
    assert_ne!(scratch.plan("").keys(), key);
}

#[test]
fn an_edit_while_the_action_runs_cannot_reach_it() {
    let scratch = Scratch::new(
        r#"
target "slow" {
    files "in.txt" into="."
    run "until [ -e /tmp/never ] || [ $((i=${i:-0}+1)) -gt 10 ]; do sleep 0.1; done; mkdir $OUT/o; cp in.txt $OUT/o"
    output "o"
}
target "after" {
    use "slow" into="slow"
    files "late.txt" into="."
    run "mkdir $OUT/o; cat slow/in.txt late.txt > $OUT/o/both"
    output "o"
}
"#,
    );
    scratch.write("in.txt", "before\n");
    scratch.write("late.txt", "planned\n");
    let run = scratch.start("run --events ev");
    scratch.await_event("ev", "node-started", "slow");
    std::thread::sleep(std::time::Duration::from_millis(300));
    scratch.write("in.txt", "edited while it runs\n");
    scratch.write("late.txt", "edited before it is taken\n");
    // What was planned is not there any more: that is no fault of the action, and is not remembered as such.
    assert_eq!(run.end().0, Some(3));
    assert!(scratch.read("out").contains("was edited since the plan was made"), "{}", scratch.read("out"));
    scratch.write("in.txt", "before\n");
    assert_eq!(scratch.output_file("slow", "in.txt"), "before\n");
    assert_eq!(scratch.plan("").verdict("after"), "run");
    scratch.ok("run");
    assert_eq!(scratch.output_file("after", "both"), "before\nedited before it is taken\n");
    scratch.write("in.txt", "edited while it runs\n");
    scratch.ok("run");
    assert_eq!(scratch.output_file("slow", "in.txt"), "edited while it runs\n");
}
