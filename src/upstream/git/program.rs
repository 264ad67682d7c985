use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::objects::{self, Listed};
use crate::digest::Digest;
use crate::store::{LocalStore, StoreError};

/// Variables that would make git look at another repository than the one it is told of.
const FOREIGN: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];

/// Where the fetched tag stands in the scratch repository.
const FETCHED: &str = "refs/forge/source";

/// The program `git`.
#[derive(Clone, Copy, Debug)]
pub struct Git {
    /// How long listing tags may take.
    pub listing: Duration,
    /// How long fetching one tag may take.
    pub fetching: Duration,
}

impl Default for Git {
    fn default() -> Self {
        Self { listing: Duration::from_secs(120), fetching: Duration::from_secs(3600) }
    }
}

/// A tag of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its name, without `refs/tags/`.
    pub name: String,
    /// The commit it leads to, hexadecimal.
    pub commit: String,
}

/// A commit's files in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GitSource {
    /// The tree.
    pub tree: Digest,
    /// When it was committed, seconds since 1970.
    pub date: u64,
}

/// Why git did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no such program.
    #[error(
        "git is not installed, or not in PATH, and this upstream is a git repository: install the package git"
    )]
    Absent,
    /// It was given up.
    #[error("{url} did not answer `git {command}` within {} seconds", patience.as_secs())]
    Silent {
        /// The repository.
        url: String,
        /// What git was to do.
        command: &'static str,
        /// For how long it was waited.
        patience: Duration,
    },
    /// It ended badly.
    #[error("`git {command}` of {url}: {said}")]
    Failed {
        /// The repository.
        url: String,
        /// What git was to do.
        command: &'static str,
        /// What it said of that.
        said: String,
    },
    /// It said what git does not say.
    #[error("`git {command}` of {url} said something that is not understood: '{line}'")]
    Unexpected {
        /// The repository.
        url: String,
        /// What git was to do.
        command: &'static str,
        /// The odd line.
        line: String,
    },
    /// A tag leads to another commit than it did.
    #[error("tag {tag} of {url} was at commit {expected} and is at {found}")]
    Moved {
        /// The repository.
        url: String,
        /// The tag.
        tag: String,
        /// The commit it was at.
        expected: String,
        /// The commit it is at.
        found: String,
    },
    /// The commit holds what a source tree cannot.
    #[error("{url}, commit {commit}: '{path}' {reason}")]
    Unfit {
        /// The repository.
        url: String,
        /// The commit.
        commit: String,
        /// The path in it.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Git {
    /// The tags of the repository at `url`, sorted by name. A tag object is followed to its commit.
    pub fn tags(&self, url: &str) -> Result<Vec<Tag>, GitError> {
        let call = Call { url, command: "ls-remote", patience: self.listing };
        let mut git = git(None);
        git.args(["ls-remote", "--tags", "--", url]);
        let told = call.run(git)?;
        let mut tags: BTreeMap<&str, &str> = BTreeMap::new();
        for line in told.lines() {
            let (commit, name) = line
                .split_once('\t')
                .and_then(|(commit, name)| Some((commit, name.strip_prefix("refs/tags/")?)))
                .filter(|(commit, _)| is_object_name(commit))
                .ok_or_else(|| call.unexpected(line))?;
            // The line of what a tag object leads to comes after that of the object itself.
            tags.insert(name.strip_suffix("^{}").unwrap_or(name), commit);
        }
        let tag = |(name, commit): (&str, &str)| Tag { name: name.to_owned(), commit: commit.to_owned() };
        Ok(tags.into_iter().map(tag).collect())
    }

    /// Brings the files of a tag into the store, without what git keeps beside them. They are taken
    /// as they are in the repository: no filter and no attribute of git's changes them.
    pub fn source(&self, store: &LocalStore, url: &str, tag: &Tag) -> Result<GitSource, GitError> {
        let scratch = store.scratch()?;
        let repository = scratch.path().join("git");
        let call = Call { url, command: "fetch", patience: self.fetching };
        let mut init = git(None);
        init.args(["init", "--quiet", "--bare", "--template="]).arg(&repository);
        call.run(init)?;
        self.fetch(&call, &repository, &tag.name)?;
        let mut parse = git(Some(&repository));
        parse.args(["rev-parse", "--verify", "--quiet", &format!("{FETCHED}^{{commit}}")]);
        let found = call.run(parse)?.trim().to_owned();
        if found != tag.commit {
            let (url, tag, expected) = (url.to_owned(), tag.name.clone(), tag.commit.clone());
            return Err(GitError::Moved { url, tag, expected, found });
        }
        let mut show = git(Some(&repository));
        show.args(["cat-file", "commit", &found]);
        let commit = call.run(show)?;
        let date = objects::committed(&commit).ok_or_else(|| call.unexpected(first_line(&commit)))?;
        let listed = self.listed(&call, &repository, &found)?;
        Ok(GitSource { tree: objects::take(store, &repository, &listed, &call)?, date })
    }

    fn fetch(&self, call: &Call<'_>, repository: &Path, tag: &str) -> Result<(), GitError> {
        let fetch = |depth: &[&str]| {
            let mut git = git(Some(repository));
            git.args(["-c", "gc.auto=0", "-c", "maintenance.auto=false", "fetch", "--quiet", "--no-tags"]);
            git.args(["--no-write-fetch-head", "--no-recurse-submodules"]).args(depth);
            git.args(["--", call.url, &format!("+refs/tags/{tag}:{FETCHED}")]);
            call.run(git)
        };
        match fetch(&["--depth=1"]) {
            // A repository that is served as plain files cannot be fetched in part.
            Err(GitError::Failed { said, .. }) if said.contains("shallow") => fetch(&[]).map(drop),
            done => done.map(drop),
        }
    }

    fn listed(&self, call: &Call<'_>, repository: &Path, commit: &str) -> Result<Vec<Listed>, GitError> {
        let mut list = git(Some(repository));
        list.args(["ls-tree", "-r", "-z", "--full-tree", commit]);
        let told = call.run(list)?;
        let entries = told.split_terminator('\0').map(|line| {
            let listed = Listed::read(line).ok_or_else(|| call.unexpected(line))?;
            match listed.fault() {
                None => Ok(listed),
                Some(reason) => Err(GitError::Unfit {
                    url: call.url.to_owned(),
                    commit: commit.to_owned(),
                    path: listed.path,
                    reason,
                }),
            }
        });
        entries.collect()
    }
}

