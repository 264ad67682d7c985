use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

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
    /// What decided, beside the files themselves, and whether it was there.
    witnesses: Mutex<HashMap<PathBuf, bool>>,
}

/// One directory.
pub(super) struct LocalDir {
    path: PathBuf,
    /// Of this directory, or of the nearest above it that has any.
    rules: Option<Arc<Rules>>,
    names: OnceLock<Vec<Name>>,
    /// Directories in it that were asked for, by name; `None` where nothing in one counts.
    children: Mutex<HashMap<OsString, Option<Arc<LocalDir>>>>,
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
    fn child(&self, dir: &Arc<LocalDir>, name: &OsStr) -> Result<Option<Arc<LocalDir>>, StoreError> {
        if let Some(known) = lock(&dir.children).get(name) {
            return Ok(known.clone());
        }
        let path = dir.path.join(name);
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        let counts = is_dir && name != ".git" && !dir.ignores(&path, true) && !self.is_cache(&path);
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

    /// The path of the file `relative` below `base`, if it may count. Whether it is there is for the caller to find out.
    pub fn file(&self, base: &Arc<LocalDir>, relative: &str) -> Result<Option<PathBuf>, PlanError> {
        let (dirs, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        let mut dir = base.clone();
        for part in dirs.split('/').filter(|part| !part.is_empty()) {
            match self.child(&dir, part.as_ref())? {
                Some(child) => dir = child,
                None => return Ok(None),
            }
        }
        let path = dir.path.join(name);
        Ok((name != ".git" && !dir.ignores(&path, false)).then_some(path))
    }

    /// Everything below `base` that is no directory and counts, by its relative path. Only directories are entered for
    /// which `may_hold` holds.
    pub fn walk(
        &self,
        base: &Arc<LocalDir>,
        may_hold: impl Fn(&str) -> bool,
        mut found: impl FnMut(&str, PathBuf),
    ) -> Result<(), PlanError> {
        let mut ahead = vec![(base.clone(), String::new())];
        while let Some((dir, relative)) = ahead.pop() {
            for Name { name, is_dir } in self.names(&dir)? {
                let path = dir.path.join(name);
                let text = name.to_string_lossy();
                let relative =
                    if relative.is_empty() { text.into_owned() } else { format!("{relative}/{text}") };
                if !is_dir {
                    if name != ".git" && !dir.ignores(&path, false) {
                        found(&relative, path);
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
        lock(&self.witnesses).insert(dir.path.clone(), true);
        let names = read_names(&dir.path).map_err(StoreError::io("list", &dir.path))?;
        Ok(dir.names.get_or_init(|| names))
    }

    /// Notes that `path` was looked for in vain.
    pub fn missed(&self, path: PathBuf) {
        lock(&self.witnesses).insert(path, false);
    }

    /// What decided so far which files count, beside these themselves, and whether it was there.
    pub fn witnesses(&self) -> Vec<(PathBuf, bool)> {
        lock(&self.witnesses).iter().map(|(path, was_there)| (path.clone(), *was_there)).collect()
    }
}

impl LocalDir {
    /// Where it is, absolute and without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether git leaves out what is at `path` in this directory: the nearest rule that says something decides.
    fn ignores(&self, path: &Path, is_dir: bool) -> bool {
        let mut rules = self.rules.as_deref();
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
