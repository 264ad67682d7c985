//! The three lists of a repository: `primary` is what solvers read, `filelists` all that packages
//! install, `other` their changelogs. The form is that of createrepo_c.

use std::borrow::Cow;
use std::sync::OnceLock;

use rayon::prelude::*;

use super::dependencies::{is_primary, relations};
use super::package::path;
use super::xml::{Xml, forbidden, frame};
use crate::index::pieces::{self, Piece, RunIdentity};
use crate::index::{IndexError, Label, Member, Records};
use crate::package::{Comparison, RpmChange, RpmDependency, RpmFile, RpmFileKind, RpmInfo, RpmRelation};

/// How many packages a piece of a list has, at least: fewer than for apt, as more is said of each.
const REACH: usize = 96;
/// What a package's place stands after in `primary`.
const LOCATION: &str = "<location href=\"";
/// How many changes of a package are told, as in createrepo_c.
const CHANGES: usize = 10;
/// In the order of createrepo_c.
const RELATIONS: [(RpmRelation, &str); 8] = [
    (RpmRelation::Provides, "rpm:provides"),
    (RpmRelation::Requires, "rpm:requires"),
    (RpmRelation::Conflicts, "rpm:conflicts"),
    (RpmRelation::Obsoletes, "rpm:obsoletes"),
    (RpmRelation::Suggests, "rpm:suggests"),
    (RpmRelation::Enhances, "rpm:enhances"),
    (RpmRelation::Recommends, "rpm:recommends"),
    (RpmRelation::Supplements, "rpm:supplements"),
];

/// Packages of which pieces of all lists are made.
pub(super) struct Run<'m> {
    members: &'m [Member<'m>],
    identity: RunIdentity,
    /// What their headers say, once a piece asks for it.
    infos: OnceLock<Vec<Cow<'m, RpmInfo>>>,
    /// What `primary` says of them to clients of the root.
    primary: OnceLock<String>,
}

/// Members in order, cut where a piece ends.
pub(super) fn runs<'m>(members: &'m [Member<'m>]) -> Vec<Run<'m>> {
    let run = |members| {
        let (infos, primary) = Default::default();
        Run { members, identity: RunIdentity::of(members), infos, primary }
    };
    pieces::runs(members, REACH).into_par_iter().map(run).collect()
}

impl<'m> Run<'m> {
    fn infos<E: From<IndexError>>(&self, records: &Records<'_, E>) -> Result<&[Cow<'m, RpmInfo>], E> {
        if let Some(known) = self.infos.get() {
            return Ok(known);
        }
        let read = self.members.iter().map(|member| member.record(records)).collect::<Result<Vec<_>, E>>()?;
        Ok(self.infos.get_or_init(|| read))
    }

    /// What `primary` says of each. Its location follows [`LOCATION`], which stands nowhere else, as no text has a '<'.
    fn primary<E: From<IndexError>>(&self, records: &Records<'_, E>) -> Result<&str, E> {
        if let Some(known) = self.primary.get() {
            return Ok(known);
        }
        let text = self.text(records, primary_entry)?;
        Ok(self.primary.get_or_init(|| text))
    }

    /// What `entry` says of each.
    fn text<E: From<IndexError>>(
        &self,
        records: &Records<'_, E>,
        entry: impl Fn(&Label, &RpmInfo) -> String,
    ) -> Result<String, E> {
        let mut text = String::new();
        for (member, info) in self.members.iter().zip(self.infos(records)?) {
            let new = entry(&member.entry.label, info);
            if let Some(character) = forbidden(&new) {
                return Err(IndexError::NotXml { origin: member.origin(), character }.into());
            }
            text.push_str(&new);
        }
        Ok(text)
    }
}

/// `primary.xml`; `out` leads from the metadata's own place to the repository's root.
pub(super) fn primary<'m, E: From<IndexError>>(
    runs: &'m [Run<'_>],
    out: &'m str,
    records: &'m Records<'_, E>,
) -> Vec<Piece<'m, E>> {
    let namespaces = [
        ("xmlns", "http://linux.duke.edu/metadata/common"),
        ("xmlns:rpm", "http://linux.duke.edu/metadata/rpm"),
    ];
    list("metadata", &format!("rpm primary 1 {out}"), &namespaces, runs, move |run| {
        Ok(located(run.primary(records)?, out))
    })
}

/// Puts a way before every location.
fn located(text: &str, out: &str) -> String {
    let (mut located, mut before) = (String::with_capacity(text.len()), 0);
    for place in memchr::memmem::find_iter(text.as_bytes(), LOCATION).map(|at| at + LOCATION.len()) {
        located.extend([&text[before..place], out]);
        before = place;
    }
    located.push_str(&text[before..]);
    located
}

/// `filelists.xml`.
pub(super) fn filelists<'m, E: From<IndexError>>(
    runs: &'m [Run<'_>],
    records: &'m Records<'_, E>,
) -> Vec<Piece<'m, E>> {
    let namespaces = [("xmlns", "http://linux.duke.edu/metadata/filelists")];
    list("filelists", "rpm filelists 1", &namespaces, runs, |run| {
        run.text(records, |_, info| {
            entry_by_id(info, |xml| info.files.iter().for_each(|file| push_file(xml, file)))
        })
    })
}

/// `other.xml`.
pub(super) fn other<'m, E: From<IndexError>>(
    runs: &'m [Run<'_>],
    records: &'m Records<'_, E>,
) -> Vec<Piece<'m, E>> {
    let namespaces = [("xmlns", "http://linux.duke.edu/metadata/other")];
    list("otherdata", "rpm other 1", &namespaces, runs, |run| {
        run.text(records, |_, info| {
            entry_by_id(info, |xml| {
                for (change, time) in changes(&info.changelog) {
                    let time = time.to_string();
                    let attributes = [("author", change.author.trim_end_matches(' ')), ("date", &time)];
                    xml.text("changelog", &attributes, &change.text);
                }
            })
        })
    })
}

