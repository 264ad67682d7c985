use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rayon::prelude::*;
use rustix::fs::FileType;

use super::changed::Changed;
use super::dirs::{LocalDir, LocalDirs, Look};
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

type Known = HashMap<Asked, Arc<LocalTree>, RandomState>;

/// Globs from a directory, as a node asks for them.
#[derive(Eq)]
struct Asked {
    base: Arc<Path>,
    /// One after the other, with what is in no path between them: there are as many as nodes.
    globs: Box<str>,
}

/// Bases are compared as they are written: nobody writes one in two ways, and there are many to compare.
impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.globs == other.globs && self.base.as_os_str() == other.base.as_os_str()
    }
}

/// In an order in which files beside each other are.
impl Ord for Asked {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_base = self.base.as_os_str().cmp(other.base.as_os_str());
        by_base.then_with(|| self.globs.cmp(&other.globs))
    }
}

impl PartialOrd for Asked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.base.as_os_str().hash(state);
        self.globs.hash(state);
    }
}

impl Asked {
    fn by(files: &LocalFiles) -> Self {
        Self { base: files.base.clone(), globs: files.globs.texts().join("\0").into() }
    }

    fn globs(&self) -> impl Iterator<Item = &str> {
        self.globs.split('\0')
    }
}

/// What globs matched, and the tree it makes.
pub struct LocalTree {
    base: Arc<LocalDir>,
    /// In the order of their paths.
    entries: Box<[(SeenIn, Entry)]>,
    /// The digest of the tree; it is not in the store until [`LocalTree::store`].
    pub digest: Digest,
}

/// The directory that something is in, and how it looked before it was read.
type SeenIn = (Arc<LocalDir>, Sighting);

/// A file or a link that may be there.
struct Found {
    /// Relative to the base.
    path: String,
    dir: Arc<LocalDir>,
}

impl<'a> LocalTrees<'a> {
    /// Digests come from `stats` where it knows them.
    pub fn new(stats: &'a StatCache) -> Self {
        Self { stats, dirs: LocalDirs::default(), known: RwLock::default() }
    }

    /// The tree of `files` as they are now.
    pub fn get(&self, files: &LocalFiles) -> Result<Arc<LocalTree>, PlanError> {
        let asked = Asked::by(files);
        if let Some(tree) = self.known().get(&asked) {
            return Ok(tree.clone());
        }
        let tree = Arc::new(self.read(&asked, &mut Look::default())?);
        self.known_mut().insert(asked, tree.clone());
        Ok(tree)
    }

    /// Reads all these at the same time. What is wrong with one is told to whoever gets it.
    pub fn prepare(&self, all: &[&LocalFiles]) {
        let mut all: Vec<Asked> = all.par_iter().map(|files| Asked::by(files)).collect();
        // Files beside each other are found sooner one after the other.
        all.par_sort_unstable();
        all.dedup();
        let read = |look: &mut Look, asked: Asked| {
            let tree = self.read(&asked, look).ok()?;
            Some((asked, Arc::new(tree)))
        };
        let read: Vec<_> = all.into_par_iter().map_init(Look::default, read).collect();
        let mut known = self.known_mut();
        known.reserve(read.len());
        known.extend(read.into_iter().flatten());
        // There is little left to ask, and there may be much that is known.
        self.stats.let_go();
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, files: &Asked, look: &mut Look) -> Result<LocalTree, PlanError> {
        let base = look.base(&self.dirs, &files.base)?;
        let found = self.matching(&base, files, look)?;
        let all = match found.len() {
            // Many nodes take one file.
            1 => found.into_iter().map(|found| self.entry(look, found)).collect::<Result<Vec<_>, _>>()?,
            _ => {
                let entry = |look: &mut Look, found| self.entry(look, found);
                found.into_par_iter().map_init(Look::default, entry).collect::<Result<Vec<_>, _>>()?
            }
        };
        let entries: Box<[_]> = all.into_iter().flatten().collect();
        if entries.is_empty() {
            return Err(PlanError::NoFiles {
                base: files.base.to_path_buf(),
                globs: files.globs.replace('\0', " "),
            });
        }
        let digest = tree_of(&entries).digest();
        Ok(LocalTree { base, entries, digest })
    }

    /// The names of files and links that match, in their order, and where they may be. A glob without wildcards needs no search.
    fn matching(
        &self,
        base: &Arc<LocalDir>,
        files: &Asked,
        look: &mut Look,
    ) -> Result<Vec<Found>, PlanError> {
        let (plain, globs): (Vec<&str>, Vec<&str>) = files.globs().partition(|glob| is_path(glob));
        let mut all = Vec::with_capacity(plain.len());
        for path in plain {
            match look.dir_of(&self.dirs, base, path)? {
                Some(dir) => all.push(Found { path: path.to_owned(), dir }),
                None => self.dirs.missed(base.path().join(path)),
            }
        }
        if !globs.is_empty() {
            let set = glob_set(&globs)?;
            let prefixes: Vec<PathBuf> = globs.iter().map(|glob| plain_prefix(glob)).collect();
            let may_hold = |dir: &str| {
                let dir = Path::new(dir);
                prefixes.iter().any(|prefix| dir.starts_with(prefix) || prefix.starts_with(dir))
            };
            let mut odd = None;
            let found = |path: String, dir: &Arc<LocalDir>, name: &OsStr| {
                if set.is_match(&path) {
                    match name.to_str() {
                        Some(_) => all.push(Found { path, dir: dir.clone() }),
                        None => odd = Some(dir.path().join(name)),
                    }
                }
            };
            self.dirs.walk(base, may_hold, found)?;
            if let Some(path) = odd {
                return Err(StoreError::Unsupported { path, reason: "the name is not UTF-8" }.into());
            }
        }
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all.dedup_by(|a, b| a.path == b.path);
        Ok(all)
    }

