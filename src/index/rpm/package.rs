use crate::digest::Digest;
use crate::index::{IndexError, Label};
use crate::package::RpmInfo;

/// A package as the index sees it: all of this is read from an `.rpm` once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedRpm {
    /// Where it comes from (a node, a file), for messages; nothing of it is written.
    pub origin: String,
    /// The `.rpm` in the store.
    pub object: Digest,
    /// What its header says.
    pub info: RpmInfo,
}

/// A package whose name, version and architecture were checked, so that they can stand in paths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked<'a> {
    pub origin: &'a str,
    pub object: Digest,
    pub info: &'a RpmInfo,
}

impl<'a> Checked<'a> {
    pub fn new(package: &'a IndexedRpm) -> Result<Self, IndexError> {
        let info = &package.info;
        let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let all =
            |text: &str, others: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c));
        let field = |holds: bool, field, value: &str, rule| match holds {
            true => Ok(()),
            false => {
                let (origin, value) = (package.origin.clone(), value.to_owned());
                Err(IndexError::MalformedField { origin, field, value, rule })
            }
        };
        let named = "expected ASCII letters, digits, '.', '_', '+' and '-'";
        let version = "expected ASCII letters, digits, '.', '_', '+', '~' and '^'";
        field(begins(&info.name) && all(&info.name, "._+-"), "Name", &info.name, named)?;
        field(begins(&info.version) && all(&info.version, "._+~^"), "Version", &info.version, version)?;
        field(begins(&info.release) && all(&info.release, "._+~^"), "Release", &info.release, version)?;
        let architecture = &info.architecture;
        let rule = "expected one architecture of rpm, such as 'x86_64' or 'noarch'";
        field(begins(architecture) && all(architecture, "_"), "Arch", architecture, rule)?;
        Ok(Self { origin: &package.origin, object: package.object, info })
    }

    /// What names it to clients.
    pub fn label(&self) -> Label {
        let RpmInfo { name, epoch, version, release, architecture, .. } = self.info;
        let epoch = epoch.filter(|epoch| *epoch > 0).map(|epoch| format!("{epoch}:"));
        Label {
            suite: String::new(),
            name: name.clone(),
            version: format!("{}{version}-{release}", epoch.unwrap_or_default()),
            architecture: architecture.clone(),
        }
    }

    /// Where its file is, below the repository's root.
    pub fn path(&self) -> String {
        path(&self.label())
    }

    /// `epoch:version-release`, for comparing.
    pub fn evr(&self) -> String {
        format!("{}:{}-{}", self.epoch(), self.info.version, self.info.release)
    }

    /// An absent epoch is 0 in an index.
    pub fn epoch(&self) -> String {
        self.info.epoch.unwrap_or(0).to_string()
    }
}

/// `packages/<p>/<name>-<version>-<release>.<architecture>.rpm`, below the repository's root. The
/// epoch is not in it, as in the names that rpmbuild gives.
pub fn path(label: &Label) -> String {
    let Label { name, version, architecture, .. } = label;
    let version = version.split_once(':').map_or(version.as_str(), |(_, rest)| rest);
    let first: String = name.chars().take(1).map(|c| c.to_ascii_lowercase()).collect();
    format!("packages/{first}/{name}-{version}.{architecture}.rpm")
}
