use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use foldhash::fast::RandomState;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};

use crate::plan::PlanError;
use crate::store::{CACHEDIR_SIGNATURE, StoreError};

/// Directories of local files, each looked into once, with what git's own rules say of what is in them. Neither
/// hidden files nor the user's global settings decide what is built.
#[derive(Default)]
pub(super) struct LocalDirs {
    /// Bases as they are written.
    bases: Mutex<HashMap<OsString, Arc<LocalDir>>>,
    /// Those that bases are below, and bases themselves.
    above: Mutex<HashMap<PathBuf, Arc<LocalDir>>>,
    /// What decided, beside the files themselves and what is in directories, and whether it was there.
    witnesses: Mutex<HashMap<PathBuf, bool>>,
    /// Directories in which names were looked for.
    searched: Mutex<HashSet<PathBuf>>,
}

/// One directory.
pub(super) struct LocalDir {
    path: PathBuf,
    /// Of this directory, or of the nearest above it that has any.
    rules: Option<Arc<Rules>>,
    names: OnceLock<Vec<Name>>,
    /// Directories in it that were asked for, by name; `None` where nothing in one counts.
    children: Mutex<HashMap<OsString, Option<Arc<LocalDir>>, RandomState>>,
}

/// What a `.gitignore` says, and below it those above.
struct Rules {
    own: Gitignore,
    above: Option<Arc<Rules>>,
}

/// A name in a directory.
#[derive(Clone)]
struct Name {
    name: OsString,
    is_dir: bool,
}

impl LocalDirs {
    /// The directory that globs start from.
    pub fn base(&self, path: &Path) -> Result<Arc<LocalDir>, PlanError> {
        if let Some(base) = lock(&self.bases).get(path.as_os_str()) {
            return Ok(base.clone());
        }
        let whole = path.canonicalize().map_err(StoreError::io("list", path))?;
        let base = self.with_rules_above(&whole)?;
        lock(&self.bases).insert(path.into(), base.clone());
        Ok(base)
    }

    fn with_rules_above(&self, path: &Path) -> Result<Arc<LocalDir>, StoreError> {
        if let Some(dir) = lock(&self.above).get(path) {
            return Ok(dir.clone());
        }
        let above = path.parent().map(|parent| self.with_rules_above(parent)).transpose()?;
        let dir = Arc::new(self.look_at(path, above.and_then(|above| above.rules.clone()))?);
        lock(&self.above).insert(path.to_owned(), dir.clone());
        Ok(dir)
    }

    fn look_at(&self, path: &Path, above: Option<Arc<Rules>>) -> Result<LocalDir, StoreError> {
        let file = path.join(".gitignore");
        let own = match file.try_exists().map_err(StoreError::io("read", &file))? {
            false => None,
            true => {
                let mut builder = GitignoreBuilder::new(path);
                // A line that is no rule rules nothing, as for git.
                let _ = builder.add(&file);
                builder.build().ok()
            }
        };
        lock(&self.witnesses).insert(file, own.is_some());
        let rules = match own {
            Some(own) => Some(Arc::new(Rules { own, above })),
            None => above,
        };
        Ok(LocalDir { path: path.to_owned(), rules, names: OnceLock::new(), children: Mutex::default() })
    }

    /// The directory called `name` in `dir`; `None` where it is none, or nothing in it counts.
    fn child(&self, dir: &LocalDir, name: &OsStr) -> Result<Option<Arc<LocalDir>>, StoreError> {
        if let Some(known) = lock(&dir.children).get(name) {
            return Ok(known.clone());
        }
        let path = dir.path.join(name);
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        let counts = is_dir && name != ".git" && !dir.ignores(name, true) && !self.is_cache(&path);
        // Whether a directory is there at all shows in its files.
        let child = counts.then(|| self.look_at(&path, dir.rules.clone())).transpose()?.map(Arc::new);
        lock(&dir.children).insert(name.to_owned(), child.clone());
        Ok(child)
    }

    /// A cache, such as forge's own store, is nobody's source.
    fn is_cache(&self, dir: &Path) -> bool {
        let tag = dir.join("CACHEDIR.TAG");
        let mut start = [0; CACHEDIR_SIGNATURE.len()];
        let file = fs::File::open(&tag);
        lock(&self.witnesses).insert(tag, file.is_ok());
        file.and_then(|mut file| file.read_exact(&mut start)).is_ok()
            && start == CACHEDIR_SIGNATURE.as_bytes()
    }

    /// The directory at `relative` below `base`, if anything in it counts.
    pub fn below(&self, base: &Arc<LocalDir>, relative: &str) -> Result<Option<Arc<LocalDir>>, PlanError> {
        let mut dir = base.clone();
        for part in relative.split('/').filter(|part| !part.is_empty()) {
            match self.child(&dir, part.as_ref())? {
                Some(child) => dir = child,
                None => return Ok(None),
            }
        }
        Ok(Some(dir))
    }

