//! Indices and publishing.

use std::path::PathBuf;

use super::super::reader::Reader;
use super::{constant, filter, over, reference, references, single};
use crate::buildfile::{Body, Diagnostic, Index, KeySource, Publish, Reference, Target, Template};

const INDEX: [&str; 10] = [
    "alias",
    "component",
    "compression",
    "contents",
    "description",
    "label",
    "origin",
    "packages",
    "suite",
    "where",
];
const PUBLISH: [&str; 4] = ["index", "requires", "retention", "sign"];
const COMPRESSIONS: [&str; 3] = ["gz", "xz", "zst"];

pub fn index(mut reader: Reader<'_>) -> Option<Target> {
    let name = reader.required("a name")?;
    let over = over(&mut reader);
    let span = reader.span();
    let mut filters = Vec::new();
    let mut index = Index {
        packages: Vec::new(),
        suite: constant("", &reader),
        component: "main".to_owned(),
        origin: name.template(),
        label: name.template(),
        description: constant("", &reader),
        compressions: vec!["xz".to_owned(), "gz".to_owned()],
        contents: true,
        aliases: Vec::new(),
    };
    for child in reader.children() {
        let text = |child| single(child, "a text").map(|text| text.template());
        match child.name() {
            "where" => filters.extend(filter(child)),
            "packages" => index.packages.extend(references(child, "names of packages")),
            "suite" => index.suite = text(child).unwrap_or(index.suite),
            "component" => {
                index.component = single(child, "a name").map_or(index.component, |text| text.value)
            }
            "origin" => index.origin = text(child).unwrap_or(index.origin),
            "label" => index.label = text(child).unwrap_or(index.label),
            "description" => index.description = text(child).unwrap_or(index.description),
            "compression" => index.compressions = compressions(child),
            "contents" => {
                index.contents = single(child, "#true or #false").is_none_or(|text| text.value != "#false")
            }
            "alias" => index.aliases.extend(alias(child)),
            _ => child.unknown(&INDEX),
        }
    }
    if index.packages.is_empty() {
        reader.push(Diagnostic::error(&span, "an index gathers packages", "names none: add a packages node"));
    }
    if index.suite.parts.is_empty() {
        reader.push(Diagnostic::error(&span, "an index needs a suite", "add a suite node"));
    }
    reader.finish();
    Some(Target { name: name.value, span, over, filter: filters, body: Body::Index(Box::new(index)) })
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
    let name = reader.required("a name")?;
    let over = over(&mut reader);
    let to = reader.required_property("to");
    let span = reader.span();
    let mut publish = Publish {
        to: PathBuf::from(to?.value),
        repositories: Vec::new(),
        keys: Vec::new(),
        requires: Vec::new(),
        retention_days: 30,
    };
    for mut child in reader.children() {
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
    if publish.repositories.is_empty() {
        reader.push(Diagnostic::error(&span, "nothing to publish", "add an index node"));
    }
    if publish.keys.is_empty() {
        let help = "add for example: sign key-file=\"keys/archive.asc\"; `forge key new` makes one";
        reader.push(Diagnostic::error(&span, "a repository is signed", "add a sign node").help(help));
    }
    reader.finish();
    Some(Target { name: name.value, span, over, filter: Vec::new(), body: Body::Publish(Box::new(publish)) })
}

fn repository(mut reader: Reader<'_>) -> Option<(Reference, Template)> {
    let index = reader.required("the name of an index");
    let at = reader.template("at").unwrap_or_else(|| constant("", &reader));
    reader.finish();
    Some((reference(index?), at))
}

fn key(mut reader: Reader<'_>) -> Option<KeySource> {
    let file = reader.property("key-file");
    let env = reader.property("key-env");
    let key = match (file, env) {
        (Some(file), None) => Some(KeySource::File(PathBuf::from(file.value))),
        (None, Some(env)) => Some(KeySource::Env(env.value)),
        _ => {
            let label = "key-file or key-env?";
            reader.push(Diagnostic::error(&reader.span(), "a key comes from one place", label));
            None
        }
    };
    reader.finish();
    key
}
