use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::content::{Content, aliases, seen};
use super::draft::Listed;
use super::layout::Role;
use crate::digest::Digest;
use crate::index::{CatalogEntry, Label, RepositoryKind, Settings};

/// The version of the state file's format.
const FORMAT: u32 = 3;

/// One published state of a repository: what is in its `state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    format: u32,
    /// Its name: the date and the beginning of the content's digest.
    pub id: String,
    /// Which clients it is for.
    pub kind: RepositoryKind,
    /// The key of the content that was asked for.
    pub content: Digest,
    /// The date in its Release files, or the revision of its `repomd.xml`, in seconds since 1970; it grows with each generation.
    pub date: u64,
    /// The fingerprints of the primary keys that signed it; none if it is unsigned.
    pub fingerprints: Vec<String>,
    /// The digest of the public keyring published with it.
    pub keyring: Option<Digest>,
    /// The `Origin` of its Release files, which clients hold it to; empty for rpm.
    pub origin: String,
    /// The `Label` of its Release files, likewise.
    pub label: String,
    /// Suites with the packages of another: alias, and which.
    pub aliases: BTreeMap<String, String>,
    /// What the other suites hold.
    pub packages: Vec<Arc<PublishedPackage>>,
    /// The advisories of an rpm repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updateinfo: Option<Digest>,
    /// Its files that are named by digest, below what its link leads to. Those that its own
    /// metadata lists have no time; the others are kept for clients with older metadata, which was
    /// live until that time.
    pub by_hash: BTreeMap<String, Option<u64>>,
    /// The files by which machines subscribe, at the repository's root.
    pub subscriptions: Vec<String>,
    /// Earlier generations that are still there, and until when each was live.
    pub earlier: BTreeMap<String, u64>,
}

/// One package in one suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Flat")]
pub struct PublishedPackage {
    /// What it is; its record is below `records/` of the generation.
    #[serde(flatten)]
    pub entry: CatalogEntry,
    /// Where its file is, below the repository's root.
    pub path: String,
    /// When it was first published here, in seconds since 1970.
    pub since: u64,
}

/// One as it is read: by what is flattened twice, 10,000 of them would take 29 ms instead of 12.
#[derive(Deserialize)]
struct Flat {
    suite: String,
    name: String,
    version: String,
    architecture: String,
    size: u64,
    sha256: String,
    object: Digest,
    record: Digest,
    path: String,
    since: u64,
}

impl From<Flat> for PublishedPackage {
    fn from(flat: Flat) -> Self {
        let Flat { suite, name, version, architecture, size, sha256, object, record, path, since } = flat;
        let label = Label { suite, name, version, architecture };
        Self { entry: CatalogEntry { label, size, sha256, object, record }, path, since }
    }
}

impl PublishedPackage {
    /// Its suite, name, version and architecture.
    pub fn label(&self) -> &Label {
        &self.entry.label
    }
}

impl Generation {
    /// The date of the generation that follows `live` at `now`: apt takes a Release that is not
    /// newer than its own for unchanged.
    pub(super) fn next_date(live: Option<&Self>, now: u64) -> u64 {
        live.map_or(now, |live| now.max(live.date + 1))
    }

    /// A generation with this date that nobody has seen yet; it replaces `live` at `now`.
    pub(super) fn after(
        live: Option<&Self>,
        content: &Content,
        own_by_hash: impl Iterator<Item = String>,
        (now, date): (u64, u64),
        retention: u64,
    ) -> Self {
        let lives_on = |until: u64| now.saturating_sub(until) <= retention;
        let (mut by_hash, mut earlier) = (BTreeMap::new(), BTreeMap::new());
        if let Some(live) = live {
            let until = live.by_hash.iter().map(|(path, until)| (path.clone(), until.unwrap_or(now)));
            by_hash
                .extend(until.filter(|(_, until)| lives_on(*until)).map(|(path, until)| (path, Some(until))));
            earlier.extend(live.earlier.iter().map(|(id, until)| (id.clone(), *until)));
            earlier.insert(live.id.clone(), now);
            earlier.retain(|_, until| lives_on(*until));
        }
        by_hash.extend(own_by_hash.map(|path| (path, None)));
        let (origin, label) = match &content.index {
            Settings::Apt(apt) => (apt.origin.clone(), apt.label.clone()),
            Settings::Rpm(_) => Default::default(),
        };
        Self {
            format: FORMAT,
            kind: content.index.kind(),
            id: Self::id_of(content, date),
            content: content.digest,
            date,
            fingerprints: Vec::new(),
            keyring: None,
            origin,
            label,
            aliases: aliases(&content.index),
            packages: content.packages.clone(),
            updateinfo: content.updateinfo,
            by_hash,
            subscriptions: Vec::new(),
            earlier,
        }
    }

    /// What the generation of this date with this content is called.
    pub(super) fn id_of(content: &Content, date: u64) -> String {
        format!("{}-{}", compact(date), content.digest.short())
    }

    /// The generation before this one was live until then, longer than was known when this one was made.
    pub(super) fn prolong_previous(&mut self, until: u64) {
        let Some(known) = self.earlier.values().max().copied() else { return };
        let times = self.earlier.values_mut().chain(self.by_hash.values_mut().flatten());
        times.filter(|time| **time == known).for_each(|time| *time = until.max(known));
    }

    /// What clients see: the packages of each suite, also under its aliases; sorted.
    pub fn seen(&self) -> BTreeSet<Label> {
        let own = self.packages.iter().map(|package| package.label());
        seen(own, &self.aliases).into_iter().map(Cow::into_owned).collect()
    }

