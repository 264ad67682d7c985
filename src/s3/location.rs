use std::fmt;
use std::path::PathBuf;

/// A part of a bucket, and the service that has it. Written `s3://bucket/prefix`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The bucket's name.
    pub bucket: String,
    /// What all keys begin with, without slashes at its ends; empty for the whole bucket.
    pub prefix: String,
    /// Who has the bucket.
    pub service: Service,
}

/// An S3 service: Amazon's, unless told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Service {
    /// The URL of another service.
    pub endpoint: Option<String>,
    /// The region; else what the environment or the user's AWS settings say.
    pub region: Option<String>,
    /// Whether the bucket is named in the path and not in the host's name.
    pub path_style: bool,
    /// A PEM file of the certificate authorities to trust in place of the system's.
    pub ca: Option<PathBuf>,
}

/// Why a text is no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no place in a bucket: {reason}")]
pub struct LocationError {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Location {
    /// How a location begins.
    pub const SCHEME: &'static str = "s3://";

    /// Reads `s3://bucket/prefix`. The bucket's name has to follow Amazon's rules (3 to 63 letters, digits,
    /// dots and hyphens); a prefix is made of parts that are neither empty nor `.` nor `..`.
    pub fn parse(text: &str, service: Service) -> Result<Self, LocationError> {
        let fault = |reason| LocationError { text: text.to_owned(), reason };
        let rest = text.strip_prefix(Self::SCHEME).ok_or_else(|| fault("it begins with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(fits) {
            return Err(fault("a bucket's name has 3 to 63 small letters, digits, dots and hyphens"));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() && prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(fault("a prefix is made of names with one slash between them"));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned(), service })
    }

    /// The part of this location below `name`; itself where that is empty.
    pub fn below(&self, name: &str) -> Self {
        Self { prefix: self.key(name), ..self.clone() }
    }

    /// The whole key of what is called `name` here.
    pub fn key(&self, name: &str) -> String {
        match (self.prefix.as_str(), name) {
            ("", name) => name.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}/{name}"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "{}{}{slash}{}", Self::SCHEME, self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, LocationError> {
        Location::parse(text, Service::default())
    }

    #[test]
    fn a_location_is_a_bucket_and_a_prefix() {
        let whole = parse("s3://packages").unwrap();
        assert_eq!((whole.bucket.as_str(), whole.prefix.as_str()), ("packages", ""));
        assert_eq!(whole.key("dists/x"), "dists/x");
        let part = parse("s3://packages/team/apt/").unwrap();
        assert_eq!(part.prefix, "team/apt");
        assert_eq!(part.to_string(), "s3://packages/team/apt");
        assert_eq!(part.below("27").key("pool/a"), "team/apt/27/pool/a");
        assert_eq!(part.below(""), part);
    }

    #[test]
    fn what_is_no_location_is_told_why() {
        for text in ["packages", "s3:/packages", "s3://", "s3://Packages", "s3://p", "s3://a b/c"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["s3://packages//x", "s3://packages/../x", "s3://packages/x//"] {
            assert_eq!(
                parse(text).unwrap_err().reason,
                "a prefix is made of names with one slash between them"
            );
        }
    }
}
