//! A new patch release on real source: a git repository on loopback has the trees of two releases of OTP and
//! gets one more tag. What follows from it is planned, built and published, and nothing else; a system
//! that had the older package upgrades.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use forge::store::LocalStore;

use super::super::git_daemon::GitDaemon;
use super::project::{Project, Server, System};

/// Added to the project's Buildfile, `PORT` being the git server's.
const PROFILE: &str = r#"
profile "follow" base="quick" lock="follow.lock" {
    choose elixir="1.18.3" distro="debian-12" arch="amd64" otp=">=25"
    upstream "otp" {
        git "git://127.0.0.1:PORT/otp" tag="OTP-{version}"
        keep majors=2
    }
}
"#;

const OTHER: &str = "25.2.3";
const OLD: &str = "27.3.4.1";
const NEW: &str = "27.3.4.2";
/// When they were released: it is part of what they are built to.
const DATES: [(&str, &str); 3] =
    [(OTHER, "2026-11-26T04:33:29Z"), (OLD, "2026-11-26T04:34:44Z"), (NEW, "2026-11-26T05:08:04Z")];

#[test]
fn one_more_tag_builds_its_own_and_an_installed_system_upgrades() {
    let mut project = Project::new("quick");
    let upstream = Upstream::new(&project);
    upstream.release(OTHER, &source(&project, OTHER));
    upstream.release(OLD, &source(&project, OLD));
    project.append("Buildfile.kdl", &PROFILE.replace("PORT", &upstream.daemon.port.to_string()));
    project.profile = "follow";
    project.forge(&["update"]);
    project.forge(&["run", "publish", "--events", "first.json"]);
    let first = project.built_nodes("first.json");
    assert!(planned(&project).is_empty(), "{:?}", planned(&project));

    let server = Server::start(&project.path().join("public"));
    let repository = format!("http://127.0.0.1:{}/apt/27", server.port);
    let key = project.path().join("public/apt/27/key.asc");
    let system = System::new(project.path().join("system"), "bookworm", &repository, &key);
    system.apt_get("update");
    system.apt_get("install elixir");
    assert!(last_of(&system).contains("function_clause"));

    upstream.release(NEW, &patched(&source(&project, OLD), &project.path().join("patched")));
    let lock = fs::read(project.path().join("follow.lock")).unwrap();
    let plan = planned(&project);
    assert!(plan.iter().any(|node| *node == erlang(NEW)), "{plan:?}");
    assert!(plan.iter().all(|node| is_of_27(node)), "{plan:?}");
    assert_eq!(fs::read(project.path().join("follow.lock")).unwrap(), lock, "a plan writes no lock");

    project.forge(&["update"]);
    project.forge(&["run", "publish", "--events", "second.json"]);
    let second = project.built_nodes("second.json");
    assert_eq!(of(&second, "erlang"), [erlang(NEW)].into());
    assert!(second.is_subset(&plan), "built and not planned: {:?}", second.difference(&plan));
    assert!(second.iter().all(|node| is_of_27(node)), "{second:?}");
    println!("{} nodes were built first, {} for the new tag: {second:#?}", first.len(), second.len());

    system.apt_get("update");
    let upgrade = system.apt_get("upgrade");
    assert!(upgrade.contains("esl-erlang"), "{upgrade}");
    assert_eq!(last_of(&system), "3");
    let versions = system.run("apt-cache madison esl-erlang");
    assert!(versions.contains(OLD) && versions.contains(NEW), "both can be installed: {versions}");
}

/// What the change of the new release is seen by.
fn last_of(system: &System) -> String {
    system.run("erl -noshell -eval 'io:format(\"~0p\", [catch lists:nth(-1, [1, 2, 3])]), halt().'")
}

fn erlang(version: &str) -> String {
    format!("erlang[otp={version},distro=debian-12,arch=amd64]")
}

fn of(nodes: &BTreeSet<String>, target: &str) -> BTreeSet<String> {
    nodes.iter().filter(|node| node.split('[').next() == Some(target)).cloned().collect()
}

/// Nothing that stands for the other major release.
fn is_of_27(node: &str) -> bool {
    !node.contains("otp=25") && !node.contains("otp.major=25")
}

