use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::AptError;
use super::apt;
use crate::store::StoreError;

/// A family of suites that share an archive and its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
}

impl Distribution {
    /// As it stands in `Origin` of its Release files.
    fn origin(self) -> &'static str {
        match self {
            Self::Debian => "Debian",
            Self::Ubuntu => "Ubuntu",
        }
    }

    /// The package that brings the keys its Release files are signed with.
    fn keyring_package(self) -> &'static str {
        match self {
            Self::Debian => "debian-archive-keyring",
            Self::Ubuntu => "ubuntu-keyring",
        }
    }

    fn keyring(self) -> &'static str {
        match self {
            Self::Debian => "/usr/share/keyrings/debian-archive-keyring.gpg",
            Self::Ubuntu => "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
        }
    }

    /// How the paths of its archives end, by convention of its mirrors.
    fn archive_names(self) -> &'static [&'static str] {
        match self {
            Self::Debian => &["debian", "debian-security"],
            Self::Ubuntu => &["ubuntu", "ubuntu-ports"],
        }
    }
}

/// Which archive a file lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MirrorKind {
    /// The main archive; it also holds `-updates`.
    Main,
    /// The archive of security updates.
    Security,
}

impl MirrorKind {
    /// As it stands in a lock: `main` or `security`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Security => "security",
        }
    }
}

/// Where a distribution's archives are served. No key and no lock names any of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrors {
    /// Whose archives these are.
    pub distribution: Distribution,
    /// Base URLs of the main archive in order of preference; each ends in `/`.
    pub main: Vec<String>,
    /// Base URLs of the security archive; empty where apt knows none.
    pub security: Vec<String>,
    /// The keys that sign both.
    pub keyring: PathBuf,
}

/// One index that apt is configured to read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    uri: String,
    release: String,
    component: String,
    /// From the Release file; empty where apt has not fetched it yet.
    origin: String,
    label: String,
}

impl Mirrors {
    /// The mirrors that this machine's apt is configured with; repositories of others beside
    /// them are passed over. Reads apt's configuration, never changes it.
    pub fn of_host() -> Result<Self, AptError> {
        let mut query = Command::new("apt-get");
        query.args(["indextargets", "--format"]);
        query.arg("$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)|$(LABEL)");
        let targets: Vec<Target> = apt::output(&mut query)?.lines().filter_map(parse_target).collect();
        let mirrors = [Distribution::Debian, Distribution::Ubuntu]
            .into_iter()
            .map(|distribution| Self::among(distribution, &targets))
            .find(|mirrors| !mirrors.main.is_empty())
            .ok_or(AptError::NoMirror)?;
        match mirrors.keyring.exists() {
            true => mirrors.resolved(),
            false => Err(AptError::NoKeyring {
                path: mirrors.keyring,
                package: mirrors.distribution.keyring_package(),
            }),
        }
    }

    fn among(distribution: Distribution, targets: &[Target]) -> Self {
        let uris = |kind| {
            let mut uris: Vec<String> = Vec::new();
            for target in targets.iter().filter(|target| target.kind(distribution) == Some(kind)) {
                if !uris.contains(&target.uri) {
                    uris.push(target.uri.clone());
                }
            }
            uris
        };
        let keyring = distribution.keyring().into();
        Self { distribution, main: uris(MirrorKind::Main), security: uris(MirrorKind::Security), keyring }
    }

    /// Lists of mirrors (`mirror+file:`) replaced by what they list.
    fn resolved(mut self) -> Result<Self, AptError> {
        for uris in [&mut self.main, &mut self.security] {
            let resolved: Result<Vec<_>, _> = uris.iter().map(|uri| resolve_list(uri)).collect();
            *uris = resolved?.concat();
        }
        Ok(self)
    }

    /// The base URLs of one archive.
    pub fn of(&self, kind: MirrorKind) -> &[String] {
        match kind {
            MirrorKind::Main => &self.main,
            MirrorKind::Security => &self.security,
        }
    }

    /// The URLs of the file at `path` (relative, not encoded) in one archive.
    pub fn urls(&self, kind: MirrorKind, path: &str) -> Vec<String> {
        self.of(kind).iter().map(|base| format!("{base}{}", encode(path))).collect()
    }
}

