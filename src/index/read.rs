//! Packages are read, each once: what it says of itself is the same for ever.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::catalog::unreadable;
use super::record::Entered;
use super::{
    Bundle, CatalogEntry, IndexError, Indexed, IndexedPackage, IndexedRpm, Label, Record, RepositoryKind,
    pieces,
};
use crate::digest::{Digest, Hasher};
use crate::package::{DebInfo, RpmInfo};
use crate::store::{LocalStore, Object, Staging};

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

/// What a package file says of itself, whatever suite it is for.
#[derive(Serialize, Deserialize)]
struct Fact {
    name: String,
    version: String,
    architecture: String,
    size: u64,
    sha256: String,
    record: Digest,
}

/// What was read of a package, or remembered.
struct Read {
    fact: Fact,
    /// If it was read.
    record: Option<Record>,
    /// The record as it is written.
    bytes: Vec<u8>,
}

/// What the store remembers of packages together.
#[derive(Serialize, Deserialize)]
struct Known {
    facts: Vec<Fact>,
    /// With their records.
    bundle: Bundle,
}

/// From how many bytes on a package is remembered by itself, too: a smaller one is as soon read again as a file is made for it.
const ALONE: u64 = 1 << 20;
/// How many packages are remembered together, at least.
const REACH: usize = 192;

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
    let runs: Vec<_> = pieces::cut(&lots, REACH).into_iter().map(|range| &files[range]).collect();
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
        // What is known counts only with its bundle, which may not be in the store yet.
        if let Some(known) = self.store.piece(self.fact(), key)
            && let Ok(Known { facts, bundle }) = serde_json::from_slice(&known)
            && facts.len() == files.len()
            && self.store.contains(bundle.object)
        {
            return Ok(facts
                .into_iter()
                .zip(files)
                .map(|(fact, file)| fact.of(file, bundle, None))
                .collect());
        }
        let read = files.par_iter().map(|file| self.package(file)).collect::<Result<Vec<_>, _>>()?;
        let records = read.iter().map(|read| (read.fact.record, read.bytes.as_slice()));
        let bundle = Bundle::of_records(records, self.staging)?;
        let (facts, records): (Vec<_>, Vec<_>) =
            read.into_iter().map(|read| (read.fact, read.record)).unzip();
        let known = Known { facts, bundle };
        let bytes = serde_json::to_vec(&known).map_err(|error| unreadable(&error))?;
        self.store.put_piece(self.fact(), key, &bytes)?;
        let facts = known.facts.into_iter().zip(records).zip(files);
        Ok(facts.map(|((fact, record), file)| fact.of(file, bundle, record)).collect())
    }

    /// A package and its record, read or remembered.
    fn package(&self, file: &PackageFile) -> Result<Read, IndexError> {
        let input = self.store.open_object(file.object);
        let is_small = |input: &Object| input.size().is_ok_and(|size| size < ALONE);
        if !input.as_ref().is_ok_and(is_small)
            && let Some((fact, bytes)) = self.store.fact::<(Fact, String)>(self.fact(), file.object)
        {
            return Ok(Read { fact, record: None, bytes: bytes.into_bytes() });
        }
        let Entered { entry, record, bytes } = self.read(file, input?)?;
        let fact = Fact::from(entry);
        if fact.size >= ALONE {
            let text = String::from_utf8_lossy(&bytes);
            self.store.put_fact(self.fact(), file.object, &(&fact, text))?;
        }
        Ok(Read { fact, record: Some(record), bytes })
    }

    fn read(&self, file: &PackageFile, input: Object) -> Result<Entered, IndexError> {
        let PackageFile { object, suite, origin } = file.clone();
        let fault = |source| IndexError::Package { origin: file.origin.clone(), source };
        match self.kind {
            RepositoryKind::Apt => {
                let info = DebInfo::read(input).map_err(fault)?;
                IndexedPackage::new(info, object, suite, origin).enter()
            }
            RepositoryKind::Rpm => {
                let info = RpmInfo::read(input).map_err(fault)?;
                IndexedRpm { origin, object, info }.enter()
            }
        }
    }

    /// The kind of what is remembered. Raised whenever more or something else is read, or a record is written otherwise.
    fn fact(&self) -> &'static str {
        match self.kind {
            RepositoryKind::Apt => "deb entry 2",
            RepositoryKind::Rpm => "rpm entry 2",
        }
    }
}

impl Fact {
    fn of(self, file: &PackageFile, bundle: Bundle, record: Option<Record>) -> Indexed {
        let PackageFile { object, suite, origin } = file.clone();
        let label = Label { suite, name: self.name, version: self.version, architecture: self.architecture };
        let entry = CatalogEntry { label, size: self.size, sha256: self.sha256, object, record: self.record };
        Indexed { entry, bundle, record, origin }
    }
}

impl From<CatalogEntry> for Fact {
    fn from(entry: CatalogEntry) -> Self {
        let CatalogEntry { label, size, sha256, record, .. } = entry;
        let Label { name, version, architecture, .. } = label;
        Self { name, version, architecture, size, sha256, record }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::index::Bundles;
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

        let entries = |told: &[Indexed]| told.iter().map(|one| one.entry.clone()).collect::<Vec<_>>();
        let bundles = |told: &[Indexed]| told.iter().map(|one| one.bundle).collect::<Vec<_>>();
        let read_again = || {
            let again = read(&files).unwrap();
            (entries(&again), bundles(&again))
        };
        let told_before = (entries(&told), bundles(&told));
        let gone = |object: Digest| store.lose(object);
        let kept = store.get(files[0].object).unwrap();
        gone(files[0].object);
        gone(files[1].object);
        assert_eq!(read_again(), told_before, "all together");
        assert_eq!(entries(&read(&files[1..]).unwrap()), entries(&told[1..]), "each by itself");
        gone(told[2].bundle.object);
        assert_eq!(read_again(), told_before, "the bundle was written again");
        let records = Bundles::new(store, told.iter().map(|one| one.bundle.object));
        for one in &told {
            let record = String::from_utf8(records.record(one.entry.record).unwrap()).unwrap();
            assert!(record.contains(&one.entry.label.version), "{record}");
        }
        let bundles: BTreeSet<Digest> = told.iter().map(|one| one.bundle.object).collect();
        bundles.into_iter().for_each(gone);
        fs::remove_dir_all(store.root().join("facts")).unwrap();
        store.put(&kept).unwrap();
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
