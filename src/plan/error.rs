use std::path::PathBuf;

use crate::publish::PublishError;
use crate::store::StoreError;

/// Why no plan could be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A glob of local files is none.
    #[error("'{glob}' is not a glob: {reason}")]
    Glob {
        /// As written.
        glob: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Local files are needed, and none match.
    #[error("no file below {} matches {globs}; what git ignores, and what is marked as a cache, is left out", base.display())]
    NoFiles {
        /// Where was looked.
        base: PathBuf,
        /// For what.
        globs: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A repository's state or a signing key cannot be read.
    #[error("{node}: {source}")]
    Publish {
        /// The publishing node.
        node: String,
        /// What is wrong.
        source: Box<PublishError>,
    },
    /// A saved plan was made by another version of forge, or is damaged.
    #[error("{} is no plan that this forge can apply: {reason}; make it again with `forge plan --out`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something changed since the plan was made.
    #[error(
        "the world has moved since the plan was made: {difference}; look at a new plan with `forge plan`"
    )]
    Stale {
        /// The first thing that differs.
        difference: String,
    },
}