/// A document about packages. What `said` writes of a run is remembered as `kind`.
fn list<'m, E: From<IndexError>>(
    root: &str,
    kind: &str,
    namespaces: &[(&str, &str)],
    runs: &'m [Run<'_>],
    said: impl Fn(&Run<'_>) -> Result<String, E> + Copy + Send + Sync + 'm,
) -> Vec<Piece<'m, E>> {
    let count = runs.iter().map(|run| run.members.len()).sum::<usize>().to_string();
    let attributes: Vec<_> = namespaces.iter().copied().chain([("packages", count.as_str())]).collect();
    let (head, tail) = frame(root, &attributes);
    let piece = |run: &'m Run<'_>| Piece::of_run(kind, run.identity, move || said(run));
    std::iter::once(Piece::Text(head)).chain(runs.iter().map(piece)).chain([Piece::Text(tail)]).collect()
}

fn primary_entry(label: &Label, info: &RpmInfo) -> String {
    let mut xml = Xml::new();
    xml.open("package", &[("type", "rpm")]);
    xml.text("name", &[], &info.name);
    xml.text("arch", &[], &info.architecture);
    push_version(&mut xml, info);
    xml.text("checksum", &[("type", "sha256"), ("pkgid", "YES")], &info.sha256);
    xml.text("summary", &[], &info.summary);
    xml.text("description", &[], &info.description);
    xml.text("packager", &[], text(&info.packager));
    xml.text("url", &[], text(&info.url));
    // The time of the file would be that of whoever copied it last.
    let time = info.build_time.to_string();
    xml.empty("time", &[("file", &time), ("build", &time)]);
    let [package, installed, archive] =
        [info.size, info.installed_size, info.archive_size].map(|n| n.to_string());
    xml.empty("size", &[("package", &package), ("installed", &installed), ("archive", &archive)]);
    xml.empty("location", &[("href", &path(label))]);
    push_format(&mut xml, info);
    xml.close("package");
    xml.finish()
}

fn push_format(xml: &mut Xml, info: &RpmInfo) {
    xml.open("format", &[]);
    xml.text("rpm:license", &[], text(&info.license));
    xml.text("rpm:vendor", &[], text(&info.vendor));
    xml.text("rpm:group", &[], text(&info.group));
    xml.text("rpm:buildhost", &[], text(&info.build_host));
    xml.text("rpm:sourcerpm", &[], text(&info.source_rpm));
    let [start, end] = [info.header.start, info.header.end].map(|n| n.to_string());
    xml.empty("rpm:header-range", &[("start", &start), ("end", &end)]);
    for (relation, element) in RELATIONS {
        let all = relations(info, relation);
        if !all.is_empty() {
            xml.open(element, &[]);
            all.into_iter().for_each(|one| push_dependency(xml, one));
            xml.close(element);
        }
    }
    info.files.iter().filter(|file| is_primary(&file.path)).for_each(|file| push_file(xml, file));
    xml.close("format");
}

fn push_dependency(xml: &mut Xml, one: &RpmDependency) {
    let mut attributes = vec![("name", one.name.as_str())];
    if let Some((comparison, version)) = &one.version {
        attributes.push(("flags", flags(*comparison)));
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (version, release) = rest.split_once('-').map_or((rest, None), |(v, r)| (v, Some(r)));
        attributes.extend([("epoch", epoch), ("ver", version)]);
        attributes.extend(release.map(|release| ("rel", release)));
    }
    if one.pre {
        attributes.push(("pre", "1"));
    }
    xml.empty("rpm:entry", &attributes);
}

fn flags(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Less => "LT",
        Comparison::LessOrEqual => "LE",
        Comparison::Equal => "EQ",
        Comparison::GreaterOrEqual => "GE",
        Comparison::Greater => "GT",
    }
}

fn entry_by_id(info: &RpmInfo, fill: impl FnOnce(&mut Xml)) -> String {
    let RpmInfo { sha256, name, architecture, .. } = info;
    let mut xml = Xml::new();
    xml.open("package", &[("pkgid", sha256), ("name", name), ("arch", architecture)]);
    push_version(&mut xml, info);
    fill(&mut xml);
    xml.close("package");
    xml.finish()
}

/// An absent epoch is 0 in an index.
fn push_version(xml: &mut Xml, info: &RpmInfo) {
    let RpmInfo { epoch, version, release, .. } = info;
    let epoch = epoch.unwrap_or(0).to_string();
    xml.empty("version", &[("epoch", &epoch), ("ver", version), ("rel", release)]);
}

fn push_file(xml: &mut Xml, file: &RpmFile) {
    let kind: &[(&str, &str)] = match file.kind {
        RpmFileKind::File => &[],
        RpmFileKind::Dir => &[("type", "dir")],
        RpmFileKind::Ghost => &[("type", "ghost")],
    };
    xml.text("file", kind, &file.path);
}

/// The newest changes, the oldest of them first, each with its time: of several of one day the
/// later ones are told a second later each, since clients order them by time alone.
fn changes(changelog: &[RpmChange]) -> Vec<(&RpmChange, u64)> {
    let mut told: Vec<(&RpmChange, u64)> = Vec::new();
    for change in changelog.iter().take(CHANGES).rev() {
        let time = match told.last() {
            Some((last, told)) if (last.time..=*told).contains(&change.time) => told + 1,
            _ => change.time,
        };
        told.push((change, time));
    }
    told
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}
