use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::ptr;
use std::sync::{Arc, LazyLock};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, open, statat};

use super::files::{self, copy_object, link_or_copy};
use super::incoming::Incoming;
use crate::publish::content::Content;
use crate::publish::{Generation, Progress, PublishError, PublishedPackage};
use crate::store::LocalStore;

/// The package files of a repository, as they were found.
pub(super) struct Pool<'a> {
    root: &'a Path,
    files: Vec<Found<'a>>,
}

/// A package file that is to be there.
struct Found<'a> {
    package: &'a PublishedPackage,
    /// Whether the live generation names it: then it was compared when it came.
    is_known: bool,
    /// What was at its place.
    there: Option<There>,
    /// Where it is if it is not there: settings may lay the pool out anew, and perhaps it is no more in the store.
    elsewhere: Option<&'a str>,
}

/// What is at the place of a package.
#[derive(Clone, Copy)]
enum There {
    File { size: u64 },
    Other,
}

impl There {
    fn at(dir: impl AsFd, path: impl rustix::path::Arg) -> io::Result<Self> {
        let stat = statat(dir, path, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Self::File { size: stat.st_size as u64 },
            _ => Self::Other,
        })
    }
}

impl<'a> Pool<'a> {
    /// Looks at the place of each below `root`, and changes nothing. Errors: those of [`Content::pool`].
    pub fn look(
        root: &'a Path,
        content: &'a Content,
        live: Option<&'a Generation>,
    ) -> Result<Self, PublishError> {
        let packages = live.iter().flat_map(|live| &live.packages);
        let kept: HashSet<usize> = packages.map(|package| Arc::as_ptr(package).addr()).collect();
        // Few ask for these, or none.
        let known = LazyLock::new(|| live.map(Generation::pool).unwrap_or_default());
        let places = LazyLock::new(|| live.map(Generation::places).unwrap_or_default());
        let dir = open(root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
        let dir = dir.map_err(|error| PublishError::io("open", root)(error.into()))?;
        let look = |package: &'a PublishedPackage| {
            let object = &package.entry.object;
            let there = There::at(&dir, &package.path).ok();
            let is_kept = kept.contains(&ptr::from_ref(package).addr());
            let is_known = is_kept || (there.is_some() && known.get(package.path.as_str()) == Some(object));
            let elsewhere = if is_kept || there.is_some() { None } else { places.get(object).copied() };
            Found { package, is_known, there, elsewhere: elsewhere.filter(|path| *path != package.path) }
        };
        let files = content.pool()?.into_par_iter().map(look).collect();
        Ok(Self { root, files })
    }

    /// Copies the first files that are missing to where they wait, beside whatever else is done before [`Pool::fill`].
    pub fn begin(&self, incoming: &Incoming, store: &LocalStore) -> Result<(), PublishError> {
        self.batches().take(1).try_for_each(|batch| self.bring(batch, incoming, store))
    }

    /// Puts the package files in their places. The first ones were brought by [`Pool::begin`].
    pub fn fill(
        &self,
        prefix: &str,
        incoming: &Incoming,
        store: &LocalStore,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), PublishError> {
        let mut done = 0;
        for (at, batch) in self.batches().enumerate() {
            if at > 0 {
                self.bring(batch, incoming, store)?;
            }
            for found in batch {
                let path = &found.package.path;
                let is_created = found.there.is_none()
                    && files::create_only(&incoming.package(path), &self.root.join(path))?;
                if !is_created {
                    self.check(found)?;
                }
                done += 1;
                progress(Progress::Package { prefix, path, done, total: self.files.len() });
            }
        }
        Ok(())
    }

    /// Copies what is missing of a batch to where it waits.
    fn bring(
        &self,
        batch: &[Found<'_>],
        incoming: &Incoming,
        store: &LocalStore,
    ) -> Result<(), PublishError> {
        let missing: Vec<_> = batch.iter().filter(|found| found.there.is_none()).collect();
        let waiting = |found: &Found<'_>| incoming.package(&found.package.path);
        missing.par_iter().try_for_each(|found| match found.elsewhere {
            Some(elsewhere) => link_or_copy(&self.root.join(elsewhere), &waiting(found)),
            None => copy_object(store, found.package.entry.object, &waiting(found)),
        })?;
        // Once they have their names they stay for ever, so their bytes come first.
        match missing[..] {
            [] => Ok(()),
            [found] => files::flush_file(&waiting(found)),
            _ => incoming.flush(),
        }
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

    /// Makes sure that a package file, as it was found, has the bytes that it should have. One that was not found came
    /// meanwhile.
    fn check(&self, found: &Found<'_>) -> Result<(), PublishError> {
        let Found { package, there, is_known, .. } = found;
        let place = || self.root.join(&package.path);
        let look = || There::at(CWD, place()).map_err(PublishError::io("read", place()));
        let is_same = match there.map_or_else(look, Ok)? {
            There::File { size } if size == package.entry.size => {
                *is_known || files::holds(&place(), package.entry.object)?
            }
            There::File { .. } | There::Other => false,
        };
        match is_same {
            true => Ok(()),
            false => Err(PublishError::pool_conflict(&self.root.display().to_string(), &package.path)),
        }
    }
}
