use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ignore::WalkBuilder;
use rayon::prelude::*;

use super::PlanError;
use crate::digest::Digest;
use crate::graph::LocalFiles;
use crate::store::{Entry, Ingest, Kind, LocalStore, StatCache, StoreError, Tree};

/// Local files as trees, each set of globs read once per run.
pub struct LocalTrees<'a> {
    stats: &'a StatCache,
    known: RefCell<HashMap<LocalFiles, Rc<LocalTree>>>,
}

/// What globs matched, and the tree it makes.
pub struct LocalTree {
    base: PathBuf,
    paths: Vec<PathBuf>,
    tree: Tree,
    /// The digest of the tree; it is not in the store until [`LocalTree::store`].
    pub digest: Digest,
}

impl<'a> LocalTrees<'a> {
    /// Digests come from `stats` where it knows them.
    pub fn new(stats: &'a StatCache) -> Self {
        Self { stats, known: RefCell::default() }
    }

    /// The tree of `files` as they are now.
    pub fn get(&self, files: &LocalFiles) -> Result<Rc<LocalTree>, PlanError> {
        if let Some(tree) = self.known.borrow().get(files) {
            return Ok(tree.clone());
        }
        let tree = Rc::new(self.read(files)?);
        self.known.borrow_mut().insert(files.clone(), tree.clone());
        Ok(tree)
    }

    fn read(&self, files: &LocalFiles) -> Result<LocalTree, PlanError> {
        let paths = matching(files)?;
        if paths.is_empty() {
            return Err(PlanError::NoFiles { base: files.base.clone(), globs: files.globs.join(" ") });
        }
        let entries =
            paths.par_iter().map(|path| entry(&files.base, path, self.stats)).collect::<Result<_, _>>()?;
        let tree = Tree::new(entries);
        let digest = tree.digest();
        Ok(LocalTree { base: files.base.clone(), paths, tree, digest })
    }

    /// The tree `digest`, if it was read here.
    pub fn tree(&self, digest: Digest) -> Option<Tree> {
        self.known.borrow().values().find(|local| local.digest == digest).map(|local| local.tree.clone())
    }
}

impl LocalTree {
    /// Puts the files into the store. What an action sees is this copy, so an edit while it
    /// runs cannot reach it; an edit since the plan is noticed here.
    pub fn store(&self, store: &LocalStore) -> Result<Digest, StoreError> {
        let tree = normalized(store.ingest_paths(&self.base, self.paths.clone(), Ingest::Copy)?);
        let digest = store.put_tree(&tree)?;
        match digest == self.digest {
            true => Ok(digest),
            false => Err(StoreError::Unsupported {
                path: self.base.clone(),
                reason: "a source file was edited since the plan was made; run again",
            }),
        }
    }
}

/// Files and links that match, sorted. Nothing in a directory that is marked as a cache does.
fn matching(files: &LocalFiles) -> Result<Vec<PathBuf>, PlanError> {
    let globs = glob_set(&files.globs)?;
    let prefixes: Vec<PathBuf> = files.globs.iter().map(|glob| plain_prefix(glob)).collect();
    let base = files.base.clone();
    let mut paths = Vec::new();
    // Only git's own rules count: neither hidden files nor the user's global settings decide
    // what is built.
    let walk = WalkBuilder::new(&files.base)
        .hidden(false)
        .ignore(false)
        .git_global(false)
        .git_exclude(false)
        .require_git(false)
        .filter_entry(move |entry| {
            let relative = entry.path().strip_prefix(&base).unwrap_or(entry.path());
            let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
            let may_match = |prefix: &PathBuf| relative.starts_with(prefix) || prefix.starts_with(relative);
            entry.file_name() != ".git"
                && (!is_dir || prefixes.iter().any(may_match))
                && !(is_dir && entry.depth() > 0 && is_cache(entry.path()))
        })
        .build();
    for entry in walk {
        let entry = entry?;
        let relative = entry.path().strip_prefix(&files.base).unwrap_or(entry.path());
        let is_dir = entry.file_type().is_none_or(|kind| kind.is_dir());
        if !is_dir && globs.is_match(relative) {
            paths.push(entry.into_path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The directories that a glob names before its first wildcard: nothing beside them can match.
fn plain_prefix(glob: &str) -> PathBuf {
    let is_plain = |part: &&str| !part.contains(['*', '?', '[', ']', '{', '}', '\\', '!']);
    glob.split('/').take_while(is_plain).collect()
}

/// A cache, such as forge's own store, is nobody's source (<https://bford.info/cachedir/>).
fn is_cache(dir: &Path) -> bool {
    const SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";
    let mut start = [0; SIGNATURE.len()];
    let read = fs::File::open(dir.join("CACHEDIR.TAG")).and_then(|mut tag| tag.read_exact(&mut start));
    read.is_ok() && start == SIGNATURE
}

fn glob_set(globs: &[String]) -> Result<GlobSet, PlanError> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let invalid =
            |error: globset::Error| PlanError::Glob { glob: glob.clone(), reason: error.to_string() };
        set.add(GlobBuilder::new(glob).literal_separator(true).build().map_err(invalid)?);
    }
    set.build().map_err(|error| PlanError::Glob { glob: globs.join(" "), reason: error.to_string() })
}

fn entry(base: &Path, path: &Path, stats: &StatCache) -> Result<Entry, StoreError> {
    let unsupported = |reason| StoreError::Unsupported { path: path.to_owned(), reason };
    let relative = path.strip_prefix(base).unwrap_or(path);
    let name = relative.to_str().ok_or_else(|| unsupported("the name is not UTF-8"))?.to_owned();
    let metadata = fs::symlink_metadata(path).map_err(StoreError::io("read", path))?;
    if metadata.is_symlink() {
        let target = fs::read_link(path).map_err(StoreError::io("read", path))?;
        let target = target.to_str().ok_or_else(|| unsupported("the link's target is not UTF-8"))?.to_owned();
        return Ok(Entry { path: name, mode: 0o777, kind: Kind::Symlink { target } });
    }
    let (object, size) = stats.digest(path)?;
    let mode = normal_mode(metadata.permissions().mode());
    Ok(Entry { path: name, mode, kind: Kind::File { object, size } })
}

/// Of a checkout's modes only the executable bit is meant; the rest is the user's umask.
fn normal_mode(mode: u32) -> u32 {
    if mode & 0o111 != 0 { 0o755 } else { 0o644 }
}

fn normalized(tree: Tree) -> Tree {
    let entries = tree.entries().iter().map(|entry| match entry.kind {
        Kind::File { .. } => Entry { mode: normal_mode(entry.mode), ..entry.clone() },
        _ => entry.clone(),
    });
    Tree::new(entries.collect())
}
