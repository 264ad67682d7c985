//! Real packages for tests, made by rpmbuild.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::{IndexedRpm, RpmIndex};
use crate::index::fixture::{Fixture, run};
use crate::index::{IndexCompression, IndexError, Indexed, Settings, fixture};
use crate::package::RpmInfo;
use crate::store::{Ingest, Kind, LocalStore, Tree};

/// When all packages were built.
pub(crate) const BUILT: u64 = 1_000_000_000;

impl Fixture {
    /// Builds an `.rpm` for all architectures that installs one file with `content`.
    pub fn rpm(&self, name: &str, version: &str, content: &str) -> IndexedRpm {
        let (version, release) = version.split_once('-').unwrap_or((version, "1"));
        let spec = format!(
            "Name: {name}\nVersion: {version}\nRelease: {release}\nSummary: test package\nLicense: MIT\n\
             BuildArch: noarch\n%description\nA longer text.\n%install\n\
             mkdir -p %{{buildroot}}/usr/share/{name}\n\
             cp %{{_topdir}}/content %{{buildroot}}/usr/share/{name}/file\n%files\n/usr/share/{name}\n"
        );
        // Without a source package, whose digest would be in it and differ each time.
        self.read_rpm(&self.build("-bb", &spec, content)[0])
    }

    /// Builds the packages of a spec file, its source package among them, sorted by their paths.
    pub fn rpmbuild(&self, spec: &str) -> Vec<PathBuf> {
        self.build("-ba", spec, "")
    }

    fn build(&self, what: &str, spec: &str, content: &str) -> Vec<PathBuf> {
        let top = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        fs::write(top.join("package.spec"), spec).unwrap();
        fs::write(top.join("content"), content).unwrap();
        let mut rpmbuild = Command::new("rpmbuild");
        rpmbuild.args([what, "--quiet", "package.spec"]).current_dir(&top);
        let top_dir = format!("_topdir {}", top.display());
        for define in [
            top_dir.as_str(),
            "_buildhost build.example.org",
            "use_source_date_epoch_as_buildtime 1",
            "clamp_mtime_to_source_date_epoch 1",
            "source_date_epoch_from_changelog 0",
        ] {
            rpmbuild.args(["--define", define]);
        }
        run(rpmbuild.env("SOURCE_DATE_EPOCH", BUILT.to_string()));
        let mut all: Vec<PathBuf> = ["RPMS", "SRPMS"]
            .iter()
            .flat_map(|dir| walkdir::WalkDir::new(top.join(dir)))
            .filter_map(|entry| Some(entry.ok()?.into_path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "rpm"))
            .collect();
        all.sort();
        all
    }

    pub fn read_rpm(&self, rpm: &Path) -> IndexedRpm {
        let tree = self.store.ingest_paths(rpm.parent().unwrap(), vec![rpm.into()], Ingest::Copy).unwrap();
        let Kind::File { object, .. } = tree.entries()[0].kind else { panic!("not a file") };
        let info = RpmInfo::read(fs::File::open(rpm).unwrap()).unwrap();
        IndexedRpm { origin: rpm.display().to_string(), object, info }
    }
}

pub(crate) fn rpm_index() -> RpmIndex {
    RpmIndex { compression: IndexCompression::Zst }
}

/// The packages with their records in the store.
pub(crate) fn entered(packages: &[IndexedRpm], store: &LocalStore) -> Result<Vec<Indexed>, IndexError> {
    let entered = packages.iter().map(|package| (package.origin.clone(), package.clone().enter()));
    fixture::entered(entered, store)
}

/// The index of these packages.
pub(crate) fn build(
    index: &RpmIndex,
    packages: &[IndexedRpm],
    updateinfo: Option<&[u8]>,
    date: u64,
    store: &LocalStore,
) -> Result<Tree, IndexError> {
    fixture::build(&Settings::Rpm(index.clone()), &entered(packages, store)?, updateinfo, date, store)
}

/// The package under many other names, as if each were another file.
pub(crate) fn crowd(one: &IndexedRpm, count: usize) -> Vec<IndexedRpm> {
    let other = |at: usize| {
        let mut other = one.clone();
        other.info.name = format!("crowd-{at}");
        other.info.sha256 =
            Sha256::digest(&other.info.name).iter().map(|byte| format!("{byte:02x}")).collect();
        other
    };
    (0..count).map(other).collect()
}
