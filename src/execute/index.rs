//! Indices: packages are read, and their metadata is written.

use std::collections::BTreeMap;
use std::fs::File;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builtin::Builtin;
use super::done::Failure;
use crate::digest::Digest;
use crate::graph::{AptIndexWork, IndexWork, RpmIndexWork};
use crate::index::{IndexedPackage, IndexedRpm, apt, rpm};
use crate::package::{DebInfo, PackageError, RpmInfo};
use crate::store::Tree;

impl Builtin {
    pub(super) fn index(&self, work: &IndexWork) -> Result<BTreeMap<String, Digest>, Failure> {
        let (repository, catalog) = match work {
            IndexWork::Apt(apt) => self.apt_index(apt)?,
            IndexWork::Rpm(rpm) => self.rpm_index(rpm)?,
        };
        let mut outputs = self.output("repository", self.store.put_tree(&repository)?);
        outputs.extend(self.output("catalog", self.store.put_tree(&catalog)?));
        Ok(outputs)
    }

    fn apt_index(&self, work: &AptIndexWork) -> Result<(Tree, Tree), Failure> {
        let mut packages = Vec::new();
        for (input, suite) in self.inputs.iter().zip(&work.suites) {
            packages.push(self.indexed_package(*input, suite)?);
        }
        let tree = apt::build(&work.index, &packages, work.date, &self.store).map_err(Failure::action)?;
        Ok((tree, apt::catalog(&packages, &self.store).map_err(Failure::action)?))
    }

    fn rpm_index(&self, work: &RpmIndexWork) -> Result<(Tree, Tree), Failure> {
        let (packages, updateinfo) = match work.has_updateinfo {
            true => self.inputs.split_at(self.inputs.len() - 1),
            false => (&self.inputs[..], &[][..]),
        };
        let packages =
            packages.iter().map(|input| self.indexed_rpm(*input)).collect::<Result<Vec<_>, _>>()?;
        let text = |input: &Digest| Ok::<_, Failure>(self.store.get(self.single_file(*input)?.0)?);
        let updateinfo = updateinfo.first().map(text).transpose()?;
        let updateinfo = updateinfo.as_deref();
        let tree = rpm::build(&work.index, &packages, updateinfo, work.date, &self.store);
        let catalog = rpm::catalog(&packages, updateinfo, &self.store).map_err(Failure::action)?;
        Ok((tree.map_err(Failure::action)?, catalog))
    }

    fn indexed_package(&self, input: Digest, suite: &str) -> Result<IndexedPackage, Failure> {
        let (object, size) = self.single_file(input)?;
        let info: DebInfo = self.read_once("deb info 1", object, DebInfo::read)?;
        Ok(IndexedPackage {
            origin: self.file_name(input)?,
            suites: vec![suite.to_owned()],
            fields: info.fields,
            object,
            size,
            sha256: info.sha256,
            paths: info.paths.iter().map(|path| path.display().to_string()).collect(),
        })
    }

    fn indexed_rpm(&self, input: Digest) -> Result<IndexedRpm, Failure> {
        let (object, _) = self.single_file(input)?;
        let info = self.read_once("rpm info 1", object, RpmInfo::read)?;
        Ok(IndexedRpm { origin: self.file_name(input)?, object, info })
    }

    /// What a package says of itself is read once: it is the same for ever. `kind` is raised
    /// whenever more or something else is read.
    fn read_once<T: Serialize + DeserializeOwned>(
        &self,
        kind: &str,
        object: Digest,
        read: impl FnOnce(File) -> Result<T, PackageError>,
    ) -> Result<T, Failure> {
        if let Some(info) = self.store.fact(kind, object) {
            return Ok(info);
        }
        let info = read(self.store.open_object(object)?).map_err(Failure::action)?;
        self.store.put_fact(kind, object, &info)?;
        Ok(info)
    }

    fn file_name(&self, tree: Digest) -> Result<String, Failure> {
        let path = self.store.tree(tree)?.entries().first().map(|entry| entry.path.clone());
        Ok(path.unwrap_or_default())
    }
}
