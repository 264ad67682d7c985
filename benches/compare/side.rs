//! How each side is called.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use crate::graph::shape::Shape;

/// A directory in which all sides work on the same graph.
pub struct Place {
    dir: PathBuf,
}

/// All places so far. They stay until everything is measured: filesystems are slower for a while where much was removed.
static PLACES: Mutex<Vec<tempfile::TempDir>> = Mutex::new(Vec::new());

/// Whoever has it removes all places at its end, however that comes.
pub struct Leaving;

impl Drop for Leaving {
    fn drop(&mut self) {
        PLACES.lock().unwrap().clear();
    }
}

impl Place {
    pub fn new() -> Self {
        let place = tempfile::Builder::new().prefix("forge-bench-").tempdir().unwrap();
        let dir = place.path().to_owned();
        PLACES.lock().unwrap().push(place);
        Self { dir }
    }

    /// A graph for forge and for ninja, around whose commands `wrap` is put.
    pub fn of(shape: Shape, wrap: impl Fn(&str) -> String) -> Self {
        let place = Self::new();
        shape.write_sources(place.root());
        shape.write_buildfile(place.root());
        shape.write_ninja(place.root(), wrap);
        place
    }

    /// All of its nodes are built, by both.
    pub fn built(shape: Shape) -> Self {
        let place = Self::of(shape, str::to_owned);
        place.forge(&["run"], "");
        place.tool(&["ninja"], "");
        // The first plan with nothing to do learns what it is by.
        place.forge(&["run"], "nothing to do");
        place
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.join(relative)
    }

    pub fn root(&self) -> &Path {
        &self.dir
    }

    /// forge with these words; it has to end well, and to say `said`.
    pub fn forge(&self, words: &[&str], said: &str) {
        self.run(Command::new(env!("CARGO_BIN_EXE_forge")).args(words), said);
    }

    /// Another tool, likewise.
    pub fn tool(&self, words: &[&str], said: &str) {
        self.run(Command::new(words[0]).args(&words[1..]), said);
    }

    /// What a command prints that has to end well.
    pub fn output(&self, words: &[&str]) -> String {
        self.tool(words, "");
        fs::read_to_string(self.path("told")).unwrap()
    }

    /// Peak memory in bytes of a command that has to end well.
    pub fn memory(&self, words: &[&str]) -> u64 {
        let report = self.path("memory");
        let mut command = Command::new("/usr/bin/time");
        command.args(["-f", "%M", "-o", report.to_str().unwrap()]).args(words);
        self.run(&mut command, "");
        fs::read_to_string(report).unwrap().trim().parse::<u64>().unwrap() << 10
    }

    fn run(&self, command: &mut Command, said: &str) {
        // A pipe would take its time; what is said is read from a file.
        let told = self.path("told");
        let file = File::create(&told).unwrap();
        command.current_dir(self.root()).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        for name in ["FORGE_STORE", "FORGE_PROFILE", "FORGE_CACHE_ACCESS", "FORGE_RUNNER", "FORGE_ENGINES"] {
            command.env_remove(name);
        }
        let status = command.status().unwrap_or_else(|error| panic!("{command:?}, see benches/run: {error}"));
        let text = || fs::read_to_string(&told).unwrap_or_default();
        assert!(status.success(), "{command:?}: {}", text());
        assert!(said.is_empty() || text().contains(said), "{command:?} did not say '{said}': {}", text());
    }

    /// What is there is there no more. It is moved and not removed, either.
    pub fn set_aside(&self, relative: &str) {
        let aside = self.path("aside");
        fs::create_dir_all(&aside).unwrap();
        let count = fs::read_dir(&aside).unwrap().count();
        let path = self.path(relative);
        let moved = fs::rename(&path, aside.join(count.to_string()));
        assert!(moved.is_ok() || !path.exists(), "{}", path.display());
    }
}

/// What prepares nothing.
pub fn nothing() {}

pub fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

pub fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// The path of forge.
pub const FORGE: &str = env!("CARGO_BIN_EXE_forge");

/// How long after `started` a file was written.
pub fn written_after(file: &Path, started: SystemTime) -> Duration {
    let written = fs::metadata(file).and_then(|metadata| metadata.modified()).unwrap();
    // The clock of files has ticks.
    written.duration_since(started).unwrap_or_default()
}
