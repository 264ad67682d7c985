use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::files::{self, copy_object, link_or_copy};
use super::incoming::Incoming;
use crate::digest::Digest;
use crate::publish::content::Content;
use crate::publish::{Generation, Progress, PublishError, PublishedPackage};
use crate::store::LocalStore;

/// The package files of a repository, as they were found.
pub(super) struct Pool<'a> {
    root: &'a Path,
    /// Where each is that is live, and what it is.
    live: HashMap<&'a str, Digest>,
    files: Vec<Found<'a>>,
}

/// A package file that is to be there.
struct Found<'a> {
    package: &'a PublishedPackage,
    /// What was at its place.
    metadata: Option<fs::Metadata>,
}

impl<'a> Pool<'a> {
    /// Looks at the place of each below `root`, and changes nothing. Errors: those of [`Content::pool`].
    pub fn look(
        root: &'a Path,
        content: &'a Content,
        live: Option<&'a Generation>,
    ) -> Result<Self, PublishError> {
        let look = |package| Found { package, metadata: fs::symlink_metadata(root.join(&package.path)).ok() };
        let files = content.pool()?.into_par_iter().map(look).collect();
        Ok(Self { root, live: live.map(Generation::pool).unwrap_or_default(), files })
    }

    /// Puts the package files in their places. What the live generation names was compared when it came.
    pub fn fill(
        &self,
        prefix: &str,
        incoming: &Incoming,
        store: &LocalStore,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), PublishError> {
        let places: HashMap<Digest, &str> = self.live.iter().map(|(path, object)| (*object, *path)).collect();
        let mut done = 0;
        for batch in self.batches() {
            let missing: Vec<_> =
                batch.iter().filter(|found| found.metadata.is_none()).map(|found| found.package).collect();
            missing.par_iter().try_for_each(|package| {
                // Settings that lay the pool out anew find it elsewhere in it, and perhaps no more in the store.
                let elsewhere = places.get(&package.entry.object).filter(|_| !self.is_known(package));
                match elsewhere {
                    Some(elsewhere) => {
                        link_or_copy(&self.root.join(elsewhere), &incoming.package(&package.path))
                    }
                    None => copy_object(store, package.entry.object, &incoming.package(&package.path)),
                }
            })?;
            // Once they have their names they stay for ever, so their bytes come first.
            match missing[..] {
                [] => {}
                [package] => files::flush_file(&incoming.package(&package.path))?,
                _ => incoming.flush()?,
            }
            let mut created = HashSet::new();
            for package in missing {
                if files::create_only(&incoming.package(&package.path), &self.place_of(package))? {
                    created.insert(package.path.as_str());
                }
            }
            for found in batch {
                let path = &found.package.path;
                if !created.contains(path.as_str()) {
                    self.check(found)?;
                }
                done += 1;
                progress(Progress::Package { prefix, path, done, total: self.files.len() });
            }
        }
        Ok(())
    }

    /// Files that are flushed together: so many that a flush is not felt, so few that progress is.
    fn batches(&self) -> impl Iterator<Item = &[Found<'a>]> {
        const BYTES: u64 = 256 << 20;
        let mut bytes = 0;
        self.files.chunk_by(move |found, _| {
            bytes += found.package.entry.size;
            let goes_on = bytes < BYTES;
            bytes = if goes_on { bytes } else { 0 };
            goes_on
        })
    }

    fn place_of(&self, package: &PublishedPackage) -> PathBuf {
        self.root.join(&package.path)
    }

    fn is_known(&self, package: &PublishedPackage) -> bool {
        self.live.get(package.path.as_str()) == Some(&package.entry.object)
    }

    /// Makes sure that a package file, as it was found, has the bytes that it should have. One that was not found came
    /// meanwhile.
    fn check(&self, found: &Found<'_>) -> Result<(), PublishError> {
        let Found { package, metadata } = found;
        let place = self.place_of(package);
        let came = match metadata {
            Some(_) => None,
            None => Some(fs::symlink_metadata(&place).map_err(PublishError::io("read", &place))?),
        };
        let is_whole = |metadata: &fs::Metadata| metadata.is_file() && metadata.len() == package.entry.size;
        let is_same = metadata.as_ref().or(came.as_ref()).is_some_and(is_whole)
            && (self.is_known(package) || files::holds(&place, package.entry.object)?);
        match is_same {
            true => Ok(()),
            false => Err(PublishError::pool_conflict(&self.root.display().to_string(), &package.path)),
        }
    }
}
