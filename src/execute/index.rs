//! Indices: packages are read, and their metadata is written.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::builtin::Builtin;
use super::done::Failure;
use crate::digest::Digest;
use crate::graph::{AptIndexWork, IndexWork, RpmIndexWork};
use crate::index::{
    Bundles, IndexError, Indexed, Member, PackageFile, RepositoryKind, Settings, catalog, read_packages,
};

impl Builtin {
    pub(super) fn index(&self, work: &IndexWork) -> Result<BTreeMap<String, Digest>, Failure> {
        match work {
            IndexWork::Apt(apt) => self.apt_index(apt),
            IndexWork::Rpm(rpm) => self.rpm_index(rpm),
        }
    }

    fn apt_index(&self, work: &AptIndexWork) -> Result<BTreeMap<String, Digest>, Failure> {
        let suites = work.suites.iter().map(String::as_str);
        let packages = self.packages(RepositoryKind::Apt, self.inputs.iter().copied().zip(suites))?;
        self.built(&Settings::Apt(work.index.clone()), packages, None, work.date)
    }

    fn rpm_index(&self, work: &RpmIndexWork) -> Result<BTreeMap<String, Digest>, Failure> {
        let (packages, updateinfo) = match work.has_updateinfo {
            true => self.inputs.split_at(self.inputs.len() - 1),
            false => (&self.inputs[..], &[][..]),
        };
        let packages = self.packages(RepositoryKind::Rpm, packages.iter().map(|input| (*input, "")))?;
        let text = |input: &Digest| Ok::<_, Failure>(self.store.get(self.single_file(*input)?.0)?);
        let updateinfo = updateinfo.first().map(text).transpose()?;
        self.built(&Settings::Rpm(work.index.clone()), packages, updateinfo.as_deref(), work.date)
    }

    fn packages<'s>(
        &self,
        kind: RepositoryKind,
        inputs: impl Iterator<Item = (Digest, &'s str)>,
    ) -> Result<Vec<Indexed>, Failure> {
        let file = |(input, suite): (Digest, &str)| {
            let (object, _) = self.single_file(input)?;
            Ok(PackageFile { object, suite: suite.to_owned(), origin: self.file_name(input)? })
        };
        let files = inputs.map(file).collect::<Result<Vec<_>, Failure>>()?;
        read_packages(kind, &files, &self.store).map_err(Failure::action)
    }

    fn built(
        &self,
        settings: &Settings,
        packages: Vec<Indexed>,
        updateinfo: Option<&[u8]>,
        date: u64,
    ) -> Result<BTreeMap<String, Digest>, Failure> {
        let members: Vec<Member<'_>> = packages.iter().map(Indexed::member).collect();
        let records = Bundles::new(&self.store, packages.iter().map(|package| package.bundle.object));
        let record = |record| records.record(record).map_err(IndexError::from);
        let (repository, catalog) = rayon::join(
            || settings.build(&members, updateinfo, date, &self.store, &record),
            || catalog(&packages, updateinfo, &self.store),
        );
        // There is much in them.
        packages.into_par_iter().for_each(drop);
        let repository = self.store.put_tree(&repository.map_err(Failure::action)?)?;
        let catalog = catalog.map_err(Failure::action)?;
        let mut outputs = self.output("repository", repository);
        outputs.extend(self.output("catalog", self.store.put_tree(&catalog)?));
        Ok(outputs)
    }

    fn file_name(&self, tree: Digest) -> Result<String, Failure> {
        let path = self.store.tree(tree)?.entries().first().map(|entry| entry.path.clone());
        Ok(path.unwrap_or_default())
    }
}
