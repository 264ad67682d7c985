use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};

use super::{
    BootstrapLock, ImageReference, LockedPackage, LockedRelease, LockedVersion, MirrorKind, PinnedImage,
    PlatformImage, ReferenceError, Sha256, Wanted,
};
use crate::buildfile::{Selection, Version};

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
    /// The digests of images in registries.
    pub registry: BTreeMap<PlatformImage, Sha256>,
}

/// What a bootstrap image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedImage {
    /// The packages that were asked for, so that a change of the Buildfile is noticed.
    pub wanted: Vec<String>,
    /// The whole closure, and where it was taken from.
    pub closure: BootstrapLock,
}

/// How the lock names a file of the archive that apt is configured with: `mirror:pool/…`, or
/// `security:pool/…`.
pub fn mirror_url(kind: MirrorKind, path: &str) -> String {
    format!("{}:{path}", scheme(kind))
}

/// The other way: which archive, and the path in it; `None` for a URL of somewhere else.
pub fn mirror_path(url: &str) -> Option<(MirrorKind, &str)> {
    [MirrorKind::Main, MirrorKind::Security].into_iter().find_map(|kind| {
        let path = url.strip_prefix(scheme(kind))?.strip_prefix(':')?;
        (!path.starts_with("//")).then_some((kind, path))
    })
}

fn scheme(kind: MirrorKind) -> &'static str {
    match kind {
        MirrorKind::Main => "mirror",
        MirrorKind::Security => "security",
    }
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
                "registry" => {
                    let (image, digest) = read_registry_image(node).map_err(malformed)?;
                    lock.registry.insert(image, digest);
                }
                other => return Err(malformed(format!("there is a node '{other}'"))),
            }
        }
        Ok(lock)
    }

    /// What `image` is by content: as it says itself, or as was found when it was updated.
    pub fn pinned(&self, image: &PlatformImage) -> Option<PinnedImage> {
        let reference = &image.reference;
        reference.pinned().or_else(|| Some(reference.pin(*self.registry.get(image)?)))
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

    /// The versions of an upstream, oldest first.
    pub fn versions(&self, upstream: &str) -> &[LockedVersion] {
        self.upstreams.get(upstream).map_or(&[], Vec::as_slice)
    }

    /// One version of an upstream.
    pub fn version(&self, upstream: &str, version: &str) -> Option<&LockedVersion> {
        self.versions(upstream).iter().find(|locked| locked.version == version)
    }

    /// The versions of an upstream that there is something to build of, oldest first.
    pub fn available(&self, upstream: &str) -> Vec<Version> {
        let available = self.versions(upstream).iter().filter(|locked| locked.is_available());
        available.map(|locked| Version::new(locked.version.as_str())).collect()
    }

    /// The same, and those that are named in full though there is nothing to build: whoever names
    /// one shall be told that.
    pub fn selectable(&self, upstream: &str, selection: &Selection<'_>) -> Vec<Version> {
        let versions = self.versions(upstream).iter();
        versions
            .map(|locked| (locked.is_available(), Version::new(locked.version.as_str())))
            .filter(|(is_available, version)| *is_available || selection.names(version))
            .map(|(_, version)| version)
            .collect()
    }

    /// Adds a version in its place, or puts it in the place of what was said of it before.
    pub fn put(&mut self, upstream: &str, version: LockedVersion) {
        let versions = self.upstreams.entry(upstream.to_owned()).or_default();
        versions.retain(|known| known.version != version.version);
        versions.push(version);
        versions.sort_by_cached_key(|known| Version::new(known.version.as_str()));
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
        document.nodes_mut().extend(self.registry.iter().map(registry_node));
        document.autoformat();
        format!("// Written by forge: what the next plan builds on. Commit it.\n{document}")
    }
}

impl LockedImage {
    /// Whether this is what was asked for when it was resolved.
    pub fn is_of(&self, wanted: &Wanted) -> bool {
        let closure = &self.closure;
        let locked = (&closure.suite, &closure.arch, &closure.foreign, &self.wanted);
        locked == (&wanted.suite, &wanted.arch, &wanted.foreign, &wanted.packages)
    }

