use serde::{Deserialize, Serialize};

use crate::store::{LocalStore, StoreError};

/// What the last run left undone, for `forge run --failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// Nodes that failed.
    pub failed: Vec<String>,
    /// Nodes that were not run for that, or because the run was interrupted.
    pub undone: Vec<String>,
}

impl LastRun {
    const FILE: &'static str = "last-run.json";

    /// Of the last run that ended, if there was one.
    pub fn load(store: &LocalStore) -> Option<Self> {
        store.note(Self::FILE)
    }

    /// Remembers this run.
    pub fn save(&self, store: &LocalStore) -> Result<(), StoreError> {
        store.put_note(Self::FILE, self)
    }
}
