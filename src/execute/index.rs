//! Indices: packages are read, and their metadata is written.

use std::collections::BTreeMap;
use std::io::Read;

use super::builtin::Builtin;
use super::done::Failure;
use crate::digest::Digest;
use crate::graph::{AptIndexWork, IndexWork, RpmIndexWork};
use crate::index::{self, IndexedPackage, IndexedRpm};
use crate::package::{DebInfo, RpmInfo};
use crate::store::Tree;

impl Builtin {
    pub(super) fn index(&self, work: &IndexWork) -> Result<BTreeMap<String, Digest>, Failure> {
        let tree = match work {
            IndexWork::Apt(apt) => self.apt_index(apt)?,
            IndexWork::Rpm(rpm) => self.rpm_index(rpm)?,
        };
        Ok(self.output("repository", self.store.put_tree(&tree)?))
    }

    fn apt_index(&self, work: &AptIndexWork) -> Result<Tree, Failure> {
        let mut packages = Vec::new();
        for (input, suite) in self.inputs.iter().zip(&work.suites) {
            packages.push(self.indexed_package(*input, suite)?);
        }
        index::apt::build(&work.index, &packages, work.date, &self.store).map_err(Failure::action)
    }

    fn rpm_index(&self, work: &RpmIndexWork) -> Result<Tree, Failure> {
        let packages = &self.inputs[..work.updateinfo.unwrap_or(self.inputs.len())];
        let packages =
            packages.iter().map(|input| self.indexed_rpm(*input)).collect::<Result<Vec<_>, _>>()?;
        let updateinfo = work.updateinfo.map(|input| {
            let (object, _) = self.single_file(self.inputs[input])?;
            Ok::<_, Failure>(self.store.get(object)?)
        });
        let updateinfo = updateinfo.transpose()?;
        index::rpm::build(&work.index, &packages, updateinfo.as_deref(), work.date, &self.store)
            .map_err(Failure::action)
    }

    fn indexed_package(&self, input: Digest, suite: &str) -> Result<IndexedPackage, Failure> {
        let (object, size) = self.single_file(input)?;
        let mut file = self.store.open_object(object)?;
        let info = DebInfo::read(file.by_ref()).map_err(Failure::action)?;
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
        let info = RpmInfo::read(self.store.open_object(object)?).map_err(Failure::action)?;
        Ok(IndexedRpm { origin: self.file_name(input)?, object, info })
    }

    fn file_name(&self, tree: Digest) -> Result<String, Failure> {
        let path = self.store.tree(tree)?.entries().first().map(|entry| entry.path.clone());
        Ok(path.unwrap_or_default())
    }
}