    /// What its indices are made from: the records of its packages, and its advisories.
    pub(super) fn records(&self) -> impl Iterator<Item = Digest> {
        self.packages.iter().map(|package| package.entry.record).chain(self.updateinfo)
    }

    /// Where each of its package files is, with its object.
    pub(super) fn pool(&self) -> HashMap<&str, Digest> {
        self.packages.iter().map(|package| (package.path.as_str(), package.entry.object)).collect()
    }

    /// For each object, where a package file with it is.
    pub(super) fn places(&self) -> HashMap<Digest, &str> {
        self.packages.iter().map(|package| (package.entry.object, package.path.as_str())).collect()
    }

    /// All files that clients find: those of packages, each once, and `others`, which earlier forges listed packages among.
    pub(super) fn files(&self, others: Vec<Listed>) -> Vec<Listed> {
        let mut seen = HashSet::new();
        let packages = self.packages.iter().filter(|package| seen.insert(package.path.as_str()));
        let listed = |package: &Arc<PublishedPackage>| {
            let CatalogEntry { object, size, .. } = package.entry;
            Listed { path: package.path.clone(), role: Role::Package, object, size }
        };
        let others = others.into_iter().filter(|file| file.role != Role::Package);
        packages.map(listed).chain(others).collect()
    }

    /// The same with these packages.
    pub(super) fn with_packages(self, packages: Vec<Arc<PublishedPackage>>) -> Self {
        Self { packages, ..self }
    }

    /// The version of the format that it was written in.
    pub(super) fn format(&self) -> u32 {
        self.format
    }

    /// Reads a state file; the error is the reason for people.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let generation = serde_json::from_slice::<Self>(bytes).map_err(|error| error.to_string());
        // What it is in another format is told by its number alone.
        check_format(match &generation {
            Ok(generation) => generation.format,
            Err(_) => {
                let format: Format = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
                format.format
            }
        })?;
        generation
    }
}

/// Whether this forge reads a generation of that format; the error is the reason for people.
pub(super) fn check_format(format: u32) -> Result<(), String> {
    if format == FORMAT { Ok(()) } else { Err(other_format(format, FORMAT)) }
}

/// Why what is in another format than the one that is known cannot be read.
pub(super) fn other_format(format: u32, known: u32) -> String {
    let advice = match format > known {
        true => "use a newer forge",
        false => "move what an earlier forge published away, or publish below another prefix",
    };
    format!("its format is {format}, this forge knows {known}; {advice}")
}

/// `20261122T170000Z`
fn compact(seconds: u64) -> String {
    use time::OffsetDateTime;
    use time::macros::format_description;
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = i64::try_from(seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    time.and_then(|time| time.format(format).ok()).unwrap_or_else(|| seconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::AptIndex;
    use crate::index::apt::fixture;
    use crate::publish::Effect;

    fn next(live: Option<&Generation>, path: &str, now: u64) -> Generation {
        let index = AptIndex { description: path.to_owned(), ..fixture::index(Vec::new()) };
        let (index, effect) = (Settings::Apt(index), Effect::default());
        let (packages, bundles) = Default::default();
        let digest = Digest::of(path.as_bytes());
        let content = Content { index, url: None, updateinfo: None, packages, bundles, effect, digest };
        let date = Generation::next_date(live, now);
        Generation::after(live, &content, std::iter::once(path.to_owned()), (now, date), 100)
    }

    #[test]
    fn by_hash_files_stay_as_long_as_their_release_was_live_lately() {
        let one = next(None, "1", 1000);
        let two = next(Some(&one), "2", 1010);
        let three = next(Some(&two), "3", 1110);
        let four = next(Some(&three), "4", 1111);
        assert_eq!(two.by_hash, [("1".into(), Some(1010)), ("2".into(), None)].into());
        assert_eq!(
            three.by_hash,
            [("1".into(), Some(1010)), ("2".into(), Some(1110)), ("3".into(), None)].into()
        );
        assert_eq!(
            four.by_hash.keys().collect::<Vec<_>>(),
            ["2", "3", "4"],
            "the first was last live 101 s ago"
        );
        assert_eq!(four.earlier, [(two.id, 1110), (three.id, 1111)].into());
    }

    #[test]
    fn a_file_listed_again_is_the_generation_s_own() {
        let one = next(None, "1", 1000);
        let two = next(Some(&one), "2", 1010);
        let three = next(Some(&two), "1", 1020);
        assert_eq!(three.by_hash, [("1".into(), None), ("2".into(), Some(1020))].into());
    }

    #[test]
    fn dates_grow_also_when_the_clock_goes_back() {
        let one = next(None, "1", 1000);
        let two = next(Some(&one), "2", 900);
        assert_eq!((one.date, two.date), (1000, 1001));
        assert!(one.id.starts_with("19700101T001640Z-"), "{}", one.id);
    }

    #[test]
    fn a_state_of_another_format_is_refused() {
        let state = serde_json::to_string(&next(None, "1", 1)).unwrap();
        assert!(Generation::from_json(state.as_bytes()).is_ok());
        let foreign = state.replace("\"format\":3", "\"format\":4");
        assert!(Generation::from_json(foreign.as_bytes()).unwrap_err().contains("newer forge"));
        let foreign = state.replace("\"format\":3", "\"format\":1");
        assert!(Generation::from_json(foreign.as_bytes()).unwrap_err().contains("earlier forge"));
    }
}
