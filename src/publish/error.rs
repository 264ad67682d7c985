use std::io;
use std::path::{Path, PathBuf};

use crate::index::{IndexError, RepositoryKind};
use crate::keys::KeyError;
use crate::s3::S3Error;
use crate::store::StoreError;

/// Names that a repository has inside it.
pub(super) const INSIDE: [&str; 5] = ["dists", "gen", "packages", "pool", "repodata"];

/// Why nothing was published, or not all of it. What clients see is whole in any case.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// What the indices of a generation are made from cannot be read.
    #[error("{} is damaged: its bytes are not those that its name promises; bring it back, or go back to an earlier \
             generation with `forge publish rollback`", .0.display())]
    Bundle(PathBuf),
    /// The filesystem refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The service that has the bucket did not do what it was asked.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// Two publishers at once could both win there.
    #[error(
        "nothing is published to {place}: {reason}, so two publishers at once could not be told apart; \
         publish to a service that heeds conditions on writes, or to a directory that is copied there"
    )]
    Unfit {
        /// The part of the bucket.
        place: String,
        /// What the service does not do.
        reason: &'static str,
    },
    /// No such generation can be gone back to.
    #[error("'{prefix}' has no earlier generation '{id}'; it has: {}", known.join(", "))]
    NoGeneration {
        /// The repository.
        prefix: String,
        /// The generation that was asked for.
        id: String,
        /// Those that are retained.
        known: Vec<String>,
    },
    /// The store could not give an object.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key could not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Somebody else published since the plan was made.
    #[error(
        "repository '{prefix}' was published by somebody else meanwhile: expected {}, found {}; \
         nothing was changed, plan again",
        generation(expected),
        generation(found)
    )]
    Superseded {
        /// The repository.
        prefix: String,
        /// The generation that the plan was made from.
        expected: Option<String>,
        /// The generation that is there.
        found: Option<String>,
    },
    /// A package file is there already, with other bytes.
    #[error(
        "{path} is already published with other bytes; clients may hold it, so it never changes: \
         raise the package's iteration"
    )]
    PoolConflict {
        /// The file, or the object.
        path: String,
    },
    /// Clients would refuse the change.
    #[error(
        "repository '{prefix}' would change its {field} from '{before}' to '{after}', which apt \
         refuses until each user confirms it; keep '{before}', or publish under another prefix"
    )]
    Identity {
        /// The repository.
        prefix: String,
        /// `Origin` or `Label`.
        field: &'static str,
        /// What clients know.
        before: String,
        /// What they would be told.
        after: String,
    },
    /// Something that forge did not write is in the way.
    #[error("{path} is not of forge's making; expected {expected}: move it away first")]
    Foreign {
        /// What is in the way.
        path: String,
        /// What should be there.
        expected: &'static str,
    },
    /// The state of the live generation cannot be read.
    #[error("the state of the published generation in {path} cannot be read: {reason}")]
    State {
        /// The state file, or the object.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No index can be made of the packages.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Another kind of repository is there.
    #[error(
        "'{prefix}' holds an {before} repository, and an {after} repository cannot take its place: publish it under another prefix"
    )]
    Kind {
        /// The repository.
        prefix: String,
        /// What is there.
        before: RepositoryKind,
        /// What was to be.
        after: RepositoryKind,
    },
    /// An rpm repository has no URL.
    #[error(
        "clients of the rpm repository '{0}' are told its URL, and none is given; say in the publish node where they find it"
    )]
    NoUrl(String),
    /// The prefix cannot name a directory below the root.
    #[error(
        "'{0}' cannot be a repository's prefix; expected names like 'apt/27', each once, none of them \
         beginning with a dot or one of those inside a repository ({inside}), or '' for the root",
        inside = INSIDE.join(", ")
    )]
    Prefix(String),
}

fn generation(id: &Option<String>) -> String {
    id.as_ref().map_or_else(|| "no generation".to_owned(), |id| format!("generation {id}"))
}

impl PublishError {
    /// For `map_err`: names what was tried and where.
    pub(super) fn io(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// A package file that is to be published at `place` with other bytes than it is there.
    pub(super) fn pool_conflict(place: &str, path: &str) -> Self {
        Self::PoolConflict { path: format!("{place}/{path}") }
    }

    /// The disk is full or a quota is used up.
    pub fn is_out_of_space(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Io { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded),
            Self::Store(error) | Self::Index(IndexError::Store(error)) => error.is_out_of_space(),
            _ => false,
        }
    }
}
