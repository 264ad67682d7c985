//! Records: what indices say of packages beside their entries.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::catalog::unreadable;
use super::{CatalogEntry, IndexError, Member, Records, apt};
use crate::package::RpmInfo;

/// What an index says of a package beside its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Of a deb.
    Deb(apt::Record),
    /// Of an rpm.
    Rpm(Box<RpmInfo>),
}

/// A package as it was read from its file.
pub(super) struct Entered {
    pub entry: CatalogEntry,
    pub record: Record,
    /// The record as it is written: the same one always by the same bytes.
    pub bytes: Vec<u8>,
}

/// What records of one kind of packages are read as.
pub(super) trait Recorded: Serialize + DeserializeOwned + Clone {
    /// The record, if it is of that kind.
    fn of(record: &Record) -> Option<&Self>;

    /// The bytes that it is written as.
    fn to_bytes(&self) -> Result<Vec<u8>, IndexError> {
        serde_json::to_vec(self).map_err(|error| unreadable(&error))
    }
}

impl Recorded for apt::Record {
    fn of(record: &Record) -> Option<&Self> {
        match record {
            Record::Deb(record) => Some(record),
            Record::Rpm(_) => None,
        }
    }
}

impl Recorded for RpmInfo {
    fn of(record: &Record) -> Option<&Self> {
        match record {
            Record::Rpm(record) => Some(record),
            Record::Deb(_) => None,
        }
    }
}

impl<'a> Member<'a> {
    /// Its record: as it was read from the package, or from what `records` has of it.
    pub(super) fn record<T: Recorded, E: From<IndexError>>(
        &self,
        records: &Records<'_, E>,
    ) -> Result<Cow<'a, T>, E> {
        if let Some(record) = self.record.and_then(T::of) {
            return Ok(Cow::Borrowed(record));
        }
        let bytes = records(self.entry.record)?;
        let read = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
        Ok(Cow::Owned(read))
    }
}
