use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::apt::{Suite, Want, output};
use super::sources::{field, paragraphs};
use super::{AptError, AptRoot, MirrorKind, Mirrors, Sha256};
use crate::digest::{Describe, Visitor};

/// The version of what [`super::build`] makes of a lock. It goes up whenever the same lock
/// gives other bytes.
const BUILTIN_VERSION: &str = "1";

/// What a base image is asked to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The suite.
    pub suite: String,
    /// Debian's name of the architecture.
    pub arch: String,
    /// Architectures of which it may hold packages beside its own (dpkg's foreign ones), sorted.
    pub foreign: Vec<String>,
    /// Packages beside the essential ones, sorted; `name:arch` where they are of a foreign one.
    pub packages: Vec<String>,
}

/// Everything a base image is made of, by name, version and content. It names no mirror, and
/// the tree built of it depends on nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapLock {
    /// The suite: `bookworm`.
    pub suite: String,
    /// Debian's name of the architecture: `amd64`.
    pub arch: String,
    /// Foreign architectures that dpkg knows of in it, sorted.
    pub foreign: Vec<String>,
    /// The signed Release files it was resolved from: where it comes from, not what it is.
    pub releases: Vec<LockedRelease>,
    /// The packages with all they need, sorted by name.
    pub packages: Vec<LockedPackage>,
}

/// A signed Release file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedRelease {
    /// The suite or pocket: `bookworm-security`.
    pub suite: String,
    /// The SHA-256 of `InRelease`, or of `Release` where it is signed apart.
    pub sha256: Sha256,
    /// Its date, as it stands there (RFC 5322).
    pub date: String,
}

/// A binary package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its whole version.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// Which archive holds it.
    pub mirror: MirrorKind,
    /// Where it lies, relative to the mirror.
    pub path: String,
    /// The SHA-256 of the file.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
}

/// The Release files are not told: the same packages give the same bytes, whatever else
/// changed in the archive that day.
impl Describe for BootstrapLock {
    fn describe(&self, visitor: &mut dyn Visitor) {
        visitor.field("bootstrap", BUILTIN_VERSION);
        visitor.field("suite", &self.suite);
        visitor.field("arch", &self.arch);
        if !self.foreign.is_empty() {
            visitor.field("foreign", &self.foreign.join(" "));
        }
        visitor.enter("packages");
        for package in &self.packages {
            let LockedPackage { version, architecture, sha256, .. } = package;
            visitor.field(&self.name_of(package), &format!("{version} {architecture} {sha256}"));
        }
        visitor.leave();
    }
}

impl BootstrapLock {
    /// A package's name as apt and dpkg tell it from those of other architectures.
    pub(super) fn name_of(&self, package: &LockedPackage) -> String {
        match self.foreign.contains(&package.architecture) {
            true => format!("{}:{}", package.name, package.architecture),
            false => package.name.clone(),
        }
    }
}

/// What a suite's base image is made of, as apt resolves it on an empty system: the essential
/// and required packages, apt itself, the packages that are wanted, and all they depend on;
/// nothing that is only recommended. Security and stable updates are in it.
pub fn resolve(root: &AptRoot, wanted: &Wanted) -> Result<BootstrapLock, AptError> {
    let Wanted { suite, arch, foreign, packages } = wanted.clone();
    let want = Want::Packages { arch: arch.clone(), foreign: foreign.clone() };
    let suite = root.suite(&suite, &want)?;
    let mut names = base_packages(&suite, &arch, &want)?;
    names.extend(packages);
    Ok(BootstrapLock {
        suite: suite.name.clone(),
        arch,
        foreign,
        releases: releases(&suite)?,
        packages: closure(&suite, root.mirrors(), &names)?,
    })
}

