use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::dirs::LocalDirs;
use super::trees::{is_path, plain_prefix};
use crate::graph::LocalFiles;

/// Files that were read and directories that were searched, of an earlier run, which do not look as they did.
pub struct Changed {
    /// By the base that globs start from, relative to it; none for one that cannot be read.
    below: Vec<(Arc<Path>, Option<Below>)>,
}

type Below = HashSet<String, RandomState>;

impl Changed {
    /// `paths`, which are absolute, as far as they are below the bases of these files.
    pub(super) fn new<'f>(
        dirs: &LocalDirs,
        paths: &[PathBuf],
        files: impl Iterator<Item = &'f LocalFiles>,
    ) -> Self {
        let mut below: Vec<(Arc<Path>, Option<Below>)> = Vec::new();
        for LocalFiles { base, .. } in files {
            if below.iter().all(|(known, _)| !is_same(known, base)) {
                below.push((base.clone(), below_base(dirs, paths, base)));
            }
        }
        Self { below }
    }

    /// Whether `files` may be others now. A glob without wildcards matches one path, and others what is in directories that they
    /// name.
    pub fn concerns(&self, files: &LocalFiles) -> bool {
        let of_base = self.below.iter().find(|(base, _)| is_same(base, &files.base));
        // Whoever reads a base that cannot be read is told what is wrong with it.
        let Some((_, Some(below))) = of_base else { return true };
        let may_match = |glob: &String| match is_path(glob) {
            true => below.contains(glob),
            false => {
                let prefix = plain_prefix(glob);
                let is_near = |path: &Path| path.starts_with(&prefix) || prefix.starts_with(path);
                below.iter().map(Path::new).any(is_near)
            }
        };
        files.globs.texts().iter().any(may_match)
    }
}

/// Nobody writes a base in two ways, and there are many to compare.
fn is_same(one: &Arc<Path>, other: &Arc<Path>) -> bool {
    Arc::ptr_eq(one, other) || one.as_os_str() == other.as_os_str()
}

fn below_base(dirs: &LocalDirs, paths: &[PathBuf], base: &Path) -> Option<Below> {
    let base = dirs.base(base).ok()?;
    let relative = paths.iter().filter_map(|path| path.strip_prefix(base.path()).ok());
    // A path that is no UTF-8 is at most a directory, which is looked for by what it begins with.
    Some(relative.map(|path| path.to_string_lossy().into_owned()).collect())
}