    fn read(node: &KdlNode) -> Result<Self, String> {
        let wanted = words(node, "wanted")?;
        let of_kind = |kind| node.iter_children().filter(move |child| child.name().value() == kind);
        let closure = BootstrapLock {
            suite: string(node, "suite")?,
            arch: string(node, "arch")?,
            foreign: words(node, "foreign")?,
            releases: of_kind("release").map(read_release).collect::<Result<_, _>>()?,
            packages: of_kind("package").map(read_package).collect::<Result<_, _>>()?,
        };
        Ok(Self { wanted, closure })
    }

    fn node(&self, name: &str) -> KdlNode {
        let mut node = named("image", name);
        put(&mut node, "suite", self.closure.suite.as_str());
        put(&mut node, "arch", self.closure.arch.as_str());
        if !self.closure.foreign.is_empty() {
            put(&mut node, "foreign", self.closure.foreign.join(" "));
        }
        put(&mut node, "wanted", self.wanted.join(" "));
        let releases = self.closure.releases.iter().map(release_node);
        let packages = self.closure.packages.iter().map(package_node);
        node.ensure_children().nodes_mut().extend(releases.chain(packages));
        node
    }
}

fn read_release(node: &KdlNode) -> Result<LockedRelease, String> {
    Ok(LockedRelease { suite: string(node, 0)?, sha256: sha256(node)?, date: string(node, "date")? })
}

fn release_node(release: &LockedRelease) -> KdlNode {
    let mut node = named("release", &release.suite);
    put(&mut node, "date", release.date.as_str());
    put(&mut node, "sha256", release.sha256.to_string());
    node
}

fn read_package(node: &KdlNode) -> Result<LockedPackage, String> {
    let url = string(node, "path")?;
    let (mirror, path) = mirror_path(&url).ok_or_else(|| format!("'{url}' is no path of a mirror"))?;
    Ok(LockedPackage {
        name: string(node, 0)?,
        version: string(node, "version")?,
        architecture: string(node, "arch")?,
        mirror,
        path: path.to_owned(),
        sha256: sha256(node)?,
        size: number(node, "size")?,
    })
}

fn package_node(package: &LockedPackage) -> KdlNode {
    let mut node = named("package", &package.name);
    put(&mut node, "version", package.version.as_str());
    put(&mut node, "arch", package.architecture.as_str());
    put(&mut node, "sha256", package.sha256.to_string());
    put(&mut node, "size", i128::from(package.size));
    put(&mut node, "path", mirror_url(package.mirror, &package.path));
    node
}

fn read_registry_image(node: &KdlNode) -> Result<(PlatformImage, Sha256), String> {
    let digest = string(node, "digest")?;
    let hex = digest.strip_prefix("sha256:").ok_or_else(|| format!("'{digest}' is no sha256:…"))?;
    let digest = hex.parse().map_err(|error: super::Sha256ParseError| error.to_string())?;
    let reference: Result<ImageReference, ReferenceError> = string(node, 0)?.parse();
    let reference = reference.map_err(|error| error.to_string())?;
    Ok((PlatformImage { reference, platform: string(node, "platform")? }, digest))
}

fn registry_node((image, digest): (&PlatformImage, &Sha256)) -> KdlNode {
    let mut node = named("registry", &image.reference.to_string());
    put(&mut node, "platform", image.platform.as_str());
    put(&mut node, "digest", format!("sha256:{digest}"));
    node
}

fn sha256(node: &KdlNode) -> Result<Sha256, String> {
    string(node, "sha256")?.parse().map_err(|error: super::Sha256ParseError| error.to_string())
}

pub(super) fn named(kind: &str, name: &str) -> KdlNode {
    let mut node = KdlNode::new(kind);
    node.push(KdlEntry::new(KdlValue::String(name.to_owned())));
    node
}

fn put(node: &mut KdlNode, property: &str, value: impl Into<KdlValue>) {
    node.push(KdlEntry::new_prop(property, value));
}

pub(super) fn string(node: &KdlNode, key: impl Into<kdl::NodeKey>) -> Result<String, String> {
    let value = node.get(key).and_then(KdlValue::as_string);
    value.map(str::to_owned).ok_or_else(|| format!("a node '{}' lacks a text", node.name().value()))
}

