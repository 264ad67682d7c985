//! Indices and publishing.

use std::path::PathBuf;

use super::super::reader::Reader;
use super::super::reader::Text;
use super::reference::{reference, references};
use super::{constant, filter, names, over, single, target};
use crate::buildfile::{Body, Diagnostic, Index, KeySource, Publish, Reference, Target, Template};

const INDEX: [&str; 11] = [
    "alias",
    "component",
    "compression",
    "contents",
    "description",
    "label",
    "origin",
    "packages",
    "requires",
    "suite",
    "where",
];
const PUBLISH: [&str; 4] = ["index", "requires", "retention", "sign"];
const COMPRESSIONS: [&str; 3] = ["gz", "xz", "zst"];

pub fn index(mut reader: Reader<'_>) -> Option<Target> {
    let name = names::name(&mut reader);
    let over = over(&mut reader);
    let span = reader.span();
    let own_name = || name.as_ref().map_or(constant("", &reader), Text::template);
    let (origin, label) = (own_name(), own_name());
    let mut filters = Vec::new();
    let mut index = Index {
        packages: Vec::new(),
        suite: constant("", &reader),
        component: "main".to_owned(),
        origin,
        label,
        description: constant("", &reader),
        compressions: vec!["xz".to_owned(), "gz".to_owned()],
        contents: true,
        aliases: Vec::new(),
        requires: Vec::new(),
    };
    for mut child in reader.children(&INDEX) {
        let text = |child| single(child, "a text").map(|text| text.template());
        match child.name() {
            "where" => filters.extend(filter(child)),
            "packages" => index.packages.extend(references(child, "names of packages")),
            "requires" => index.requires.extend(references(child, "names of tests")),
            "suite" => index.suite = text(child).unwrap_or(index.suite),
            "component" => {
                index.component = single(child, "a name").map_or(index.component, |text| text.value)
            }
            "origin" => index.origin = text(child).unwrap_or(index.origin),
            "label" => index.label = text(child).unwrap_or(index.label),
            "description" => index.description = text(child).unwrap_or(index.description),
            "compression" => index.compressions = compressions(child),
            "contents" => {
                index.contents = child.required_flag().unwrap_or(index.contents);
                child.finish();
            }
            "alias" => index.aliases.extend(alias(child)),
            _ => child.unknown(&INDEX),
        }
    }
    let has = |name: &str| reader.node().iter_children().any(|child| child.name().value() == name);
    if !has("packages") {
        let help = "add for example: packages \"hello\"";
        reader.push(Diagnostic::error(&span, "an index gathers packages", "names none").help(help));
    }
    if !has("suite") {
        let help = "add for example: suite \"{distro.codename}\"";
        reader.push(Diagnostic::error(&span, "an index needs a suite", "has none").help(help));
    }
    reader.finish();
    target(name?, over, filters, Body::Index(Box::new(index)))
}

fn compressions(mut reader: Reader<'_>) -> Vec<String> {
    let texts = reader.arguments("xz, gz or zst");
    for text in texts.iter().filter(|text| !COMPRESSIONS.contains(&text.value.as_str())) {
        let message = format!("indices are not compressed by '{}'", text.value);
        reader.push(Diagnostic::error(&text.span, message, "unknown").suggest(&text.value, COMPRESSIONS));
    }
    reader.finish();
    texts.into_iter().map(|text| text.value).collect()
}

fn alias(mut reader: Reader<'_>) -> Option<(String, String)> {
    let name = reader.required("the alias");
    let of = reader.required_property("of");
    reader.finish();
    Some((name?.value, of?.value))
}

pub fn publish(mut reader: Reader<'_>) -> Option<Target> {
    let name = names::name(&mut reader);
    let over = over(&mut reader);
    let to = reader.required_property("to");
    let span = reader.span();
    let mut publish = Publish {
        to: to.map(|to| PathBuf::from(to.value)).unwrap_or_default(),
        repositories: Vec::new(),
        keys: Vec::new(),
        requires: Vec::new(),
        retention_days: 30,
    };
    for mut child in reader.children(&PUBLISH) {
        match child.name() {
            "index" => publish.repositories.extend(repository(child)),
            "sign" => publish.keys.extend(key(child)),
            "requires" => publish.requires.extend(references(child, "names of tests")),
            "retention" => {
                publish.retention_days = child.number("days").unwrap_or(publish.retention_days);
                child.finish();
            }
            _ => child.unknown(&PUBLISH),
        }
    }
    let has = |name: &str| reader.node().iter_children().any(|child| child.name().value() == name);
    if !has("index") {
        let help = "add for example: index \"apt\" at=\"apt/{otp.major}\"";
        reader.push(Diagnostic::error(&span, "a publish node publishes indices", "names none").help(help));
    }
    if !has("sign") {
        let help = "add for example: sign key-file=\"keys/archive.asc\"; `forge key new` makes one";
        reader.push(Diagnostic::error(&span, "a repository is signed", "has no sign node").help(help));
    }
    reader.finish();
    target(name?, over, Vec::new(), Body::Publish(Box::new(publish)))
}

fn repository(mut reader: Reader<'_>) -> Option<(Reference, Template)> {
    let index = reader.required("the name of an index").map(|text| reference(&text, &reader));
    let at = reader.template("at").unwrap_or_else(|| constant("", &reader));
    reader.finish();
    Some((index?, at))
}

fn key(mut reader: Reader<'_>) -> Option<KeySource> {
    let file = reader.property("key-file");
    let env = reader.property("key-env");
    let key = match (file, env) {
        (Some(file), None) => Some(KeySource::File(PathBuf::from(file.value))),
        (None, Some(env)) => Some(KeySource::Env(env.value)),
        (file, env) => {
            let help = "key-file=\"path\" names a file, key-env=\"NAME\" an environment variable";
            let message = "a key comes from one place";
            let span = env.map_or(reader.span(), |env| env.span);
            let label = if file.is_some() { "and from key-file" } else { "from which?" };
            reader.push(Diagnostic::error(&span, message, label).help(help));
            None
        }
    };
    reader.finish();
    key
}
