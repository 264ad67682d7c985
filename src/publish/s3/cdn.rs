//! What is before a bucket: a CDN, which is told what changed.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::s3::{Distribution, Location, S3Error};

/// How many paths CloudFront takes at a time (its own limit). What changes beyond that is invalidated as a whole.
const MOST: usize = 3000;

/// The CDN before a repository.
#[derive(Clone, Debug)]
pub(super) struct Cdn {
    pub distribution: Distribution,
    /// The path of the repository's root in URLs, without a slash at its end.
    root: String,
}

impl Cdn {
    /// Before the repository in `location`, which clients find at `url`, or else by the keys of its objects.
    pub fn new(distribution: &Distribution, url: Option<&str>, location: &Location) -> Self {
        let root = match url {
            Some(url) => url.split_once("://").map_or(url, |(_, rest)| rest),
            None => &format!("/{}", encoded(&location.prefix)),
        };
        let root = root.find('/').map_or("", |at| root[at..].trim_end_matches('/')).to_owned();
        Self { distribution: distribution.clone(), root }
    }

    /// The paths, in URLs, of files below the repository's root.
    pub fn paths(&self, files: &BTreeSet<String>) -> Vec<String> {
        match files.len() {
            ..=MOST => files.iter().map(|file| format!("{}/{}", self.root, encoded(file))).collect(),
            _ => vec![format!("{}/*", self.root)],
        }
    }

    /// Has it forget what it holds of these files. The same is done once, whoever asks for it, and however often.
    pub async fn invalidate(&self, generation: &str, files: &BTreeSet<String>) -> Result<(), S3Error> {
        let paths = self.paths(files);
        let reference = format!("forge-{generation}-{}", Digest::of(paths.join("\n").as_bytes()).short());
        self.distribution.invalidate(&reference, &paths).await
    }
}

/// As CloudFront wants it: what RFC 1738 calls unsafe is written by number, and nothing else.
fn encoded(path: &str) -> String {
    let is_unsafe = |byte: u8| !byte.is_ascii_graphic() || b"<>\"#%{}|\\^~[]`".contains(&byte);
    path.bytes()
        .map(|byte| if is_unsafe(byte) { format!("%{byte:02X}") } else { char::from(byte).to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::Service;

    fn paths(url: Option<&str>, location: &str, files: impl IntoIterator<Item = String>) -> Vec<String> {
        let distribution = Distribution::parse("E2QWRUHEXAMPLE").unwrap();
        let location = Location::parse(location, Service::default()).unwrap();
        Cdn::new(&distribution, url, &location).paths(&files.into_iter().collect())
    }

    #[test]
    fn paths_are_those_of_urls_and_else_those_of_keys() {
        let file = || ["dists/a~b/InRelease".to_owned()];
        let told = |url, location| paths(url, location, file()).concat();
        assert_eq!(told(None, "s3://packages/team/apt"), "/team/apt/dists/a%7Eb/InRelease");
        assert_eq!(told(None, "s3://packages"), "/dists/a%7Eb/InRelease");
        assert_eq!(
            told(Some("https://example.org/apt/27"), "s3://packages/x"),
            "/apt/27/dists/a%7Eb/InRelease"
        );
        assert_eq!(told(Some("https://example.org"), "s3://packages/x"), "/dists/a%7Eb/InRelease");
    }

    #[test]
    fn too_many_paths_are_one() {
        let files = |count: usize| (0..count).map(|at| format!("dists/{at}/InRelease"));
        assert_eq!(paths(None, "s3://packages/apt", files(3000)).len(), 3000);
        assert_eq!(paths(None, "s3://packages/apt", files(3001)), ["/apt/*"]);
    }
}
