use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::candidate::Candidate;
use super::git::Git;
use super::{AptError, AptRoot, Lock, LockedImage, LockedVersion, UpdateError, Wanted, resolve};
use crate::buildfile::{Keep, NamedVersion, Selection, Upstream, Version, VersionPolicy, nearest};
use crate::store::LocalStore;

/// How often the next best version is tried where an archive is not there. A tag is often there
/// before its archive; where all archives are elsewhere, it is told after so many.
const ROUNDS: usize = 3;

/// Brings a lock up to what is upstream now.
pub struct Updater<'a> {
    /// Where archives are kept, once they are known.
    pub store: &'a LocalStore,
    /// The directory that relative paths of the Buildfile start from.
    pub dir: PathBuf,
    /// A directory with archives that were fetched by other means.
    pub distdir: Option<PathBuf>,
    /// Hears what takes its time.
    pub tell: &'a dyn Fn(&str),
    pub(super) git: Git,
    /// What apt knows, looked up when the first upstream needs it.
    apt: OnceCell<AptRoot>,
}

/// Which versions of an upstream are wanted.
pub enum Ask<'a> {
    /// Those that its policy keeps.
    Policy,
    /// Those that a selection leaves.
    Selection(Selection<'a>),
    /// Those that a selection asks for and the lock has not.
    Missing(Selection<'a>),
}

/// What an update found of one upstream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpstreamChange {
    /// The upstream.
    pub upstream: String,
    /// Versions that the lock did not have.
    pub added: Vec<Added>,
    /// Versions that upstream lists and whose archive is not there, and what was said of it.
    pub unavailable: Vec<(String, String)>,
    /// Versions that stood on the axis and do not any more. They stay in the lock.
    pub no_longer_kept: Vec<String>,
    /// What the policy keeps.
    pub keep: Option<Keep>,
    /// Versions that would be on the axis if they were not held.
    pub held: Vec<NamedVersion>,
}

/// A version that comes into the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// As it is locked.
    pub locked: LockedVersion,
    /// What is to be told of it.
    pub notes: Vec<String>,
}

impl UpstreamChange {
    /// Whether there is anything to tell.
    pub fn is_empty(&self) -> bool {
        let Self { added, unavailable, no_longer_kept, held, .. } = self;
        added.is_empty() && unavailable.is_empty() && no_longer_kept.is_empty() && held.is_empty()
    }
}

impl<'a> Updater<'a> {
    /// An updater that keeps archives in `store`; `dir` is where relative paths of the Buildfile start.
    pub fn new(
        store: &'a LocalStore,
        dir: PathBuf,
        distdir: Option<PathBuf>,
        tell: &'a dyn Fn(&str),
    ) -> Self {
        Self { store, dir, distdir, tell, git: Git::default(), apt: OnceCell::new() }
    }

    pub(super) fn apt(&self) -> Result<&AptRoot, AptError> {
        if let Some(apt) = self.apt.get() {
            return Ok(apt);
        }
        let apt = AptRoot::of_host(self.store.root().join("apt"))?;
        Ok(self.apt.get_or_init(|| apt))
    }

    /// Takes the versions of `upstream` that are asked for into `lock`. Versions that the lock has
    /// already stay: what was published once can be built again. One that is not what it was is an
    /// error.
    pub fn upstream(
        &self,
        upstream: &Upstream,
        ask: &Ask<'_>,
        lock: &mut Lock,
    ) -> Result<UpstreamChange, UpdateError> {
        let (name, policy) = (upstream.name.as_str(), &upstream.policy);
        let mut change =
            UpstreamChange { upstream: name.to_owned(), keep: policy.keep, ..UpstreamChange::default() };
        let Some(candidates) = self.candidates(upstream)? else { return Ok(change) };
        for locked in lock.versions(name) {
            if let Some(candidate) = candidates.get(&Version::new(locked.version.as_str())) {
                candidate.check(upstream, locked)?;
            }
        }
        check_wishes(upstream, ask, &candidates, lock)?;
        let before = policy.standing(&lock.available(name));
        self.take_wanted(upstream, ask, &candidates, lock, &mut change)?;
        if matches!(ask, Ask::Policy) {
            let listed: Vec<Version> = candidates.into_keys().collect();
            change.held = policy.held_back(&listed).into_iter().cloned().collect();
            let after = policy.standing(&lock.available(name));
            let gone = before.iter().filter(|version| !after.contains(version));
            change.no_longer_kept = gone.map(Version::to_string).collect();
        }
        Ok(change)
    }

