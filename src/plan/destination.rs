use std::collections::BTreeSet;
use std::time::Duration;

use crate::digest::Digest;
use crate::graph::{Publication, PublishWork};
use crate::index::{Label, read_catalog, updateinfo_of};
use crate::keys::{KeySource, SigningKeys, signing_time};
use crate::publish::{DirectoryTarget, Effect, PublishError, Repository};
use crate::store::LocalStore;

/// What a publishing node wants to be there, beside what is there.
pub struct Destination<'a> {
    work: &'a PublishWork,
    target: DirectoryTarget,
}

impl<'a> Destination<'a> {
    /// Of a node's work.
    pub fn new(work: &'a PublishWork) -> Self {
        let retention = Duration::from_secs(work.retention_days * 86_400);
        Self { work, target: DirectoryTarget::new(&work.to).with_retention(retention) }
    }

    /// Where it is.
    pub fn target(&self) -> &DirectoryTarget {
        &self.target
    }

    /// The keys, read and tried now: one that cannot sign is told before anything is built.
    pub fn keys(&self) -> Result<SigningKeys, PublishError> {
        let sources: Vec<KeySource> = self.work.keys.iter().map(KeySource::from).collect();
        Ok(SigningKeys::load(&sources, signing_time())?)
    }

    /// The repositories to be published, made from the generations that are live now.
    /// `catalogs` are the node's inputs.
    pub fn repositories(
        &self,
        catalogs: &[Digest],
        store: &LocalStore,
    ) -> Result<Vec<Repository>, PublishError> {
        let pairs = self.work.repositories.iter().zip(catalogs);
        pairs
            .map(|(publication, catalog)| {
                let catalog = store.tree(*catalog)?;
                let (packages, updateinfo) = (read_catalog(&catalog, store)?, updateinfo_of(&catalog));
                let expected = self.target.state(&publication.prefix)?.map(|generation| generation.id);
                Ok(Repository { packages, updateinfo, expected, ..repository(publication) })
            })
            .collect()
    }

    /// Why there is something to publish; `None` if everything is there.
    pub fn difference(
        &self,
        catalogs: &[Digest],
        store: &LocalStore,
    ) -> Result<Option<String>, PublishError> {
        let (keys, now) = (self.keys()?, signing_time());
        for repository in self.repositories(catalogs, store)? {
            let difference = self.target.difference(&repository, Some(&keys), now)?;
            if difference.is_some() {
                return Ok(difference);
            }
        }
        Ok(None)
    }

    /// What publishing these packages below one of the prefixes would change.
    pub fn forecast(
        &self,
        publication: &Publication,
        wanted: &BTreeSet<Label>,
    ) -> Result<Effect, PublishError> {
        self.target.forecast(&repository(publication), wanted, signing_time())
    }
}

fn repository(publication: &Publication) -> Repository {
    let Publication { prefix, index, url, keep } = publication.clone();
    Repository { prefix, index, url, keep, packages: Vec::new(), updateinfo: None, expected: None }
}
