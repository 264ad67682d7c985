//! Upstreams, axes and rules.

use std::collections::BTreeMap;

use super::super::reader::{Reader, Text};
use super::single;
use crate::buildfile::{
    Axis, AxisValue, AxisValues, Condition, Diagnostic, ListedVersion, Origin, Predicate, Rule, Span,
    Upstream,
};

const UPSTREAM: [&str; 6] = ["apt-source", "archive", "git", "path", "strip", "version"];

pub fn upstream(mut reader: Reader<'_>) -> Option<Upstream> {
    let name = reader.required("a name");
    let mut origins = Vec::new();
    let mut listed = Vec::new();
    let mut archives = Vec::new();
    let mut strip = 1;
    for mut child in reader.children() {
        match child.name() {
            "git" => origins.extend(git(child)),
            "apt-source" => origins.extend(apt_source(child)),
            "path" => origins.extend(single(child, "a directory").map(|text| Origin::Path(text.template()))),
            "version" => listed.extend(listed_version(child)),
            "archive" => archives.extend(single(child, "a URL").map(|text| text.template())),
            "strip" => {
                strip = child.argument().and_then(|text| text.value.parse().ok()).unwrap_or(strip);
                child.finish();
            }
            _ => child.unknown(&UPSTREAM),
        }
    }
    if !listed.is_empty() {
        origins.push(Origin::List(listed));
    }
    let origin = one_origin(origins, &reader);
    let span = reader.span();
    reader.finish();
    Some(Upstream { name: name?.value, span, origin: origin?, archives, strip })
}

fn one_origin(mut origins: Vec<Origin>, reader: &Reader<'_>) -> Option<Origin> {
    if origins.len() == 1 {
        return origins.pop();
    }
    let message = format!("an upstream has one origin, and this one has {}", origins.len());
    let help = "say where versions come from: git, apt-source, path, or version nodes with sha256";
    reader.push(Diagnostic::error(&reader.span(), message, "which one?").help(help));
    None
}

fn git(mut reader: Reader<'_>) -> Option<Origin> {
    let url = reader.required("the repository's URL");
    let tag = reader.required_property("tag");
    if let Some(tag) = tag.as_ref().filter(|tag| !tag.value.contains("{version}")) {
        let label = "no {version} in it";
        reader.push(Diagnostic::error(&tag.span, "a tag's form says where the version stands", label));
    }
    reader.finish();
    Some(Origin::Git { url: url?.value, tag: tag?.value })
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
        reader.push(Diagnostic::error(&sha256.span, message, "this is not"));
    }
    reader.finish();
    Some(ListedVersion { version: version?.value, sha256: sha256?.value, date: date.unwrap_or(0) })
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub fn axis(mut reader: Reader<'_>) -> Option<Axis> {
    let name = reader.required("a name");
    let from = reader.property("from");
    let mut values = Vec::new();
    for child in reader.children() {
        match child.name() {
            "value" => values.extend(axis_value(child)),
            _ => child.unknown(&["value"]),
        }
    }
    let span = reader.span();
    let values = match from {
        Some(from) if values.is_empty() => AxisValues::Upstream(from.value),
        Some(from) => {
            let label = "drop this or the values";
            reader.push(Diagnostic::error(&from.span, "an axis has its values from one place", label));
            AxisValues::Given(values)
        }
        None => AxisValues::Given(values),
    };
    if values == AxisValues::Given(Vec::new()) {
        let help = "give it value nodes, or from=\"an upstream\"";
        reader.push(Diagnostic::error(&span, "an axis needs values", "has none").help(help));
    }
    reader.finish();
    Some(Axis { name: name?.value, span, values })
}

fn axis_value(mut reader: Reader<'_>) -> Option<AxisValue> {
    let name = reader.required("a name");
    let attributes: BTreeMap<_, _> =
        reader.properties().into_iter().map(|(name, text)| (name, text.value)).collect();
    let name = name?;
    reader.finish();
    Some(AxisValue { name: name.value, attributes, span: name.span })
}

pub fn rule(mut reader: Reader<'_>) -> Option<Rule> {
    let span = reader.span();
    let excludes = reader.name() == "exclude";
    let predicates = predicates(&mut reader);
    if predicates.is_empty() {
        let help = "write for example: exclude otp=\"<27\" distro=\"debian-14\"";
        let message = format!("'{}' needs conditions", reader.name());
        reader.push(Diagnostic::error(&span, message, "would hold everywhere").help(help));
    }
    reader.finish();
    Some(Rule { excludes, predicates, span })
}

pub fn choice(mut reader: Reader<'_>) -> Vec<(Predicate, Span)> {
    let properties = reader.properties();
    let choice = properties
        .into_iter()
        .filter_map(|(name, text)| Some((predicate(&name, &text, &reader)?, text.span)));
    let choice = choice.collect();
    reader.finish();
    choice
}

pub fn predicates(reader: &mut Reader<'_>) -> Vec<Predicate> {
    let properties = reader.properties();
    properties.iter().filter_map(|(name, text)| predicate(name, text, reader)).collect()
}

fn predicate(name: &str, text: &Text, reader: &Reader<'_>) -> Option<Predicate> {
    match Condition::parse(&text.value) {
        Ok(condition) => Some(Predicate::new(name, condition)),
        Err(error) => {
            reader.push(Diagnostic::error(&text.span, error.to_string(), "not a condition"));
            None
        }
    }
}
