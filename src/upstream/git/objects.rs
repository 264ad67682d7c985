//! What is in a commit: read object by object, so that no setting of git's has a say in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use super::program::{Call, GitError, git, input};
use crate::digest::Digest;
use crate::store::{Entry, Ingest, Kind, LocalStore, StoreError, Tree};

/// One path of a commit, as `git ls-tree` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    mode: String,
    object: String,
    pub path: String,
}

impl Listed {
    /// Reads `mode SP type SP object TAB path`.
    pub fn read(line: &str) -> Option<Self> {
        let (head, path) = line.split_once('\t')?;
        let mut words = head.split(' ');
        let (mode, _kind, object) = (words.next()?, words.next()?, words.next()?);
        Some(Self { mode: mode.to_owned(), object: object.to_owned(), path: path.to_owned() })
    }

    /// Why it cannot be part of a source tree.
    pub fn fault(&self) -> Option<&'static str> {
        let is_sound = |part: &str| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git");
        match self.mode.as_str() {
            "160000" => Some(
                "is a submodule, and forge fetches none; name an archive of upstream's that has everything in it",
            ),
            _ if !self.path.split('/').all(is_sound) => Some("is no path for a file"),
            "100644" | "100664" | "100755" | "120000" => None,
            _ => Some("is neither a file nor a symbolic link"),
        }
    }
}

/// When a commit was made, by its text: `committer Name <address> seconds zone`.
pub fn committed(commit: &str) -> Option<u64> {
    let line = commit.lines().find_map(|line| line.strip_prefix("committer "))?;
    line.rsplit(' ').nth(1)?.parse().ok()
}

/// Stores the files, and gives their tree's digest.
pub fn take(
    store: &LocalStore,
    repository: &Path,
    listed: &[Listed],
    call: &Call<'_>,
) -> Result<Digest, GitError> {
    let blobs = repository.join("blobs");
    fs::create_dir(&blobs).map_err(StoreError::io("create", &blobs))?;
    let names: BTreeSet<&str> = listed.iter().map(|listed| listed.object.as_str()).collect();
    write_blobs(repository, &names, &blobs, call)?;
    // Links are told by their blob's bytes; the other blobs are given up to the store.
    let mut targets = BTreeMap::new();
    for link in listed.iter().filter(|listed| listed.mode == "120000") {
        let path = blobs.join(&link.object);
        targets.insert(&link.object, fs::read(&path).map_err(StoreError::io("read", &path))?);
    }
    let stored = store.ingest(&blobs, Ingest::Move)?;
    let mut entries = parents(listed);
    for Listed { mode, object, path } in listed {
        let unexpected = || call.unexpected(path);
        let entry = match mode.as_str() {
            "120000" => {
                let target = targets.get(object).cloned().and_then(|bytes| String::from_utf8(bytes).ok());
                let target = target.ok_or_else(unexpected)?;
                Entry { path: path.clone(), mode: 0o777, kind: Kind::Symlink { target } }
            }
            mode => {
                let kind = stored.get(object).ok_or_else(unexpected)?.kind.clone();
                let mode = if mode == "100755" { 0o755 } else { 0o644 };
                Entry { path: path.clone(), mode, kind }
            }
        };
        entries.push(entry);
    }
    Ok(store.put_tree(&Tree::new(entries))?)
}

/// git has no entries for directories; a tree has.
fn parents(listed: &[Listed]) -> Vec<Entry> {
    let mut dirs = BTreeSet::new();
    for Listed { path, .. } in listed {
        dirs.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
    }
    dirs.into_iter().map(|dir| Entry { path: dir.to_owned(), mode: 0o755, kind: Kind::Dir }).collect()
}

/// Writes every blob into a file of its name.
fn write_blobs(
    repository: &Path,
    names: &BTreeSet<&str>,
    to: &Path,
    call: &Call<'_>,
) -> Result<(), GitError> {
    let asked: String = names.iter().map(|name| format!("{name}\n")).collect();
    let asked = input(&repository.join("asked"), &asked)?;
    let mut command = git(Some(repository));
    command.args(["cat-file", "--batch"]).stdin(asked).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = call.spawn(&mut command)?;
    let done = match child.stdout.take() {
        Some(told) => read_blobs(BufReader::with_capacity(128 * 1024, told), names, to, call),
        None => Ok(()),
    };
    if done.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(StoreError::io("wait for", Path::new("git")))?;
    done?;
    status.success().then_some(()).ok_or_else(|| call.failed(format!("cat-file ended with {status}")))
}

/// Each blob comes as `name SP blob SP size LF bytes LF`.
fn read_blobs(
    mut told: impl BufRead,
    names: &BTreeSet<&str>,
    to: &Path,
    call: &Call<'_>,
) -> Result<(), GitError> {
    let broken = |error: io::Error| call.failed(format!("cat-file: {error}"));
    for name in names {
        let mut head = String::new();
        told.read_line(&mut head).map_err(broken)?;
        let size = head.trim_end().strip_prefix(*name).and_then(|rest| rest.strip_prefix(" blob "));
        let size: u64 =
            size.and_then(|size| size.parse().ok()).ok_or_else(|| call.unexpected(head.trim_end()))?;
        let path = to.join(name);
        let mut file = File::create(&path).map_err(StoreError::io("create", &path))?;
        let copied =
            io::copy(&mut told.by_ref().take(size), &mut file).map_err(StoreError::io("write", &path))?;
        let mut end = [0];
        told.read_exact(&mut end).map_err(broken)?;
        if copied != size || end != [b'\n'] {
            return Err(call.unexpected(head.trim_end()));
        }
    }
    Ok(())
}
