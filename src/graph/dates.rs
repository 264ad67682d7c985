//! What `SOURCE_DATE_EPOCH` is for a script.

use crate::buildfile::InputSource;

/// The dates of what a script is given, seconds since 1970.
#[derive(Default)]
pub(super) struct Dates {
    own: Option<u64>,
    used: Option<u64>,
}

impl Dates {
    /// Adds the date of an input, if it has one.
    pub fn add(&mut self, from: &InputSource, date: Option<u64>) {
        match from {
            InputSource::Upstream(_) => self.own = date.max(self.own),
            InputSource::Target { .. } | InputSource::Files(_) => self.add_used(date),
        }
    }

    /// Adds the date of what another target made, if it has one.
    pub fn add_used(&mut self, date: Option<u64>) {
        self.used = date.max(self.used);
    }

    /// That of its newest source; of what it uses, if it has no source. So a program that is compiled again by a
    /// newer compiler has the date it had, and may come out the same.
    pub fn date(&self) -> u64 {
        self.own.or(self.used).unwrap_or(1)
    }
}