/// What every system of the suite has; nothing of a foreign architecture is.
fn base_packages(suite: &Suite<'_>, arch: &str, want: &Want) -> Result<BTreeSet<String>, AptError> {
    let mut names = BTreeSet::from(["apt".to_owned()]);
    for index in suite.indices(want)? {
        for paragraph in paragraphs(&index.text) {
            let Some(name) = field(paragraph, "Package") else { continue };
            if !matches!(field(paragraph, "Architecture"), Some(own) if own == arch || own == "all") {
                continue;
            }
            let needed = field(paragraph, "Essential") == Some("yes")
                || field(paragraph, "Priority") == Some("required")
                // Else apt takes the first way to a merged /usr, which brings a conversion tool.
                || name == "usr-is-merged";
            if needed {
                names.insert(name.to_owned());
            }
        }
    }
    Ok(names)
}

fn releases(suite: &Suite<'_>) -> Result<Vec<LockedRelease>, AptError> {
    let release = |pocket| {
        let bytes = suite.release(pocket)?;
        let text = String::from_utf8_lossy(&bytes);
        let date = text.lines().find_map(|line| line.strip_prefix("Date: "));
        let date = date.ok_or_else(|| suite.unexpected("a Release file without Date"))?.to_owned();
        Ok(LockedRelease { suite: pocket.name.clone(), sha256: Sha256::of(&bytes), date })
    };
    suite.pockets.iter().map(release).collect()
}

fn closure(
    suite: &Suite<'_>,
    mirrors: &Mirrors,
    wanted: &BTreeSet<String>,
) -> Result<Vec<LockedPackage>, AptError> {
    let mut install = suite.command("apt-get");
    install.args(["install", "--print-uris", "-qq", "-y", "--no-install-recommends", "--"]).args(wanted);
    let printed = output(&mut install).map_err(|error| {
        error.while_doing(format!("apt cannot resolve the packages asked for in suite '{}'", suite.name))
    })?;
    let lines = printed.lines().filter(|line| line.starts_with('\''));
    let mut packages = lines
        .map(|line| parse_uri_line(line, mirrors).ok_or_else(|| suite.unexpected(line)))
        .collect::<Result<Vec<_>, _>>()?;
    packages.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
    Ok(packages)
}

