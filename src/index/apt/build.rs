use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::contents::contents;
use super::package::Checked;
use super::release::{Listed, release};
use super::{IndexedPackage, compare_versions};
use crate::digest::{Describe, Visitor};
use crate::index::{IndexCompression, IndexError};
use crate::store::{Entry, Kind, LocalStore, StoreError, Tree};

/// The settings of one apt repository.
///
/// Clients refuse a repository that silently changes `origin`, `label` or a suite's codename.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AptIndex {
    /// Who publishes it.
    pub origin: String,
    /// What it is, for pinning.
    pub label: String,
    /// One line for people.
    pub description: String,
    /// The suites, each with its own Release.
    pub suites: Vec<Suite>,
    /// In which forms `Packages` is written, besides plain.
    pub compressions: Vec<IndexCompression>,
    /// Whether there is a Contents index, for apt-file.
    pub contents: bool,
    /// Where in `pool/` a package goes.
    pub pool: PoolLayout,
}

/// One suite: `dists/<codename>/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    /// The constant name; also the directory's.
    pub codename: String,
    /// A name that may change over time, such as `stable`.
    pub suite: Option<String>,
    /// The version of what the suite holds; it may change.
    pub version: Option<String>,
    /// What it holds.
    pub holds: Holds,
}

/// What a suite holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Packages of its own.
    Packages {
        /// The one component, commonly `main`.
        component: String,
        /// Architectures that are always listed; those of the packages are listed besides.
        architectures: Vec<String>,
    },
    /// All that the suite with this codename holds, under its own constant codename.
    AliasOf(String),
}

/// Where in `pool/` a package goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolLayout {
    /// `pool/<component>/…`: a package of several suites is one file, and versions must differ
    /// between suites where the bytes do.
    #[default]
    Shared,
    /// `pool/<codename>/<component>/…`: suites may hold other bytes under one version.
    PerSuite,
}

impl Describe for AptIndex {
    fn describe(&self, visitor: &mut dyn Visitor) {
        // Raised whenever the same packages and settings would give other bytes.
        visitor.field("builtin", "apt-index 1");
        visitor.field("origin", &self.origin);
        visitor.field("label", &self.label);
        visitor.field("description", &self.description);
        visitor.field("contents", if self.contents { "yes" } else { "no" });
        visitor.field("pool", if self.pool == PoolLayout::Shared { "shared" } else { "per suite" });
        visitor.field("compressions", &joined(self.compressions().iter().map(|kind| kind.extension())));
        for suite in &self.suites {
            visitor.enter(&suite.codename);
            visitor.field("suite", suite.suite.as_deref().unwrap_or_default());
            visitor.field("version", suite.version.as_deref().unwrap_or_default());
            match &suite.holds {
                Holds::Packages { component, architectures } => {
                    visitor.field("component", component);
                    visitor.field("architectures", &joined(architectures.iter().map(String::as_str)));
                }
                Holds::AliasOf(target) => visitor.field("alias_of", target),
            }
            visitor.leave();
        }
    }
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

/// Writes every file of the repository as a tree: `pool/` names the packages' own objects,
/// `dists/` the indices made here, each also under `by-hash/SHA256/`. `date`, in seconds since
/// 1970, stands in each Release.
///
/// Same packages and settings, in whatever order, give the same bytes.
pub fn build(
    index: &AptIndex,
    packages: &[IndexedPackage],
    date: u64,
    store: &LocalStore,
) -> Result<Tree, IndexError> {
    index.check()?;
    let packages = packages.iter().map(Checked::new).collect::<Result<Vec<_>, _>>()?;
    index.check_suites_of(&packages)?;
    let mut pool = Pool::default();
    let mut dists = BTreeMap::new();
    for suite in &index.suites {
        if let Holds::Packages { component, architectures } = &suite.holds {
            let area = index.area(suite, component);
            let chosen = choose(suite, &packages)?;
            pool.add(&area, &chosen)?;
            let made = SuiteFiles::build(index, component, architectures, &area, &chosen, store)?;
            dists.insert(suite.codename.as_str(), made);
        }
    }
    let mut entries = pool.entries();
    for suite in &index.suites {
        let files = match &suite.holds {
            Holds::Packages { .. } => dists.get(suite.codename.as_str()),
            Holds::AliasOf(target) => dists.get(target.as_str()),
        };
        if let Some(files) = files {
            entries.extend(files.entries(index, suite, date, store)?);
        }
    }
    Ok(Tree::new(entries))
}

/// The packages of one suite, sorted by name, version and architecture; equal ones once.
fn choose<'a>(suite: &Suite, packages: &[Checked<'a>]) -> Result<Vec<Checked<'a>>, IndexError> {
    let mut chosen: Vec<Checked<'a>> =
        packages.iter().filter(|one| one.package.suites.contains(&suite.codename)).copied().collect();
    chosen.sort_by(|a, b| {
        let version = || compare_versions(a.version, b.version).then_with(|| a.version.cmp(b.version));
        let rest = || (a.architecture, &a.package.sha256).cmp(&(b.architecture, &b.package.sha256));
        a.name.cmp(b.name).then_with(version).then_with(rest)
    });
    chosen.dedup_by(|b, a| a.label() == b.label() && a.package.sha256 == b.package.sha256);
    match chosen.windows(2).find(|pair| pair[0].label() == pair[1].label()) {
        None => Ok(chosen),
        Some(pair) => Err(IndexError::Conflict {
            suite: suite.codename.clone(),
            package: pair[0].label(),
            first: pair[0].package.origin.clone(),
            second: pair[1].package.origin.clone(),
        }),
    }
}

