use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::files;
use super::room::{LastRead, Place, Prepared, Room};
use crate::digest::Digest;
use crate::publish::content::Content;
use crate::publish::repository::{check_prefix, check_prefixes};
use crate::publish::{Checked, Edition, Generation, Outcome, Progress, PublishError, RETENTION, Repository};
use crate::store::LocalStore;

/// A directory that clients read, by `file:` or through a web server.
#[derive(Clone, Debug)]
pub struct DirectoryTarget {
    root: PathBuf,
    retention: Duration,
    last_read: LastRead,
}

impl DirectoryTarget {
    /// Repositories below `root`, which is made when something is published.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), retention: RETENTION, last_read: LastRead::default() }
    }

    /// Keeps the indices of earlier generations for this long after they were live.
    pub fn with_retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// What is live below `prefix`. Errors: [`PublishError::Foreign`] where `dists` or `repodata` is not of
    /// forge's making, [`PublishError::State`] where its state cannot be read.
    pub fn state(&self, prefix: &str) -> Result<Option<Generation>, PublishError> {
        self.place(prefix)?.state()
    }

    /// Where a repository is, for people.
    pub fn place_of(&self, prefix: &str) -> String {
        self.root.join(prefix).display().to_string()
    }

    /// See [`Target::publish`](crate::publish::Target::publish). Each repository is committed in one step.
    pub fn publish(
        &self,
        edition: &Edition<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Outcome>, PublishError> {
        let mut rooms = self.enter(edition.repositories, progress)?;
        let mut steps = Vec::new();
        for repository in edition.repositories {
            let prefix = || PublishError::Prefix(repository.prefix.clone());
            let room = rooms.remove(repository.prefix.as_str()).ok_or_else(prefix)?;
            let content = room.content(repository, edition.now)?;
            let current = content.current(room.live.as_ref(), edition.keys)?.cloned();
            if current.is_none() {
                repository.check_expected(room.live.as_ref())?;
            }
            steps.push((room, content, current));
        }
        let retention = self.retention.as_secs();
        let mut prepare = |(room, content, current): (Room, Content, _)| match current {
            Some(generation) => Ok(Step::Keep(Box::new(generation))),
            None => room
                .prepare(content, edition, retention, progress)
                .map(|prepared| Step::Commit(Box::new(prepared))),
        };
        let steps = steps.into_iter().map(&mut prepare).collect::<Result<Vec<_>, _>>()?;
        steps.into_iter().map(|step| step.take(progress)).collect()
    }

    /// The generations that are retained, oldest first; the last one is live.
    pub fn generations(&self, prefix: &str) -> Result<Vec<Generation>, PublishError> {
        let place = self.place(prefix)?;
        let Some(live) = place.state()? else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for id in live.earlier.keys() {
            all.extend(place.read(id)?);
        }
        all.sort_by_key(|generation| generation.date);
        all.push(live);
        Ok(all)
    }

    /// Puts the bundles that a retained generation is made from into the store, and names them.
    pub fn fetch_bundles(
        &self,
        prefix: &str,
        id: &str,
        store: &LocalStore,
    ) -> Result<Vec<Digest>, PublishError> {
        self.place(prefix)?.fetch_bundles(id, store)
    }

    /// Removes what killed publishers left, and generations past retention. Gives what was removed.
    pub fn gc(&self, prefix: &str, now: u64) -> Result<Vec<String>, PublishError> {
        let place = self.place(prefix)?;
        if place.state()?.is_none() {
            return Ok(Vec::new());
        }
        let room = Room::enter(place, &mut |_| {})?;
        let removed = room.collect_before(now.saturating_sub(self.retention.as_secs()))?;
        Ok(removed.iter().map(|path| path.display().to_string()).collect())
    }

    /// Reads everything that the live generation lists; `None` where nothing is published.
    pub fn verify(&self, prefix: &str) -> Result<Option<Checked>, PublishError> {
        let place = self.place(prefix)?;
        let Some(live) = place.state()? else { return Ok(None) };
        let mut checked = Checked::default();
        for (path, file) in place.files(&live)? {
            checked.files += 1;
            checked.bytes += file.size;
            match path.exists() {
                false => checked.faults.push(format!("{} is not there", path.display())),
                true if !files::holds(&path, file.object)? => {
                    checked.faults.push(format!("{} has other bytes", path.display()));
                }
                true => {}
            }
        }
        Ok(Some(checked))
    }

    /// Locks in the order of the prefixes, so that two publishers never wait for each other.
    fn enter<'a>(
        &self,
        repositories: &'a [Repository],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<BTreeMap<&'a str, Room>, PublishError> {
        check_prefixes(repositories)?;
        let mut places = BTreeMap::new();
        for Repository { prefix, .. } in repositories {
            places.insert(prefix.as_str(), self.place(prefix)?);
        }
        let enter = |(prefix, place)| Ok((prefix, Room::enter(place, progress)?));
        places.into_iter().map(enter).collect()
    }

    fn place(&self, prefix: &str) -> Result<Place, PublishError> {
        check_prefix(prefix)?;
        let last_read = self.last_read.clone();
        Ok(Place { prefix: prefix.to_owned(), dir: self.root.join(prefix), last_read })
    }
}

enum Step {
    Keep(Box<Generation>),
    Commit(Box<Prepared>),
}

impl Step {
    fn take(self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Outcome, PublishError> {
        let prepared = match self {
            Self::Keep(generation) => return Ok(Outcome::Unchanged(*generation)),
            Self::Commit(prepared) => prepared.commit()?,
        };
        let generation = prepared.generation().clone();
        progress(Progress::Committed { prefix: &prepared.room.place.prefix, id: &generation.id });
        prepared.collect(progress);
        Ok(Outcome::Committed { generation, effect: prepared.content.effect.clone() })
    }
}
