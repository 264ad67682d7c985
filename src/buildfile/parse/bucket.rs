//! A place in a bucket: `"s3://bucket/prefix"`, and inside the node that names it
//! `s3 endpoint="…" region="…" path-style=#true ca="…"` where the service is not Amazon's.

use super::super::reader::{Reader, Text};
use crate::buildfile::Diagnostic;
use crate::s3::{Distribution, Location, Service};

/// Whether a text means to be such a place.
pub fn is_bucket(text: &str) -> bool {
    text.starts_with(Location::SCHEME)
}

/// What a node `s3` says.
pub fn service(mut reader: Reader<'_>) -> Service {
    let text = |text: Option<Text>| text.map(|text| text.value);
    let service = Service {
        endpoint: text(reader.property("endpoint")),
        region: text(reader.property("region")),
        path_style: reader.flag("path-style"),
        ca: text(reader.property("ca")).map(Into::into),
    };
    reader.finish();
    service
}

/// What a node `cloudfront` says. What is no ID is reported.
pub fn distribution(mut reader: Reader<'_>) -> Option<Distribution> {
    let id = reader.required("the ID of a distribution");
    let distribution = id.as_ref().and_then(|id| Distribution::parse(&id.value));
    if let (Some(id), None) = (&id, &distribution) {
        let message = format!("'{}' is no ID of a CloudFront distribution", id.value);
        let help = "`aws cloudfront list-distributions` tells it; it is not the distribution's domain name";
        let label = "expected one such as \"E2QWRUHEXAMPLE\"";
        reader.push(Diagnostic::error(&id.span, message, label).help(help));
    }
    reader.finish();
    distribution
}

/// The place that `text` names. What is none is reported.
pub fn location(reader: &Reader<'_>, text: &Text, service: Service) -> Option<Location> {
    let location = Location::parse(&text.value, service);
    let report = |error: &crate::s3::LocationError| {
        let message = format!("'{}' is no place in a bucket", error.text);
        let help = "write for example: \"s3://bucket/prefix\"";
        reader.push(Diagnostic::error(&text.span, message, error.reason).help(help));
    };
    location.inspect_err(report).ok()
}
