//! A project of this repository's own Buildfile, and the systems its packages are installed on.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A copy of what the repository holds, built by one of its profiles.
pub struct Project {
    dir: tempfile::TempDir,
    pub profile: &'static str,
    store: PathBuf,
}

impl Project {
    /// With a key to sign with, and a store of its own unless FORGE_REAL_STORE names one that several share.
    pub fn new(profile: &'static str) -> Self {
        let dir = tempfile::Builder::new().prefix("forge-real-").tempdir().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["Buildfile.kdl", "targets", "dockerfiles"] {
            let copied = Command::new("cp").arg("-r").arg(here.join(name)).arg(dir.path()).status().unwrap();
            assert!(copied.success());
        }
        let store = std::env::var_os("FORGE_REAL_STORE").map_or(dir.path().join("cache"), PathBuf::from);
        let project = Self { dir, profile, store };
        project.forge(&["key", "new", "keys/archive.asc", "--user-id", "Real Input <test@localhost>"]);
        project
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Takes the result of a key away: what has it is run again.
    pub fn forget(&self, key: &str) {
        let (room, rest) = key.split_at(2);
        fs::remove_file(self.store.join("results").join(room).join(rest)).unwrap();
    }

    pub fn try_forge(&self, arguments: &[&str]) -> Output {
        self.call(self.profile, arguments)
    }

    fn call(&self, profile: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
        command.current_dir(self.path()).args(["--profile", profile]).args(arguments);
        command.env("FORGE_STORE", &self.store).env("NO_COLOR", "1").output().unwrap()
    }

    /// What forge prints, which ends well.
    pub fn forge(&self, arguments: &[&str]) -> String {
        let output = self.succeed(self.profile, arguments);
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// What forge prints on standard output with another profile.
    pub fn forge_in(&self, profile: &str, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.succeed(profile, arguments).stdout).into_owned()
    }

    fn succeed(&self, profile: &str, arguments: &[&str]) -> Output {
        let output = self.call(profile, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "forge {arguments:?}: {}\n{stderr}", output.status);
        output
    }

    /// The nodes that were run, by the events of a run.
    pub fn built_nodes(&self, events: &str) -> BTreeSet<String> {
        let text = fs::read_to_string(self.path().join(events)).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let started = events.filter(|event| event["event"] == "node-started");
        started.map(|event| event["node"].as_str().unwrap().to_owned()).collect()
    }

    /// The targets of these nodes.
    pub fn built(&self, events: &str) -> BTreeSet<String> {
        let nodes = self.built_nodes(events).into_iter();
        nodes.map(|node| node.split('[').next().unwrap().to_owned()).collect()
    }

    pub fn append(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(path, before + text).unwrap();
    }

    pub fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no '{from}'");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// The packages of the repository of a major release, by name.
    pub fn debs(&self, major: &str) -> Vec<PathBuf> {
        let pool = self.path().join("public/apt").join(major).join("pool");
        let files = walkdir::WalkDir::new(pool).sort_by_file_name().into_iter().map(|entry| entry.unwrap());
        let debs = files.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "deb"));
        debs.map(walkdir::DirEntry::into_path).collect()
    }
}

/// A minimal Debian that apt fills from a repository over HTTP and from the archive, and from nowhere else.
pub struct System {
    root: PathBuf,
}

impl System {
    /// The suite, below `root`, with a repository that is signed by `key`.
    pub fn new(root: PathBuf, suite: &str, repository: &str, key: &Path) -> Self {
        let mirror = archive();
        let made = Command::new("mmdebstrap")
            .args(["--quiet", "--mode=root", "--variant=minbase", suite])
            .arg(&root)
            .arg(&mirror)
            .output()
            .expect("mmdebstrap is needed: apt-get install mmdebstrap");
        assert!(made.status.success(), "mmdebstrap: {}", String::from_utf8_lossy(&made.stderr));
        fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).unwrap();
        fs::copy(key, root.join("etc/apt/keyrings/forge.asc")).unwrap();
        let own = format!("deb [signed-by=/etc/apt/keyrings/forge.asc] {repository} {suite} main");
        fs::write(root.join("etc/apt/sources.list"), format!("deb {mirror} {suite} main\n{own}\n")).unwrap();
        Self { root }
    }

    /// What a script prints that runs in it, and succeeds.
    pub fn run(&self, script: &str) -> String {
        let output =
            Command::new("chroot").arg(&self.root).args(["/bin/sh", "-euc", script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// Calls apt-get.
    pub fn apt_get(&self, words: &str) -> String {
        let options = "-o APT::Sandbox::User=root -y --no-install-recommends";
        self.run(&format!("DEBIAN_FRONTEND=noninteractive apt-get {options} {words}"))
    }
}

/// The archive that this machine's apt is configured with.
fn archive() -> String {
    let output = Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let uri = text.lines().find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    uri.expect("apt is configured with no Debian archive: see sources.list(5)").to_owned()
}

/// A directory served over HTTP on loopback.
pub struct Server {
    process: Child,
    pub port: u16,
}

impl Server {
    pub fn start(dir: &Path) -> Self {
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