impl Target {
    /// Which archive of `distribution` this is part of; `None` for somebody else's.
    fn kind(&self, distribution: Distribution) -> Option<MirrorKind> {
        let path = self.uri.trim_end_matches('/');
        let is_archive = match self.origin.as_str() {
            // Not fetched yet: then the conventions decide here, and the signature later.
            "" => distribution.archive_names().iter().any(|name| path.ends_with(&format!("/{name}"))),
            origin => origin == distribution.origin(),
        };
        let is_list = self.uri.starts_with("mirror") && self.origin.is_empty();
        let has_component = self.component == "main" && !self.release.contains("backports");
        let is_security = self.release.ends_with("-security")
            || self.release.ends_with("/updates")
            || self.label.ends_with("-Security");
        match ((is_archive || is_list) && has_component, is_security) {
            (false, _) => None,
            (true, false) => Some(MirrorKind::Main),
            (true, true) => Some(MirrorKind::Security),
        }
    }
}

fn parse_target(line: &str) -> Option<Target> {
    let mut fields = line.split('|').map(str::to_owned);
    let mut next = || fields.next();
    let (uri, release, component) = (next()?, next()?, next()?);
    let uri = if uri.ends_with('/') { uri } else { format!("{uri}/") };
    let usable = ["http:", "https:", "file:", "mirror+file:"].iter().any(|scheme| uri.starts_with(scheme));
    usable.then_some(Target { uri, release, component, origin: next()?, label: next()? })
}

/// `mirror+file:/path`: a file with one base URL on each line, options behind it (apt-transport-mirror(1)).
fn resolve_list(uri: &str) -> Result<Vec<String>, AptError> {
    let Some(path) = uri.strip_prefix("mirror+file:") else { return Ok(vec![uri.to_owned()]) };
    let path = Path::new(path.strip_prefix("//").unwrap_or(path).trim_end_matches('/'));
    let text = fs::read_to_string(path).map_err(StoreError::io("read", path))?;
    let urls = text.lines().filter_map(|line| line.split_whitespace().next());
    let urls = urls.filter(|url| !url.starts_with('#'));
    Ok(urls.map(|url| format!("{}/", url.trim_end_matches('/'))).collect())
}

/// Escapes what a URL's path cannot hold (RFC 3986, 3.3). `+` and `~` stay, as mirrors know
/// them in their plain form.
pub(super) fn encode(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~+:=@!$&'()*,;".contains(&byte);
    let mut url = String::with_capacity(path.len());
    for byte in path.bytes() {
        match plain(byte) {
            true => url.push(char::from(byte)),
            false => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrors(lines: &[&str]) -> Mirrors {
        let targets: Vec<Target> = lines.iter().filter_map(|line| parse_target(line)).collect();
        Mirrors::among(Distribution::Debian, &targets)
    }

    #[test]
    fn repositories_of_others_are_passed_over() {
        let found = mirrors(&[
            "https://node.example/deb/|nodistro|main|Node|Node",
            "https://php.example/php/|bookworm|main|deb.php.example|",
            "http://mirror.example/debian|bookworm|main|Debian|Debian",
            "http://mirror.example/debian/|bookworm-updates|main|Debian|Debian",
            "http://mirror.example/debian/|bookworm|contrib|Debian|Debian",
            "http://mirror.example/debian-security/|bookworm-security|main|Debian|Debian-Security",
            "cdrom:[Debian 12]/|bookworm|main|Debian|Debian",
        ]);
        assert_eq!(found.main, ["http://mirror.example/debian/"]);
        assert_eq!(found.security, ["http://mirror.example/debian-security/"]);
    }

    #[test]
    fn before_the_first_update_the_names_decide() {
        let found = mirrors(&[
            "https://docker.example/linux/debian/|bookworm|stable||",
            "https://php.example/php/|bookworm|main||",
            "http://mirror.example/debian/|bookworm|main||",
            "http://mirror.example/debian-security/|bookworm-security|main||",
        ]);
        assert_eq!(found.main, ["http://mirror.example/debian/"]);
        assert_eq!(found.security, ["http://mirror.example/debian-security/"]);
    }

    #[test]
    fn a_list_of_mirrors_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "# ours\nhttp://one.example/debian\tpriority:1\nhttp://two.example/debian/\n")
            .unwrap();
        let uri = format!("mirror+file:{}/", file.path().display());
        let urls = resolve_list(&uri).unwrap();
        assert_eq!(urls, ["http://one.example/debian/", "http://two.example/debian/"]);
    }

    #[test]
    fn paths_are_encoded_as_mirrors_know_them() {
        assert_eq!(encode("pool/g++_1%3a2~rc+1 x.deb"), "pool/g++_1%253a2~rc+1%20x.deb");
    }
}
