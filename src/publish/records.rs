//! The records of a generation: what its indices are made from, in bundles.

use std::collections::HashSet;

use super::Generation;
use super::content::Content;
use crate::digest::Digest;
use crate::index::{Bundles, bundle};
use crate::store::{LocalStore, StoreError};

/// With more bundles than this, the next publish packs all of them into one.
const MOST: usize = 8;

/// The bundles of a generation.
pub(super) struct Bundled {
    /// All of them; they are in the store.
    pub bundles: Vec<Digest>,
    /// The bytes of that which the generation before has not.
    pub new: Option<Vec<u8>>,
}

impl Bundled {
    /// Those of the live generation as far as it goes on with them, and one more with what is in none of them.
    pub fn after(
        live: Option<(&Generation, Vec<Digest>)>,
        content: &Content,
        records: &Bundles<'_>,
        store: &LocalStore,
    ) -> Result<Self, StoreError> {
        let (bundled, mut bundles) = match live {
            Some((live, bundles)) if bundles.len() < MOST => (live.records().collect(), bundles),
            _ => (HashSet::new(), Vec::new()),
        };
        let mut seen = HashSet::new();
        // In the order of the packages, as an index asks for them.
        let new = content.records().filter(|record| !bundled.contains(record) && seen.insert(*record));
        let new = new.map(|record| Ok((record, records.record(record)?))).collect::<Result<Vec<_>, _>>()?;
        if new.is_empty() {
            return Ok(Self { bundles, new: None });
        }
        let new = bundle::pack(new.iter().map(|(record, bytes)| (*record, bytes.as_slice())))?;
        bundles.push(store.put(&new)?);
        Ok(Self { bundles, new: Some(new) })
    }
}