/// `'URI' name_version_arch.deb size SHA256:hex` (apt-get(8), `--print-uris`).
fn parse_uri_line(line: &str, mirrors: &Mirrors) -> Option<LockedPackage> {
    let (uri, rest) = line.strip_prefix('\'')?.split_once("' ")?;
    let mut words = rest.split(' ');
    let (file, size, hash) = (words.next()?, words.next()?, words.next()?);
    let (mirror, path) = [MirrorKind::Main, MirrorKind::Security].into_iter().find_map(|kind| {
        mirrors.of(kind).iter().find_map(|base| Some((kind, uri.strip_prefix(base.as_str())?)))
    })?;
    let mut parts = file.strip_suffix(".deb")?.splitn(3, '_');
    let (name, version, architecture) = (parts.next()?, parts.next()?, parts.next()?);
    Some(LockedPackage {
        name: name.to_owned(),
        version: version.replace("%3a", ":"),
        architecture: architecture.to_owned(),
        mirror,
        path: path.replace("%2b", "+").replace("%7e", "~"),
        sha256: hash.strip_prefix("SHA256:")?.parse().ok()?,
        size: size.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::key_of;
    use crate::upstream::Distribution;

    fn mirrors() -> Mirrors {
        Mirrors {
            distribution: Distribution::Debian,
            main: vec!["http://mirror.example/debian/".into()],
            security: vec!["http://mirror.example/debian-security/".into()],
            keyring: "/keys".into(),
        }
    }

    #[test]
    fn apts_line_is_read() {
        let hash = Sha256::of(b"deb");
        let line = format!(
            "'http://mirror.example/debian-security/pool/updates/main/p/perl/perl_5.36.0-7%2bdeb12u3_amd64.deb' \
             perl_1%3a5.36.0-7+deb12u3_amd64.deb 239076 SHA256:{hash}"
        );
        let package = parse_uri_line(&line, &mirrors()).unwrap();
        assert_eq!(package.mirror, MirrorKind::Security);
        assert_eq!(package.version, "1:5.36.0-7+deb12u3");
        assert_eq!(package.path, "pool/updates/main/p/perl/perl_5.36.0-7+deb12u3_amd64.deb");
        assert_eq!((package.architecture.as_str(), package.size), ("amd64", 239_076));
        assert!(parse_uri_line(&line.replace("mirror.example", "other.example"), &mirrors()).is_none());
    }

    #[test]
    fn the_key_is_of_the_packages_and_not_of_the_day() {
        let package = LockedPackage {
            name: "p".into(),
            version: "1".into(),
            architecture: "all".into(),
            mirror: MirrorKind::Main,
            path: "pool/p.deb".into(),
            sha256: Sha256::of(b"p"),
            size: 1,
        };
        let release =
            LockedRelease { suite: "bookworm".into(), sha256: Sha256::of(b"r"), date: "today".into() };
        let lock = BootstrapLock {
            suite: "bookworm".into(),
            arch: "amd64".into(),
            foreign: vec![],
            releases: vec![release],
            packages: vec![package],
        };
        let later = BootstrapLock { releases: vec![], ..lock.clone() };
        assert_eq!(key_of(&lock), key_of(&later));
        let mut other = lock.clone();
        other.packages[0].version = "2".into();
        assert_ne!(key_of(&lock), key_of(&other));
        let foreign = BootstrapLock { foreign: vec!["arm64".into()], ..lock.clone() };
        assert_ne!(key_of(&lock), key_of(&foreign));
    }

    #[test]
    fn a_suite_resolves_with_its_security_updates_and_twice_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let root = AptRoot::of_host(dir.path()).expect("this test needs the apt mirror of this machine");
        let wanted = |packages: &[&str], foreign: &[&str]| Wanted {
            suite: "bookworm".into(),
            arch: "amd64".into(),
            foreign: foreign.iter().map(|&name| name.to_owned()).collect(),
            packages: packages.iter().map(|&name| name.to_owned()).collect(),
        };
        let lock = resolve(&root, &wanted(&["gcc"], &[])).unwrap();
        let has = |name: &str| lock.packages.iter().any(|package| package.name == name);
        assert!(has("libc6") && has("dpkg") && has("apt") && has("gcc") && has("usr-is-merged"));
        assert!(!has("usrmerge") && !has("manpages-dev"), "recommended packages were taken");
        assert_eq!(lock.releases.len(), 3);
        assert!(lock.packages.iter().any(|package| package.mirror == MirrorKind::Security));
        assert_eq!(resolve(&root, &wanted(&["gcc"], &[])).unwrap(), lock);
        let error = resolve(&root, &wanted(&["no-such-package"], &[])).unwrap_err();
        assert!(error.to_string().contains("no-such-package"), "{error}");

        // Libraries of another architecture come with what they need, and with nothing else of it.
        let mixed = resolve(&root, &wanted(&["gcc", "libssl-dev:arm64"], &["arm64"])).unwrap();
        let foreign: Vec<&str> = mixed
            .packages
            .iter()
            .filter(|package| package.architecture == "arm64")
            .map(|package| package.name.as_str())
            .collect();
        assert!(foreign.contains(&"libssl-dev") && foreign.contains(&"libc6"), "{foreign:?}");
        assert!(!foreign.contains(&"dpkg") && foreign.len() < 10, "{foreign:?}");
        let own = |lock: &BootstrapLock| lock.packages.iter().filter(|p| p.architecture != "arm64").count();
        assert_eq!(own(&mixed), own(&lock));
        let error = resolve(&root, &wanted(&["libssl-dev:arm64"], &[])).unwrap_err();
        assert!(error.to_string().contains("libssl-dev:arm64"), "{error}");
    }
}
