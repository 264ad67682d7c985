use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command as Process;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::engine::Engine;
use crate::digest::Digest;
use crate::runner::stage::blocking;
use crate::runner::{Command, Docker, Outcome, Root, RunError, Runner, RunnerKind};
use crate::store::{Entry, Kind, LocalStore, Tree};

/// A store with a root tree in it: a static busybox and the directories a system has.
pub(super) struct Fixture {
    pub(super) store: Arc<LocalStore>,
    pub(super) root: Digest,
    dir: tempfile::TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalStore::open(dir.path().join("cache")).unwrap());
        let root = store.put_tree(&busybox_root(&store)).unwrap();
        Self { store, root, dir }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn command(&self, script: &str) -> Command {
        Command {
            root: Root::Tree(self.root),
            script: script.to_owned(),
            env: BTreeMap::new(),
            mounts: vec![],
            copies: vec![],
            outputs: vec![],
            network: false,
            source_date_epoch: 1_700_000_000,
            jobs: 3,
            cpus: None,
            memory: None,
            timeout: None,
            platform: "linux/amd64".to_owned(),
        }
    }

    /// Stores a tree of files, by path and text.
    pub(super) fn tree(&self, files: &[(&str, &str)]) -> Digest {
        let entries = files.iter().map(|(path, text)| {
            let object = self.store.put(text.as_bytes()).unwrap();
            file(path, 0o644, object, text.len())
        });
        self.store.put_tree(&Tree::new(entries.collect())).unwrap()
    }

    /// Runs it to its end.
    pub(super) async fn run(&self, runner: &Runner, command: &Command) -> Result<Outcome, RunError> {
        let (_cancel, never) = watch::channel(false);
        runner.run(command, &self.store, |_| {}, never).await
    }

    /// What a command that must succeed wrote.
    pub(super) async fn said(&self, runner: &Runner, command: &Command) -> String {
        match self.run(runner, command).await {
            Ok(outcome) => self.text(outcome.log),
            Err(error) => panic!("{}: {error}\n{}", runner.name(), self.log_of(&error)),
        }
    }

    pub(super) fn text(&self, object: Digest) -> String {
        String::from_utf8(self.store.get(object).unwrap()).unwrap()
    }

    pub(super) fn log_of(&self, error: &RunError) -> String {
        match error {
            RunError::Failed { log, .. }
            | RunError::MissingOutput { log, .. }
            | RunError::UnfitOutput { log, .. } => {
                String::from_utf8_lossy(&self.store.get(*log).unwrap()).into_owned()
            }
            _ => String::new(),
        }
    }

    /// Nothing of any action may be left where actions work.
    pub(super) fn assert_nothing_left(&self) {
        let room = self.store.root().join("scratch");
        // Where the store stages objects, and where a runner lays out its next command, is their own: of that they keep
        // directories and the files that every command has.
        const KEPT: [&str; 12] = [
            "lock",
            "forge",
            "forge/work",
            "forge/out",
            "forge/home",
            "forge/script",
            "etc",
            "etc/hosts",
            "etc/hostname",
            "etc/resolv.conf",
            "log",
            "root",
        ];
        let left =
            walkdir::WalkDir::new(&room).min_depth(1).into_iter().map(Result::unwrap).filter(|entry| {
                let path = entry.path().strip_prefix(&room).unwrap();
                let own = path.components().next().unwrap().as_os_str().to_str().unwrap();
                let within = path.strip_prefix(own).unwrap();
                let is_ours = own.starts_with("staging-") || own.starts_with("stage-");
                let is_spare = within.starts_with("spares") && entry.file_type().is_dir();
                let is_kept = within == Path::new("") || KEPT.iter().any(|kept| within == Path::new(kept));
                let is_empty_log = within != Path::new("log") || entry.metadata().unwrap().len() == 0;
                !is_ours || !(is_kept || is_spare) || !is_empty_log
            });
        let left: Vec<_> = left.map(walkdir::DirEntry::into_path).collect();
        assert!(left.is_empty(), "left in scratch: {left:?}");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let root = self.store.root().to_str().unwrap();
        assert!(!mounts.contains(root), "a mount is left in {root}: {mounts}");
    }
}

