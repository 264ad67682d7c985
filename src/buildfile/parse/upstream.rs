//! Upstreams: where versions come from, and which of them are taken.

use std::path::PathBuf;

use super::super::reader::{Reader, Text};
use super::{names, second, single};
use crate::buildfile::{
    ArchiveSignature, Condition, Diagnostic, Keep, ListedVersion, NamedVersion, Origin, TagForm, Upstream,
    VersionPolicy,
};

const UPSTREAM: [&str; 13] = [
    "apt-source",
    "archive",
    "checksums",
    "git",
    "hold",
    "keep",
    "path",
    "pin",
    "pre-releases",
    "signature",
    "strip",
    "version",
    "versions",
];

pub fn upstream(mut reader: Reader<'_>) -> Option<Upstream> {
    let name = names::name(&mut reader);
    let mut origins = Vec::new();
    let mut listed = Vec::new();
    let mut archives = Vec::new();
    let mut strip = 1;
    let (mut checksums, mut signature) = (None, None);
    let children = reader.children(&UPSTREAM);
    // Who lists a pre-release means it.
    let is_listed = children.iter().any(|child| child.name() == "version");
    let mut policy = VersionPolicy { pre_releases: is_listed, ..VersionPolicy::default() };
    report_useless(&children);
    for mut child in children {
        match child.name() {
            "git" => origins.extend(git(child)),
            "apt-source" => origins.extend(apt_source(child)),
            "path" => origins.extend(single(child, "a directory").map(|text| Origin::Path(text.template()))),
            "version" => listed.extend(listed_version(child)),
            "archive" => archives.extend(single(child, "a URL").map(|text| text.template())),
            "strip" => {
                let text = child.required("a number of leading path components");
                strip = text.and_then(|text| child.parsed(&text, "strip")).unwrap_or(strip);
                child.finish();
            }
            "checksums" if checksums.is_some() => second(child),
            "checksums" => checksums = single(child, "a URL").map(|text| text.template()),
            "signature" if signature.is_some() => second(child),
            "signature" => signature = archive_signature(child),
            "keep" if policy.keep.is_some() => second(child),
            "keep" => policy.keep = keep(child),
            "versions" => policy.ranges.extend(ranges(child)),
            "pre-releases" => {
                policy.pre_releases = child.required_flag().unwrap_or(policy.pre_releases);
                child.finish();
            }
            "pin" => policy.pins.extend(named_version(child)),
            "hold" => policy.holds.extend(named_version(child)),
            _ => child.unknown(&UPSTREAM),
        }
    }
    if !listed.is_empty() {
        origins.push(Origin::List(listed));
    }
    let origin = one_origin(origins, &reader);
    report_pinned_and_held(&policy, &reader);
    reader.finish();
    let (name, origin) = (name?, origin?);
    Some(Upstream {
        name: name.value,
        span: name.span,
        origin,
        archives,
        strip,
        checksums,
        signature,
        policy,
    })
}

fn one_origin(mut origins: Vec<Origin>, reader: &Reader<'_>) -> Option<Origin> {
    if origins.len() == 1 {
        return origins.pop();
    }
    let (message, label) = match origins.len() {
        0 => ("an upstream needs an origin", "nothing says where its versions come from"),
        _ => ("an upstream has one origin", "this one has several"),
    };
    let help = "write one of: git, apt-source, path, or version nodes with sha256";
    reader.push(Diagnostic::error(&reader.span(), message, label).help(help));
    None
}

