//! The s3 room: a part of a bucket, and the CDN before it, in the few requests that forge makes.
//!
//! Both the cache and the repositories of others go through it, so there is one place that knows
//! credentials, endpoints, conditions, and what a service answers when it is unwell.

mod body;
mod bucket;
mod client;
mod cloudfront;
mod download;
mod error;
#[cfg(test)]
pub(crate) mod fault_proxy;
mod location;
mod multipart;
mod probe;
mod runtime;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use body::Body;
pub use bucket::{Bucket, Condition, Etag, Found, Listed, Put, Traffic, Written};
pub use cloudfront::Distribution;
pub use download::Download;
pub use error::{S3Error, S3Fault};
pub use location::{Location, LocationError, Service};
pub use probe::Fitness;
pub use runtime::{Begun, begin, spawn, wait};
