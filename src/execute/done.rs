use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::runner::RunError;
use crate::store::StoreError;

/// What a node gave.
pub struct Done {
    /// Output trees by name.
    pub outputs: BTreeMap<String, Digest>,
    /// What it printed.
    pub log: Option<Digest>,
    /// Where it ran.
    pub runner: &'static str,
    /// Whether it is remembered under its key. What was published is remembered by the
    /// repository itself.
    pub is_kept: bool,
}

/// Why a node gave nothing.
#[derive(Debug)]
pub enum Failure {
    /// The action failed, or cannot be run as it is.
    Action {
        /// What went wrong.
        error: String,
        /// What it printed.
        log: Option<Digest>,
    },
    /// Something beside the action stands in its way, such as a full disk. It says nothing
    /// about the action, and trying again at once cannot help.
    Surroundings(String),
    /// Something around the action failed; trying again may help.
    Infrastructure(String),
    /// Somebody interrupted it.
    Cancelled,
}

impl Failure {
    /// The error and the log.
    pub fn into_parts(self) -> (String, Option<Digest>) {
        match self {
            Self::Action { error, log } => (error, log),
            Self::Surroundings(error) | Self::Infrastructure(error) => (error, None),
            Self::Cancelled => ("interrupted".to_owned(), None),
        }
    }

    /// The action failed and printed nothing.
    pub fn action(error: impl ToString) -> Self {
        Self::Action { error: error.to_string(), log: None }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Surroundings(error.to_string())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let text = error.to_string();
        match error {
            RunError::Failed { log, .. }
            | RunError::MissingOutput { log, .. }
            | RunError::UnfitOutput { log, .. } => Self::Action { error: text, log: Some(log) },
            RunError::Infrastructure(_) => Self::Infrastructure(text),
            RunError::Cancelled => Self::Cancelled,
            RunError::Setup(_) | RunError::Store(_) => Self::Surroundings(text),
        }
    }
}
