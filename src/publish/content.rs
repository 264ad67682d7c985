use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;

use super::draft::Seal;
use super::keep::dropped;
use super::{Effect, Generation, PublishError, PublishedPackage, Repository};
use crate::digest::{Describe, Digest, Visitor, key_of};
use crate::index::{AptIndex, CatalogEntry, Holds, IndexError, Label, RepositoryKind, Settings, Suite};
use crate::keys::SigningKeys;

/// What a repository is to hold: the packages of an index, and what stays of those that are live.
pub(super) struct Content {
    /// The settings; those for apt with the suites of all packages.
    pub index: Settings,
    /// Where clients find it.
    pub url: Option<String>,
    /// A file of advisories, in the store.
    pub updateinfo: Option<Digest>,
    /// All packages, sorted.
    pub packages: Vec<Arc<PublishedPackage>>,
    /// Bundles of the store, with the records of those that were not live.
    pub bundles: Vec<Digest>,
    /// What this changes for clients.
    pub effect: Effect,
    /// Its key: where it agrees, there is nothing to publish.
    pub digest: Digest,
}

impl Content {
    /// Puts the packages of `repository` beside what is live at `place`. Errors:
    /// [`PublishError::Identity`] and [`PublishError::PoolConflict`].
    pub fn merge(
        live: Option<&Generation>,
        repository: &Repository,
        place: &str,
        now: u64,
    ) -> Result<Self, PublishError> {
        let wanted = repository.packages.iter().map(|package| package.label.clone()).collect();
        let merged = Merged::new(live, repository, &wanted, now)?;
        let brought: BTreeMap<&Label, &CatalogEntry> =
            repository.packages.iter().map(|package| (&package.label, package)).collect();
        let index = &merged.index;
        let package = |(label, live): (&&Label, &Option<&Arc<PublishedPackage>>)| {
            let path = || index.path(label).unwrap_or_default();
            Ok(match (live, brought.get(label)) {
                (Some(live), Some(new)) if live.entry.sha256 != new.sha256 => {
                    return Err(PublishError::pool_conflict(place, &live.path));
                }
                (Some(live), _) if index.is_at(label, &live.path) => Some(Arc::clone(live)),
                (Some(live), _) => {
                    Some(Arc::new(PublishedPackage { path: path(), ..PublishedPackage::clone(live) }))
                }
                (None, Some(new)) => {
                    let entry = CatalogEntry::clone(new);
                    Some(Arc::new(PublishedPackage { entry, path: path(), since: now }))
                }
                (None, None) => None,
            })
        };
        let keyed = || -> Result<_, PublishError> {
            let packages = merged.own.par_iter().map(package).collect::<Result<Vec<_>, _>>()?;
            let packages: Vec<_> = packages.into_iter().flatten().collect();
            let digest = key_of(&Described { index, repository, packages: &packages });
            Ok((packages, digest))
        };
        let (keyed, effect) = rayon::join(keyed, || merged.effect());
        let (packages, digest) = keyed?;
        let (url, updateinfo, bundles) =
            (repository.url.clone(), repository.updateinfo, repository.bundles.clone());
        Ok(Self { index: merged.index, url, updateinfo, packages, bundles, effect, digest })
    }

    /// What its indices are made from: the records of its packages, and its advisories.
    pub fn records(&self) -> impl Iterator<Item = Digest> {
        self.packages.iter().map(|package| package.entry.record).chain(self.updateinfo)
    }

    /// The packages by their files, each of which is there once. Errors: [`IndexError::PoolConflict`] where suites have other
    /// bytes at the same place.
    pub fn pool(&self) -> Result<Vec<&PublishedPackage>, PublishError> {
        let mut places: HashMap<&str, &PublishedPackage> = HashMap::with_capacity(self.packages.len());
        let mut pool = Vec::with_capacity(self.packages.len());
        for new in &self.packages {
            match places.insert(&new.path, new) {
                Some(old) if old.entry.sha256 != new.entry.sha256 => {
                    let (first, second) = (old.label().to_string(), new.label().to_string());
                    return Err(IndexError::PoolConflict { path: new.path.clone(), first, second }.into());
                }
                Some(_) => {}
                None => pool.push(&**new),
            }
        }
        Ok(pool)
    }
}

