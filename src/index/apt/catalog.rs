use serde::{Deserialize, Serialize};

use super::package::{Checked, pool_path};
use super::{AptIndex, Holds, IndexedPackage};
use crate::index::catalog::{Catalog, read_record};
use crate::index::{CatalogEntry, IndexError, Label};
use crate::store::{LocalStore, Tree};

/// The rest of an [`IndexedPackage`].
#[derive(Serialize, Deserialize)]
struct Record {
    fields: Vec<(String, String)>,
    paths: Vec<String>,
}

/// The catalog of these packages: one entry for each suite that a package is in.
pub fn catalog(packages: &[IndexedPackage], store: &LocalStore) -> Result<Tree, IndexError> {
    let mut catalog = Catalog::new(store);
    for package in packages {
        let Checked { name, version, architecture, .. } = Checked::new(package)?;
        let record = Record { fields: package.fields.clone(), paths: package.paths.clone() };
        let record = catalog.record(&record)?;
        for suite in &package.suites {
            let (name, version) = (name.to_owned(), version.to_owned());
            let label = Label { suite: suite.clone(), name, version, architecture: architecture.to_owned() };
            let (sha256, object) = (package.sha256.clone(), package.object);
            catalog.add(CatalogEntry { label, size: package.size, sha256, object, record });
        }
    }
    catalog.finish()
}

impl IndexedPackage {
    /// The package of an entry, with what its record says. The record's bytes must be those of
    /// its digest.
    pub fn from_catalog(entry: &CatalogEntry, record: &[u8]) -> Result<Self, IndexError> {
        let Record { fields, paths } = read_record(record)?;
        Ok(Self {
            origin: entry.label.to_string(),
            suites: vec![entry.label.suite.clone()],
            fields,
            object: entry.object,
            size: entry.size,
            sha256: entry.sha256.clone(),
            paths,
        })
    }
}

impl AptIndex {
    /// Where the file of a package is, below the repository's root; none if its suite holds no
    /// packages of its own.
    pub fn pool_path(&self, label: &Label) -> Option<String> {
        let suite = self.suites.iter().find(|suite| suite.codename == label.suite)?;
        match &suite.holds {
            Holds::Packages { component, .. } => {
                let area = self.area(suite, component);
                Some(pool_path(&area, &label.name, &label.version, &label.architecture))
            }
            Holds::AliasOf(_) => None,
        }
    }
}
