//! Upstreams, axes and rules.

use std::collections::BTreeMap;

use super::super::reader::{Reader, Text};
use super::{names, single};
use crate::buildfile::{
    Axis, AxisValue, AxisValues, Condition, Diagnostic, ListedVersion, Origin, Predicate, Rule, RuleKind,
    Span, Upstream,
};

const UPSTREAM: [&str; 6] = ["apt-source", "archive", "git", "path", "strip", "version"];

pub fn upstream(mut reader: Reader<'_>) -> Option<Upstream> {
    let name = names::name(&mut reader);
    let mut origins = Vec::new();
    let mut listed = Vec::new();
    let mut archives = Vec::new();
    let mut strip = 1;
    for mut child in reader.children(&UPSTREAM) {
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
            _ => child.unknown(&UPSTREAM),
        }
    }
    if !listed.is_empty() {
        origins.push(Origin::List(listed));
    }
    let origin = one_origin(origins, &reader);
    reader.finish();
    let name = name?;
    Some(Upstream { name: name.value, span: name.span, origin: origin?, archives, strip })
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

fn git(mut reader: Reader<'_>) -> Option<Origin> {
    let url = reader.required("the repository's URL");
    let tag = reader.required_property("tag");
    if let Some(tag) = tag.as_ref().filter(|tag| !tag.value.contains("{version}")) {
        let help = "write for example tag=\"v{version}\"";
        let message = "a tag's form says where the version stands";
        reader.push(Diagnostic::error(&tag.span, message, "no {version} in it").help(help));
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
        let help = "`sha256sum` of the archive prints it";
        reader.push(Diagnostic::error(&sha256.span, message, "this is not").help(help));
    }
    reader.finish();
    Some(ListedVersion { version: version?.value, sha256: sha256?.value, date: date.unwrap_or(0) })
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub fn axis(mut reader: Reader<'_>) -> Option<Axis> {
    let name = names::axis_name(&mut reader);
    let from = reader.property("from");
    let mut values = Vec::new();
    for child in reader.children(&["value"]) {
        match child.name() {
            "value" => values.extend(axis_value(child)),
            _ => child.unknown(&["value"]),
        }
    }
    let values_span = from.as_ref().map_or(reader.span(), |from| from.span.clone());
    let values = match from {
        Some(from) if values.is_empty() => AxisValues::Upstream(from.value),
        Some(from) => {
            let message = "an axis has its values from one place";
            let help = "drop from=\"…\" or the value nodes";
            reader.push(Diagnostic::error(&from.span, message, "and there are value nodes").help(help));
            AxisValues::Given(values)
        }
        None => AxisValues::Given(values),
    };
    // A value that is there and faulty was told.
    if values == AxisValues::Given(Vec::new())
        && reader.node().children().is_none_or(|c| c.nodes().is_empty())
    {
        let help = "give it value nodes, or from=\"an upstream\"";
        reader.push(Diagnostic::error(&reader.span(), "an axis needs values", "has none").help(help));
    }
    reader.finish();
    let name = name?;
    Some(Axis { name: name.value, span: name.span, values, values_span })
}

fn axis_value(mut reader: Reader<'_>) -> Option<AxisValue> {
    let name = names::value_name(&mut reader);
    let mut attributes = BTreeMap::new();
    for (attribute, text, _) in reader.properties() {
        names::check_attribute(&attribute, &reader);
        if attributes.insert(attribute.value.clone(), text.value).is_some() {
            let message = format!("attribute '{}' is given twice", attribute.value);
            let help = "drop one of them";
            reader.push(Diagnostic::error(&attribute.span, message, "the second").help(help));
        }
    }
    reader.finish();
    let name = name?;
    Some(AxisValue { name: name.value, attributes, span: name.span })
}

pub fn rule(mut reader: Reader<'_>, kind: RuleKind) -> Option<Rule> {
    let span = reader.span();
    let predicates = predicates(&mut reader);
    if predicates.is_empty() && reader.node().entries().is_empty() {
        let help = format!("write for example: {} arch=\"arm64\" distro=\"debian-14\"", reader.name());
        let message = format!("'{}' needs conditions", reader.name());
        reader.push(Diagnostic::error(&span, message, "would hold everywhere").help(help));
    }
    reader.finish();
    Some(Rule { kind, predicates, span })
}

pub fn choice(mut reader: Reader<'_>) -> Vec<(Predicate, Span)> {
    let choice = predicates(&mut reader);
    reader.finish();
    choice.into_iter().filter_map(|predicate| Some((predicate.clone(), predicate.span?))).collect()
}

pub fn predicates(reader: &mut Reader<'_>) -> Vec<Predicate> {
    let properties = reader.properties();
    properties.iter().filter_map(|(name, text, whole)| predicate(name, text, whole, reader)).collect()
}

fn predicate(name: &Text, text: &Text, whole: &Span, reader: &Reader<'_>) -> Option<Predicate> {
    match Condition::parse(&text.value) {
        Ok(condition) => Some(Predicate::new(&name.value, condition).at(whole.clone())),
        Err(error) => {
            reader.push(Diagnostic::error(&text.span, error.to_string(), "not a condition"));
            None
        }
    }
}