/// The package files by their path.
#[derive(Default)]
struct Pool<'a>(BTreeMap<String, Checked<'a>>);

impl<'a> Pool<'a> {
    fn add(&mut self, area: &str, packages: &[Checked<'a>]) -> Result<(), IndexError> {
        for new in packages {
            let path = new.pool_path(area);
            match self.0.get(&path) {
                Some(old) if old.package.sha256 != new.package.sha256 => {
                    let (first, second) = (old.package.origin.clone(), new.package.origin.clone());
                    return Err(IndexError::PoolConflict { path, first, second });
                }
                Some(_) => {}
                None => {
                    self.0.insert(path, *new);
                }
            }
        }
        Ok(())
    }

    fn entries(self) -> Vec<Entry> {
        let entry = |(path, one): (String, Checked<'_>)| {
            let kind = Kind::File { object: one.package.object, size: one.package.size };
            Entry { path, mode: 0o644, kind }
        };
        self.0.into_iter().map(entry).collect()
    }
}

/// The indices of one suite, by their path below `dists/<codename>/`.
struct SuiteFiles {
    component: String,
    architectures: Vec<String>,
    listed: BTreeMap<String, Listed>,
    stored: BTreeMap<String, Kind>,
}

impl SuiteFiles {
    fn build(
        index: &AptIndex,
        component: &str,
        always: &[String],
        area: &str,
        packages: &[Checked<'_>],
        store: &LocalStore,
    ) -> Result<Self, IndexError> {
        let architectures = architectures(always, packages);
        let mut texts: Vec<(String, String, &[IndexCompression])> = Vec::new();
        let compressions = index.compressions();
        for architecture in &architectures {
            let fits = |one: &&Checked<'_>| one.architecture == architecture || one.architecture == "all";
            let mut text = String::new();
            for one in packages.iter().filter(fits) {
                one.push_stanza(&mut text, &one.pool_path(area));
            }
            texts.push((format!("{component}/binary-{architecture}/Packages"), text, &compressions));
            if index.contents {
                let text = contents(packages.iter().filter(fits));
                texts.push((format!("{component}/Contents-{architecture}"), text, &[IndexCompression::Gz]));
            }
        }
        let files = texts.par_iter().map(|(path, text, kinds)| variants(path, text, kinds, store));
        let files = files.collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
        let mut made = Self {
            component: component.to_owned(),
            architectures,
            listed: BTreeMap::new(),
            stored: BTreeMap::new(),
        };
        for (path, listed, kind) in files {
            let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
            made.stored.insert(format!("{dir}/by-hash/SHA256/{}", listed.sha256), kind.clone());
            made.stored.insert(path.clone(), kind);
            made.listed.insert(path, listed);
        }
        Ok(made)
    }

    fn entries(
        &self,
        index: &AptIndex,
        suite: &Suite,
        date: u64,
        store: &LocalStore,
    ) -> Result<Vec<Entry>, IndexError> {
        let text = release(index, suite, &self.component, &self.architectures, &self.listed, date);
        let object = store.put(text.as_bytes())?;
        let release = Kind::File { object, size: text.len() as u64 };
        let release = std::iter::once(("Release", &release));
        let files = self.stored.iter().map(|(path, kind)| (path.as_str(), kind));
        let entry = |(path, kind): (&str, &Kind)| Entry {
            path: format!("dists/{}/{path}", suite.codename),
            mode: 0o644,
            kind: kind.clone(),
        };
        Ok(release.chain(files).map(entry).collect())
    }
}

/// The file plain and in each compression.
fn variants(
    path: &str,
    text: &str,
    compressions: &[IndexCompression],
    store: &LocalStore,
) -> Result<Vec<(String, Listed, Kind)>, IndexError> {
    let put = |path: String, bytes: &[u8]| {
        let size = bytes.len() as u64;
        let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let kind = Kind::File { object: store.put(bytes)?, size };
        Ok((path, Listed { size, sha256 }, kind))
    };
    let compressed = compressions.iter().map(|kind| {
        let path = format!("{path}.{}", kind.extension());
        let bytes = kind.compress(text.as_bytes()).map_err(StoreError::io("compress", &path))?;
        put(path, &bytes)
    });
    std::iter::once(put(path.to_owned(), text.as_bytes())).chain(compressed).collect()
}

/// Those always listed and those of the packages. `all` goes into each of them; a suite that
/// knows no other lists it alone, which every apt client takes for its own.
fn architectures(always: &[String], packages: &[Checked<'_>]) -> Vec<String> {
    let of_packages = packages.iter().map(|one| one.architecture);
    let all: BTreeSet<&str> =
        always.iter().map(String::as_str).chain(of_packages).filter(|one| *one != "all").collect();
    match all.is_empty() {
        true => vec!["all".to_owned()],
        false => all.into_iter().map(str::to_owned).collect(),
    }
}

impl AptIndex {
    /// Each once, in a fixed order.
    fn compressions(&self) -> Vec<IndexCompression> {
        self.compressions.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn area(&self, suite: &Suite, component: &str) -> String {
        match self.pool {
            PoolLayout::Shared => component.to_owned(),
            PoolLayout::PerSuite => format!("{}/{component}", suite.codename),
        }
    }

    fn check(&self) -> Result<(), IndexError> {
        for (setting, value) in
            [("origin", &self.origin), ("label", &self.label), ("description", &self.description)]
        {
            check_line(setting, value)?;
        }
        let mut seen = BTreeSet::new();
        for suite in &self.suites {
            check_word("codename", &suite.codename)?;
            for (setting, value) in [("suite", &suite.suite), ("version", &suite.version)] {
                value.as_deref().map_or(Ok(()), |value| check_line(setting, value))?;
            }
            if !seen.insert(&suite.codename) {
                return Err(IndexError::DuplicateSuite(suite.codename.clone()));
            }
            match &suite.holds {
                Holds::Packages { component, architectures } => {
                    check_word("component", component)?;
                    architectures.iter().try_for_each(|one| check_word("architecture", one))?;
                }
                Holds::AliasOf(target) if !self.takes_packages(target) => {
                    let (alias, target) = (suite.codename.clone(), target.clone());
                    return Err(IndexError::UnknownAlias { alias, target });
                }
                Holds::AliasOf(_) => {}
            }
        }
        Ok(())
    }

    fn check_suites_of(&self, packages: &[Checked<'_>]) -> Result<(), IndexError> {
        for Checked { package, .. } in packages {
            if let Some(suite) = package.suites.iter().find(|suite| !self.takes_packages(suite)) {
                let exists = self.suites.iter().any(|one| one.codename == *suite);
                let own = self.suites.iter().filter(|one| matches!(one.holds, Holds::Packages { .. }));
                return Err(IndexError::UnknownSuite {
                    origin: package.origin.clone(),
                    suite: suite.clone(),
                    reason: if exists { "is an alias" } else { "the index does not have" },
                    known: own.map(|one| one.codename.as_str()).collect::<Vec<_>>().join(", "),
                });
            }
        }
        Ok(())
    }

    fn takes_packages(&self, codename: &str) -> bool {
        let holds = |suite: &Suite| matches!(suite.holds, Holds::Packages { .. });
        self.suites.iter().any(|suite| suite.codename == codename && holds(suite))
    }
}

fn check_line(setting: &'static str, value: &str) -> Result<(), IndexError> {
    match value.chars().any(char::is_control) || value.trim() != value {
        true => Err(IndexError::Setting {
            setting,
            value: value.to_owned(),
            rule: "expected one line without spaces around it",
        }),
        false => Ok(()),
    }
}

fn check_word(setting: &'static str, value: &str) -> Result<(), IndexError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+~".contains(c);
    match value.starts_with(|c: char| c.is_ascii_alphanumeric()) && value.chars().all(plain) {
        true => Ok(()),
        false => Err(IndexError::Setting {
            setting,
            value: value.to_owned(),
            rule: "expected letters, digits and any of '-_.+~', as it names a directory",
        }),
    }
}
