use kdl::{KdlNode, KdlValue};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Sha256;
use super::lock::{named, string};
use crate::digest::Digest;

/// One version of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedVersion {
    /// The version.
    pub version: String,
    /// Upstream's own date, seconds since 1970.
    pub date: u64,
    /// The commit its tag is at, hexadecimal, if upstream is a git repository.
    pub commit: Option<String>,
    /// What is built.
    pub source: LockedSource,
}

/// Where the source of a version is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockedSource {
    /// In an archive.
    Archive(LockedArchive),
    /// In the repository: the digest of the tree of its commit.
    Tree(Digest),
    /// Nowhere: upstream lists the version, and its archive was not there.
    Absent,
}

/// An archive that upstream released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedArchive {
    /// What its bytes are.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
    /// Where it is, best first.
    pub urls: Vec<String>,
    /// What of upstream's it was checked against when it was taken.
    pub checks: Vec<Check>,
}

/// What an archive was checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The list of digests that upstream publishes.
    Checksums,
    /// Upstream's OpenPGP signature of the archive.
    Signature,
}

impl Check {
    /// As it stands in a lock and in the Buildfile.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checksums => "checksums",
            Self::Signature => "signature",
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        let all = [Self::Checksums, Self::Signature];
        all.into_iter().find(|check| check.as_str() == text).ok_or_else(|| format!("'{text}' is no check"))
    }
}

impl LockedVersion {
    /// Whether there is something to build.
    pub fn is_available(&self) -> bool {
        self.source != LockedSource::Absent
    }

    /// The archive, if that is its source.
    pub fn archive(&self) -> Option<&LockedArchive> {
        match &self.source {
            LockedSource::Archive(archive) => Some(archive),
            _ => None,
        }
    }

    pub(super) fn read(node: &KdlNode) -> Result<Self, String> {
        Ok(Self {
            version: string(node, 0)?,
            date: read_date(node)?,
            commit: fact(node, "commit").map(|commit| text(commit, "commit")).transpose()?,
            source: LockedSource::read(node)?,
        })
    }

    pub(super) fn node(&self) -> KdlNode {
        let mut node = named("version", &self.version);
        let facts = node.ensure_children().nodes_mut();
        if self.is_available() {
            facts.push(named("date", &written_date(self.date)));
        }
        facts.extend(self.commit.iter().map(|commit| named("commit", commit)));
        match &self.source {
            LockedSource::Absent => facts.push(KdlNode::new("absent")),
            LockedSource::Tree(tree) => facts.push(named("tree", &tree.to_string())),
            LockedSource::Archive(LockedArchive { sha256, size, urls, checks }) => {
                facts.push(named("sha256", &sha256.to_string()));
                let mut length = KdlNode::new("size");
                length.push(KdlValue::Integer(i128::from(*size)));
                facts.push(length);
                facts.extend(urls.iter().map(|url| named("archive", url)));
                facts.extend(checks.iter().map(|check| named("checked", check.as_str())));
            }
        }
        node
    }
}

impl LockedSource {
    fn read(node: &KdlNode) -> Result<Self, String> {
        let of_kind = |kind| node.iter_children().filter(move |child| child.name().value() == kind);
        if let Some(tree) = fact(node, "tree") {
            return text(tree, "tree")?.parse().map(Self::Tree).map_err(|_| "a tree is 64 digits".to_owned());
        }
        let urls: Vec<String> = of_kind("archive").map(|child| string(child, 0)).collect::<Result<_, _>>()?;
        if urls.is_empty() {
            return Ok(Self::Absent);
        }
        let sha256 = fact(node, "sha256").ok_or_else(|| lacks(node, "sha256"))?;
        let sha256: Result<Sha256, super::Sha256ParseError> = text(sha256, "sha256")?.parse();
        Ok(Self::Archive(LockedArchive {
            sha256: sha256.map_err(|error| error.to_string())?,
            size: number(node, "size")?,
            urls,
            checks: of_kind("checked")
                .map(|child| Check::read(&string(child, 0)?))
                .collect::<Result<_, _>>()?,
        }))
    }
}

/// A fact is a node inside; locks of the first forge had some as properties.
fn fact<'a>(node: &'a KdlNode, name: &str) -> Option<&'a KdlValue> {
    let inside = node.iter_children().find(|child| child.name().value() == name);
    inside.and_then(|child| child.get(0)).or_else(|| node.get(name))
}

