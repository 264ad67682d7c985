//! The records of a generation: what its indices are made from, in bundles.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::index::{Bundles, bundle};
use crate::store::StoreError;

/// With more bundles of records than this, the next publish packs all of them into one.
const MOST: usize = 8;

/// The records of a generation: which of the bundles of the live one, which hold `bundled`, it goes on with, and what is to
/// be packed beside them.
pub(super) fn next<T>(
    live: Vec<T>,
    bundled: &BTreeSet<Digest>,
    records: BTreeSet<Digest>,
) -> (Vec<T>, BTreeSet<Digest>) {
    match live.len() < MOST {
        true => (live, records.difference(bundled).copied().collect()),
        false => (Vec::new(), records),
    }
}

/// A bundle of these.
pub(super) fn pack(records: BTreeSet<Digest>, from: &Bundles<'_>) -> Result<Vec<u8>, StoreError> {
    let read = |record: Digest| Ok((record, from.record(record)?));
    let records = records.into_iter().map(read).collect::<Result<Vec<_>, StoreError>>()?;
    bundle::pack(records.iter().map(|(record, bytes)| (*record, bytes.as_slice())))
}
