//! The main job on real input: Erlang/OTP and Elixir from source, published, installed by real apt over HTTP
//! on a clean system; then again, changed, on the other runner, and past lintian.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use super::project::{Project, Server, System};

#[test]
fn erlang_and_elixir_from_source_to_a_system_that_runs_them() {
    let project = Project::new("quick");
    project.forge(&["update"]);
    project.forge(&["run", "publish", "--events", "first.json"]);
    let all = [
        "apt",
        "apt-latest",
        "candidate",
        "clean",
        "elixir",
        "elixir-lang",
        "elixir.source",
        "erlang",
        "erlang-solutions",
        "esl-erlang",
        "esl-erlang.depends",
        "esl-keyring",
        "hardening",
        "install",
        "install-elixir",
        "otp.source",
        "publish",
        "toolchain",
    ];
    assert_eq!(targets(&project, "first.json"), all.map(str::to_owned).into());

    nothing_is_done_twice(&project);
    real_apt_installs_them(&project);
    lintian_finds_no_error(&project);
    a_description_rebuilds_its_package_alone(&project);
    docker_gives_the_same_bytes(&project);
}

/// What was run, but for the steps that let a package into an index: two indices take the same packages, and
/// it is all one which of them is let through first.
fn targets(project: &Project, events: &str) -> BTreeSet<String> {
    let built = project.built(events).into_iter();
    built.filter(|target| !target.contains(".for-")).collect()
}

fn nothing_is_done_twice(project: &Project) {
    assert!(project.try_forge(&["plan", "publish", "--exit-code"]).status.success());
    assert!(project.forge(&["run", "publish"]).contains("nothing to do"));
    project.replace("Buildfile.kdl", "axis \"otp\" from=\"otp\"", "// a remark\naxis  \"otp\"  from=\"otp\"");
    assert!(project.try_forge(&["plan", "publish", "--exit-code"]).status.success());
}

fn a_description_rebuilds_its_package_alone(project: &Project) {
    // What is published never changes under its name, so the iteration goes up with it.
    let file = "targets/elixir.kdl";
    project.replace(file, "Elixir runs on the Erlang virtual machine", "Elixir runs on the Erlang emulator");
    project.replace(file, "epoch=1 iteration=\"1\"", "epoch=1 iteration=\"2\"");
    project.forge(&["run", "publish", "--events", "second.json"]);
    let expected = ["apt", "apt-latest", "candidate", "elixir", "install", "install-elixir", "publish"];
    assert_eq!(targets(project, "second.json"), expected.map(str::to_owned).into());
}

fn docker_gives_the_same_bytes(project: &Project) {
    let goals = ["esl-erlang", "elixir"];
    // The other store starts with the downloads of the first, and with none of its results.
    for room in ["objects", "sha256"] {
        fs::create_dir_all(project.path().join("cache-docker")).unwrap();
        let from = project.store().join(room);
        let to = project.path().join("cache-docker").join(room);
        assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    }
    let docker = ["--store", "cache-docker"];
    project.forge(&[&["run", "--runner", "docker"][..], &goals, &docker].concat());
    for goal in ["erlang", "elixir-lang", "esl-erlang", "elixir"] {
        let node = node_of(project, goal);
        let output = |store: &[&str]| {
            let why = project.forge(&[&["why", "--json", &node][..], store].concat());
            let why: serde_json::Value = serde_json::from_str(why.trim()).unwrap();
            assert_eq!(why["verdict"], "hit", "{node}");
            why["action"].clone()
        };
        // An action names every tree that it was given by its content: the image that was made a second
        // time, what OTP and Elixir were built to, and what the dependency generator found.
        assert_eq!(output(&[]), output(&docker), "{node} is made of other bytes on the other runner");
    }
}

fn node_of(project: &Project, target: &str) -> String {
    let graph = project.forge(&["graph", "--json", target]);
    let graph: serde_json::Value = serde_json::from_str(&graph).unwrap();
    let nodes = graph["nodes"].as_array().unwrap();
    let node = nodes.iter().find(|node| node["target"] == target).unwrap();
    node["name"].as_str().unwrap().to_owned()
}

pub fn lintian_finds_no_error(project: &Project) {
    let output = Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error", "--tag-display-limit", "0"])
        .args(project.debs("27"))
        .output()
        .expect("lintian is needed: apt-get install lintian");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "lintian: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.lines().any(|line| line.starts_with("E:")), "{text}");
}

fn real_apt_installs_them(project: &Project) {
    let public = project.path().join("public");
    let server = Server::start(&public);
    let repository = format!("http://127.0.0.1:{}/apt/27", server.port);
    let root = project.path().join("system");
    let system = System::new(root, "bookworm", &repository, &public.join("apt/27/key.asc"));
    system.apt_get("update");
    system.apt_get("install elixir");
    let policy = system.run("apt-cache policy esl-erlang elixir");
    assert_eq!(policy.matches(&repository).count(), 2, "{policy}");
    let erlang = "{ok, _} = application:ensure_all_started(ssl), io:format(\"~p\", [byte_size(crypto:strong_rand_bytes(16))]), halt().";
    assert_eq!(system.run(&format!("erl -noshell -eval '{erlang}'")), "16");
    assert_eq!(system.run("elixir -e 'IO.puts(Enum.sum(1..10))'").trim(), "55");
}
