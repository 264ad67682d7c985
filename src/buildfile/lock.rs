use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};

/// `forge.lock`: upstream versions with their archives and digests, and what images are made of.
///
/// KDL in a stable order, one fact a line, made to be reviewed in a diff. Paths that start with
/// `mirror:` are relative to the archive that this machine's apt is configured with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// Versions by upstream.
    pub upstreams: BTreeMap<String, Vec<LockedVersion>>,
    /// Bootstrap images by the name of their node.
    pub images: BTreeMap<String, LockedImage>,
}

/// One version of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedVersion {
    /// The version.
    pub version: String,
    /// Upstream's own date, seconds since 1970.
    pub date: u64,
    /// SHA-256 of the archive, hexadecimal.
    pub sha256: String,
    /// The archive's length in bytes.
    pub size: u64,
    /// Where the archive is, best first.
    pub archives: Vec<String>,
}

/// What a bootstrap image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedImage {
    /// The suite.
    pub suite: String,
    /// Debian's name of the architecture.
    pub arch: String,
    /// The packages that were asked for, so that a change of the Buildfile is noticed.
    pub wanted: Vec<String>,
    /// A digest of the signed release files that the packages were taken from.
    pub release: String,
    /// The whole closure.
    pub packages: Vec<LockedPackage>,
}

/// One package of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedPackage {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture.
    pub arch: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Where it is (`mirror:pool/…`).
    pub path: String,
}

/// Why a lock cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The filesystem refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a lock.
    #[error("{} is damaged: {reason}; restore it from version control, or delete it and run `forge update`", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Lock {
    /// Reads the lock at `path`; an absent one is empty.
    pub fn load(path: &Path) -> Result<Self, LockError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(LockError::Io { doing: "read", path: path.to_owned(), source }),
        };
        let malformed = |reason| LockError::Malformed { path: path.to_owned(), reason };
        let document = KdlDocument::parse_v2(&text).map_err(|error| malformed(error.to_string()))?;
        let mut lock = Self::default();
        for node in document.nodes() {
            let name = string(node, 0).map_err(malformed)?;
            match node.name().value() {
                "upstream" => {
                    let versions = node.iter_children().map(LockedVersion::read).collect::<Result<_, _>>();
                    lock.upstreams.insert(name, versions.map_err(malformed)?);
                }
                "image" => {
                    lock.images.insert(name, LockedImage::read(node).map_err(malformed)?);
                }
                other => return Err(malformed(format!("there is a node '{other}'"))),
            }
        }
        Ok(lock)
    }

    /// Writes the lock, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), LockError> {
        let io = |source| LockError::Io { doing: "write", path: path.to_owned(), source };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut temp = tempfile::NamedTempFile::new_in(dir).map_err(io)?;
        temp.write_all(self.to_text().as_bytes()).map_err(io)?;
        temp.as_file().sync_all().map_err(io)?;
        temp.persist(path).map_err(|error| io(error.error))?;
        Ok(())
    }

    /// The canonical text.
    pub fn to_text(&self) -> String {
        let mut document = KdlDocument::new();
        for (name, versions) in &self.upstreams {
            let mut node = named("upstream", name);
            node.ensure_children().nodes_mut().extend(versions.iter().map(LockedVersion::node));
            document.nodes_mut().push(node);
        }
        for (name, image) in &self.images {
            document.nodes_mut().push(image.node(name));
        }
        document.autoformat();
        format!("// Written by forge: what the next plan builds on. Commit it.\n{document}")
    }
}

impl LockedVersion {
    fn read(node: &KdlNode) -> Result<Self, String> {
        Ok(Self {
            version: string(node, 0)?,
            date: number(node, "date")?,
            sha256: string(node, "sha256")?,
            size: number(node, "size")?,
            archives: node.iter_children().map(|child| string(child, 0)).collect::<Result<_, _>>()?,
        })
    }

