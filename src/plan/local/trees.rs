use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rayon::prelude::*;

use super::dirs::{LocalDir, LocalDirs};
use crate::digest::Digest;
use crate::graph::LocalFiles;
use crate::plan::PlanError;
use crate::store::{Entry, Ingest, Kind, LocalStore, Sighting, StatCache, StoreError, Tree};

/// Local files as trees, each set of globs, each directory and each file looked at once per run.
pub struct LocalTrees<'a> {
    stats: &'a StatCache,
    dirs: LocalDirs,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    by_files: HashMap<LocalFiles, Arc<LocalTree>>,
    /// Of all of them; made when one is asked for by its digest.
    by_digest: OnceLock<HashMap<Digest, Arc<LocalTree>>>,
}

impl Known {
    fn add(&mut self, files: &LocalFiles, tree: Arc<LocalTree>) {
        self.by_files.insert(files.clone(), tree);
        self.by_digest.take();
    }

    fn by_digest(&self, digest: Digest) -> Option<&Arc<LocalTree>> {
        let all = || self.by_files.values().map(|tree| (tree.digest, tree.clone())).collect();
        self.by_digest.get_or_init(all).get(&digest)
    }
}

/// What globs matched, and the tree it makes.
pub struct LocalTree {
    base: PathBuf,
    paths: Vec<PathBuf>,
    /// Of each path, before it was read.
    sightings: Vec<Sighting>,
    tree: Tree,
    /// The digest of the tree; it is not in the store until [`LocalTree::store`].
    pub digest: Digest,
}

impl<'a> LocalTrees<'a> {
    /// Digests come from `stats` where it knows them.
    pub fn new(stats: &'a StatCache) -> Self {
        Self { stats, dirs: LocalDirs::default(), known: RwLock::default() }
    }

    /// The tree of `files` as they are now.
    pub fn get(&self, files: &LocalFiles) -> Result<Arc<LocalTree>, PlanError> {
        if let Some(tree) = self.known().by_files.get(files) {
            return Ok(tree.clone());
        }
        let tree = Arc::new(self.read(files)?);
        self.known_mut().add(files, tree.clone());
        Ok(tree)
    }

    /// Reads all these at the same time. What is wrong with one is told to whoever gets it.
    pub fn prepare(&self, all: &[&LocalFiles]) {
        let read = all.par_iter().map(|files| Some((*files, Arc::new(self.read(files).ok()?))));
        let read: Vec<_> = read.collect();
        let mut known = self.known_mut();
        known.by_files.reserve(read.len());
        read.into_iter().flatten().for_each(|(files, tree)| known.add(files, tree));
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, files: &LocalFiles) -> Result<LocalTree, PlanError> {
        let base = self.dirs.base(&files.base)?;
        let paths = self.matching(&base, files)?;
        let look = |(name, path): (String, PathBuf)| {
            let seen = self.entry(name, &path)?;
            Ok(seen.map(|(sighting, entry)| (path, sighting, entry)))
        };
        let entries = match paths.len() {
            // Many nodes take one file.
            1 => paths.into_iter().map(look).collect::<Result<Vec<_>, StoreError>>()?,
            _ => paths.into_par_iter().map(look).collect::<Result<Vec<_>, StoreError>>()?,
        };
        let (mut paths, mut sightings, mut tree) = (Vec::new(), Vec::new(), Vec::new());
        for (path, sighting, entry) in entries.into_iter().flatten() {
            paths.push(path);
            sightings.push(sighting);
            tree.push(entry);
        }
        if paths.is_empty() {
            return Err(PlanError::NoFiles { base: files.base.to_path_buf(), globs: files.globs.join(" ") });
        }
        let tree = Tree::new(tree);
        let digest = tree.digest();
        Ok(LocalTree { base: base.path().to_owned(), paths, sightings, tree, digest })
    }