/// git without questions, and with messages that can be told apart.
pub(super) fn git(repository: Option<&Path>) -> Command {
    let mut command = Command::new("git");
    for name in FOREIGN {
        command.env_remove(name);
    }
    command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").stdin(Stdio::null());
    if let Some(repository) = repository {
        command.arg(git_dir(repository));
    }
    command
}

fn git_dir(repository: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from("--git-dir=");
    argument.push(repository);
    argument
}

fn is_object_name(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What git is called for, as errors tell it.
pub(super) struct Call<'a> {
    pub url: &'a str,
    pub command: &'static str,
    pub patience: Duration,
}

impl Call<'_> {
    pub fn unexpected(&self, line: &str) -> GitError {
        GitError::Unexpected { url: self.url.to_owned(), command: self.command, line: line.to_owned() }
    }

    pub fn failed(&self, said: impl Into<String>) -> GitError {
        GitError::Failed { url: self.url.to_owned(), command: self.command, said: said.into() }
    }

    pub fn spawn(&self, command: &mut Command) -> Result<Child, GitError> {
        command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GitError::Absent,
            _ => StoreError::io("run", PathBuf::from("git"))(error).into(),
        })
    }

    /// Runs git to its end, and gives what it printed.
    fn run(&self, mut command: Command) -> Result<String, GitError> {
        let mut child = self.spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        // What is told is read beside the waiting: a full pipe would hold git up.
        let told = read_aside(child.stdout.take());
        let complaints = read_aside(child.stderr.take());
        let status = self.wait(&mut child)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        match status.success() {
            true => String::from_utf8(told.recv().unwrap_or_default())
                .map_err(|error| self.unexpected(&text(error.into_bytes()))),
            false => Err(self.failed(complaint(&text(complaints.recv().unwrap_or_default()), status))),
        }
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, GitError> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let status = child.try_wait().map_err(StoreError::io("wait for", PathBuf::from("git")))?;
            if let Some(status) = status {
                return Ok(status);
            }
            if started.elapsed() > self.patience {
                let _ = child.kill();
                let _ = child.wait();
                let (url, command, patience) = (self.url.to_owned(), self.command, self.patience);
                return Err(GitError::Silent { url, command, patience });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

/// A helper of git's that outlives it may hold a pipe open: so nobody joins this thread.
fn read_aside(from: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

/// What matters of what git complained.
fn complaint(told: &str, status: ExitStatus) -> String {
    let lines: Vec<&str> = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let serious =
        |line: &&str| ["fatal:", "error:", "remote:", "ssh:"].iter().any(|word| line.starts_with(word));
    let told: Vec<&str> = lines.iter().copied().filter(serious).collect();
    match (told.is_empty(), lines.is_empty()) {
        (false, _) => told.join("; "),
        (true, false) => lines.join("; "),
        (true, true) => format!("it ended with {status}"),
    }
}

/// A file with what git is to read.
pub(super) fn input(path: &Path, text: &str) -> Result<File, StoreError> {
    fs::write(path, text).map_err(StoreError::io("write", path))?;
    File::open(path).map_err(StoreError::io("open", path))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