impl Content {
    /// What is live, if it is what the repository should be, signed by the same keys.
    pub fn current<'a>(
        &self,
        live: Option<&'a Generation>,
        keys: Option<&SigningKeys>,
    ) -> Result<Option<&'a Generation>, PublishError> {
        let seal = Seal::of(keys)?;
        Ok(live.filter(|live| live.content == self.digest && Seal::from(*live) == seal))
    }

    /// Why there is something to publish at `place`; `None` if publishing would change nothing.
    pub fn difference(
        &self,
        live: Option<&Generation>,
        keys: Option<&SigningKeys>,
        place: &str,
    ) -> Result<Option<String>, PublishError> {
        let Some(live) = live else { return Ok(Some(format!("nothing is published at {place}"))) };
        let [added, replaced, dropped, _] = self.effect.counts();
        Ok(match Seal::of(keys)? == Seal::from(live) {
            _ if !self.effect.is_empty() => {
                Some(format!("{place}: {} packages come, {dropped} go", added + replaced))
            }
            _ if live.content != self.digest => Some(format!("the settings of {place} differ")),
            false => Some(format!("{place} is signed by other keys")),
            true => None,
        })
    }
}

/// By what a content is known.
struct Described<'a> {
    index: &'a Settings,
    repository: &'a Repository,
    packages: &'a [Arc<PublishedPackage>],
}

impl Describe for Described<'_> {
    fn describe(&self, visitor: &mut dyn Visitor) {
        self.index.describe(visitor);
        if let Some(url) = &self.repository.url {
            visitor.field("url", url);
        }
        if let Some(updateinfo) = self.repository.updateinfo {
            visitor.field("updateinfo", &updateinfo.to_string());
        }
        for package in self.packages {
            visitor.field(&package.label().to_string(), &package.entry.sha256);
        }
    }
}

/// The same by names alone, which are known before anything is built.
pub(super) struct Merged<'a> {
    pub index: Settings,
    /// What is in the suites that have packages of their own, each with what is live of it.
    pub own: BTreeMap<&'a Label, Option<&'a Arc<PublishedPackage>>>,
    live: Option<&'a Generation>,
    /// Why some of what is live goes.
    dropped: BTreeMap<Label, String>,
}

impl<'a> Merged<'a> {
    pub fn new(
        live: Option<&'a Generation>,
        repository: &Repository,
        wanted: &'a BTreeSet<Label>,
        now: u64,
    ) -> Result<Self, PublishError> {
        let Repository { prefix, index, keep, url, instead, .. } = repository;
        check_identity(prefix, live, index)?;
        if index.kind() == RepositoryKind::Rpm && url.is_none() {
            return Err(PublishError::NoUrl(prefix.clone()));
        }
        let before = live.map_or(&[][..], |live| &live.packages);
        let dropped = match instead {
            None => dropped(before, wanted, *keep, index.order(), now),
            Some(reason) => {
                let others =
                    before.iter().map(|package| package.label()).filter(|label| !wanted.contains(*label));
                others.map(|label| (label.clone(), reason.clone())).collect()
            }
        };
        let stays = before.iter().filter(|package| !dropped.contains_key(package.label()));
        let mut own: BTreeMap<_, _> = stays.map(|package| (package.label(), Some(package))).collect();
        for label in wanted {
            own.entry(label).or_default();
        }
        let index = match index {
            Settings::Apt(apt) => Settings::Apt(with_suites_of(apt, own.keys().copied())),
            Settings::Rpm(rpm) => Settings::Rpm(rpm.clone()),
        };
        Ok(Self { index, own, live, dropped })
    }

