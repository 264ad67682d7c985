use std::collections::BTreeSet;
use std::path::Path;

use super::error::INSIDE;
use super::{Effect, Generation, PublishError};
use crate::buildfile::Retention;
use crate::digest::Digest;
use crate::index::{CatalogEntry, Settings};
use crate::s3::S3Error;

/// What one repository should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Where it is below the target's root, such as `apt/27`; empty for the root itself.
    pub prefix: String,
    /// Its settings. Of the suites for apt, those that hold packages are replaced by what the packages
    /// say; aliases count where their suite has packages.
    pub index: Settings,
    /// Where clients find it, without a slash at the end; an rpm repository needs one.
    pub url: Option<String>,
    /// The file of advisories of an rpm repository, in the store.
    pub updateinfo: Option<Digest>,
    /// What is dropped of that which was published before; none keeps everything.
    pub keep: Option<Retention>,
    /// The packages that are to be there beside those that stay.
    pub packages: Vec<CatalogEntry>,
    /// Bundles of the store, with the records of these packages.
    pub bundles: Vec<Digest>,
    /// Where nothing else is to stay: why not.
    pub instead: Option<String>,
    /// The id of the generation that the plan was made from; none if there was none.
    pub expected: Option<String>,
}

/// What became of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it should be; nothing was written.
    Unchanged(Generation),
    /// This generation is live now.
    Committed {
        /// The generation.
        generation: Generation,
        /// What it changed for clients.
        effect: Effect,
    },
}

/// What was found out about the live generation of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many files it lists.
    pub files: usize,
    /// How many bytes they have.
    pub bytes: u64,
    /// Which of them are not as they should be, and how; sorted.
    pub faults: Vec<String>,
}

/// One generation in the history of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The generation.
    pub generation: Generation,
    /// Until when it was live, in seconds since 1970; `None` if it is.
    pub until: Option<u64>,
    /// What it changed; everything comes in the first one that is known.
    pub effect: Effect,
}

/// What a publish tells while it goes on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Another publisher is at work; this one waits for it.
    Waiting {
        /// The repository.
        prefix: &'a str,
    },
    /// A publish that was interrupted is finished first.
    Finishing {
        /// The repository.
        prefix: &'a str,
        /// The id of its generation.
        id: &'a str,
    },
    /// A package file is in its place.
    Package {
        /// The repository.
        prefix: &'a str,
        /// The file, below the repository's root.
        path: &'a str,
        /// How many are in their place.
        done: usize,
        /// How many there are.
        total: usize,
    },
    /// Objects are in their place.
    Objects {
        /// The repository.
        prefix: &'a str,
        /// How many, and how many bytes they have.
        done: (usize, u64),
        /// How many there are to be, and how many bytes they have.
        total: (usize, u64),
    },
    /// A new generation is live.
    Committed {
        /// The repository.
        prefix: &'a str,
        /// The generation's id.
        id: &'a str,
    },
    /// What is past retention could not be removed; the next publish tries again.
    Uncollected {
        /// Where it is.
        path: &'a Path,
        /// Why not.
        error: &'a PublishError,
    },
    /// The CDN could not be told what changed; the next publish tries again.
    Uninvalidated {
        /// Why not.
        error: &'a S3Error,
    },
}

impl Progress<'_> {
    /// What a person should know of it: what was published, and not all that belongs to it was done.
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::Uncollected { path, error } => {
                Some(format!("{} is past its retention and could not be removed: {error}", path.display()))
            }
            Self::Uninvalidated { error } => Some(format!(
                "{error}; until the next publish tries again, clients may be shown the generation before"
            )),
            _ => None,
        }
    }
}

impl Repository {
    /// Whether the plan was made from what is live.
    pub(super) fn check_expected(&self, live: Option<&Generation>) -> Result<(), PublishError> {
        let found = live.map(|live| live.id.clone());
        match found == self.expected {
            true => Ok(()),
            false => {
                let (prefix, expected) = (self.prefix.clone(), self.expected.clone());
                Err(PublishError::Superseded { prefix, expected, found })
            }
        }
    }
}

/// Whether a repository can be below this prefix.
pub(super) fn check_prefix(prefix: &str) -> Result<(), PublishError> {
    let fits = |name: &str| !(name.is_empty() || name.starts_with('.') || INSIDE.contains(&name));
    match prefix.is_empty() || prefix.split('/').all(fits) {
        true => Ok(()),
        false => Err(PublishError::Prefix(prefix.to_owned())),
    }
}

/// Whether all of them can be, and each is there once.
pub(super) fn check_prefixes(repositories: &[Repository]) -> Result<(), PublishError> {
    let mut seen = BTreeSet::new();
    for Repository { prefix, .. } in repositories {
        check_prefix(prefix)?;
        if !seen.insert(prefix) {
            return Err(PublishError::Prefix(prefix.clone()));
        }
    }
    Ok(())
}
