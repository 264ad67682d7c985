use super::git::GitError;
use super::published::PublishedError;
use super::{AptError, ArchiveError, FetchError, LockError};
use crate::store::StoreError;

/// Why an update was not made. The lock stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The Debian archive cannot be asked.
    #[error("upstream '{upstream}' cannot be asked: {source}")]
    Apt {
        /// The upstream, or the image.
        upstream: String,
        /// What is wrong.
        source: AptError,
    },
    /// The repository cannot be asked.
    #[error("upstream '{upstream}' cannot be asked: {source}")]
    Git {
        /// The upstream.
        upstream: String,
        /// What is wrong.
        source: Box<GitError>,
    },
    /// The repository has no tag of the form.
    #[error(
        "upstream '{upstream}': none of the {tags} tags of {url} is a version of the form '{form}'{example}"
    )]
    NoTags {
        /// The upstream.
        upstream: String,
        /// The repository.
        url: String,
        /// The form.
        form: String,
        /// How many tags there are.
        tags: usize,
        /// One of them, introduced.
        example: String,
    },
    /// A version that is asked for by name is nowhere.
    #[error("upstream '{upstream}' has no version {wanted}, {wish}; {near}")]
    NoSuchVersion {
        /// The upstream.
        upstream: String,
        /// The version, or the version line.
        wanted: String,
        /// Who asked for it.
        wish: String,
        /// What there is.
        near: String,
    },
    /// A version that is asked for is never taken.
    #[error("{upstream} {version} is held: {reason}; drop the hold from the Buildfile to take it")]
    Held {
        /// The upstream.
        upstream: String,
        /// The version.
        version: String,
        /// Why it is held.
        reason: String,
    },
    /// A version cannot be taken.
    #[error("{upstream} {version}: {source}")]
    Version {
        /// The upstream.
        upstream: String,
        /// The version.
        version: String,
        /// What is wrong.
        source: Box<VersionError>,
    },
    /// The same version is something else than the lock says.
    #[error(
        "{upstream} {version} was {what} {locked} and is {found}: upstream changed what it had published. Find out \
         why; to take it, delete the version from the lock and update again"
    )]
    Moved {
        /// The upstream.
        upstream: String,
        /// The version.
        version: String,
        /// `commit` or `sha256`.
        what: &'static str,
        /// What the lock has.
        locked: String,
        /// What upstream has.
        found: String,
    },
    /// The lock cannot be read or written.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Why one version cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The Debian archive cannot be asked.
    #[error(transparent)]
    Apt(#[from] AptError),
    /// The repository does not give its files.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Its archive cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Its archive is not what upstream's own list says.
    #[error("the archive is not what {list} says of it: {source}")]
    WrongChecksum {
        /// The list.
        list: String,
        /// Both digests.
        source: FetchError,
    },
    /// What upstream publishes beside the archive cannot be read, or does not vouch for it.
    #[error(transparent)]
    Published(#[from] PublishedError),
    /// Its archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Its archive cannot be had out of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
