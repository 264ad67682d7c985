//! Packages are read, each once: what it says of itself is the same for ever.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::catalog::unreadable;
use super::{CatalogEntry, IndexError, Indexed, IndexedPackage, IndexedRpm, Label, RepositoryKind, pieces};
use crate::digest::{Digest, Hasher};
use crate::package::{DebInfo, RpmInfo};
use crate::store::{LocalStore, Staging};

/// A package file in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageFile {
    /// Its bytes.
    pub object: Digest,
    /// The codename of the suite that it is for; empty in an rpm repository.
    pub suite: String,
    /// Where it comes from, for messages.
    pub origin: String,
}

/// What the store remembers of a package file.
#[derive(Serialize, Deserialize)]
struct Fact {
    name: String,
    version: String,
    architecture: String,
    size: u64,
    sha256: String,
    record: Digest,
    record_size: u64,
}

/// From how many bytes on a package is remembered by itself, too: a smaller one is as soon read again as a file is made for it.
const ALONE: u64 = 1 << 20;
/// Half of how many packages are remembered together, about.
const REACH: usize = 128;

/// What an index asks of these packages, in their order, with their records in the store. Those that were never read are read
/// now, on all cores.
///
/// # Errors
///
/// A file that is no whole package of this kind, or whose names could not stand in an index.
pub fn read_packages(
    kind: RepositoryKind,
    files: &[PackageFile],
    store: &LocalStore,
) -> Result<Vec<Indexed>, IndexError> {
    let staging = Staging::new(store)?;
    let reader = Reader { kind, store, staging: &staging };
    let lot = |file: &PackageFile| u32::from_le_bytes(std::array::from_fn(|at| file.object.as_bytes()[at]));
    let lots: Vec<u32> = files.iter().map(lot).collect();
    let runs: Vec<_> = pieces::cut(&lots, REACH).map(|range| &files[range]).collect();
    let read = runs.par_iter().map(|run| reader.run(run)).collect::<Result<Vec<_>, _>>()?;
    staging.commit()?;
    Ok(read.into_iter().flatten().collect())
}

struct Reader<'a> {
    kind: RepositoryKind,
    store: &'a LocalStore,
    staging: &'a Staging<'a>,
}

impl Reader<'_> {
    /// Packages beside each other, of which is remembered together what they say: many small files take longer to read than
    /// what is in them.
    fn run(&self, files: &[PackageFile]) -> Result<Vec<Indexed>, IndexError> {
        let mut hasher = Hasher::default();
        files.iter().for_each(|file| hasher.update(file.object.as_bytes()));
        let key = hasher.digest();
        if let Some(facts) = self.store.piece(self.fact(), key)
            && let Ok(facts) = serde_json::from_slice::<Vec<Fact>>(&facts)
            && facts.len() == files.len()
            && facts.iter().all(|fact| self.store.contains(fact.record))
        {
            return Ok(facts.into_iter().zip(files).map(|(fact, file)| fact.of(file)).collect());
        }
        let packages = files.par_iter().map(|file| self.package(file)).collect::<Result<Vec<_>, _>>()?;
        let facts: Vec<Fact> = packages.iter().map(Fact::from).collect();
        let facts = serde_json::to_vec(&facts).map_err(|error| unreadable(&error))?;
        self.store.put_piece(self.fact(), key, &facts)?;
        Ok(packages)
    }

    /// A fact counts only with its record, which may not be in the store yet.
    fn package(&self, file: &PackageFile) -> Result<Indexed, IndexError> {
        let known: Option<Fact> = self.store.fact(self.fact(), file.object);
        if let Some(known) = known.filter(|known| self.store.contains(known.record)) {
            return Ok(known.of(file));
        }
        let package = self.read(file)?;
        if package.entry.size >= ALONE {
            self.store.put_fact(self.fact(), file.object, &Fact::from(&package))?;
        }
        Ok(package)
    }

    fn read(&self, file: &PackageFile) -> Result<Indexed, IndexError> {
        let PackageFile { object, suite, origin } = file.clone();
        let input = self.store.open_object(object)?;
        let fault = |source| IndexError::Package { origin: file.origin.clone(), source };
        match self.kind {
            RepositoryKind::Apt => {
                let info = DebInfo::read(input).map_err(fault)?;
                IndexedPackage::new(info, object, suite, origin).enter(self.staging)
            }
            RepositoryKind::Rpm => {
                let info = RpmInfo::read(input).map_err(fault)?;
                IndexedRpm { origin, object, info }.enter(self.staging)
            }
        }
    }

    /// The kind of what is remembered. Raised whenever more or something else is read, or a record is written otherwise.
    fn fact(&self) -> &'static str {
        match self.kind {
            RepositoryKind::Apt => "deb entry 1",
            RepositoryKind::Rpm => "rpm entry 1",
        }
    }
}

impl Fact {
    fn of(self, file: &PackageFile) -> Indexed {
        let Self { name, version, architecture, size, sha256, record, record_size } = self;
        let PackageFile { object, suite, origin } = file.clone();
        let label = Label { suite, name, version, architecture };
        Indexed { entry: CatalogEntry { label, size, sha256, object, record }, record_size, origin }
    }
}

impl From<&Indexed> for Fact {
    fn from(package: &Indexed) -> Self {
        let CatalogEntry { label, size, sha256, record, .. } = package.entry.clone();
        let Label { name, version, architecture, .. } = label;
        Self { name, version, architecture, size, sha256, record, record_size: package.record_size }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::index::fixture::Fixture;

    #[test]
    fn a_package_is_read_once_and_again_where_its_record_is_gone() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let mut rng = StdRng::seed_from_u64(1);
        let file = |version: &str| {
            // Digits, so that what is compressed is still large.
            let content: String = (0..4 << 20).map(|_| char::from(rng.gen_range(b'0'..=b'9'))).collect();
            let deb = fixture.deb("a", version, "amd64", "x", &content);
            assert!(deb.size >= ALONE);
            PackageFile { object: deb.object, suite: "x".into(), origin: deb.origin }
        };
        let files: Vec<PackageFile> = ["1", "2", "3"].map(file).into();
        let read = |files: &[PackageFile]| read_packages(RepositoryKind::Apt, files, store);
        let told = read(&files).unwrap();
        let versions: Vec<&str> = told.iter().map(|one| one.entry.label.version.as_str()).collect();
        assert_eq!(versions, ["1", "2", "3"]);

        let gone = |object: Digest| fs::remove_file(store.object_path(object)).unwrap();
        gone(files[0].object);
        gone(files[1].object);
        assert_eq!(read(&files).unwrap(), told, "all together");
        assert_eq!(read(&files[1..]).unwrap(), told[1..], "each by itself");
        gone(told[2].entry.record);
        assert_eq!(read(&files).unwrap(), told, "the record was written again");
        gone(told[1].entry.record);
        let error = read(&files).unwrap_err().to_string();
        assert!(error.contains(&files[1].object.to_string()), "{error}");
    }

    #[test]
    fn what_is_no_package_is_told_by_where_it_comes_from() {
        let fixture = Fixture::new();
        let object = fixture.store.put(b"text").unwrap();
        let file = PackageFile { object, suite: String::new(), origin: "a.file".into() };
        for kind in [RepositoryKind::Apt, RepositoryKind::Rpm] {
            let error = read_packages(kind, std::slice::from_ref(&file), &fixture.store).unwrap_err();
            assert!(error.to_string().starts_with("a.file: "), "{error}");
        }
    }
}
