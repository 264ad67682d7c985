//! The three lists of a repository: `primary` is what solvers read, `filelists` all that packages
//! install, `other` their changelogs. The form is that of createrepo_c.

use rayon::prelude::*;

use super::dependencies::{is_primary, relations};
use super::package::Checked;
use super::xml::{Xml, document, forbidden};
use crate::index::IndexError;
use crate::package::{Comparison, RpmChange, RpmDependency, RpmFile, RpmFileKind, RpmInfo, RpmRelation};

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

/// `primary.xml`; `out` leads from the metadata's own place to the repository's root.
pub(super) fn primary(packages: &[Checked<'_>], out: &str) -> Result<String, IndexError> {
    let namespaces = [
        ("xmlns", "http://linux.duke.edu/metadata/common"),
        ("xmlns:rpm", "http://linux.duke.edu/metadata/rpm"),
    ];
    list("metadata", &namespaces, packages, |one| primary_entry(one, out))
}

/// `filelists.xml`.
pub(super) fn filelists(packages: &[Checked<'_>]) -> Result<String, IndexError> {
    let namespaces = [("xmlns", "http://linux.duke.edu/metadata/filelists")];
    list("filelists", &namespaces, packages, |one| {
        entry_by_id(one, |xml| one.info.files.iter().for_each(|file| push_file(xml, file)))
    })
}

/// `other.xml`.
pub(super) fn other(packages: &[Checked<'_>]) -> Result<String, IndexError> {
    let namespaces = [("xmlns", "http://linux.duke.edu/metadata/other")];
    list("otherdata", &namespaces, packages, |one| {
        entry_by_id(one, |xml| {
            for (change, time) in changes(&one.info.changelog) {
                let time = time.to_string();
                let attributes = [("author", change.author.trim_end_matches(' ')), ("date", &time)];
                xml.text("changelog", &attributes, &change.text);
            }
        })
    })
}

fn list(
    root: &str,
    namespaces: &[(&str, &str)],
    packages: &[Checked<'_>],
    entry: impl Fn(&Checked<'_>) -> String + Sync,
) -> Result<String, IndexError> {
    let count = packages.len().to_string();
    let attributes: Vec<_> = namespaces.iter().copied().chain([("packages", count.as_str())]).collect();
    let checked = |one: &Checked<'_>| {
        let text = entry(one);
        match forbidden(&text) {
            None => Ok(text),
            Some(character) => Err(IndexError::NotXml { origin: one.origin.to_owned(), character }),
        }
    };
    let entries = packages.par_iter().map(checked).collect::<Result<Vec<_>, _>>()?;
    Ok(document(root, &attributes, &entries))
}

fn primary_entry(one: &Checked<'_>, out: &str) -> String {
    let info = one.info;
    let mut xml = Xml::new();
    xml.open("package", &[("type", "rpm")]);
    xml.text("name", &[], &info.name);
    xml.text("arch", &[], &info.architecture);
    push_version(&mut xml, one);
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
    xml.empty("location", &[("href", &format!("{out}{}", one.path()))]);
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

fn entry_by_id(one: &Checked<'_>, fill: impl FnOnce(&mut Xml)) -> String {
    let RpmInfo { sha256, name, architecture, .. } = one.info;
    let mut xml = Xml::new();
    xml.open("package", &[("pkgid", sha256), ("name", name), ("arch", architecture)]);
    push_version(&mut xml, one);
    fill(&mut xml);
    xml.close("package");
    xml.finish()
}

fn push_version(xml: &mut Xml, one: &Checked<'_>) {
    let RpmInfo { version, release, .. } = one.info;
    xml.empty("version", &[("epoch", &one.epoch()), ("ver", version), ("rel", release)]);
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
