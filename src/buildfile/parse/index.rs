//! Indices: what they gather, and what an index of each format says besides.

use super::super::reader::{Reader, Text};
use super::reference::{named, references};
use super::{constant, dimension, filter, names, over, second, single, target};
use crate::buildfile::{
    Alias, AptSettings, Body, Diagnostic, Dimension, Index, IndexFormat, Retention, RpmSettings, Span, Target,
};

const FORMATS: [&str; 2] = ["apt", "rpm"];
/// What an index of any format takes.
const COMMON: [&str; 6] = ["compression", "keep", "newest", "packages", "requires", "where"];
/// What belongs to apt alone.
const APT: [&str; 7] = ["alias", "component", "contents", "description", "label", "origin", "suite"];
const INDEX: [&str; 14] = [
    "alias",
    "component",
    "compression",
    "contents",
    "description",
    "keep",
    "label",
    "newest",
    "origin",
    "packages",
    "requires",
    "suite",
    "updateinfo",
    "where",
];
const APT_COMPRESSIONS: [&str; 3] = ["gz", "xz", "zst"];
const RPM_COMPRESSIONS: [&str; 3] = ["gz", "xz", "zstd"];

pub fn index(mut reader: Reader<'_>) -> Option<Target> {
    let name = names::name(&mut reader);
    let over = over(&mut reader);
    let format = format(&mut reader)?;
    let mut packages = Vec::new();
    let mut requires = Vec::new();
    let mut filters = Vec::new();
    let (mut kept, mut newest) = (None, None);
    let mut own = Vec::new();
    for child in reader.children(&INDEX) {
        match child.name() {
            "where" => filters.extend(filter(child)),
            "packages" => packages.extend(references(child, "names of packages")),
            "requires" => requires.extend(references(child, "names of tests")),
            "keep" if kept.is_some() => second(child),
            "keep" => kept = keep(child),
            "newest" if newest.is_some() => second(child),
            "newest" => newest = single(child, "a dimension such as \"otp.major\"").map(newest_of),
            _ => own.push(child),
        }
    }
    require(&reader, "packages", "an index gathers packages", "names none", "packages \"hello\"");
    let settings = match format {
        "rpm" => IndexFormat::Rpm(rpm(&reader, own)),
        _ => IndexFormat::Apt(apt(&reader, name.as_ref(), own)),
    };
    reader.finish();
    target(
        name?,
        over,
        filters,
        Body::Index(Box::new(Index { packages, requires, newest, keep: kept, format: settings })),
    )
}

/// `format="rpm"`; apt by default.
fn format(reader: &mut Reader<'_>) -> Option<&'static str> {
    let Some(text) = reader.property("format") else { return Some(FORMATS[0]) };
    let known = FORMATS.into_iter().find(|format| *format == text.value);
    if known.is_none() {
        let message = format!("there are no indices of format '{}'", text.value);
        reader.push(Diagnostic::error(&text.span, message, "unknown format").suggest(&text.value, FORMATS));
    }
    known
}

fn newest_of(text: Text) -> (Dimension, Span) {
    (dimension(&text.value), text.span)
}

/// The newest version of a name always stays, so that a publish of a part of the matrix empties
/// nothing.
fn keep(mut reader: Reader<'_>) -> Option<Retention> {
    let span = reader.span();
    let (versions, days) = (reader.number("versions"), reader.number("days"));
    let example = "keep versions=3 days=90";
    if versions == Some(0) {
        let message = "the newest version of a package always stays";
        let help = format!("write for example: {example}");
        reader.push(Diagnostic::error(&span, message, "expected versions=1 or more").help(help));
    } else if reader.node().entries.is_empty() {
        let help = format!("write for example: {example}; without keep everything stays");
        reader.push(Diagnostic::error(&span, "keep says what stays", "keeps what?").help(help));
    }
    reader.finish();
    Some(Retention { versions: versions.unwrap_or(1), days: days.unwrap_or(0) })
}

fn apt(reader: &Reader<'_>, name: Option<&Text>, children: Vec<Reader<'_>>) -> AptSettings {
    let own_name = || name.map_or_else(|| constant("", reader), Text::template);
    let mut apt = AptSettings {
        suite: constant("", reader),
        component: "main".to_owned(),
        origin: own_name(),
        label: own_name(),
        description: constant("", reader),
        compressions: vec!["xz".to_owned(), "gz".to_owned()],
        contents: true,
        aliases: Vec::new(),
    };
    for mut child in children {
        let text = |child| single(child, "a text").map(|text| text.template());
        match child.name() {
            "suite" => apt.suite = text(child).unwrap_or(apt.suite),
            "component" => apt.component = single(child, "a name").map_or(apt.component, |text| text.value),
            "origin" => apt.origin = text(child).unwrap_or(apt.origin),
            "label" => apt.label = text(child).unwrap_or(apt.label),
            "description" => apt.description = text(child).unwrap_or(apt.description),
            "compression" => apt.compressions = compressions(child),
            "contents" => {
                apt.contents = child.required_flag().unwrap_or(apt.contents);
                child.finish();
            }
            "alias" => apt.aliases.extend(alias(child)),
            "updateinfo" => belongs_to(&child, "rpm", "apt"),
            _ => child.unknown(&INDEX),
        }
    }
    require(reader, "suite", "an index needs a suite", "has none", "suite \"{distro.codename}\"");
    apt
}

fn rpm(reader: &Reader<'_>, children: Vec<Reader<'_>>) -> RpmSettings {
    let mut rpm = RpmSettings { compression: "zstd".to_owned(), updateinfo: None };
    for child in children {
        match child.name() {
            "compression" => {
                let text = single(child, "zstd, gz or xz");
                let text = text.inspect(|text| check_compression(reader, text, RPM_COMPRESSIONS));
                rpm.compression = text.map_or(rpm.compression, |text| text.value);
            }
            "updateinfo" => rpm.updateinfo = single(child, "a path").map(|text| text.template()),
            name if APT.contains(&name) => belongs_to(&child, "apt", "rpm"),
            _ => child.unknown(&[COMMON.as_slice(), &["updateinfo"]].concat()),
        }
    }
    rpm
}

/// A setting that an index of this format has no place for.
fn belongs_to(child: &Reader<'_>, owner: &str, format: &str) {
    let message =
        format!("'{}' belongs to an index of format {owner}, and this is one of {format}", child.name());
    child.push(Diagnostic::error(&child.span(), message, "not here").help("drop it"));
}

fn require(reader: &Reader<'_>, child: &str, needs: &str, label: &str, example: &str) {
    if !reader.node().has_child(child) {
        let help = format!("add for example: {example}");
        reader.push(Diagnostic::error(&reader.span(), needs, label).help(help));
    }
}

fn compressions(mut reader: Reader<'_>) -> Vec<String> {
    let texts = reader.arguments("xz, gz or zst");
    texts.iter().for_each(|text| check_compression(&reader, text, APT_COMPRESSIONS));
    reader.finish();
    texts.into_iter().map(|text| text.value).collect()
}

fn check_compression(reader: &Reader<'_>, text: &Text, known: [&'static str; 3]) {
    if !known.contains(&text.value.as_str()) {
        let message = format!("indices are not compressed by '{}'", text.value);
        reader.push(Diagnostic::error(&text.span, message, "unknown").suggest(&text.value, known));
    }
}

fn alias(mut reader: Reader<'_>) -> Option<Alias> {
    let name = reader.required("the alias");
    let of = reader.required_property("of");
    reader.finish();
    Some(Alias { name: name?.value, of: named(of?) })
}
