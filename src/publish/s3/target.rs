use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::cdn::Cdn;
use super::collect::{leftovers, remove};
use super::finish::Decided;
use super::live::{LastRead, Live, fetch_bundles, read_manifest, read_manifests};
use super::manifest::STATE;
use super::prepare::{Prepared, Start};
use super::probe::Probe;
use super::remote::{Rehearsal, Remote, Request};
use super::verify::verify;
use crate::digest::Digest;
use crate::publish::content::Content;
use crate::publish::repository::{check_prefix, check_prefixes};
use crate::publish::{Checked, Edition, Generation, Outcome, Progress, PublishError, RETENTION, Repository};
use crate::s3::{self, Bucket, Distribution, Location, S3Error};
use crate::store::LocalStore;

/// A part of a bucket that clients read, by a web server or a CDN before it.
#[derive(Clone, Debug)]
pub struct BucketTarget {
    location: Location,
    distribution: Option<Distribution>,
    retention: Duration,
    bucket: Arc<OnceCell<Bucket>>,
    last_read: Arc<Mutex<LastRead>>,
    rehearsal: Option<Rehearsal>,
    #[cfg(test)]
    fuse: Option<super::Fuse>,
}

impl BucketTarget {
    /// Repositories in this part of a bucket. Nobody is asked yet.
    pub fn new(location: Location) -> Self {
        Self {
            location,
            distribution: None,
            retention: RETENTION,
            bucket: Arc::default(),
            last_read: Arc::default(),
            rehearsal: None,
            #[cfg(test)]
            fuse: None,
        }
    }

    /// Behind a distribution of CloudFront, which is told of each publish.
    pub fn behind(self, distribution: Option<Distribution>) -> Self {
        Self { distribution, ..self }
    }

    /// Keeps the indices of earlier generations for this long after they were live.
    pub fn with_retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// What is live below `prefix`, or decided to be.
    pub fn state(&self, prefix: &str) -> Result<Option<Generation>, PublishError> {
        Ok(Live::recent(&self.remote(prefix)?, None)?.map(|live| live.manifest.generation))
    }

    /// The same, and what the last publisher left to the next one, if anything. It is known sooner where `memory` knows
    /// what was live last.
    pub fn standing(
        &self,
        prefix: &str,
        memory: &LocalStore,
    ) -> Result<(Option<Generation>, Option<String>), PublishError> {
        let live = Live::recent(&self.remote(prefix)?, Some(memory))?;
        let undone = live.as_ref().and_then(|live| self.undone(live, prefix));
        Ok((live.map(|live| live.manifest.generation), undone))
    }

    /// A publisher that was killed may have left it to the next that all clients see what it decided.
    fn undone(&self, live: &Live, prefix: &str) -> Option<String> {
        let place = self.place_of(prefix);
        match &self.distribution {
            _ if !live.state.finished => Some(format!("a publish to {place} was interrupted")),
            Some(distribution) if !live.state.stale.is_empty() => {
                Some(format!("{distribution} was not told of the last publish to {place}"))
            }
            _ => None,
        }
    }

    /// Where a repository is, for people.
    pub fn place_of(&self, prefix: &str) -> String {
        self.location.below(prefix).to_string()
    }