    /// Everything below `base` that is no directory and counts: its relative path, the directory that it is in and its name
    /// there. Only directories are entered for which `may_hold` holds.
    pub fn walk(
        &self,
        base: &Arc<LocalDir>,
        may_hold: impl Fn(&str) -> bool,
        mut found: impl FnMut(String, &Arc<LocalDir>, &OsStr),
    ) -> Result<(), PlanError> {
        let mut ahead = vec![(base.clone(), String::new())];
        while let Some((dir, relative)) = ahead.pop() {
            for Name { name, is_dir } in self.names(&dir)? {
                let text = name.to_string_lossy();
                let relative =
                    if relative.is_empty() { text.into_owned() } else { format!("{relative}/{text}") };
                if !is_dir {
                    if dir.takes(name) {
                        found(relative, &dir, name);
                    }
                } else if may_hold(&relative)
                    && let Some(child) = self.child(&dir, name)?
                {
                    ahead.push((child, relative));
                }
            }
        }
        Ok(())
    }

    fn names<'d>(&self, dir: &'d LocalDir) -> Result<&'d [Name], StoreError> {
        if let Some(names) = dir.names.get() {
            return Ok(names);
        }
        self.search(dir.path.clone());
        let names = read_names(&dir.path).map_err(StoreError::io("list", &dir.path))?;
        Ok(dir.names.get_or_init(|| names))
    }

    /// Notes that `path` was looked for in vain.
    pub fn missed(&self, path: PathBuf) {
        lock(&self.witnesses).insert(path, false);
    }

    /// Notes that what is in the directory `path` decides.
    pub fn search(&self, path: PathBuf) {
        lock(&self.searched).insert(path);
    }

    /// Directories in which names were looked for so far.
    pub fn searched(&self) -> Vec<PathBuf> {
        lock(&self.searched).iter().cloned().collect()
    }

    /// What decided so far which files count, beside these themselves and what is in directories, and whether it was there.
    pub fn witnesses(&self) -> Vec<(PathBuf, bool)> {
        lock(&self.witnesses).iter().map(|(path, was_there)| (path.clone(), *was_there)).collect()
    }
}

impl LocalDir {
    /// Where it is, absolute and without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file called `name` counts, if it is there.
    pub fn takes(&self, name: &OsStr) -> bool {
        name != ".git" && !self.ignores(name, false)
    }

    /// Whether git leaves out what is called `name` in this directory: the nearest rule that says something decides.
    fn ignores(&self, name: &OsStr, is_dir: bool) -> bool {
        let Some(rules) = self.rules.as_deref() else { return false };
        let path = &self.path.join(name);
        let mut rules = Some(rules);
        while let Some(Rules { own, above }) = rules {
            let said = own.matched(path, is_dir);
            if !said.is_none() {
                return said.is_ignore();
            }
            rules = above.as_deref();
        }
        false
    }
}

/// Looks at one file after the other: those that are beside each other are found by their names alone.
#[derive(Default)]
pub(super) struct Look {
    base: Option<(Arc<Path>, Arc<LocalDir>)>,
    /// Below the base.
    dir: Option<(String, Option<Arc<LocalDir>>)>,
    open: Option<(Arc<LocalDir>, OwnedFd)>,
}

impl Look {
    /// The directory that globs start from.
    pub fn base(&mut self, dirs: &LocalDirs, path: &Arc<Path>) -> Result<Arc<LocalDir>, PlanError> {
        match &self.base {
            Some((known, base)) if Arc::ptr_eq(known, path) => Ok(base.clone()),
            _ => {
                let base = dirs.base(path)?;
                (self.base, self.dir) = (Some((path.clone(), base.clone())), None);
                Ok(base)
            }
        }
    }

    /// The directory of the file `relative` below `base`, the last one, if that file may count. Whether it is there is for the
    /// caller to find out.
    pub fn dir_of(
        &mut self,
        dirs: &LocalDirs,
        base: &Arc<LocalDir>,
        relative: &str,
    ) -> Result<Option<Arc<LocalDir>>, PlanError> {
        let (path, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        let dir = match &self.dir {
            Some((known, dir)) if known == path => dir.clone(),
            _ => {
                let dir = dirs.below(base, path)?;
                self.dir = Some((path.to_owned(), dir.clone()));
                dir
            }
        };
        Ok(dir.filter(|dir| dir.takes(name.as_ref())))
    }

    /// What is called `name` in `dir`.
    pub fn at(&mut self, dir: &Arc<LocalDir>, name: &str) -> rustix::io::Result<Stat> {
        let open = match self.open.take() {
            Some((known, open)) if Arc::ptr_eq(&known, dir) => open,
            _ => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::open(&dir.path, flags, Mode::empty())?
            }
        };
        let stat = rustix::fs::statat(&open, name, AtFlags::SYMLINK_NOFOLLOW);
        self.open = Some((dir.clone(), open));
        stat
    }
}

fn read_names(dir: &Path) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        names.push(Name { name: entry.file_name(), is_dir: entry.file_type()?.is_dir() });
    }
    names.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(names)
}

/// What is in it is whole at any time: a panic beside it changes nothing.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