    fn node(&self) -> KdlNode {
        let mut node = named("version", &self.version);
        put(&mut node, "date", i128::from(self.date));
        put(&mut node, "sha256", self.sha256.as_str());
        put(&mut node, "size", i128::from(self.size));
        let archives = self.archives.iter().map(|archive| named("archive", archive));
        node.ensure_children().nodes_mut().extend(archives);
        node
    }
}

impl LockedImage {
    fn read(node: &KdlNode) -> Result<Self, String> {
        let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
        Ok(Self {
            suite: string(node, "suite")?,
            arch: string(node, "arch")?,
            wanted: words(string(node, "wanted")?),
            release: string(node, "release")?,
            packages: node.iter_children().map(LockedPackage::read).collect::<Result<_, _>>()?,
        })
    }

    fn node(&self, name: &str) -> KdlNode {
        let mut node = named("image", name);
        put(&mut node, "suite", self.suite.as_str());
        put(&mut node, "arch", self.arch.as_str());
        put(&mut node, "wanted", self.wanted.join(" "));
        put(&mut node, "release", self.release.as_str());
        node.ensure_children().nodes_mut().extend(self.packages.iter().map(LockedPackage::node));
        node
    }
}

impl LockedPackage {
    fn read(node: &KdlNode) -> Result<Self, String> {
        Ok(Self {
            name: string(node, 0)?,
            version: string(node, "version")?,
            arch: string(node, "arch")?,
            sha256: string(node, "sha256")?,
            size: number(node, "size")?,
            path: string(node, "path")?,
        })
    }

    fn node(&self) -> KdlNode {
        let mut node = named("package", &self.name);
        put(&mut node, "version", self.version.as_str());
        put(&mut node, "arch", self.arch.as_str());
        put(&mut node, "sha256", self.sha256.as_str());
        put(&mut node, "size", i128::from(self.size));
        put(&mut node, "path", self.path.as_str());
        node
    }
}

fn named(kind: &str, name: &str) -> KdlNode {
    let mut node = KdlNode::new(kind);
    node.push(KdlEntry::new(KdlValue::String(name.to_owned())));
    node
}

fn put(node: &mut KdlNode, property: &str, value: impl Into<KdlValue>) {
    node.push(KdlEntry::new_prop(property, value));
}

fn string(node: &KdlNode, key: impl Into<kdl::NodeKey>) -> Result<String, String> {
    let value = node.get(key).and_then(KdlValue::as_string);
    value.map(str::to_owned).ok_or_else(|| format!("a node '{}' lacks a text", node.name().value()))
}

fn number(node: &KdlNode, property: &str) -> Result<u64, String> {
    let value = node.get(property).and_then(KdlValue::as_integer);
    let number = value.and_then(|value| value.try_into().ok());
    number.ok_or_else(|| format!("a node '{}' lacks the number '{property}'", node.name().value()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_round_trips() {
        let version = LockedVersion {
            version: "1.10".into(),
            date: 1_700_000_000,
            sha256: "ab".repeat(32),
            size: 12,
            archives: vec!["mirror:pool/a/a b.tar.xz".into()],
        };
        let package = LockedPackage {
            name: "libc6".into(),
            version: "2.36-9+deb12u10".into(),
            arch: "amd64".into(),
            sha256: "cd".repeat(32),
            size: 9,
            path: "mirror:pool/libc6.deb".into(),
        };
        let image = LockedImage {
            suite: "bookworm".into(),
            arch: "amd64".into(),
            wanted: vec!["gcc".into(), "make".into()],
            release: "ef".repeat(32),
            packages: vec![package],
        };
        let lock = Lock {
            upstreams: [("otp".to_owned(), vec![version])].into(),
            images: [("toolchain[distro=debian-12]".to_owned(), image)].into(),
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("forge.lock");
        lock.save(&path).unwrap();
        assert_eq!(Lock::load(&path).unwrap(), lock);
    }

    #[test]
    fn an_absent_lock_is_empty_and_a_foreign_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("forge.lock");
        assert_eq!(Lock::load(&path).unwrap(), Lock::default());
        fs::write(&path, "target \"x\"").unwrap();
        assert!(Lock::load(&path).unwrap_err().to_string().contains("damaged"));
    }
}
