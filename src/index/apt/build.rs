use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::compare_versions;
use super::contents::contents;
use super::package::{Area, Checked, PoolPath, Record, told};
use super::release::release;
use crate::digest::{Describe, Visitor};
use crate::index::pieces::{self, Forms, Piece, RunIdentity};
use crate::index::shelf::{Shelf, Summed, put};
use crate::index::{IndexCompression, IndexError, Label, Making, Member, Records};
use crate::store::{Entry, Kind, Tree};

/// How many packages a piece of `Packages` has, at least: fewer, and xz finds less to refer to; more, and a publish of one has
/// more to compress again.
pub(super) const REACH: usize = 220;

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
        visitor.field("builtin", "apt-index 5");
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

/// The whole repository: `pool/` names the packages' own objects, the rest is its [`metadata`], which goes into the store.
///
/// Same packages and settings, in whatever order, give the same bytes.
pub fn build<E: From<IndexError> + Send>(
    index: &AptIndex,
    packages: &[Member<'_>],
    making: &Making<'_, E>,
) -> Result<Tree, E> {
    let chosen = Chosen::new(index, packages)?;
    let (pool, metadata) = rayon::join(|| chosen.pool(), || chosen.metadata(making));
    let mut entries = pool?;
    entries.extend(metadata?);
    Ok(Tree::new(entries))
}

/// `dists/`: the indices, each also under `by-hash/SHA256/`, and a Release for each suite.
pub fn metadata<E: From<IndexError> + Send>(
    index: &AptIndex,
    packages: &[Member<'_>],
    making: &Making<'_, E>,
) -> Result<Vec<Entry>, E> {
    Chosen::new(index, packages)?.metadata(making)
}

/// Packages that are checked, by their suites.
struct Chosen<'a> {
    index: &'a AptIndex,
    suites: Vec<Own<'a>>,
}

/// A suite with packages of its own, and those.
struct Own<'a> {
    codename: &'a str,
    component: &'a str,
    /// Those that are always listed.
    architectures: &'a [String],
    area: Area<'a>,
    packages: Vec<Checked<'a>>,
}

impl<'a> Chosen<'a> {
    fn new(index: &'a AptIndex, packages: &[Member<'a>]) -> Result<Self, IndexError> {
        index.check()?;
        let packages = packages.par_iter().map(|member| Checked::new(*member));
        let packages = packages.collect::<Result<Vec<_>, _>>()?;
        index.check_suites_of(&packages)?;
        let own = |suite: &'a Suite| match &suite.holds {
            Holds::Packages { component, architectures } => {
                Some(choose(suite, &packages).map(|packages| Own {
                    codename: &suite.codename,
                    component,
                    architectures,
                    area: index.area(suite, component),
                    packages,
                }))
            }
            Holds::AliasOf(_) => None,
        };
        let suites = index.suites.iter().filter_map(own).collect::<Result<_, _>>()?;
        Ok(Self { index, suites })
    }

    fn pool(&self) -> Result<Vec<Entry>, IndexError> {
        let mut pool = Pool::default();
        self.suites.iter().try_for_each(|suite| pool.add(suite.area, &suite.packages))?;
        Ok(pool.entries())
    }

    fn metadata<E: From<IndexError> + Send>(&self, making: &Making<'_, E>) -> Result<Vec<Entry>, E> {
        let made = self
            .suites
            .par_iter()
            .map(|suite| Ok((suite.codename, SuiteFiles::build(self.index, suite, making)?)));
        let made = made.collect::<Result<BTreeMap<_, _>, E>>()?;
        let mut entries = Vec::new();
        for suite in &self.index.suites {
            let files = match &suite.holds {
                Holds::Packages { .. } => made.get(suite.codename.as_str()),
                Holds::AliasOf(target) => made.get(target.as_str()),
            };
            if let Some(files) = files {
                entries.extend(files.entries(self.index, suite, making.date, making.shelf)?);
            }
        }
        Ok(entries)
    }
}

/// The packages of one suite, sorted by name, version and architecture; equal ones once.
fn choose<'a>(suite: &Suite, packages: &[Checked<'a>]) -> Result<Vec<Checked<'a>>, IndexError> {
    let mut chosen: Vec<Checked<'a>> =
        packages.iter().filter(|one| one.label().suite == suite.codename).copied().collect();
    chosen.sort_by(|a, b| {
        let (one, other) = (a.label(), b.label());
        let version =
            || compare_versions(&one.version, &other.version).then_with(|| one.version.cmp(&other.version));
        let rest = || (&one.architecture, a.sha256()).cmp(&(&other.architecture, b.sha256()));
        one.name.cmp(&other.name).then_with(version).then_with(rest)
    });
    chosen.dedup_by(|b, a| a.label() == b.label() && a.sha256() == b.sha256());
    match chosen.windows(2).find(|pair| pair[0].label() == pair[1].label()) {
        None => Ok(chosen),
        Some(pair) => Err(IndexError::Conflict {
            suite: suite.codename.clone(),
            package: told(pair[0].label()),
            first: pair[0].origin(),
            second: pair[1].origin(),
        }),
    }
}

/// The package files by their path.
#[derive(Default)]
struct Pool<'a>(BTreeMap<String, Checked<'a>>);

