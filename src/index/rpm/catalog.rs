use super::IndexedRpm;
use super::package::Checked;
use crate::index::catalog::{Catalog, read_record};
use crate::index::{CatalogEntry, IndexError};
use crate::store::{LocalStore, Tree};

/// The catalog of these packages, and the advisories.
pub fn catalog(
    packages: &[IndexedRpm],
    updateinfo: Option<&[u8]>,
    store: &LocalStore,
) -> Result<Tree, IndexError> {
    let mut catalog = Catalog::new(store);
    for package in packages {
        let label = Checked::new(package)?.label();
        let record = catalog.record(&package.info)?;
        let (size, sha256, object) = (package.info.size, package.info.sha256.clone(), package.object);
        catalog.add(CatalogEntry { label, size, sha256, object, record });
    }
    updateinfo.map_or(Ok(()), |text| catalog.updateinfo(text))?;
    catalog.finish()
}

impl IndexedRpm {
    /// The package of an entry, with what its record says. The record's bytes must be those of
    /// its digest.
    pub fn from_catalog(entry: &CatalogEntry, record: &[u8]) -> Result<Self, IndexError> {
        Ok(Self { origin: entry.label.to_string(), object: entry.object, info: read_record(record)? })
    }
}