fn text(value: &KdlValue, name: &str) -> Result<String, String> {
    value.as_string().map(str::to_owned).ok_or_else(|| format!("the value of '{name}' is no text"))
}

fn lacks(node: &KdlNode, name: &str) -> String {
    format!("a node '{}' lacks '{name}'", node.name().value())
}

fn number(node: &KdlNode, name: &str) -> Result<u64, String> {
    let value = fact(node, name).and_then(KdlValue::as_integer);
    value.and_then(|value| value.try_into().ok()).ok_or_else(|| lacks(node, name))
}

fn read_date(node: &KdlNode) -> Result<u64, String> {
    match fact(node, "date") {
        None => Ok(0),
        Some(KdlValue::String(date)) => {
            let date = OffsetDateTime::parse(date, &Rfc3339).map_err(|error| format!("'{date}': {error}"))?;
            u64::try_from(date.unix_timestamp()).map_err(|_| "a date is before 1970".to_owned())
        }
        Some(_) => number(node, "date"),
    }
}

fn written_date(seconds: u64) -> String {
    let date =
        i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let written = date.and_then(|date| date.format(&Rfc3339).ok());
    written.unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use kdl::KdlDocument;

    use super::*;

    fn read(text: &str) -> Result<LockedVersion, String> {
        LockedVersion::read(KdlDocument::parse_v2(text).unwrap().nodes().first().unwrap())
    }

    #[test]
    fn what_an_earlier_forge_wrote_is_read() {
        let sha256 = Sha256::of(b"a");
        let old =
            format!("version \"1.0\" date=12 sha256=\"{sha256}\" size=3 {{ archive \"mirror:pool/a\" }}");
        let archive =
            LockedArchive { sha256, size: 3, urls: vec!["mirror:pool/a".into()], checks: Vec::new() };
        let version = LockedVersion {
            version: "1.0".into(),
            date: 12,
            commit: None,
            source: LockedSource::Archive(archive),
        };
        assert_eq!(read(&old).unwrap(), version);
        let old = format!("version \"1.0\" date=0 sha256=\"{sha256}\" size=3 {{\n}}");
        assert!(!read(&old).unwrap().is_available());
    }

    #[test]
    fn one_fact_stands_on_one_line() {
        let archive = LockedArchive {
            sha256: Sha256::of(b"a"),
            size: 3,
            urls: vec!["https://example.org/a.tar".into(), "https://example.net/a.tar".into()],
            checks: vec![Check::Checksums, Check::Signature],
        };
        let mut version = LockedVersion {
            version: "1.0".into(),
            date: 1_700_000_000,
            commit: Some("ab".repeat(20)),
            source: LockedSource::Archive(archive),
        };
        let mut node = version.node();
        node.autoformat();
        let lines = [
            "version \"1.0\" {".to_owned(),
            "    date \"2023-11-14T22:13:20Z\"".to_owned(),
            format!("    commit {}", "ab".repeat(20)),
            format!("    sha256 {}", Sha256::of(b"a")),
            "    size 3".to_owned(),
            "    archive \"https://example.org/a.tar\"".to_owned(),
            "    archive \"https://example.net/a.tar\"".to_owned(),
            "    checked checksums".to_owned(),
            "    checked signature".to_owned(),
            "}".to_owned(),
        ];
        let written = node.to_string();
        assert_eq!(written.trim_end().replace('"', ""), lines.join("\n").replace('"', ""));
        for source in [version.source.clone(), LockedSource::Tree(Digest::of(b"")), LockedSource::Absent] {
            version.date = if source == LockedSource::Absent { 0 } else { version.date };
            version.source = source;
            assert_eq!(read(&version.node().to_string()).unwrap(), version);
        }
    }

    #[test]
    fn what_is_no_version_is_told() {
        for (text, told) in [
            ("version \"1\" { archive \"x\"; size 1 }", "lacks 'sha256'"),
            ("version \"1\" { archive \"x\"; sha256 \"ab\"; size 1 }", "64 hexadecimal digits"),
            ("version \"1\" { tree \"ab\" }", "64 digits"),
            ("version \"1\" { date \"today\" }", "today"),
            ("version", "lacks a text"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