    /// What this changes for clients.
    pub fn effect(&self) -> Effect {
        let Self { index, own, live, dropped } = self;
        let old = live.map(|live| seen(live.packages.iter().map(|package| package.label()), &live.aliases));
        let (old, new) = (old.unwrap_or_default(), seen(own.keys().copied(), &aliases(index)));
        let cause = |gone: &Label| cause_of_loss(gone, *live, dropped, index);
        Effect::between(&old, &new, index.order(), cause)
    }
}

/// Clients refuse a repository that changes its Origin or Label until each user confirms it.
/// The codename is the suite's directory, so a change of it is another suite.
fn check_identity(prefix: &str, live: Option<&Generation>, index: &Settings) -> Result<(), PublishError> {
    let Some(live) = live else { return Ok(()) };
    if live.kind != index.kind() {
        let (prefix, before, after) = (prefix.to_owned(), live.kind, index.kind());
        return Err(PublishError::Kind { prefix, before, after });
    }
    let Settings::Apt(index) = index else { return Ok(()) };
    let fields = [("Origin", &live.origin, &index.origin), ("Label", &live.label, &index.label)];
    match fields.into_iter().find(|(_, before, after)| before != after) {
        None => Ok(()),
        Some((field, before, after)) => Err(PublishError::Identity {
            prefix: prefix.to_owned(),
            field,
            before: before.clone(),
            after: after.clone(),
        }),
    }
}

/// The settings with a suite for each that has packages, and the aliases of those.
fn with_suites_of<'a>(index: &AptIndex, own: impl Iterator<Item = &'a Label>) -> AptIndex {
    let names: BTreeSet<&String> = own.map(|label| &label.suite).collect();
    let declared = |name: &str| index.suites.iter().find(|suite| suite.codename == name);
    let like = index.suites.iter().find(|suite| matches!(suite.holds, Holds::Packages { .. }));
    let suite = |name: &&String| {
        let suite = declared(name).or(like)?;
        Some(Suite { codename: (*name).clone(), ..suite.clone() })
    };
    let is_followed = |suite: &&Suite| match &suite.holds {
        Holds::AliasOf(target) => names.contains(target),
        Holds::Packages { .. } => false,
    };
    let aliases = index.suites.iter().filter(is_followed).cloned();
    AptIndex { suites: names.iter().filter_map(suite).chain(aliases).collect(), ..index.clone() }
}

/// Which suite each alias repeats.
pub(super) fn aliases(index: &Settings) -> BTreeMap<String, String> {
    let Settings::Apt(index) = index else { return BTreeMap::new() };
    let alias = |suite: &Suite| match &suite.holds {
        Holds::AliasOf(target) => Some((suite.codename.clone(), target.clone())),
        Holds::Packages { .. } => None,
    };
    index.suites.iter().filter_map(alias).collect()
}

/// What clients see: the packages of each suite, also under its aliases.
pub(super) fn seen<'a>(
    own: impl Iterator<Item = &'a Label> + Clone,
    aliases: &BTreeMap<String, String>,
) -> BTreeSet<Cow<'a, Label>> {
    let repeat = |(alias, target): (&String, &String)| {
        let repeated = own.clone().filter(|label| label.suite == *target);
        repeated.map(|label| Label { suite: alias.clone(), ..label.clone() }).collect::<Vec<_>>()
    };
    let repeated = aliases.iter().flat_map(repeat);
    own.clone().map(Cow::Borrowed).chain(repeated.map(Cow::Owned)).collect()
}

/// Why clients do not see a package any more.
fn cause_of_loss(
    gone: &Label,
    live: Option<&Generation>,
    dropped: &BTreeMap<Label, String>,
    index: &Settings,
) -> String {
    let was_alias_of = live.and_then(|live| live.aliases.get(&gone.suite));
    let suite = was_alias_of.unwrap_or(&gone.suite);
    let own = Label { suite: suite.clone(), ..gone.clone() };
    match (dropped.get(&own), aliases(index).get(&gone.suite)) {
        (Some(rule), _) => rule.clone(),
        (None, Some(target)) => format!("'{}' is an alias of '{target}' now", gone.suite),
        (None, None) => format!("'{}' is no alias any more", gone.suite),
    }
}
