use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{
    AptError, AptRoot, ArchiveError, Expected, FetchError, Lock, LockError, LockedImage, LockedVersion,
    SourceVersion, Wanted, fetch, mirror_url, newest_mtime, resolve, source_versions,
};
use crate::buildfile::{Origin, Upstream};
use crate::store::LocalStore;

/// Brings a lock up to what is upstream now.
pub struct Updater<'a> {
    /// Where archives are kept, once they are known.
    pub store: &'a LocalStore,
    /// What apt knows.
    pub apt: &'a AptRoot,
    /// A directory with archives that were fetched by other means.
    pub distdir: Option<PathBuf>,
}

/// What an update found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A version that the lock did not have.
    Added(String),
    /// A version that upstream lists, and whose archive is not there.
    Unavailable {
        /// The version.
        version: String,
        /// What was said of the archive.
        reason: String,
    },
}

/// Why an update was not made. The lock stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// apt failed.
    #[error(transparent)]
    Apt(#[from] AptError),
    /// An archive cannot be had.
    #[error("{upstream} {version}: {source}")]
    Fetch {
        /// The upstream.
        upstream: String,
        /// The version.
        version: String,
        /// What is wrong.
        source: FetchError,
    },
    /// An archive cannot be read.
    #[error("{upstream} {version}: {source}")]
    Archive {
        /// The upstream.
        upstream: String,
        /// The version.
        version: String,
        /// What is wrong.
        source: ArchiveError,
    },
    /// The same version has other bytes than the lock says.
    #[error(
        "{upstream} {version} was {locked} and is {found}: upstream changed what it had published. Find out why; \
         to take it, delete the version from the lock and update again"
    )]
    Moved {
        /// The upstream.
        upstream: String,
        /// The version.
        version: String,
        /// SHA-256 in the lock.
        locked: String,
        /// SHA-256 upstream.
        found: String,
    },
    /// The upstream's kind is followed by no code yet.
    #[error(
        "upstream '{0}' follows git tags, which this version of forge cannot do yet; use apt-source, or list versions"
    )]
    Git(String),
    /// The lock cannot be read or written.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Updater<'_> {
    /// Takes the versions of `upstream` for which `wanted` holds into `lock`. Versions that the
    /// lock has already stay: what was published once can be built again.
    pub fn upstream(
        &self,
        upstream: &Upstream,
        wanted: impl Fn(&str) -> bool,
        lock: &mut Lock,
    ) -> Result<Vec<Found>, UpdateError> {
        let Origin::AptSource { package, suites } = &upstream.origin else {
            return match upstream.origin {
                Origin::Git { .. } => Err(UpdateError::Git(upstream.name.clone())),
                _ => Ok(Vec::new()),
            };
        };
        let known = lock.upstreams.entry(upstream.name.clone()).or_default();
        let mut found = Vec::new();
        for (version, sources) in by_version(source_versions(self.apt, package, suites)?) {
            if !wanted(&version) {
                continue;
            }
            match known.iter().position(|locked| locked.version == version) {
                Some(at) if !known[at].archives.is_empty() => check(upstream, &known[at], &sources)?,
                at => {
                    let (locked, news) = self.version(upstream, version, &sources)?;
                    at.map(|at| known.remove(at));
                    known.push(locked);
                    found.push(news);
                }
            }
        }
        use crate::buildfile::Version;
        known.sort_by_key(|locked| Version::new(locked.version.as_str()));
        Ok(found)
    }

    /// Downloads a version's archive: its date stands inside. A version that is not there is
    /// locked without an archive, so that only what needs it has to do without.
    fn version(
        &self,
        upstream: &Upstream,
        version: String,
        sources: &[SourceVersion],
    ) -> Result<(LockedVersion, Found), UpdateError> {
        let mut reason = String::new();
        for source in sources {
            let Expected { sha256, size } = source.expected();
            let urls = source.urls(self.apt.mirrors());
            let expected = source.expected();
            match fetch(self.store, &urls, &expected, self.distdir.as_deref(), &mut |_, _| {}) {
                Ok(fetched) => {
                    let date = newest_mtime(&self.store.object_path(fetched.object));
                    let failed = |source| UpdateError::Archive {
                        upstream: upstream.name.clone(),
                        version: version.clone(),
                        source,
                    };
                    let locked = LockedVersion {
                        version: version.clone(),
                        date: date.map_err(failed)?,
                        sha256: sha256.to_string(),
                        size: size.unwrap_or(fetched.size),
                        archives: vec![mirror_url(source.mirror, &source.path)],
                    };
                    return Ok((locked, Found::Added(version)));
                }
                Err(error @ FetchError::NotFound { .. }) => reason = error.to_string(),
                Err(source) => {
                    return Err(UpdateError::Fetch { upstream: upstream.name.clone(), version, source });
                }
            }
        }
        let sha256 = sources.first().map(|source| source.sha256.to_string()).unwrap_or_default();
        let size = sources.first().map_or(0, |source| source.size);
        let locked = LockedVersion { version: version.clone(), date: 0, sha256, size, archives: Vec::new() };
        Ok((locked, Found::Unavailable { version, reason }))
    }

    /// Resolves what an image is made of now. Gives whether that is news.
    pub fn image(&self, node: &str, wanted: &Wanted, lock: &mut Lock) -> Result<bool, UpdateError> {
        let closure = resolve(self.apt, wanted)?;
        let before = lock.images.get(node);
        // Another day's release file that gives the same packages is no news.
        let is_same =
            before.is_some_and(|before| before.is_of(wanted) && before.closure.packages == closure.packages);
        if !is_same {
            lock.images.insert(node.to_owned(), LockedImage { wanted: wanted.packages.clone(), closure });
        }
        Ok(!is_same)
    }
}

/// One version may be in several suites, and repacked in one of them.
fn by_version(sources: Vec<SourceVersion>) -> BTreeMap<String, Vec<SourceVersion>> {
    let mut versions: BTreeMap<String, Vec<SourceVersion>> = BTreeMap::new();
    for source in sources {
        versions.entry(source.version.clone()).or_default().push(source);
    }
    versions
}

fn check(upstream: &Upstream, locked: &LockedVersion, sources: &[SourceVersion]) -> Result<(), UpdateError> {
    let mut digests = sources.iter().map(|source| source.sha256.to_string());
    if digests.clone().any(|digest| digest == locked.sha256) {
        return Ok(());
    }
    Err(UpdateError::Moved {
        upstream: upstream.name.clone(),
        version: locked.version.clone(),
        locked: locked.sha256.clone(),
        found: digests.next().unwrap_or_default(),
    })
}
