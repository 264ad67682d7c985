use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PublishError;
use crate::digest::Digest;
use crate::index::apt::{Stanza, stanzas};
use crate::store::{Kind, LocalStore, Tree};

/// The version of the state file's format.
const FORMAT: u32 = 1;

/// One published state of a repository: what is in its `state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    format: u32,
    /// Its name: the date and the beginning of the content's digest.
    pub id: String,
    /// The key of the content that was asked for.
    pub content: Digest,
    /// The date in its Release files, in seconds since 1970; it grows with each generation.
    pub date: u64,
    /// The fingerprints of the primary keys that signed it; none if it is unsigned.
    pub fingerprints: Vec<String>,
    /// The digest of the public keyring published with it.
    pub keyring: Option<Digest>,
    /// What its suites hold.
    pub packages: Vec<PublishedPackage>,
    /// Its by-hash files, below `dists/`. Those that its own Release files list have no time;
    /// the others are kept for clients with an older Release, which was live until that time.
    pub by_hash: BTreeMap<String, Option<u64>>,
    /// Earlier generations that are still there, and until when each was live.
    pub earlier: BTreeMap<String, u64>,
}

/// One package in one suite.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPackage {
    /// The suite's codename.
    pub suite: String,
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its own architecture, `all` among them.
    pub architecture: String,
    /// Where its file is, below the repository's root.
    pub path: String,
    /// The file's length in bytes.
    pub size: u64,
    /// The file's SHA256, hexadecimal.
    pub sha256: String,
    /// The file's digest in the store.
    pub object: Digest,
}

impl Generation {
    /// A generation that nobody has seen yet; it replaces `live` at `now`.
    pub(super) fn after(
        live: Option<&Self>,
        content: Digest,
        packages: Vec<PublishedPackage>,
        own_by_hash: impl Iterator<Item = String>,
        now: u64,
        retention: u64,
    ) -> Self {
        // apt takes a Release that is not newer than its own for unchanged.
        let date = live.map_or(now, |live| now.max(live.date + 1));
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
        Self {
            format: FORMAT,
            id: format!("{}-{}", compact(date), content.short()),
            content,
            date,
            fingerprints: Vec::new(),
            keyring: None,
            packages,
            by_hash,
            earlier,
        }
    }

    /// Reads a state file; the error is the reason for people.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if format != FORMAT {
            return Err(format!("its format is {format}, this forge knows {FORMAT}; use a newer forge"));
        }
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

/// `20261122T170000Z`
fn compact(seconds: u64) -> String {
    use time::OffsetDateTime;
    use time::macros::format_description;
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = i64::try_from(seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    time.and_then(|time| time.format(format).ok()).unwrap_or_else(|| seconds.to_string())
}

/// The packages of every suite of an index tree, sorted: from its `Packages` files.
pub fn published_packages(tree: &Tree, store: &LocalStore) -> Result<Vec<PublishedPackage>, PublishError> {
    let mut all = Vec::new();
    for entry in tree.entries() {
        let Some(suite) = packages_index_of(&entry.path) else { continue };
        let Kind::File { object, .. } = entry.kind else { continue };
        let malformed = || PublishError::Tree { path: entry.path.clone(), reason: "it is no Packages index" };
        let text = String::from_utf8(store.get(object)?).map_err(|_| malformed())?;
        for stanza in stanzas(&text).map_err(|_| malformed())? {
            all.push(published(suite, &stanza, tree).ok_or_else(malformed)?);
        }
    }
    // A package for all architectures stands in the index of each.
    all.sort();
    all.dedup();
    Ok(all)
}

/// The suite, for `dists/<suite>/<component>/binary-<architecture>/Packages`.
fn packages_index_of(path: &str) -> Option<&str> {
    let mut parts = path.strip_prefix("dists/")?.split('/');
    let suite = parts.next()?;
    let (_component, directory, file) = (parts.next()?, parts.next()?, parts.next()?);
    (directory.starts_with("binary-") && file == "Packages" && parts.next().is_none()).then_some(suite)
}

fn published(suite: &str, stanza: &Stanza, tree: &Tree) -> Option<PublishedPackage> {
    let field = |name| stanza.get(name).map(str::to_owned);
    let path = field("Filename")?;
    let Kind::File { object, size } = tree.get(&path)?.kind else { return None };
    Some(PublishedPackage {
        suite: suite.to_owned(),
        name: field("Package")?,
        version: field("Version")?,
        architecture: field("Architecture")?,
        path,
        size,
        sha256: field("SHA256")?,
        object,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(live: Option<&Generation>, path: &str, now: u64) -> Generation {
        let content = Digest::of(path.as_bytes());
        Generation::after(live, content, Vec::new(), std::iter::once(path.to_owned()), now, 100)
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
        let foreign = state.replace("\"format\":1", "\"format\":2");
        assert!(Generation::from_json(foreign.as_bytes()).unwrap_err().contains("newer forge"));
    }
}