/// What would be done with what is upstream now.
fn planned(project: &Project) -> BTreeSet<String> {
    let plan = project.forge(&["plan", "publish", "--update", "--json"]);
    let plan: serde_json::Value =
        serde_json::from_str(&plan[plan.find('{').unwrap()..=plan.rfind('}').unwrap()]).unwrap();
    let steps = plan["steps"].as_array().unwrap().iter().filter(|step| step["verdict"] != "hit");
    steps.map(|step| step["node"].as_str().unwrap().to_owned()).collect()
}

/// The source of a release, from the archive.
fn source(project: &Project, version: &str) -> PathBuf {
    let selection = format!("otp={version}");
    let node = format!("otp.source[otp={version}]");
    project.forge_in("quick", &["update", &selection]);
    project.forge_in("quick", &["run", &node, &selection]);
    let why = project.forge_in("quick", &["why", "--json", &node, &selection]);
    let why: serde_json::Value = serde_json::from_str(why.trim()).unwrap();
    let store = LocalStore::open(project.store()).unwrap();
    let result = store.result(why["key"].as_str().unwrap().parse().unwrap()).unwrap();
    store.checkout(result.outputs["src"]).unwrap()
}

/// The release after `old`, with one change of what a function does.
fn patched(old: &Path, new: &Path) -> PathBuf {
    succeed(Command::new("cp").arg("-a").args([old, new]));
    succeed(Command::new("chmod").args(["-R", "u+w"]).arg(new));
    let change = |path: &str, from: &str, to: &str| {
        let text = fs::read_to_string(new.join(path)).unwrap();
        assert!(text.contains(from), "{path} has no '{from}'");
        fs::write(new.join(path), text.replacen(from, to, 1)).unwrap();
    };
    change("OTP_VERSION", OLD, NEW);
    change("lib/stdlib/vsn.mk", "6.2.2.1", "6.2.2.2");
    change(
        "lib/stdlib/src/lists.erl",
        "\nnth(1, [H|_]) -> H;",
        "\nnth(-1, L) -> last(L);\nnth(1, [H|_]) -> H;",
    );
    new.to_owned()
}

/// A git repository on loopback, and its working copy.
struct Upstream {
    repository: PathBuf,
    daemon: GitDaemon,
}

impl Upstream {
    fn new(project: &Project) -> Self {
        let base = project.path().join("git");
        let repository = base.join("otp");
        fs::create_dir_all(&repository).unwrap();
        let upstream = Self { repository, daemon: GitDaemon::start(&base) };
        upstream.git(&["init", "--quiet", "--initial-branch=main"]);
        upstream
    }

    /// Commits the tree and tags it.
    fn release(&self, version: &str, tree: &Path) {
        self.git(&["rm", "-r", "--quiet", "--ignore-unmatch", "."]);
        succeed(Command::new("cp").arg("-a").arg(tree.join(".")).arg(&self.repository));
        // git keeps no empty directory: upstream's repository has this file where its archive has one.
        let tree = walkdir::WalkDir::new(&self.repository).into_iter();
        let tree = tree.filter_entry(|entry| entry.file_name() != ".git").map(Result::unwrap);
        for directory in tree.filter(|entry| entry.file_type().is_dir()) {
            if fs::read_dir(directory.path()).unwrap().next().is_none() {
                fs::write(directory.path().join(".gitignore"), "").unwrap();
            }
        }
        // What upstream's own release archive holds and its repository does not is part of it here.
        self.git(&["add", "--all", "--force"]);
        let (_, date) = DATES.iter().find(|(of, _)| *of == version).unwrap();
        succeed(self.command(&["commit", "--quiet", "-m", version]).env("GIT_COMMITTER_DATE", date));
        self.git(&["tag", "-a", "-m", version, &format!("OTP-{version}")]);
    }

    fn git(&self, words: &[&str]) {
        succeed(&mut self.command(words));
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut git = Command::new("git");
        let identity = ["-c", "user.name=Upstream", "-c", "user.email=upstream@example.org"];
        git.current_dir(&self.repository).args(identity).args(["-c", "core.autocrlf=false"]).args(words);
        git
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
