use std::collections::BTreeSet;
use std::time::Duration;

use super::content::{Content, Merged};
use super::{
    BucketTarget, Checked, DirectoryTarget, Edition, Effect, Generation, Outcome, Past, Progress,
    PublishError, Repository, Request,
};
use crate::buildfile::Site;
use crate::index::{AptIndex, Holds, Label, Settings, Suite};
use crate::keys::SigningKeys;
use crate::store::LocalStore;

/// What a client may hold an old `InRelease` for, unless told otherwise: 30 days.
pub const RETENTION: Duration = Duration::from_secs(30 * 86_400);

/// Where repositories are published.
#[derive(Clone, Debug)]
pub enum Target {
    /// A directory that clients read.
    Directory(DirectoryTarget),
    /// A part of a bucket.
    Bucket(BucketTarget),
}

impl Target {
    /// Repositories at `site`, which keeps the indices of earlier generations for `retention` after they
    /// were live. Nobody is asked yet.
    pub fn new(site: &Site, retention: Duration) -> Self {
        match site {
            Site::Directory(root) => Self::Directory(DirectoryTarget::new(root).with_retention(retention)),
            Site::Bucket { location, distribution } => {
                let target = BucketTarget::new(location.clone()).behind(distribution.clone());
                Self::Bucket(target.with_retention(retention))
            }
        }
    }

    /// Begins with what is to be done before a bucket is asked, beside all else.
    pub fn begin(&self) {
        if let Self::Bucket(bucket) = self {
            bucket.begin();
        }
    }

    /// What is live below `prefix`. Errors: [`PublishError::Foreign`] where something is not of forge's
    /// making, [`PublishError::State`] where the state cannot be read.
    pub fn state(&self, prefix: &str) -> Result<Option<Generation>, PublishError> {
        match self {
            Self::Directory(directory) => directory.state(prefix),
            Self::Bucket(bucket) => bucket.state(prefix),
        }
    }

    /// Where a repository is, for people.
    pub fn place_of(&self, prefix: &str) -> String {
        match self {
            Self::Directory(directory) => directory.place_of(prefix),
            Self::Bucket(bucket) => bucket.place_of(prefix),
        }
    }

    /// What publishing `wanted` would change, by names alone: packages need not have been built,
    /// and those of `repository` are not looked at. `now` is in seconds since 1970. Errors: those of
    /// [`Target::state`], and [`PublishError::Identity`].
    pub fn forecast(
        &self,
        repository: &Repository,
        wanted: &BTreeSet<Label>,
        now: u64,
    ) -> Result<Effect, PublishError> {
        let live = self.state(&repository.prefix)?;
        Ok(Merged::new(live.as_ref(), repository, wanted, now)?.effect())
    }

    /// Why there is something to publish; `None` if publishing would change nothing. `now` is in
    /// seconds since 1970; `memory` remembers what is live. Errors: those of [`Target::state`],
    /// [`PublishError::Identity`] and [`PublishError::PoolConflict`].
    pub fn difference(
        &self,
        repository: &Repository,
        keys: Option<&SigningKeys>,
        now: u64,
        memory: &LocalStore,
    ) -> Result<Option<String>, PublishError> {
        let place = self.place_of(&repository.prefix);
        let (live, undone) = match self {
            Self::Directory(directory) => (directory.state(&repository.prefix)?, None),
            Self::Bucket(bucket) => bucket.standing(&repository.prefix, memory)?,
        };
        let content = Content::merge(live.as_ref(), repository, &place, now)?;
        Ok(content.difference(live.as_ref(), keys, &place)?.or(undone))
    }