    /// The names of files and links that match, and where they may be. A glob without wildcards needs no search.
    fn matching(
        &self,
        base: &Arc<LocalDir>,
        files: &LocalFiles,
    ) -> Result<Vec<(String, PathBuf)>, PlanError> {
        let (plain, globs): (Vec<&String>, Vec<&String>) = files.globs.iter().partition(|glob| is_path(glob));
        let mut paths = Vec::new();
        for name in plain {
            match self.dirs.file(base, name)? {
                Some(path) => paths.push((name.clone(), path)),
                None => self.dirs.missed(base.path().join(name)),
            }
        }
        if !globs.is_empty() {
            let set = glob_set(&globs)?;
            let prefixes: Vec<PathBuf> = globs.iter().map(|glob| plain_prefix(glob)).collect();
            let may_hold = |dir: &str| {
                let dir = Path::new(dir);
                prefixes.iter().any(|prefix| dir.starts_with(prefix) || prefix.starts_with(dir))
            };
            let found = |name: &str, path| {
                if set.is_match(name) {
                    paths.push((name.to_owned(), path));
                }
            };
            self.dirs.walk(base, may_hold, found)?;
        }
        paths.sort_by(|(a, _), (b, _)| a.cmp(b));
        paths.dedup_by(|(a, _), (b, _)| a == b);
        Ok(paths)
    }

    /// What is at a path; `None` where nothing is, or a directory.
    fn entry(&self, name: String, path: &Path) -> Result<Option<(Sighting, Entry)>, StoreError> {
        let unsupported = |reason| StoreError::Unsupported { path: path.to_owned(), reason };
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Ok(None),
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.dirs.missed(path.to_owned());
                return Ok(None);
            }
            Err(error) => return Err(StoreError::io("read", path)(error)),
        };
        path.to_str().ok_or_else(|| unsupported("the name is not UTF-8"))?;
        let sighting = Sighting::of(&metadata);
        let (mode, kind) = if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(StoreError::io("read", path))?;
            let target = target.to_str().ok_or_else(|| unsupported("the link's target is not UTF-8"))?;
            (0o777, Kind::Symlink { target: target.to_owned() })
        } else {
            let object = self.stats.digest(path, sighting)?;
            (normal_mode(metadata.permissions().mode()), Kind::File { object, size: metadata.len() })
        };
        Ok(Some((sighting, Entry { path: name, mode, kind })))
    }

    /// The tree `digest`, if it was read here.
    pub fn tree(&self, digest: Digest) -> Option<Tree> {
        self.known().by_digest(digest).map(|local| local.tree.clone())
    }

    /// All files and links that were read, as they were then.
    pub fn sightings(&self) -> HashMap<PathBuf, Sighting> {
        let known = self.known();
        let seen = known.by_files.values().flat_map(|local| local.paths.iter().zip(&local.sightings));
        seen.map(|(path, sighting)| (path.clone(), *sighting)).collect()
    }

    /// What decided, beside the files themselves, which of them were read, and whether it was there.
    pub fn witnesses(&self) -> Vec<(PathBuf, bool)> {
        self.dirs.witnesses()
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

/// Whether a glob is the path of one file.
fn is_path(glob: &str) -> bool {
    glob.split('/').all(|part| is_plain(part) && !matches!(part, "" | "." | ".."))
}

fn is_plain(part: &str) -> bool {
    !part.contains(['*', '?', '[', ']', '{', '}', '\\', '!'])
}

/// The directories that a glob names before its first wildcard: nothing beside them can match.
fn plain_prefix(glob: &str) -> PathBuf {
    glob.split('/').take_while(|part| is_plain(part)).collect()
}

fn glob_set(globs: &[&String]) -> Result<GlobSet, PlanError> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let invalid =
            |error: globset::Error| PlanError::Glob { glob: (*glob).clone(), reason: error.to_string() };
        set.add(GlobBuilder::new(glob).literal_separator(true).build().map_err(invalid)?);
    }
    let all = || globs.iter().map(|glob| glob.as_str()).collect::<Vec<_>>().join(" ");
    set.build().map_err(|error| PlanError::Glob { glob: all(), reason: error.to_string() })
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
