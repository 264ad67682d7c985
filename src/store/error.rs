use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The filesystem refused.
    #[error("cannot {doing} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The object is not in the store.
    #[error("object {0} is not in the store; the next run builds again what needs it")]
    Missing(Digest),
    /// The object's bytes are not those its name promises.
    #[error("object {0} is damaged; `forge cache verify` removes it, and the next run builds it again")]
    Damaged(Digest),
    /// The tree holds something a package could not carry.
    #[error("{}: {reason}", path.display())]
    Unsupported {
        /// The path inside the tree.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl StoreError {
    /// For `map_err`: names what was tried and where.
    pub fn io(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// The disk is full or a quota is used up: trying again at once cannot help.
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::Io { source, .. } if out_of_space(source))
    }
}

fn out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn advice(error: &io::Error) -> &'static str {
    if out_of_space(error) {
        "; free some room (`forge cache gc` removes what was not used lately) and run again: what is done is kept"
    } else {
        ""
    }
}
