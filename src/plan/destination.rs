use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::buildfile::KeySource;
use crate::digest::Digest;
use crate::graph::{Publication, PublishWork};
use crate::index::apt::{Label, read_catalog};
use crate::publish::{self, DirectoryTarget, Effect, PublishError, Repository, Secret, SigningKeys};
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
        let sources: Vec<publish::KeySource> = self.work.keys.iter().map(key_source).collect();
        Ok(SigningKeys::load(&sources, publishing_time())?)
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
                let packages = read_catalog(&store.tree(*catalog)?, store)?;
                let expected = self.target.state(&publication.prefix)?.map(|generation| generation.id);
                Ok(Repository { packages, expected, ..repository(publication) })
            })
            .collect()
    }

    /// Why there is something to publish; `None` if everything is there.
    pub fn difference(
        &self,
        catalogs: &[Digest],
        store: &LocalStore,
    ) -> Result<Option<String>, PublishError> {
        let (keys, now) = (self.keys()?, publishing_time());
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
        self.target.forecast(&repository(publication), wanted, publishing_time())
    }
}

fn repository(publication: &Publication) -> Repository {
    let Publication { prefix, index, keep } = publication.clone();
    Repository { prefix, index, keep, packages: Vec::new(), expected: None }
}

/// Seconds since 1970: now, or `SOURCE_DATE_EPOCH`, by which two publishes can be compared
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
pub fn publishing_time() -> u64 {
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    fixed.unwrap_or_else(now)
}

fn key_source(source: &KeySource) -> publish::KeySource {
    let key = match source {
        KeySource::File(path) => Secret::File(path.clone()),
        KeySource::Env(name) => Secret::Env(name.clone()),
    };
    publish::KeySource { key, passphrase: None }
}
