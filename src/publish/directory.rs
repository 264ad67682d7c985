use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::content::{Content, Merged};
use super::error::INSIDE;
use super::prepare::{Place, Prepared, Room, Seal};
use super::{Effect, Generation, PublishError};
use crate::buildfile::Retention;
use crate::digest::Digest;
use crate::index::{CatalogEntry, Label, Settings};
use crate::keys::SigningKeys;
use crate::store::LocalStore;

/// A directory that clients read, by `file:` or through a web server.
#[derive(Clone, Debug)]
pub struct DirectoryTarget {
    root: PathBuf,
    retention: Duration,
}

/// What one repository should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Where it is below the target's root, such as `apt/27`; empty for the root itself.
    pub prefix: String,
    /// Its settings. Of the suites for apt, those that hold packages are replaced by what the packages
    /// say; aliases count where their suite has packages.
    pub index: Settings,
    /// Where clients find it, without a slash at the end; an rpm repository needs one.
    pub url: Option<String>,
    /// The file of advisories of an rpm repository, in the store.
    pub updateinfo: Option<Digest>,
    /// What is dropped of that which was published before; none keeps everything.
    pub keep: Option<Retention>,
    /// The packages that are to be there beside those that stay.
    pub packages: Vec<CatalogEntry>,
    /// The id of the generation that the plan was made from; none if there was none.
    pub expected: Option<String>,
}

/// What became of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it should be; nothing was written.
    Unchanged(Generation),
    /// This generation is live now.
    Committed {
        /// The generation.
        generation: Generation,
        /// What it changed for clients.
        effect: Effect,
    },
}

/// What a publish tells while it goes on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Another publisher is at work; this one waits for it.
    Waiting {
        /// The repository.
        prefix: &'a str,
    },
    /// A package file is in its place.
    Package {
        /// The repository.
        prefix: &'a str,
        /// The file, below the repository's root.
        path: &'a str,
        /// How many are in their place.
        done: usize,
        /// How many there are.
        total: usize,
    },
    /// A new generation is live.
    Committed {
        /// The repository.
        prefix: &'a str,
        /// The generation's id.
        id: &'a str,
    },
    /// A generation past retention could not be removed; the next publish tries again.
    Uncollected {
        /// Its directory.
        path: &'a Path,
        /// Why not.
        error: &'a PublishError,
    },
}

impl DirectoryTarget {
    /// What a client may hold an old `InRelease` for, unless told otherwise: 30 days.
    pub const RETENTION: Duration = Duration::from_secs(30 * 86_400);

    /// Repositories below `root`, which is made when something is published.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), retention: Self::RETENTION }
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

    /// What publishing `wanted` would change, by names alone: packages need not have been built,
    /// and those of `repository` are not looked at. `now` is in seconds since 1970. Errors: those of [`DirectoryTarget::state`], and [`PublishError::Identity`].
    pub fn forecast(
        &self,
        repository: &Repository,
        wanted: &BTreeSet<Label>,
        now: u64,
    ) -> Result<Effect, PublishError> {
        let live = self.state(&repository.prefix)?;
        Ok(Merged::new(live.as_ref(), repository, wanted, now)?.effect)
    }

    /// Why there is something to publish; `None` if publishing would change nothing. `now` is in
    /// seconds since 1970. Errors: those of [`DirectoryTarget::state`],
    /// [`PublishError::Identity`] and [`PublishError::PoolConflict`].
    pub fn difference(
        &self,
        repository: &Repository,
        keys: Option<&SigningKeys>,
        now: u64,
    ) -> Result<Option<String>, PublishError> {
        let place = self.place(&repository.prefix)?;
        let live = place.state()?;
        let content = Content::merge(live.as_ref(), repository, &place.dir, now)?;
        let dir = place.dir.display();
        let Some(live) = live else { return Ok(Some(format!("nothing is published at {dir}"))) };
        let [added, replaced, dropped, _] = content.effect.counts();
        Ok(match Seal::of(keys)? == Seal::from(&live) {
            _ if !content.effect.is_empty() => {
                Some(format!("{dir}: {} packages come, {dropped} go", added + replaced))
            }
            _ if live.content != content.digest() => Some(format!("the settings of {dir} differ")),
            false => Some(format!("{dir} is signed by other keys")),
            true => None,
        })
    }

    /// Publishes all repositories: writes everything that no client looks at yet, then commits
    /// one repository after the other, each in one step. `now` is in seconds since 1970.
    ///
    /// An error before the first commit leaves every repository as it was. Killed between two
    /// commits, the next publish finds the first unchanged and goes on with the others.
    /// Outcomes are in the order given. Errors: [`PublishError::Superseded`] where somebody else
    /// published since the plan, [`PublishError::PoolConflict`] where a package file would
    /// change, [`PublishError::Identity`] where clients would refuse the change, and what the
    /// filesystem, the store or a key refuse.
    pub fn publish(
        &self,
        repositories: &[Repository],
        keys: Option<&SigningKeys>,
        now: u64,
        store: &LocalStore,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Outcome>, PublishError> {
        let mut rooms = self.enter(repositories, progress)?;
        let mut steps = Vec::new();
        for repository in repositories {
            let prefix = || PublishError::Prefix(repository.prefix.clone());
            let room = rooms.remove(repository.prefix.as_str()).ok_or_else(prefix)?;
            let content = room.content(repository, now)?;
            let current = room.current(&content, keys)?;
            if current.is_none() {
                room.check_expected(repository)?;
            }
            steps.push((room, content, current));
        }
        let times = (now, self.retention.as_secs());
        let mut prepare = |(room, content, current): (Room, Content, _)| match current {
            Some(generation) => Ok(Step::Keep(Box::new(generation))),
            None => room
                .prepare(content, keys, times, store, progress)
                .map(|prepared| Step::Commit(Box::new(prepared))),
        };
        let steps = steps.into_iter().map(&mut prepare).collect::<Result<Vec<_>, _>>()?;
        steps.into_iter().map(|step| step.take(progress)).collect()
    }

    /// Locks in the order of the prefixes, so that two publishers never wait for each other.
    fn enter<'a>(
        &self,
        repositories: &'a [Repository],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<BTreeMap<&'a str, Room>, PublishError> {
        let mut places = BTreeMap::new();
        for Repository { prefix, .. } in repositories {
            if places.insert(prefix.as_str(), self.place(prefix)?).is_some() {
                return Err(PublishError::Prefix(prefix.clone()));
            }
        }
        let enter = |(prefix, place)| Ok((prefix, Room::enter(place, progress)?));
        places.into_iter().map(enter).collect()
    }

    fn place(&self, prefix: &str) -> Result<Place, PublishError> {
        let fits = |name: &str| !(name.is_empty() || name.starts_with('.') || INSIDE.contains(&name));
        match prefix.is_empty() || prefix.split('/').all(fits) {
            true => Ok(Place { prefix: prefix.to_owned(), dir: self.root.join(prefix) }),
            false => Err(PublishError::Prefix(prefix.to_owned())),
        }
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
        let generation = prepared.generation.clone();
        progress(Progress::Committed { prefix: &prepared.room.place.prefix, id: &generation.id });
        prepared.collect(progress);
        Ok(Outcome::Committed { generation, effect: prepared.content.effect.clone() })
    }
}