    /// Publishes all repositories: writes everything that no client looks at yet, then commits
    /// one repository after the other.
    ///
    /// An error before the first commit leaves every repository as it was. Killed between two
    /// commits, the next publish finds the first unchanged and goes on with the others.
    /// Outcomes are in the order given. Errors: [`PublishError::Superseded`] where somebody else
    /// published since the plan, [`PublishError::PoolConflict`] where a package file would
    /// change, [`PublishError::Identity`] where clients would refuse the change, and what the
    /// target, the store or a key refuse.
    pub fn publish(
        &self,
        edition: &Edition<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Outcome>, PublishError> {
        match self {
            Self::Directory(directory) => directory.publish(edition, progress),
            Self::Bucket(bucket) => bucket.publish(edition, progress),
        }
    }

    /// The requests that publishing would make of a service; `None` for a directory, which needs none.
    pub fn rehearse(&self, edition: &Edition<'_>) -> Result<Option<Vec<Request>>, PublishError> {
        match self {
            Self::Directory(_) => Ok(None),
            Self::Bucket(bucket) => bucket.rehearse(edition).map(Some),
        }
    }

    /// The generations of a repository that are retained, oldest first; the last one is live.
    pub fn history(&self, prefix: &str) -> Result<Vec<Past>, PublishError> {
        let generations = self.generations(prefix)?;
        let ends: Vec<Option<u64>> = match generations.last() {
            Some(live) => generations.iter().map(|one| live.earlier.get(&one.id).copied()).collect(),
            None => Vec::new(),
        };
        let mut before = BTreeSet::new();
        let past = |(generation, until): (Generation, Option<u64>)| {
            let seen = generation.seen();
            let next = format!("not in {}", generation.id);
            let effect = Effect::between(&before, &seen, generation.kind.order(), |_| next.clone());
            before = seen;
            Past { generation, until, effect }
        };
        Ok(generations.into_iter().zip(ends).map(past).collect())
    }

    /// `repository` as it was in the generation `id`: its packages, aliases and advisories. Publishing it
    /// makes a new generation, with a newer date, since clients pass over older ones. What its indices are
    /// made from is put into `store`. Errors: [`PublishError::NoGeneration`].
    pub fn earlier(
        &self,
        repository: Repository,
        id: &str,
        store: &LocalStore,
    ) -> Result<Repository, PublishError> {
        let prefix = &repository.prefix;
        let generations = self.generations(prefix)?;
        let (Some(earlier), Some(live)) = (generations.iter().find(|one| one.id == id), generations.last())
        else {
            let known = generations.into_iter().map(|generation| generation.id).collect();
            return Err(PublishError::NoGeneration { prefix: prefix.clone(), id: id.to_owned(), known });
        };
        let bundles = match self {
            Self::Directory(directory) => directory.fetch_bundles(prefix, id, store)?,
            Self::Bucket(bucket) => bucket.fetch_bundles(prefix, id, store)?,
        };
        Ok(Repository {
            bundles,
            index: with_aliases_of(earlier, repository.index),
            updateinfo: earlier.updateinfo,
            packages: earlier.packages.iter().map(|package| package.entry.clone()).collect(),
            instead: Some(format!("back to {id}")),
            expected: Some(live.id.clone()),
            ..repository
        })
    }

    /// Removes what no retained generation has, packages apart. Gives what was removed. `now` is in
    /// seconds since 1970.
    pub fn gc(&self, prefix: &str, now: u64) -> Result<Vec<String>, PublishError> {
        match self {
            Self::Directory(directory) => directory.gc(prefix, now),
            Self::Bucket(bucket) => bucket.gc(prefix, now),
        }
    }

    /// Reads every file of the live generation and compares its digest; `None` where nothing is published.
    pub fn verify(&self, prefix: &str) -> Result<Option<Checked>, PublishError> {
        match self {
            Self::Directory(directory) => directory.verify(prefix),
            Self::Bucket(bucket) => bucket.verify(prefix),
        }
    }

    fn generations(&self, prefix: &str) -> Result<Vec<Generation>, PublishError> {
        match self {
            Self::Directory(directory) => directory.generations(prefix),
            Self::Bucket(bucket) => bucket.generations(prefix),
        }
    }
}

/// The settings with the aliases that a generation had.
fn with_aliases_of(generation: &Generation, index: Settings) -> Settings {
    let Settings::Apt(index) = index else { return index };
    let is_own = |suite: &&Suite| matches!(suite.holds, Holds::Packages { .. });
    let alias = |(name, target): (&String, &String)| Suite {
        codename: name.clone(),
        suite: None,
        version: None,
        holds: Holds::AliasOf(target.clone()),
    };
    let own = index.suites.iter().filter(is_own).cloned();
    let suites = own.chain(generation.aliases.iter().map(alias)).collect();
    Settings::Apt(AptIndex { suites, ..index })
}
