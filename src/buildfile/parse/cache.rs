//! The shared cache.

use std::time::Duration;

use super::super::reader::Reader;
use super::{bucket, second};
use crate::buildfile::{Cache, Diagnostic};
use crate::s3::Service;

const CACHE: [&str; 2] = ["expires", "s3"];

/// `cache "s3://bucket/prefix" write=#false { s3 endpoint="…"; expires days=30 }`
pub fn cache(mut reader: Reader<'_>) -> Option<Cache> {
    let span = reader.span();
    let text = reader.required("a place in a bucket");
    let read = reader.optional_flag("read").unwrap_or(true);
    let write = reader.optional_flag("write").unwrap_or(true);
    let (mut service, mut expires) = (None, None);
    for mut child in reader.children(&CACHE) {
        match child.name() {
            "s3" if service.is_some() => second(child),
            "s3" => service = Some(bucket::service(child)),
            "expires" if expires.is_some() => second(child),
            "expires" => {
                let days =
                    child.required_property("days").and_then(|text| child.parsed::<u32>(&text, "days"));
                if days == Some(0) {
                    let message = "what expires at once is no cache";
                    child.push(Diagnostic::error(&child.span(), message, "expected one day or more"));
                }
                expires = days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
                child.finish();
            }
            _ => child.unknown(&CACHE),
        }
    }
    let service = service.unwrap_or_else(Service::default);
    let location = text.and_then(|text| bucket::location(&reader, &text, service));
    reader.finish();
    Some(Cache { location: location?, read, write, expires, span })
}
