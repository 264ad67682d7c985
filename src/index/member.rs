use super::{CatalogEntry, Record};

/// A package that is to be in an index.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// What it is, and where its record is.
    pub entry: &'a CatalogEntry,
    /// Its record, if it is at hand.
    pub record: Option<&'a Record>,
    /// The file it comes from, for messages; without one its label stands there.
    pub origin: Option<&'a str>,
}

impl Member<'_> {
    pub(super) fn origin(&self) -> String {
        self.origin.map_or_else(|| self.entry.label.to_string(), str::to_owned)
    }

    /// Tells everything that an index says of it.
    pub(super) fn identify(&self, told: &mut Vec<u8>) {
        let CatalogEntry { label, size, sha256, record, .. } = self.entry;
        let size = size.to_string();
        for text in [&label.name, &label.version, &label.architecture, &size, sha256] {
            told.extend((text.len() as u64).to_le_bytes());
            told.extend(text.as_bytes());
        }
        told.extend(record.as_bytes());
    }
}

impl CatalogEntry {
    /// Digits of its content, which are as good as drawn by lot.
    pub(crate) fn lot(&self) -> u32 {
        self.sha256.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0)
    }
}