/// All runners, the last one an engine that sees nothing of this machine's files. A test that
/// cannot have them fails and says what to install.
pub(super) async fn all() -> [Runner; 3] {
    [sandbox().await, docker().await, Runner::Docker(elsewhere().await)]
}

pub(super) async fn elsewhere() -> Docker {
    let address = blocking(Engine::shared).await.parse().unwrap();
    Docker::open_at(address).await.unwrap_or_else(|error| panic!("{error}"))
}

pub(super) async fn sandbox() -> Runner {
    chosen(RunnerKind::Sandbox).await
}

pub(super) async fn docker() -> Runner {
    chosen(RunnerKind::Docker).await
}

async fn chosen(kind: RunnerKind) -> Runner {
    match Runner::choose(Some(kind)).await {
        Ok((runner, _)) => runner,
        Err(error) => panic!("this test needs the {kind} runner: {error}"),
    }
}

/// For what only root's sandbox can: be any user, and make control groups.
pub(super) fn needs_root() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root: run the tests as root");
}

/// How many processes on this machine sleep for `seconds`, a number that only one test uses.
/// A container's are seen too.
pub(super) fn alive(seconds: &str) -> usize {
    let line = format!("sleep\0{seconds}\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.filter(|found| found == line.as_bytes()).count()
}

/// Waits for what must come true within a minute.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) fn file(path: &str, mode: u32, object: Digest, size: usize) -> Entry {
    Entry { path: path.to_owned(), mode, kind: Kind::File { object, size: size as u64 } }
}

fn busybox_root(store: &LocalStore) -> Tree {
    let busybox = busybox();
    let object = store.put(&busybox.bytes).unwrap();
    let mut entries = vec![file("usr/bin/busybox", 0o755, object, busybox.bytes.len())];
    for dir in ["dev", "etc", "proc", "root", "tmp", "usr", "usr/bin", "usr/lib", "var"] {
        entries.push(Entry { path: dir.to_owned(), mode: 0o755, kind: Kind::Dir });
    }
    let link = |path: String, target: &str| {
        let kind = Kind::Symlink { target: target.to_owned() };
        Entry { path, mode: 0o777, kind }
    };
    entries.extend(busybox.applets.iter().map(|name| link(format!("usr/bin/{name}"), "busybox")));
    entries.push(link("bin".to_owned(), "usr/bin"));
    entries.push(link("lib".to_owned(), "/usr/lib"));
    let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";
    let group = "root:x:0:\nwheel:x:10:root\nnogroup:x:65534:\n";
    for (path, text) in [("etc/passwd", passwd), ("etc/group", group)] {
        entries.push(file(path, 0o644, store.put(text.as_bytes()).unwrap(), text.len()));
    }
    Tree::new(entries)
}

struct Busybox {
    bytes: Vec<u8>,
    applets: Vec<String>,
}

fn busybox() -> &'static Busybox {
    static BUSYBOX: OnceLock<Busybox> = OnceLock::new();
    BUSYBOX.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let script = "apt-get download -q busybox-static && dpkg-deb -x busybox-static_*.deb .";
        let got = Process::new("sh").args(["-ec", script]).current_dir(dir.path()).output().unwrap();
        assert!(
            got.status.success(),
            "this test needs a static busybox; `apt-get download busybox-static` said: {}",
            String::from_utf8_lossy(&got.stderr)
        );
        let binary = ["bin/busybox", "usr/bin/busybox"].map(|path| dir.path().join(path));
        let binary = binary.iter().find(|path| path.exists()).expect("the package has a busybox");
        let applets = Process::new(binary).arg("--list").output().unwrap().stdout;
        let applets = String::from_utf8(applets).unwrap();
        let applets = applets.lines().filter(|name| *name != "busybox").map(str::to_owned).collect();
        Busybox { bytes: fs::read(binary).unwrap(), applets }
    })
}