    fn take_wanted(
        &self,
        upstream: &Upstream,
        ask: &Ask<'_>,
        candidates: &BTreeMap<Version, Candidate>,
        lock: &mut Lock,
        change: &mut UpstreamChange,
    ) -> Result<(), UpdateError> {
        let mut absent = BTreeSet::new();
        for _ in 0..ROUNDS {
            let listed: Vec<Version> =
                candidates.keys().filter(|version| !absent.contains(*version)).cloned().collect();
            let mut wanted = ask.wanted(&upstream.policy, &listed, &upstream.name, lock);
            let known = lock.available(&upstream.name);
            wanted.retain(|version| !known.contains(version));
            let absent_before = absent.len();
            for version in wanted {
                let Some(candidate) = candidates.get(&version) else { continue };
                refuse_held(upstream, &version)?;
                let taken = self.take(upstream, version.as_str(), candidate)?;
                lock.put(&upstream.name, taken.locked.clone());
                match taken.absent {
                    None => change.added.push(Added { locked: taken.locked, notes: taken.notes }),
                    Some(reason) => {
                        change.unavailable.push((version.to_string(), reason));
                        absent.insert(version);
                    }
                }
            }
            if absent.len() == absent_before {
                break;
            }
        }
        Ok(())
    }

    /// Resolves what an image is made of now. Gives whether that is news.
    pub fn image(&self, node: &str, wanted: &Wanted, lock: &mut Lock) -> Result<bool, UpdateError> {
        let failed = |source| UpdateError::Apt { upstream: node.to_owned(), source };
        let closure = resolve(self.apt().map_err(failed)?, wanted).map_err(failed)?;
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

impl Ask<'_> {
    fn wanted(
        &self,
        policy: &VersionPolicy,
        listed: &[Version],
        upstream: &str,
        lock: &Lock,
    ) -> Vec<Version> {
        match self {
            Self::Policy => policy.standing(listed),
            Self::Selection(selection) => policy.selected(listed, selection),
            Self::Missing(selection) => {
                policy.missing(listed, &lock.selectable(upstream, selection), selection)
            }
        }
    }

    fn selection(&self) -> Option<&Selection<'_>> {
        match self {
            Self::Policy => None,
            Self::Selection(selection) | Self::Missing(selection) => Some(selection),
        }
    }
}

/// Pins and selected values that neither upstream nor the lock has are slips.
fn check_wishes(
    upstream: &Upstream,
    ask: &Ask<'_>,
    candidates: &BTreeMap<Version, Candidate>,
    lock: &Lock,
) -> Result<(), UpdateError> {
    let locked = lock.versions(&upstream.name).iter().map(|locked| Version::new(locked.version.as_str()));
    let known: Vec<Version> = candidates.keys().cloned().chain(locked).collect();
    let no_such = |wanted: &str, wish: String| {
        let all = known.iter().map(Version::as_str);
        let near = nearest(wanted, all).map(|near| format!("did you mean {near}?"));
        let newest = || known.iter().max().map(|newest| format!("the newest is {newest}"));
        let near = near.or_else(newest).unwrap_or_else(|| "it has none at all".to_owned());
        Err(UpdateError::NoSuchVersion {
            upstream: upstream.name.clone(),
            wanted: wanted.to_owned(),
            wish,
            near,
        })
    };
    for pin in &upstream.policy.pins {
        if !known.iter().any(|version| version.as_str() == pin.version) {
            return no_such(&pin.version, format!("which is pinned at {}", pin.span.location()));
        }
    }
    if let Some(selection) = ask.selection()
        && let Some(value) = selection.unknown(&known).first()
    {
        return no_such(value, format!("which is selected by {}", selection.text()));
    }
    Ok(())
}

fn refuse_held(upstream: &Upstream, version: &Version) -> Result<(), UpdateError> {
    match upstream.policy.held(version.as_str()) {
        None => Ok(()),
        Some(NamedVersion { version, reason, .. }) => Err(UpdateError::Held {
            upstream: upstream.name.clone(),
            version: version.clone(),
            reason: reason.clone(),
        }),
    }
}
