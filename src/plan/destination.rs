use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::graph::{Publication, PublishWork};
use crate::index::{Label, bundles_of, read_catalog, updateinfo_of};
use crate::keys::{KeySource, SigningKeys, signing_time};
use crate::publish::{Edition, Effect, Outcome, Progress, PublishError, Repository, Request, Target};
use crate::store::LocalStore;

/// What a publishing node wants to be there, beside what is there.
pub struct Destination<'a> {
    work: &'a PublishWork,
}

impl<'a> Destination<'a> {
    /// Of a node's work.
    pub fn new(work: &'a PublishWork) -> Self {
        Self { work }
    }

    /// Where it is.
    pub fn target(&self) -> &Target {
        &self.work.target
    }

    /// The keys, read and tried now: one that cannot sign is told before anything is built.
    pub fn keys(&self) -> Result<SigningKeys, PublishError> {
        let sources: Vec<KeySource> = self.work.keys.iter().map(KeySource::from).collect();
        Ok(SigningKeys::load(&sources, signing_time())?)
    }

    /// Whether it can be published there: that is told before anything is built.
    pub fn check(&self) -> Result<(), PublishError> {
        self.keys()?;
        // The others are of the same service and directory.
        self.prefixes().take(1).try_for_each(|prefix| self.work.target.state(prefix).map(drop))
    }

    /// The repositories to be published, made from the generations that are live now.
    /// `catalogs` are the node's inputs.
    pub fn repositories(
        &self,
        catalogs: &[Digest],
        store: &LocalStore,
    ) -> Result<Vec<Repository>, PublishError> {
        let of_now = |wanted: Result<Repository, PublishError>| {
            let wanted = wanted?;
            let expected = self.work.target.state(&wanted.prefix)?.map(|generation| generation.id);
            Ok(Repository { expected, ..wanted })
        };
        self.wanted(catalogs, store).map(of_now).collect()
    }

    /// The same, whatever is live.
    fn wanted(
        &self,
        catalogs: &[Digest],
        store: &LocalStore,
    ) -> impl Iterator<Item = Result<Repository, PublishError>> {
        self.work.repositories.iter().zip(catalogs).map(|(publication, catalog)| {
            let catalog = store.tree(*catalog)?;
            let (packages, bundles) = (read_catalog(&catalog, store)?, bundles_of(&catalog));
            let updateinfo = updateinfo_of(&catalog);
            Ok(Repository { packages, bundles, updateinfo, ..repository(publication) })
        })
    }

    /// Why there is something to publish; `None` if everything is there.
    pub fn difference(
        &self,
        catalogs: &[Digest],
        store: &LocalStore,
    ) -> Result<Option<String>, PublishError> {
        let (keys, now) = (self.keys()?, signing_time());
        for wanted in self.wanted(catalogs, store) {
            let difference = self.work.target.difference(&wanted?, Some(&keys), now, store)?;
            if difference.is_some() {
                return Ok(difference);
            }
        }
        Ok(None)
    }

    /// Publishes what [`repositories`](Self::repositories) gave, signed by these keys.
    pub fn publish(
        &self,
        repositories: &[Repository],
        keys: &SigningKeys,
        store: &LocalStore,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Outcome>, PublishError> {
        self.work.target.publish(&edition(repositories, keys, store), progress)
    }

    /// The requests that publishing would make of a service; `None` for a directory, which needs none.
    pub fn rehearse(
        &self,
        catalogs: &[Digest],
        store: &LocalStore,
    ) -> Result<Option<Vec<Request>>, PublishError> {
        let (keys, repositories) = (self.keys()?, self.repositories(catalogs, store)?);
        self.work.target.rehearse(&edition(&repositories, &keys, store))
    }

    /// Makes the generation `id` of the repository below `prefix` the newest one again. `None` if the node
    /// publishes nothing there.
    pub fn roll_back(
        &self,
        prefix: &str,
        id: &str,
        store: &LocalStore,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<Outcome>, PublishError> {
        let publication = self.work.repositories.iter().find(|one| one.prefix == prefix);
        let Some(publication) = publication else { return Ok(None) };
        let repository = self.work.target.earlier(repository(publication), id, store)?;
        let (keys, repositories) = (self.keys()?, [repository]);
        Ok(self.work.target.publish(&edition(&repositories, &keys, store), progress)?.into_iter().next())
    }

    /// Below which prefixes there are repositories.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.work.repositories.iter().map(|publication| publication.prefix.as_str())
    }

    /// What publishing these packages below one of the prefixes would change.
    pub fn forecast(
        &self,
        publication: &Publication,
        wanted: &BTreeSet<Label>,
    ) -> Result<Effect, PublishError> {
        self.work.target.forecast(&repository(publication), wanted, signing_time())
    }
}

/// As of now.
fn edition<'a>(repositories: &'a [Repository], keys: &'a SigningKeys, store: &'a LocalStore) -> Edition<'a> {
    Edition { repositories, keys: Some(keys), now: signing_time(), store }
}

fn repository(publication: &Publication) -> Repository {
    let Publication { prefix, index, url, keep } = publication.clone();
    Repository {
        prefix,
        index,
        url,
        keep,
        packages: Vec::new(),
        bundles: Vec::new(),
        updateinfo: None,
        instead: None,
        expected: None,
    }
}
