use std::io;
use std::path::{Path, PathBuf};

use crate::index::{IndexError, RepositoryKind};
use crate::keys::KeyError;
use crate::store::StoreError;

/// Names that a repository has inside it.
pub(super) const INSIDE: [&str; 5] = ["dists", "gen", "packages", "pool", "repodata"];

/// Why nothing was published, or not all of it. What clients see is whole in any case.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
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
        "{} is already published with other bytes; clients may hold it, so it never changes: \
         raise the package's iteration", path.display()
    )]
    PoolConflict {
        /// The file.
        path: PathBuf,
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
    #[error("{} is not of forge's making; expected {expected}: move it away first", path.display())]
    Foreign {
        /// What is in the way.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// The state of the live generation cannot be read.
    #[error("the state of the published generation in {} cannot be read: {reason}", path.display())]
    State {
        /// The state file.
        path: PathBuf,
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