    /// See [`Target::publish`](crate::publish::Target::publish). Errors besides:
    /// [`PublishError::Unfit`] where the service does not heed conditions on writes.
    pub fn publish(
        &self,
        edition: &Edition<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Outcome>, PublishError> {
        check_prefixes(edition.repositories)?;
        let mut probe = Probe::new(self.remote("")?, edition.store);
        let mut steps = Vec::new();
        for repository in edition.repositories {
            let remote = self.remote(&repository.prefix)?;
            let cdn = |distribution| Cdn::new(distribution, repository.url.as_deref(), remote.location());
            let cdn = self.distribution.as_ref().map(cdn);
            let remote = remote.behind(cdn);
            let mut live = Live::recent(&remote, Some(edition.store))?;
            if let Some(unfinished) = live.take_if(|live| self.undone(live, &repository.prefix).is_some()) {
                probe.require_fit()?;
                live = self.finish(&remote, repository, unfinished, edition.now, progress)?;
            }
            let content = Content::merge(
                live.as_ref().map(Live::generation),
                repository,
                &remote.place(),
                edition.now,
            )?;
            let current = content.current(live.as_ref().map(Live::generation), edition.keys)?.cloned();
            if current.is_none() {
                repository.check_expected(live.as_ref().map(Live::generation))?;
                probe.begin();
            }
            steps.push((remote, repository, live, content, current));
        }
        let retention = self.retention.as_secs();
        let mut prepared = Vec::new();
        for (remote, Repository { prefix, .. }, live, content, current) in steps {
            prepared.push(match current {
                Some(generation) => Step::Keep(Box::new(generation)),
                None => {
                    let start = Start { remote, prefix, live, edition, retention, probe: &mut probe };
                    Step::Commit(Box::new(start.prepare(content, progress)?))
                }
            });
        }
        prepared.into_iter().map(|step| step.take(edition.store, progress)).collect()
    }

    /// The requests that publishing would make. Reads are made, and their answers are what the writes are
    /// made from; of writes it is taken that they succeed.
    pub fn rehearse(&self, edition: &Edition<'_>) -> Result<Vec<Request>, PublishError> {
        let rehearsal = Rehearsal::default();
        let target = Self { rehearsal: Some(rehearsal.clone()), ..self.clone() };
        target.publish(edition, &mut |_| {})?;
        let requests =
            std::mem::take(&mut *rehearsal.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        Ok(requests)
    }

    /// The generations that are retained, oldest first; the last one is live.
    pub fn generations(&self, prefix: &str) -> Result<Vec<Generation>, PublishError> {
        let remote = self.remote(prefix)?;
        let Some(live) = Live::read(&remote, None)? else { return Ok(Vec::new()) };
        let earlier = live.generation().earlier.keys().cloned().collect();
        let mut manifests = read_manifests(&remote, earlier)?;
        manifests.push(live.manifest);
        Ok(manifests.into_iter().map(|manifest| manifest.generation).collect())
    }

    /// Puts the bundles that a retained generation is made from into the store, and names them.
    pub fn fetch_bundles(
        &self,
        prefix: &str,
        id: &str,
        store: &LocalStore,
    ) -> Result<Vec<Digest>, PublishError> {
        let remote = self.remote(prefix)?;
        let Some(manifest) = read_manifest(&remote, id)? else { return Ok(Vec::new()) };
        fetch_bundles(&remote, &manifest, store)?;
        Ok(manifest.records)
    }

    /// Deletes what no retained generation has, packages apart. Gives what was deleted: nothing as long as
    /// clients see a generation that another publisher has yet to replace.
    pub fn gc(&self, prefix: &str, now: u64) -> Result<Vec<String>, PublishError> {
        let remote = self.remote(prefix)?;
        let Some(live) = Live::read(&remote, None)?.filter(|live| live.state.finished) else {
            return Ok(Vec::new());
        };
        let names = leftovers(&remote, &live, now, self.retention.as_secs())?;
        remove(&remote, names.clone(), &live.etag)?;
        Ok(names.iter().map(|name| remote.url(name)).collect())
    }

    /// Reads everything that the live generation lists; `None` where nothing is published.
    pub fn verify(&self, prefix: &str) -> Result<Option<Checked>, PublishError> {
        let remote = self.remote(prefix)?;
        Live::read(&remote, None)?.map(|live| verify(&remote, &live)).transpose()
    }

    /// Goes on where a killed publisher stopped. What is live then is read anew.
    fn finish(
        &self,
        remote: &Remote,
        repository: &Repository,
        unfinished: Live,
        now: u64,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<Live>, PublishError> {
        let is_rehearsal = remote.is_rehearsal().then(|| unfinished.clone());
        let id = unfinished.state.generation.clone();
        progress(Progress::Finishing { prefix: &repository.prefix, id: &id });
        let decided = Decided::take_over(remote, &repository.prefix, unfinished, now)?;
        decided.finish(decided.bodies()?, progress)?;
        match is_rehearsal {
            Some(live) => Ok(Some(live)),
            None => Live::read(remote, None),
        }
    }

    /// Reads certificates and settings beside what is done until they are needed.
    pub fn begin(&self) {
        let target = self.clone();
        // Whoever needs it is told what is wrong.
        s3::spawn(async move { target.opened().await.map(drop) });
    }

    async fn opened(self) -> Result<Bucket, S3Error> {
        self.bucket.get_or_try_init(|| Bucket::open(self.location.clone())).await.cloned()
    }

    fn remote(&self, prefix: &str) -> Result<Remote, PublishError> {
        check_prefix(prefix)?;
        let bucket = match self.bucket.get() {
            Some(bucket) => bucket.clone(),
            None => s3::wait(self.clone().opened())?,
        };
        let remote = Remote::new(bucket, self.last_read.clone(), self.rehearsal.clone()).below(prefix);
        #[cfg(test)]
        let remote = remote.with_fuse(self.fuse.clone());
        Ok(remote)
    }

    /// By a client that is given.
    #[cfg(test)]
    pub(in crate::publish) fn open(bucket: Bucket) -> Self {
        let target = Self::new(bucket.location().clone());
        Self { bucket: Arc::new(OnceCell::from(bucket)), ..target }
    }

    #[cfg(test)]
    pub(in crate::publish) fn with_fuse(&self, fuse: super::Fuse) -> Self {
        Self { fuse: Some(fuse), ..self.clone() }
    }
}

enum Step {
    Keep(Box<Generation>),
    Commit(Box<Prepared>),
}

impl Step {
    fn take(
        self,
        store: &LocalStore,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Outcome, PublishError> {
        match self {
            Self::Keep(generation) => Ok(Outcome::Unchanged(*generation)),
            Self::Commit(prepared) => {
                let decided = prepared.decide()?;
                decided.finish(prepared.bodies(store), progress)?;
                prepared.remote.remember(store, STATE, &prepared.manifest.generation.id);
                let Prepared { draft, effect, .. } = *prepared;
                Ok(Outcome::Committed { generation: draft.generation, effect })
            }
        }
    }
}
