//! The main job on real input: Erlang/OTP and Elixir from source, published, installed by real apt over HTTP
//! on a clean system; then again, changed, on the other runner, and past lintian. Takes about a quarter of
//! an hour on two cores.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const PROFILE: &str = "quick";

struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    /// What the repository holds of it, and a key.
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("first-light-").tempdir().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["Buildfile.kdl", "targets", "dockerfiles"] {
            let copied = Command::new("cp").arg("-r").arg(here.join(name)).arg(dir.path()).status().unwrap();
            assert!(copied.success());
        }
        let project = Self { dir };
        project.forge(&["key", "new", "keys/archive.asc", "--user-id", "First Light <test@localhost>"]);
        project
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn try_forge(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
        command.current_dir(self.path()).args(["--profile", PROFILE]).args(arguments).env("NO_COLOR", "1");
        command.output().unwrap()
    }

    fn forge(&self, arguments: &[&str]) -> String {
        let output = self.try_forge(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "forge {arguments:?}: {}\n{stderr}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned() + &stderr
    }

    /// The targets whose nodes were run, by the events of a run.
    fn built(&self, events: &str) -> BTreeSet<String> {
        let text = fs::read_to_string(self.path().join(events)).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let started = events.filter(|event| event["event"] == "node-started");
        started.map(|event| event["node"].as_str().unwrap().split('[').next().unwrap().to_owned()).collect()
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no '{from}'");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// The published packages, by name.
    fn debs(&self) -> Vec<PathBuf> {
        let pool = self.path().join("public/apt/27/pool");
        let files = walkdir::WalkDir::new(pool).sort_by_file_name().into_iter().map(|entry| entry.unwrap());
        let debs = files.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "deb"));
        debs.map(walkdir::DirEntry::into_path).collect()
    }
}

#[test]
fn erlang_and_elixir_from_source_to_a_system_that_runs_them() {
    let project = Project::new();
    project.forge(&["update"]);
    project.forge(&["run", "publish", "--events", "first.json"]);
    let all = [
        "apt",
        "candidate",
        "clean",
        "elixir",
        "elixir-lang",
        "elixir.for-apt",
        "elixir.source",
        "erlang",
        "esl-erlang",
        "esl-erlang.depends",
        "esl-erlang.for-apt",
        "hardening",
        "install",
        "install-elixir",
        "otp.source",
        "publish",
        "toolchain",
    ];
    assert_eq!(project.built("first.json"), all.map(str::to_owned).into());

    nothing_is_done_twice(&project);
    real_apt_installs_them(&project);
    lintian_finds_no_error(&project);
    a_description_rebuilds_its_package_alone(&project);
    docker_gives_the_same_bytes(&project);
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
    let expected = ["apt", "candidate", "elixir", "elixir.for-apt", "install", "install-elixir", "publish"]
        .map(str::to_owned);
    assert_eq!(project.built("second.json"), expected.into());
}

fn docker_gives_the_same_bytes(project: &Project) {
    let goals = ["esl-erlang", "elixir"];
    // The other store starts with the downloads of the first, and with none of its results.
    for room in ["objects", "sha256"] {
        fs::create_dir_all(project.path().join("cache-docker")).unwrap();
        let from = project.path().join("cache").join(room);
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

fn lintian_finds_no_error(project: &Project) {
    let output = Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error", "--tag-display-limit", "0"])
        .args(project.debs())
        .output()
        .expect("lintian is needed: apt-get install lintian");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "lintian: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.lines().any(|line| line.starts_with("E:")), "{text}");
}

/// A minimal bookworm that apt fills from the repository over HTTP and from the archive, and from nowhere else.
fn real_apt_installs_them(project: &Project) {
    let mirror = archive();
    let root = project.path().join("system");
    let made = Command::new("mmdebstrap")
        .args(["--quiet", "--mode=root", "--variant=minbase", "bookworm"])
        .arg(&root)
        .arg(&mirror)
        .output()
        .expect("mmdebstrap is needed: apt-get install mmdebstrap");
    assert!(made.status.success(), "mmdebstrap: {}", String::from_utf8_lossy(&made.stderr));
    let server = Server::start(&project.path().join("public"));
    let repository = format!("http://127.0.0.1:{}/apt/27", server.port);
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).unwrap();
    fs::copy(project.path().join("public/apt/27/key.asc"), root.join("etc/apt/keyrings/forge.asc")).unwrap();
    fs::write(
        root.join("etc/apt/sources.list"),
        format!("deb {mirror} bookworm main\ndeb [signed-by=/etc/apt/keyrings/forge.asc] {repository} bookworm main\n"),
    )
    .unwrap();
    let inside = |script: &str| {
        let output = Command::new("chroot").arg(&root).args(["/bin/sh", "-euc", script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    inside("apt-get -o APT::Sandbox::User=root update");
    inside(
        "DEBIAN_FRONTEND=noninteractive apt-get -o APT::Sandbox::User=root install -y --no-install-recommends elixir",
    );
    let policy = inside("apt-cache policy esl-erlang elixir");
    assert_eq!(policy.matches(&repository).count(), 2, "{policy}");
    let erlang = "{ok, _} = application:ensure_all_started(ssl), io:format(\"~p\", [byte_size(crypto:strong_rand_bytes(16))]), halt().";
    assert_eq!(inside(&format!("erl -noshell -eval '{erlang}'")), "16");
    assert_eq!(inside("elixir -e 'IO.puts(Enum.sum(1..10))'").trim(), "55");
}

/// The archive that this machine's apt is configured with.
fn archive() -> String {
    let output = Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let uri = text.lines().find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    uri.expect("apt is configured with no Debian archive: see sources.list(5)").to_owned()
}

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("python3")
            .args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string(), "--directory"])
            .arg(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is needed: apt-get install python3");
        let server = Self { process, port };
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the HTTP server does not start");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