    /// What is there; `None` where nothing is, or a directory.
    fn entry(
        &self,
        look: &mut Look,
        Found { path, dir }: Found,
    ) -> Result<Option<(SeenIn, Entry)>, StoreError> {
        let name = name_of(&path);
        let whole = || dir.path().join(name);
        let stat = match look.at(&dir, name) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => {
                self.dirs.missed(whole());
                return Ok(None);
            }
            Err(error) => return Err(StoreError::io("read", whole())(error.into())),
        };
        let sighting = Sighting::of_stat(&stat);
        let (mode, kind) = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                // It may become a file.
                self.dirs.search(whole());
                return Ok(None);
            }
            FileType::Symlink => {
                let target = fs::read_link(whole()).map_err(StoreError::io("read", whole()))?;
                let reason = "the link's target is not UTF-8";
                let target = target.to_str().ok_or(StoreError::Unsupported { path: whole(), reason })?;
                (0o777, Kind::Symlink { target: target.to_owned() })
            }
            _ => {
                let object = self.stats.digest(dir.path(), name, sighting)?;
                (normal_mode(stat.st_mode), Kind::File { object, size: sighting.size() })
            }
        };
        Ok(Some(((dir, sighting), Entry { path, mode, kind })))
    }

    /// All files and links that were read, as they were then: the directory and the name of each. Some come several times.
    pub fn sightings(&mut self) -> impl Iterator<Item = (&Path, &str, Sighting)> {
        let known = self.known.get_mut().unwrap_or_else(PoisonError::into_inner);
        let all = known.values().flat_map(|local| &local.entries);
        all.map(|((dir, seen), entry)| (dir.path(), name_of(&entry.path), *seen))
    }

    /// Directories in which files were looked for.
    pub fn searched(&self) -> Vec<PathBuf> {
        self.dirs.searched()
    }

    /// Which of `files` may be others now, since `paths` do not look as they did: files that were read, and directories that were
    /// searched.
    pub fn changed<'f>(&self, paths: &[PathBuf], files: impl Iterator<Item = &'f LocalFiles>) -> Changed {
        Changed::new(&self.dirs, paths, files)
    }

    /// What decided, beside the files themselves and what is in directories, which of them were read, and whether it was there.
    pub fn witnesses(&self) -> Vec<(PathBuf, bool)> {
        self.dirs.witnesses()
    }
}

impl LocalTree {
    /// Where its entries are.
    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.entries.iter().map(|((dir, _), entry)| dir.path().join(name_of(&entry.path)))
    }

    /// As it is.
    pub fn tree(&self) -> Tree {
        tree_of(&self.entries)
    }

    /// Whether it is stored in less time than it takes to hand it to another thread, or to find out whether it is stored.
    pub fn is_little(&self) -> bool {
        const FILES: usize = 4;
        const BYTES: u64 = 64 << 10;
        let bytes = || self.entries.iter().map(|((_, seen), _)| seen.size()).sum::<u64>();
        self.entries.len() <= FILES && bytes() <= BYTES
    }

    /// Puts the files into the store. What an action sees is this copy, so an edit while it
    /// runs cannot reach it; an edit since the plan is noticed here.
    pub fn store(&self, store: &LocalStore) -> Result<Digest, StoreError> {
        let tree = store.ingest_paths(self.base.path(), self.paths().collect(), Ingest::Copy)?;
        let tree = normalized(tree);
        let digest = store.put_tree(&tree)?;
        match digest == self.digest {
            true => Ok(digest),
            false => Err(StoreError::Unsupported {
                path: self.base.path().to_owned(),
                reason: "a source file was edited since the plan was made; run again",
            }),
        }
    }
}

fn tree_of(entries: &[(SeenIn, Entry)]) -> Tree {
    Tree::new(entries.iter().map(|(_, entry)| entry.clone()).collect())
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether a glob is the path of one file.
pub(super) fn is_path(glob: &str) -> bool {
    glob.split('/').all(|part| is_plain(part) && !matches!(part, "" | "." | ".."))
}

fn is_plain(part: &str) -> bool {
    !part.contains(['*', '?', '[', ']', '{', '}', '\\', '!'])
}

/// The directories that a glob names before its first wildcard: nothing beside them can match.
pub(super) fn plain_prefix(glob: &str) -> PathBuf {
    glob.split('/').take_while(|part| is_plain(part)).collect()
}

fn glob_set(globs: &[&str]) -> Result<GlobSet, PlanError> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let invalid =
            |error: globset::Error| PlanError::Glob { glob: (*glob).to_owned(), reason: error.to_string() };
        set.add(GlobBuilder::new(glob).literal_separator(true).build().map_err(invalid)?);
    }
    set.build().map_err(|error| PlanError::Glob { glob: globs.join(" "), reason: error.to_string() })
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
