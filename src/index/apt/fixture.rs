//! Real packages for tests, made and read by dpkg-deb.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use super::{AptIndex, Holds, IndexedPackage, PoolLayout, Suite, stanzas};
pub(crate) use crate::index::fixture::{Fixture, run};
use crate::index::{IndexCompression, IndexError, Indexed, Settings, fixture};
use crate::store::{Ingest, Kind, LocalStore, Tree};

impl Fixture {
    /// Builds a `.deb` that installs one file with `content`, and reads it back.
    pub fn deb(
        &self,
        name: &str,
        version: &str,
        architecture: &str,
        suite: &str,
        content: &str,
    ) -> IndexedPackage {
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nSection: devel\n\
             Maintainer: Nobody <nobody@example.org>\nPriority: optional\n\
             Description: test package\n A longer text.\n .\n With a second paragraph.\n"
        );
        self.read(&self.pack(&control, name, content), suite)
    }

    /// Builds a `.deb` with this control stanza.
    pub fn pack(&self, control: &str, name: &str, content: &str) -> PathBuf {
        let work = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let root = work.join("root");
        fs::create_dir_all(root.join("DEBIAN")).unwrap();
        fs::create_dir_all(root.join("usr/share").join(name)).unwrap();
        fs::write(root.join("DEBIAN/control"), control).unwrap();
        fs::write(root.join("usr/share").join(name).join("file"), content).unwrap();
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).arg(&root).arg(&work);
        run(build.env("SOURCE_DATE_EPOCH", "1000000000"));
        fs::remove_dir_all(&root).unwrap();
        fs::read_dir(&work).unwrap().next().unwrap().unwrap().path()
    }

    pub fn read(&self, deb: &Path, suite: &str) -> IndexedPackage {
        let bytes = fs::read(deb).unwrap();
        let tree = self.store.ingest_paths(deb.parent().unwrap(), vec![deb.into()], Ingest::Copy).unwrap();
        let Kind::File { object, size } = tree.entries()[0].kind else { panic!("not a file") };
        let mut fields = stanzas(&run(Command::new("dpkg-deb").arg("-f").arg(deb))).unwrap();
        let mut tar = Command::new("dpkg-deb");
        let mut tar = tar.arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped()).spawn().unwrap();
        let paths = run(Command::new("tar").arg("t").stdin(tar.stdout.take().unwrap()));
        assert!(tar.wait().unwrap().success());
        IndexedPackage {
            origin: deb.display().to_string(),
            suite: suite.into(),
            fields: fields.remove(0).0,
            object,
            size,
            sha256: Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
            paths: paths.lines().filter(|path| !path.ends_with('/')).map(str::to_owned).collect(),
        }
    }
}

pub(crate) fn suite(codename: &str) -> Suite {
    let holds = Holds::Packages { component: "main".into(), architectures: Vec::new() };
    Suite { codename: codename.into(), suite: None, version: None, holds }
}

pub(crate) fn alias(codename: &str, target: &str) -> Suite {
    Suite { holds: Holds::AliasOf(target.into()), ..suite(codename) }
}

pub(crate) fn index(suites: Vec<Suite>) -> AptIndex {
    AptIndex {
        origin: "Forge Test".into(),
        label: "Test".into(),
        description: "packages of a test".into(),
        suites,
        compressions: vec![IndexCompression::Xz, IndexCompression::Gz, IndexCompression::Zst],
        contents: true,
        pool: PoolLayout::Shared,
    }
}

/// The packages with their records in the store.
pub(crate) fn entered(packages: &[IndexedPackage], store: &LocalStore) -> Result<Vec<Indexed>, IndexError> {
    let entered = packages.iter().map(|package| (package.origin.clone(), package.clone().enter()));
    fixture::entered(entered, store)
}

/// The index of these packages.
pub(crate) fn build(
    index: &AptIndex,
    packages: &[IndexedPackage],
    date: u64,
    store: &LocalStore,
) -> Result<Tree, IndexError> {
    fixture::build(&Settings::Apt(index.clone()), &entered(packages, store)?, None, date, store)
}

/// The package under many other names, as if each were another file.
pub(crate) fn crowd(one: &IndexedPackage, count: usize) -> Vec<IndexedPackage> {
    let other = |at: usize| {
        let name = format!("crowd-{at}");
        let mut other = one.clone();
        other.sha256 = Sha256::digest(&name).iter().map(|byte| format!("{byte:02x}")).collect();
        let fields = other.fields.iter_mut().filter(|(field, _)| field == "Package");
        fields.for_each(|(_, value)| value.clone_from(&name));
        other
    };
    (0..count).map(other).collect()
}