impl<'a> Pool<'a> {
    fn add(&mut self, area: Area<'a>, packages: &[Checked<'a>]) -> Result<(), IndexError> {
        for new in packages {
            let path = new.pool_path(area).to_string();
            match self.0.get(&path) {
                Some(old) if old.sha256() != new.sha256() => {
                    let (first, second) = (old.origin(), new.origin());
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
            let file = one.member().entry;
            Entry { path, mode: 0o644, kind: Kind::File { object: file.object, size: file.size } }
        };
        self.0.into_iter().map(entry).collect()
    }
}

/// The indices of one suite, by their path below `dists/<codename>/`.
struct SuiteFiles {
    component: String,
    architectures: Vec<String>,
    listed: BTreeMap<String, Summed>,
    stored: BTreeMap<String, Kind>,
}

impl SuiteFiles {
    fn build<E: From<IndexError> + Send>(
        index: &AptIndex,
        suite: &Own<'_>,
        making: &Making<'_, E>,
    ) -> Result<Self, E> {
        let Own { component, area, packages, .. } = suite;
        let architectures = architectures(suite.architectures, packages);
        let compressions = index.compressions();
        let of_architecture = |architecture: &String| {
            let fits = |of: &str| of == architecture || of == "all";
            let fitting = packages.iter().filter(|one| fits(&one.label().architecture));
            let members: Vec<Member<'_>> = fitting.map(Checked::member).collect();
            let pieces: Vec<_> = pieces::runs(&members, REACH)
                .into_par_iter()
                .map(|run| stanzas(run, *area, making.records))
                .collect();
            let path = format!("{component}/binary-{architecture}/Packages");
            let mut files = variants(&path, &pieces, &compressions, making)?;
            if index.contents {
                let text = contents(&members, making.memory, making.records)?;
                let path = format!("{component}/Contents-{architecture}");
                files.extend(variants(
                    &path,
                    &pieces::of_lines::<E>(&text),
                    &[IndexCompression::Gz],
                    making,
                )?);
            }
            Ok(files)
        };
        let files = architectures.par_iter().map(of_architecture).collect::<Result<Vec<_>, E>>()?;
        let mut made = Self {
            component: (*component).to_owned(),
            architectures,
            listed: BTreeMap::new(),
            stored: BTreeMap::new(),
        };
        for (path, listed, kind) in files.into_iter().flatten() {
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
        shelf: &dyn Shelf,
    ) -> Result<Vec<Entry>, IndexError> {
        let text = release(index, suite, &self.component, &self.architectures, &self.listed, date);
        let object = shelf.put(text.as_bytes())?;
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

/// A piece of `Packages`.
fn stanzas<'m, E: From<IndexError>>(
    run: &'m [Member<'_>],
    area: Area<'m>,
    records: &'m Records<'_, E>,
) -> Piece<'m, E> {
    Piece::of_run(&format!("apt stanzas 1 {area}"), RunIdentity::of(run), move || {
        let mut text = String::new();
        for member in run {
            let path = PoolPath { area, label: &member.entry.label };
            let record = member.record::<Record, E>(records)?;
            record.push_stanza(&mut text, member.entry, &path.to_string());
        }
        Ok(text)
    })
}

/// The file plain and in each compression.
fn variants<E: From<IndexError> + Send>(
    path: &str,
    pieces: &[Piece<'_, E>],
    compressions: &[IndexCompression],
    making: &Making<'_, E>,
) -> Result<Vec<(String, Summed, Kind)>, E> {
    let forms = Forms::new(pieces, compressions, making);
    let compressed = |compression: &IndexCompression| {
        let (summed, kind) = put(making.shelf, |out| forms.write(*compression, out))?;
        Ok((format!("{path}.{}", compression.extension()), summed, kind))
    };
    // What takes longest begins first.
    let (files, plain) = rayon::join(
        || compressions.par_iter().map(compressed).collect::<Result<Vec<_>, E>>(),
        || put(making.shelf, |out| forms.write_plain(out)),
    );
    let (mut files, (summed, kind)) = (files?, plain?);
    files.push((path.to_owned(), summed, kind));
    Ok(files)
}

/// Those always listed and those of the packages. `all` goes into each of them; a suite that
/// knows no other lists it alone, which every apt client takes for its own.
fn architectures(always: &[String], packages: &[Checked<'_>]) -> Vec<String> {
    let of_packages = packages.iter().map(|one| one.label().architecture.as_str());
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

    /// Where the file of a package is, below the repository's root; none if its suite holds no
    /// packages of its own.
    pub fn pool_path<'a>(&'a self, label: &'a Label) -> Option<PoolPath<'a>> {
        let suite = self.suites.iter().find(|suite| suite.codename == label.suite)?;
        match &suite.holds {
            Holds::Packages { component, .. } => Some(PoolPath { area: self.area(suite, component), label }),
            Holds::AliasOf(_) => None,
        }
    }

    fn area<'a>(&self, suite: &'a Suite, component: &'a str) -> Area<'a> {
        let codename = match self.pool {
            PoolLayout::Shared => None,
            PoolLayout::PerSuite => Some(suite.codename.as_str()),
        };
        Area { codename, component }
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
        for package in packages {
            let suite = &package.label().suite;
            if !self.takes_packages(suite) {
                let exists = self.suites.iter().any(|one| one.codename == *suite);
                let own = self.suites.iter().filter(|one| matches!(one.holds, Holds::Packages { .. }));
                return Err(IndexError::UnknownSuite {
                    origin: package.origin(),
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