/// The words of a property; none if it is not there.
fn words(node: &KdlNode, property: &str) -> Result<Vec<String>, String> {
    match node.get(property) {
        None => Ok(Vec::new()),
        Some(_) => Ok(string(node, property)?.split_whitespace().map(str::to_owned).collect()),
    }
}

fn number(node: &KdlNode, property: &str) -> Result<u64, String> {
    let value = node.get(property).and_then(KdlValue::as_integer);
    let number = value.and_then(|value| value.try_into().ok());
    number.ok_or_else(|| format!("a node '{}' lacks the number '{property}'", node.name().value()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{LockedArchive, LockedSource};

    #[test]
    fn a_lock_round_trips() {
        let version = LockedVersion {
            version: "1.10".into(),
            date: 1_700_000_000,
            commit: None,
            source: LockedSource::Archive(LockedArchive {
                sha256: Sha256::of(b"archive"),
                size: 12,
                urls: vec!["mirror:pool/a/a b.tar.xz".into()],
                checks: Vec::new(),
            }),
        };
        let package = LockedPackage {
            name: "libc6".into(),
            version: "2.36-9+deb12u10".into(),
            architecture: "amd64".into(),
            mirror: MirrorKind::Security,
            sha256: Sha256::of(b"deb"),
            size: 9,
            path: "pool/libc6.deb".into(),
        };
        let release = LockedRelease {
            suite: "bookworm".into(),
            sha256: Sha256::of(b"InRelease"),
            date: "Sat, 06 Sep 2025 12:00:00 UTC".into(),
        };
        let closure = BootstrapLock {
            suite: "bookworm".into(),
            arch: "amd64".into(),
            foreign: vec!["arm64".into()],
            releases: vec![release],
            packages: vec![package],
        };
        let image = LockedImage { wanted: vec!["gcc".into(), "make".into()], closure };
        let lock = Lock {
            upstreams: [("otp".to_owned(), vec![version])].into(),
            images: [("toolchain[distro=debian-12]".to_owned(), image)].into(),
            registry: ["linux/arm64", "linux/amd64"]
                .map(|platform| (debian(platform), Sha256::of(b"manifest")))
                .into(),
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("forge.lock");
        lock.save(&path).unwrap();
        assert_eq!(Lock::load(&path).unwrap(), lock);
    }

    fn debian(platform: &str) -> PlatformImage {
        let reference = "debian:bookworm".parse().unwrap();
        PlatformImage { reference, platform: platform.to_owned() }
    }

    #[test]
    fn an_image_is_pinned_for_a_platform_or_by_itself() {
        let digest = Sha256::of(b"manifest");
        let lock = Lock { registry: [(debian("linux/amd64"), digest)].into(), ..Lock::default() };
        let expected = format!("registry debian:bookworm platform=\"linux/amd64\" digest=sha256:{digest}\n");
        assert!(lock.to_text().ends_with(&expected), "{}", lock.to_text());
        let pinned = lock.pinned(&debian("linux/amd64")).unwrap();
        assert_eq!(pinned.to_string(), format!("debian@sha256:{digest}"));
        assert_eq!(lock.pinned(&debian("linux/arm64")), None);
        let reference = format!("debian@sha256:{digest}").parse().unwrap();
        let itself = PlatformImage { reference, platform: "linux/arm64".into() };
        assert_eq!(lock.pinned(&itself).unwrap().digest(), digest);
    }

    #[test]
    fn a_damaged_digest_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("forge.lock");
        for (text, reason) in [
            ("registry \"debian\" platform=\"linux/amd64\" digest=\"sha256:12\"", "64 hexadecimal digits"),
            ("registry \"debian\" platform=\"linux/amd64\" digest=\"12\"", "no sha256:"),
            ("registry \"debian\" platform=\"linux/amd64\"", "lacks a text"),
            ("registry \"De bian\" platform=\"x\" digest=\"sha256:12\"", "64 hexadecimal digits"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Lock::load(&path).unwrap_err().to_string();
            assert!(error.contains("damaged") && error.contains(reason), "{error}");
        }
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
