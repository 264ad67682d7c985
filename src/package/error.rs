use std::io;

use crate::keys::KeyError;
use crate::store::StoreError;

/// Why a package could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A field of the description holds what no package may say.
    #[error("{field} is '{value}'; expected {expected}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// A relation to other packages is malformed.
    #[error("{field}: '{clause}': {reason}")]
    Relation {
        /// The field it stands in.
        field: &'static str,
        /// The text between two commas.
        clause: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A `${name}` has no value.
    #[error("{field} uses ${{{name}}}, which nothing defines; defined are: {defined}")]
    UnknownVariable {
        /// The field it stands in.
        field: &'static str,
        /// The variable.
        name: String,
        /// The variables that have a value.
        defined: String,
    },
    /// A line of a substvars file is neither a comment nor an assignment.
    #[error("line {line} of the substitution variables is '{text}'; expected `name=value`")]
    Substvars {
        /// Counted from 1.
        line: usize,
        /// The whole line.
        text: String,
    },
    /// Something cannot stand where the package would install it.
    #[error("/{path}: {reason}")]
    Payload {
        /// Relative to the root of the installed system.
        path: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An object of the payload cannot be had, or the store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key that signs the package cannot.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The finished package could not be handed over.
    #[error("cannot write the package: {0}")]
    Write(#[source] io::Error),
    /// A part of the package is too large for the format.
    #[error("{part} has {size} bytes; its format holds at most {limit} there: split the package")]
    TooLarge {
        /// Its name.
        part: String,
        /// Its size in bytes.
        size: u64,
        /// The largest size the format can express.
        limit: u64,
    },
    /// The file is no package of its format, or a damaged one.
    #[error("not a sound package: {part}: {reason}")]
    Malformed {
        /// The part that is wrong.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl PackageError {
    pub(super) fn payload(path: &str, reason: impl Into<String>) -> Self {
        Self::Payload { path: path.to_owned(), reason: reason.into() }
    }

    pub(super) fn malformed(part: &str, reason: impl ToString) -> Self {
        Self::Malformed { part: part.to_owned(), reason: reason.to_string() }
    }
}
