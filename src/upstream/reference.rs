use std::fmt;
use std::str::FromStr;

use super::Sha256;

/// Where an image without a registry in its name is taken from.
const DEFAULT_REGISTRY: &str = "docker.io";

/// How an image is called in a registry: `debian:bookworm`, `example.org/team/base:1`, or
/// `debian@sha256:…`. Without a tag, `latest` is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageReference {
    text: String,
    name: String,
    digest: Option<Sha256>,
}

/// An image by its content: `debian@sha256:…`. Whoever takes it gets these bytes or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedImage {
    reference: ImageReference,
    digest: Sha256,
}

/// An image in a registry, for one platform (`linux/amd64`): what the lock knows a digest of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlatformImage {
    /// What it is called.
    pub reference: ImageReference,
    /// `linux/amd64`.
    pub platform: String,
}

/// Not the name of an image.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{text}' is not the name of an image: {reason}; expected one as debian:bookworm or example.org/team/image:1"
)]
pub struct ReferenceError {
    text: String,
    reason: &'static str,
}

impl ImageReference {
    /// The host, and the port if there is one, of its registry.
    pub fn registry(&self) -> &str {
        match self.name.split_once('/') {
            Some((host, _)) if is_host(host) => host,
            _ => DEFAULT_REGISTRY,
        }
    }

    /// The image by content, if the reference names that already.
    pub fn pinned(&self) -> Option<PinnedImage> {
        self.digest.map(|digest| self.pin(digest))
    }

    /// The image of this name that has `digest`.
    pub fn pin(&self, digest: Sha256) -> PinnedImage {
        PinnedImage { reference: self.clone(), digest }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PinnedImage {
    /// What it was pinned from.
    pub fn reference(&self) -> &ImageReference {
        &self.reference
    }

    /// The SHA-256 of its manifest, or of the list of its manifests by platform.
    pub fn digest(&self) -> Sha256 {
        self.digest
    }
}

impl fmt::Display for PinnedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@sha256:{}", self.reference.name, self.digest)
    }
}

/// The grammar of github.com/distribution/reference, where the registry itself refuses what is odd,
/// such as two dots in a row.
impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |reason| ReferenceError { text: text.to_owned(), reason };
        let (tagged, digest) = match text.split_once('@') {
            None => (text, None),
            Some((tagged, digest)) => {
                let hex = digest.strip_prefix("sha256:").unwrap_or_default();
                let digest =
                    hex.parse().map_err(|_| refused("after the @ stands no sha256:… of 64 digits"))?;
                (tagged, Some(digest))
            }
        };
        // A colon before the last slash is that of a port.
        let last = tagged.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match tagged[last..].split_once(':') {
            None => (tagged, None),
            Some((end, tag)) => (&tagged[..last + end.len()], Some(tag)),
        };
        if !tag.is_none_or(is_tag) {
            return Err(refused("a tag is of at most 128 letters, digits and _ . -"));
        }
        let path = name.split_once('/').filter(|(host, _)| is_host(host)).map_or(name, |(_, path)| path);
        if !path.split('/').all(is_component) {
            return Err(refused("a name is of lower-case letters, digits and . _ - in between"));
        }
        Ok(Self { text: text.to_owned(), name: name.to_owned(), digest })
    }
}

/// The first part of a name is a host if it cannot be anything else.
fn is_host(part: &str) -> bool {
    let is_possible = part.chars().all(|c| c.is_ascii_alphanumeric() || "-.:[]".contains(c));
    is_possible && (part.contains(['.', ':']) || part == "localhost")
}

fn is_tag(tag: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.starts_with(is_word) && tag.len() <= 128 && tag.chars().all(|c| is_word(c) || ".-".contains(c))
}

fn is_component(part: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_known = part.chars().all(|c| is_plain(c) || "._-".contains(c));
    is_known && part.starts_with(is_plain) && part.ends_with(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ImageReference {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_pinned_image_has_its_registry_and_no_tag() {
        let digest = Sha256::of(b"manifest");
        for (text, registry, name) in [
            ("debian", "docker.io", "debian"),
            ("debian:bookworm-20250811", "docker.io", "debian"),
            ("team/base:1", "docker.io", "team/base"),
            ("localhost/base", "localhost", "localhost/base"),
            ("127.0.0.1:5000/a/b_c:v1", "127.0.0.1:5000", "127.0.0.1:5000/a/b_c"),
            ("example.org/base", "example.org", "example.org/base"),
        ] {
            let reference = parse(text);
            assert_eq!((reference.to_string().as_str(), reference.registry()), (text, registry));
            assert_eq!(reference.pinned(), None);
            assert_eq!(reference.pin(digest).to_string(), format!("{name}@sha256:{digest}"));
        }
    }

    #[test]
    fn a_digest_in_the_reference_pins_it() {
        let digest = Sha256::of(b"manifest");
        let pinned = parse(&format!("example.org:80/base:1@sha256:{digest}")).pinned().unwrap();
        assert_eq!(pinned.to_string(), format!("example.org:80/base@sha256:{digest}"));
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for (text, reason) in [
            ("", "a name is of"),
            ("Debian", "a name is of"),
            ("debian:", "a tag is of"),
            ("debian:a:b", "a tag is of"),
            ("debian bookworm", "a name is of"),
            ("http://example.org/base", "a name is of"),
            ("example.org//base", "a name is of"),
            ("example.org/", "a name is of"),
            ("debian@sha256:12", "after the @"),
            ("debian@md5:12", "after the @"),
            ("-o/x", "a name is of"),
        ] {
            let error = text.parse::<ImageReference>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("example.org/team/image:1"), "{text}: {error}");
        }
    }
}
