//! Publishing.

use std::path::PathBuf;

use super::super::reader::{Reader, Text};
use super::reference::{reference, references};
use super::{bucket, constant, names, over, target};
use crate::buildfile::{Body, Diagnostic, Publish, Reference, Site, Span, Target, Template};
use crate::s3::{Distribution, Service};

const PUBLISH: [&str; 7] = ["cloudfront", "index", "requires", "retention", "s3", "sign", "url"];

pub fn publish(mut reader: Reader<'_>) -> Option<Target> {
    let name = names::name(&mut reader);
    let over = over(&mut reader);
    let to = reader.required_property("to");
    let span = reader.span();
    let (mut service, mut distribution) = (None, None);
    let mut publish = Publish {
        to: Site::Directory(PathBuf::new()),
        repositories: Vec::new(),
        keys: Vec::new(),
        requires: Vec::new(),
        retention_days: 30,
        url: None,
    };
    for mut child in reader.children(&PUBLISH) {
        match child.name() {
            "cloudfront" => distribution = Some((child.span(), bucket::distribution(child))),
            "index" => publish.repositories.extend(repository(child)),
            "sign" => publish.keys.extend(references(child, "the name of a key")),
            "requires" => publish.requires.extend(references(child, "names of tests")),
            "retention" => {
                publish.retention_days = child.number("days").unwrap_or(publish.retention_days);
                child.finish();
            }
            "s3" => service = Some((child.span(), bucket::service(child))),
            "url" => publish.url = url(child).or(publish.url),
            _ => child.unknown(&PUBLISH),
        }
    }
    publish.to = to.and_then(|to| site(&reader, to, service, distribution)).unwrap_or(publish.to);
    let has = |name: &str| reader.node().has_child(name);
    if !has("index") {
        let help = "add for example: index \"apt\" at=\"apt/{otp.major}\"";
        reader.push(Diagnostic::error(&span, "a publish node publishes indices", "names none").help(help));
    }
    if !has("sign") {
        let help = "add for example: sign \"archive\"; a key node of that name says where the key is";
        reader.push(Diagnostic::error(&span, "a repository is signed", "has no sign node").help(help));
    }
    reader.finish();
    target(name?, over, Vec::new(), Body::Publish(Box::new(publish)))
}

/// Where repositories go: a directory, or a place in a bucket.
fn site(
    reader: &Reader<'_>,
    to: Text,
    service: Option<(Span, Service)>,
    distribution: Option<(Span, Option<Distribution>)>,
) -> Option<Site> {
    if bucket::is_bucket(&to.value) {
        let service = service.map(|(_, service)| service).unwrap_or_default();
        let distribution = distribution.and_then(|(_, distribution)| distribution);
        let location = bucket::location(reader, &to, service)?;
        return Some(Site::Bucket { location, distribution });
    }
    let service = service.map(|(span, _)| (span, "a service is named, and repositories go to a directory"));
    let distribution =
        distribution.map(|(span, _)| (span, "a distribution is named, and repositories go to a directory"));
    for (span, message) in service.into_iter().chain(distribution) {
        let help = "write for example: to=\"s3://bucket/prefix\", or drop the node";
        reader.push(Diagnostic::error(&span, message, "which has no use here").help(help));
    }
    Some(Site::Directory(PathBuf::from(to.value)))
}

/// Where clients find the site, without a slash at the end.
fn url(mut reader: Reader<'_>) -> Option<String> {
    let text = reader.required("where clients find it");
    let is_url = |text: &Text| {
        let mut rest =
            ["https://", "http://", "file://"].iter().filter_map(|scheme| text.value.strip_prefix(scheme));
        rest.next().is_some_and(|rest| !rest.is_empty())
            && !text.value.contains(|c: char| c.is_whitespace() || c.is_control() || "?#".contains(c))
    };
    if let Some(text) = text.as_ref().filter(|text| !is_url(text)) {
        let message = format!("'{}' is no URL below which clients find repositories", text.value);
        let label = "expected a URL such as \"https://packages.example.org\"";
        reader.push(Diagnostic::error(&text.span, message, label));
    }
    reader.finish();
    text.map(|text| text.value.trim_end_matches('/').to_owned())
}

fn repository(mut reader: Reader<'_>) -> Option<(Reference, Template)> {
    let index = reader.required("the name of an index").map(|text| reference(&text, &reader));
    let at = reader.template("at").unwrap_or_else(|| constant("", &reader));
    reader.finish();
    Some((index?, at))
}