/// What is checked is an archive that git tags lead to: apt's indices are signed, and a digest that is
/// given is checked in any case. A directory has one version.
fn report_useless(children: &[Reader<'_>]) {
    let has = |name: &str| children.iter().any(|child| child.name() == name);
    for child in children {
        let fault = match child.name() {
            "checksums" | "signature" if !(has("git") && has("archive")) => Some((
                format!("'{}' is of the archives of a git upstream", child.name()),
                "add git and archive nodes, or drop this",
            )),
            "keep" | "versions" | "pre-releases" | "pin" | "hold" if has("path") => Some((
                format!("'{}' has no meaning for a directory, which is one version", child.name()),
                "drop it",
            )),
            _ => None,
        };
        if let Some((message, help)) = fault {
            child.push(Diagnostic::error(&child.span(), message, "nothing to apply it to").help(help));
        }
    }
}

fn git(mut reader: Reader<'_>) -> Option<Origin> {
    let url = reader.required("the repository's URL");
    let tag = reader.required_property("tag");
    let form = tag.as_ref().and_then(|tag| TagForm::parse(&tag.value));
    if let (Some(tag), None) = (&tag, &form) {
        let help = "write for example tag=\"v{version}\"";
        let message = "a tag's form says once where the version stands";
        let label = if tag.value.contains("{version}") { "says it twice" } else { "no {version} in it" };
        reader.push(Diagnostic::error(&tag.span, message, label).help(help));
    }
    reader.finish();
    // A faulty form was told; that there is an origin is true all the same.
    let form = form.unwrap_or(TagForm { before: tag?.value, after: String::new() });
    Some(Origin::Git { url: url?.value, tag: form })
}

fn apt_source(mut reader: Reader<'_>) -> Option<Origin> {
    let package = reader.required("a source package");
    let suites = reader.required_property("suites");
    reader.finish();
    let suites = suites?.value.split_whitespace().map(str::to_owned).collect();
    Some(Origin::AptSource { package: package?.value, suites })
}

fn listed_version(mut reader: Reader<'_>) -> Option<ListedVersion> {
    let version = reader.required("a version");
    let sha256 = reader.required_property("sha256");
    let date = reader.number("date");
    if let Some(sha256) = sha256.as_ref().filter(|text| !is_sha256(&text.value)) {
        let message = "a SHA-256 is 64 hexadecimal digits";
        let help = "`sha256sum` of the archive prints it";
        reader.push(Diagnostic::error(&sha256.span, message, "this is not").help(help));
    }
    reader.finish();
    Some(ListedVersion { version: version?.value, sha256: sha256?.value, date: date.unwrap_or(0) })
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn archive_signature(mut reader: Reader<'_>) -> Option<ArchiveSignature> {
    let url = reader.required("a URL");
    let key_file = reader.required_property("key-file");
    reader.finish();
    Some(ArchiveSignature { url: url?.template(), key_file: PathBuf::from(key_file?.value) })
}

/// `keep majors=4` or `keep newest=2`.
fn keep(mut reader: Reader<'_>) -> Option<Keep> {
    let majors = reader.property("majors");
    let newest = reader.property("newest");
    let kept = match (&majors, &newest) {
        (Some(count), None) => counted(count, "majors", &reader).map(Keep::Majors),
        (None, Some(count)) => counted(count, "newest", &reader).map(Keep::Newest),
        (both, _) => {
            let label = if both.is_some() { "says both" } else { "says neither" };
            let message = "'keep' says how many majors, or how many of the newest versions";
            let help = "write keep majors=4 or keep newest=2";
            reader.push(Diagnostic::error(&reader.span(), message, label).help(help));
            None
        }
    };
    reader.finish();
    kept
}

fn counted(text: &Text, what: &str, reader: &Reader<'_>) -> Option<usize> {
    let count = reader.parsed(text, what)?;
    if count == 0 {
        let message = format!("'{what}' is at least 1");
        reader.push(Diagnostic::error(&text.span, message, "would keep nothing"));
    }
    (count > 0).then_some(count)
}

fn ranges(mut reader: Reader<'_>) -> Vec<Condition> {
    let texts = reader.arguments("a condition such as \">=25\"");
    let mut ranges = Vec::new();
    for text in texts {
        match Condition::parse(&text.value) {
            Ok(condition) => ranges.push(condition),
            Err(error) => {
                reader.push(Diagnostic::error(&text.span, error.to_string(), "not a condition"));
            }
        }
    }
    reader.finish();
    ranges
}

fn named_version(mut reader: Reader<'_>) -> Option<NamedVersion> {
    let version = reader.required("a version");
    let reason = reader.required_property("reason");
    reader.finish();
    let version = version?;
    Some(NamedVersion { version: version.value, reason: reason?.value, span: version.span })
}

fn report_pinned_and_held(policy: &VersionPolicy, reader: &Reader<'_>) {
    for pin in &policy.pins {
        if let Some(hold) = policy.held(&pin.version) {
            let message = format!("version {} is pinned and held", pin.version);
            let diagnostic = Diagnostic::error(&pin.span, message, "pinned here").help("drop one of them");
            reader.push(diagnostic.also(&hold.span, "held here"));
        }
    }
}
