use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dirs::LocalDirs;
use super::trees::{is_path, plain_prefix};
use crate::graph::LocalFiles;

/// Files that were read and directories that were searched, of an earlier run, which do not look as they did.
pub struct Changed<'a> {
    dirs: &'a LocalDirs,
    /// Absolute.
    paths: &'a [PathBuf],
    /// Those below the base that was asked for last.
    below: Option<(Arc<Path>, HashSet<PathBuf>)>,
}

impl<'a> Changed<'a> {
    pub(super) fn new(dirs: &'a LocalDirs, paths: &'a [PathBuf]) -> Self {
        Self { dirs, paths, below: None }
    }

    /// Whether `files` may be others now. A glob without wildcards matches one path, and others what is in directories that they
    /// name.
    pub fn concerns(&mut self, files: &LocalFiles) -> bool {
        if self.paths.is_empty() {
            return false;
        }
        // Whoever reads it is told what is wrong with it.
        let Some(below) = self.below(&files.base) else { return true };
        let may_match = |glob: &String| match is_path(glob) {
            true => below.contains(Path::new(glob)),
            false => {
                let prefix = plain_prefix(glob);
                below.iter().any(|path| path.starts_with(&prefix) || prefix.starts_with(path))
            }
        };
        files.globs.iter().any(may_match)
    }

    /// What changed below a base, relative to it.
    fn below(&mut self, base: &Arc<Path>) -> Option<&HashSet<PathBuf>> {
        if !self.below.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, base)) {
            let whole = self.dirs.base(base).ok()?;
            let relative = self.paths.iter().filter_map(|path| path.strip_prefix(whole.path()).ok());
            self.below = Some((base.clone(), relative.map(Path::to_owned).collect()));
        }
        self.below.as_ref().map(|(_, below)| below)
    }
}
