use super::scratch::Scratch;

fn scratch() -> Scratch {
    let scratch = Scratch::new(
        r#"
axis "os" {
    value "deb"
    value "rpm"
}
target "tool" {
    files "in.txt" into="."
    run "mkdir $OUT/o; cp in.txt $OUT/o"
    output "o"
}
target "app" over="os" {
    use "tool" into="tool"
    files "note.txt" into="."
    run "mkdir $OUT/o; cat tool/in.txt > $OUT/o/{os}"
    output "o"
}
"#,
    );
    scratch.write("in.txt", "one\n");
    scratch.write("note.txt", "late\n");
    scratch
}

fn names(value: &serde_json::Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_plan_as_json_has_the_documented_fields() {
    let scratch = scratch();
    let plan = scratch.plan("os=deb app").0;
    assert_eq!(names(&plan), ["goals", "profile", "repositories", "selection", "steps", "version"]);
    assert_eq!(plan["version"], 2);
    assert_eq!(plan["goals"], serde_json::json!(["app[os=deb]"]));
    assert_eq!(plan["selection"], serde_json::json!(["os=deb"]));
    let [tool, app] = plan["steps"].as_array().unwrap().as_slice() else { panic!("two steps") };
    assert_eq!(names(tool), ["cause", "changes", "key", "node", "outline", "place", "target", "verdict"]);
    assert_eq!((&tool["verdict"], &tool["cause"]), (&"run".into(), &"never built".into()));
    assert_eq!((&app["verdict"], &app["cause"]), (&"unknown".into(), &"waits for tool".into()));
    assert!(app["key"].is_null() && tool["key"].as_str().unwrap().len() == 64);

    scratch.ok("run");
    scratch.edit("in.txt", "one", "two");
    let step = scratch.plan("").step("tool").clone();
    assert_eq!(names(&step["changes"][0]), ["after", "before", "field", "paths"]);
    assert_eq!(step["changes"][0]["paths"], serde_json::json!(["in.txt"]));
    assert_eq!(step["changes"][0]["field"], "input.into .");
}

#[test]
fn a_run_does_what_the_plan_said() {
    let scratch = scratch();
    let plan = scratch.plan("");
    let (done, events) = scratch.run_with_events("");
    done.ends_with(0);
    assert_eq!(events.of("node-finished").next().unwrap()["key"], plan.key("tool").unwrap());
    let after = scratch.plan("");
    for event in events.of("node-finished") {
        assert_eq!(after.key(event["node"].as_str().unwrap()), event["key"].as_str());
    }
}

#[test]
fn a_saved_plan_is_applied_once_and_exactly() {
    let scratch = scratch();
    scratch.ok("plan --out saved.json os=rpm app");
    let (done, events) = scratch.run_with_events("--plan saved.json");
    done.ends_with(0);
    assert_eq!(events.nodes("node-started"), ["tool", "app[os=rpm]"]);
    let again = scratch.forge("run --plan saved.json").ends_with(1).error_text();
    assert!(
        again.contains("the world has moved since the plan was made: tool was 'run under key"),
        "{again}"
    );
    assert!(again.contains("and is 'hit under key"), "{again}");
}

#[test]
fn a_saved_plan_is_refused_when_the_world_has_moved() {
    for (file, from, to, difference) in [
        ("in.txt", "one", "two", "tool was 'run under key"),
        ("Buildfile.kdl", "cp in.txt", "cp -v in.txt", "tool was 'run under key"),
        ("Buildfile.kdl", "cat tool/in.txt", "cat < tool/in.txt", "app[os=deb] is another action"),
        ("note.txt", "late", "later", "app[os=deb] is another action"),
        ("Buildfile.kdl", "use \"tool\"", "use \"extra\"", "extra was not in it"),
    ] {
        let scratch = scratch();
        let extra =
            "target \"extra\" {\n    run \"mkdir $OUT/o; touch $OUT/o/in.txt\"\n    output \"o\"\n}\n";
        scratch.write("Buildfile.kdl", &(extra.to_owned() + &scratch.read("Buildfile.kdl")));
        scratch.ok("plan --out saved.json app");
        scratch.edit(file, from, to);
        let (done, events) = scratch.run_with_events("--plan saved.json");
        let said = done.ends_with(1).error_text();
        assert!(said.contains("the world has moved") && said.contains(difference), "{said}");
        assert!(events.0.is_empty(), "nothing was run");
    }
}

#[test]
fn files_that_are_not_there_are_told_by_the_plan_also_for_what_waits() {
    let scratch = scratch();
    std::fs::remove_file(scratch.path("note.txt")).unwrap();
    let said = scratch.forge("plan").ends_with(1).error_text();
    assert!(said.contains("no file below") && said.contains("matches note.txt"), "{said}");
}

#[test]
fn a_run_with_nothing_to_do_leaves_no_events_of_an_earlier_one() {
    let scratch = scratch();
    assert!(scratch.run_with_events("").1.nodes("node-started").contains(&"tool".to_owned()));
    let (done, events) = scratch.run_with_events("");
    done.ends_with(0);
    let kinds: Vec<_> = events.0.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["run-started", "run-finished"]);
    assert_eq!((&events.0[0]["hits"], &events.0[0]["runner"]), (&3.into(), &serde_json::Value::Null));
}

#[test]
fn a_file_that_is_no_plan_is_refused() {
    let scratch = scratch();
    scratch.write("torn.json", "{\"version\": 1, \"steps\": [");
    scratch.forge("run --plan torn.json").ends_with(1).says("forge plan --out");
    scratch.forge("run --plan absent.json").ends_with(1).says("absent.json");
    scratch.ok("plan --out saved.json");
    scratch.edit("saved.json", "\"version\": 2", "\"version\": 3");
    let said = scratch.forge("run --plan saved.json").ends_with(1).error_text();
    assert!(said.contains("it has version 3, and this forge writes 2"), "{said}");
}

#[test]
fn exit_codes_tell_whether_there_is_something_to_do() {
    let scratch = scratch();
    scratch.forge("plan").ends_with(0);
    scratch.forge("plan --exit-code").ends_with(2);
    scratch.ok("run");
    scratch.forge("plan --exit-code").ends_with(0);
    scratch.forge("plan --exit-code nothing").ends_with(1).says("nothing");
    scratch.forge("plan --no-such-flag").ends_with(1);
    scratch.forge("run --plan x --failed").ends_with(1);
    scratch.forge("").ends_with(1);
    scratch.forge("--help").ends_with(0);
    scratch.write("Buildfile.kdl", "target {");
    scratch.forge("plan --exit-code").ends_with(1);
}
