#![allow(dead_code, reason = "several test programs use it, each a part of it")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forge::digest::Digest;
use forge::store::{Kind, LocalStore};
use serde_json::Value;

/// How long anything here may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a Buildfile, and forge called in it.
pub struct Scratch {
    dir: tempfile::TempDir,
    environment: Vec<(String, String)>,
    /// What forge is called by, if it is not called as it is.
    launcher: Vec<&'static str>,
}

/// How a call of forge ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Scratch {
    /// `@NAME@` in the Buildfile becomes a name that no other test has: a target with it in
    /// its environment is found by [`Scratch::strays`].
    pub fn new(buildfile: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("forge-e2e-").tempdir().unwrap();
        let scratch = Self { dir, environment: Vec::new(), launcher: Vec::new() };
        scratch.write("Buildfile.kdl", &buildfile.replace("@NAME@", &scratch.name()));
        scratch
    }

    /// Calls forge with this variable from now on.
    pub fn env(&mut self, name: &str, value: impl ToString) {
        self.environment.push((name.to_owned(), value.to_string()));
    }

    /// From now on the kernel makes no namespaces for it, as in most containers.
    pub fn deny_namespaces(&mut self) {
        self.launcher = vec!["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"];
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    pub fn name(&self) -> String {
        self.dir.path().file_name().unwrap().to_string_lossy().into_owned()
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Replaces text that must be there.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has no '{from}'");
        self.write(path, &text.replace(from, to));
    }

    pub fn set_mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// forge with words that are set apart by spaces.
    pub fn command(&self, words: &str) -> Command {
        let forge = env!("CARGO_BIN_EXE_forge");
        let line: Vec<&str> = self.launcher.iter().copied().chain([forge]).collect();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]);
        command.args(words.split_whitespace()).current_dir(self.dir.path()).stdin(Stdio::null());
        let forges = ["FORGE_STORE", "FORGE_PROFILE", "FORGE_CACHE_ACCESS", "FORGE_RUNNER", "FORGE_ENGINES"];
        let others =
            ["SOURCE_DATE_EPOCH", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"];
        let dockers = ["DOCKER_CONFIG", "DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"];
        for name in forges.into_iter().chain(others).chain(dockers) {
            command.env_remove(name);
        }
        command.env("NO_COLOR", "1").envs(self.environment.iter().cloned());
        command
    }

    /// Runs forge to its end.
    pub fn forge(&self, words: &str) -> Done {
        let output = self.command(words).output().unwrap();
        Done {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs it, and it must end well.
    pub fn ok(&self, words: &str) -> Done {
        self.forge(words).ends_with(0)
    }

    /// Starts forge; what it prints goes to the file `out`.
    pub fn start(&self, words: &str) -> Running {
        let out = File::create(self.path("out")).unwrap();
        let mut command = self.command(words);
        command.stdout(out.try_clone().unwrap()).stderr(out);
        Running(command.spawn().unwrap())
    }

    /// `forge plan --json`.
    pub fn plan(&self, words: &str) -> Plan {
        let done = self.ok(&format!("plan --json {words}"));
        Plan(serde_json::from_str(&done.stdout).unwrap())
    }

    /// Runs forge with `--events`, and gives what is in the file.
    pub fn run_with_events(&self, words: &str) -> (Done, Events) {
        let done = self.forge(&format!("run --events events.jsonl {words}"));
        (done, self.events("events.jsonl"))
    }

    /// The events in a file. The last line may still be being written.
    pub fn events(&self, file: &str) -> Events {
        let text = fs::read_to_string(self.path(file)).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        Events(lines.map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// Waits for an event of a run under way.
    pub fn await_event(&self, file: &str, event: &str, node: &str) {
        self.wait_until(&format!("{event} of {node}"), || {
            self.events(file).nodes(event).iter().any(|n| n == node)
        });
    }

    pub fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let started = Instant::now();
        while !condition() {
            let out = fs::read_to_string(self.path("out")).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "waited in vain for {what}; forge said:\n{out}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Names and versions in a suite of a published repository, for any architecture.
    pub fn packages(&self, repository: &str, suite: &str) -> Vec<String> {
        let main = self.path(&format!("{repository}/dists/{suite}/main"));
        let indices = fs::read_dir(main).unwrap().map(|entry| entry.unwrap().path().join("Packages"));
        let texts = indices.filter_map(|index| fs::read_to_string(index).ok());
        let mut packages = Vec::new();
        for text in texts.collect::<Vec<_>>().concat().split("\n\n").filter(|text| !text.is_empty()) {
            let field = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"))
            };
            packages.push(format!("{} {}", field("Package: "), field("Version: ")));
        }
        packages.sort();
        packages.dedup();
        packages
    }

    pub fn store(&self) -> LocalStore {
        LocalStore::open(self.path("cache")).unwrap()
    }

    /// The trees of a node's outputs, as the store has them under the key of now.
    pub fn outputs(&self, node: &str) -> BTreeMap<String, Digest> {
        let key = self.plan(node).keys()[node].parse().expect("the inputs are known");
        self.store().result(key).unwrap_or_else(|| panic!("{node} has a result")).outputs
    }

    /// The text of one file of a node's only output.
    pub fn output_file(&self, node: &str, path: &str) -> String {
        let store = self.store();
        let tree = store.tree(*self.outputs(node).values().next().unwrap()).unwrap();
        let Kind::File { object, .. } = tree.get(path).expect(path).kind else { panic!("{path} is no file") };
        String::from_utf8(store.get(object).unwrap()).unwrap()
    }

    /// Processes that have this directory's name on their command line or in their environment.
    fn strays(&self) -> Vec<Stray> {
        let name = self.name();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let found = processes.filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let [command, environment] = ["cmdline", "environ"].map(|file| {
                let bytes = fs::read(process.path().join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            });
            let is_action = environment.contains(&name);
            (environment.contains(&name) || command.contains(&name)).then_some(Stray {
                pid,
                command,
                is_action,
            })
        });
        found.collect()
    }

    /// Whether a process of an action that has `@NAME@` in its environment is alive.
    pub fn has_action(&self) -> bool {
        self.strays().iter().any(|stray| stray.is_action)
    }

    fn assert_gone(&self, is_meant: impl Fn(&Stray) -> bool) {
        let started = Instant::now();
        while let Some(stray) = self.strays().into_iter().find(&is_meant) {
            assert!(started.elapsed() < Duration::from_secs(10), "left behind: {stray:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// No process of any action is left.
    pub fn assert_no_action(&self) {
        self.assert_gone(|stray| stray.is_action);
    }

    /// No process is left.
    pub fn assert_no_process(&self) {
        self.assert_gone(|_| true);
    }

    /// Nobody has the store open. A process that forge forked and that has started nothing yet holds for a moment all that
    /// its parent held, also where that was killed.
    pub fn assert_store_let_go(&self) {
        let lease = self.path("cache/locks/store");
        if !lease.exists() {
            return;
        }
        let lease = File::open(lease).unwrap();
        self.wait_until("the end of all that hold the store", || lease.try_lock().is_ok());
    }

    /// What is in the store's scratch room.
    pub fn scratch_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("cache/scratch")).unwrap();
        entries.flatten().map(|entry| entry.path()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for stray in self.strays() {
            let pid = rustix::process::Pid::from_raw(stray.pid).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// A process that belongs to a test.
#[derive(Debug)]
#[allow(dead_code, reason = "what a failure prints")]
struct Stray {
    pid: i32,
    command: String,
    /// Something of an action, not of its runner.
    is_action: bool,
}

impl Done {
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard error must hold this.
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no '{text}' in:\n{}", self.stderr);
        self
    }

    /// Standard error, or one fault's box, without line breaks: a narrow box may break a sentence.
    pub fn error_text(&self) -> String {
        let plain = self.stderr.replace(['│', '×', '╰', '─', '▶', '·'], " ");
        plain.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A forge under way. It is killed if the test fails before its end.
pub struct Running(Child);

impl Running {
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits for the end; gives the exit code, and how long that took.
    pub fn end(mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        while !self.is_over() {
            assert!(started.elapsed() < PATIENCE, "forge does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        (self.0.wait().unwrap().code(), started.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `forge plan --json` told.
#[derive(Debug, PartialEq)]
pub struct Plan(pub Value);

impl Plan {
    pub fn step(&self, node: &str) -> &Value {
        let steps = self.0["steps"].as_array().unwrap();
        steps.iter().find(|step| step["node"] == node).unwrap_or_else(|| panic!("no {node} in {}", self.0))
    }

    pub fn verdict(&self, node: &str) -> &str {
        self.step(node)["verdict"].as_str().unwrap()
    }

    pub fn key(&self, node: &str) -> Option<&str> {
        self.step(node)["key"].as_str()
    }

    /// The keys of all nodes by name.
    pub fn keys(&self) -> BTreeMap<String, String> {
        let steps = self.0["steps"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or("not known").to_owned();
        steps.map(|step| (text(&step["node"]), text(&step["key"]))).collect()
    }
}

/// The lines of an events file.
#[derive(Debug)]
pub struct Events(pub Vec<Value>);

impl Events {
    pub fn of(&self, event: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |line| line["event"] == event)
    }

    /// The nodes of all events of a kind, in order.
    pub fn nodes(&self, event: &str) -> Vec<String> {
        self.of(event).map(|line| line["node"].as_str().unwrap().to_owned()).collect()
    }

    /// How a node ended well; `None` if it did not.
    pub fn outcome(&self, node: &str) -> Option<&str> {
        self.of("node-finished").find(|line| line["node"] == node)?["outcome"].as_str()
    }

    /// The place of an event among all.
    pub fn place(&self, event: &str, node: &str) -> usize {
        self.place_of(node, |line| line["event"] == event)
    }

    /// The place of a line that a node printed.
    pub fn line(&self, node: &str, text: &str) -> usize {
        self.place_of(node, |line| line["event"] == "node-line" && line["line"] == text)
    }

    fn place_of(&self, node: &str, is_meant: impl Fn(&Value) -> bool) -> usize {
        let place = self.0.iter().position(|line| line["node"] == node && is_meant(line));
        place.unwrap_or_else(|| panic!("no such event of {node} in {:?}", self.0))
    }
}

/// Every file below a directory, by its path: its bytes, or where it links to.
pub fn files_below(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| !entry.file_type().is_dir()).map(|entry| {
        let path = entry.path().strip_prefix(dir).unwrap().display().to_string();
        let bytes = match entry.file_type().is_symlink() {
            true => fs::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes(),
            false => fs::read(entry.path()).unwrap(),
        };
        (path, bytes)
    });
    files.collect()
}
