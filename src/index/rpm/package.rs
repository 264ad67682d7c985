use crate::digest::Digest;
use crate::index::record::{Entered, Recorded};
use crate::index::{CatalogEntry, IndexError, Label, Member, Record};
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

impl IndexedRpm {
    /// Its entry, and its record.
    pub(in crate::index) fn enter(self) -> Result<Entered, IndexError> {
        let Self { origin, object, info } = self;
        let bytes = info.to_bytes()?;
        let RpmInfo { name, epoch, version, release, architecture, size, sha256, .. } = &info;
        let epoch = epoch.filter(|epoch| *epoch > 0).map(|epoch| format!("{epoch}:"));
        let version = format!("{}{version}-{release}", epoch.unwrap_or_default());
        let (name, architecture) = (name.clone(), architecture.clone());
        let label = Label { suite: String::new(), name, version, architecture };
        let (size, sha256) = (*size, sha256.clone());
        let entry = CatalogEntry { label, size, sha256, object, record: Digest::of(&bytes) };
        Checked::new(Member { entry: &entry, record: None, origin: Some(&origin) })?;
        Ok(Entered { entry, record: Record::Rpm(Box::new(info)), bytes })
    }
}

/// A package whose name, version and architecture were checked, so that they can stand in paths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked<'a>(Member<'a>);

impl<'a> Checked<'a> {
    pub fn new(member: Member<'a>) -> Result<Self, IndexError> {
        let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let all =
            |text: &str, others: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c));
        let field = |holds: bool, field, value: &str, rule| match holds {
            true => Ok(()),
            false => {
                let (origin, value) = (member.origin(), value.to_owned());
                Err(IndexError::MalformedField { origin, field, value, rule })
            }
        };
        let Label { name, version, architecture, .. } = &member.entry.label;
        let evr = version.split_once(':').map_or(version.as_str(), |(_, rest)| rest);
        let (version, release) = evr.split_once('-').unwrap_or((evr, ""));
        let named = "expected ASCII letters, digits, '.', '_', '+' and '-'";
        let rule = "expected ASCII letters, digits, '.', '_', '+', '~' and '^'";
        field(begins(name) && all(name, "._+-"), "Name", name, named)?;
        field(begins(version) && all(version, "._+~^"), "Version", version, rule)?;
        field(begins(release) && all(release, "._+~^"), "Release", release, rule)?;
        let rule = "expected one architecture of rpm, such as 'x86_64' or 'noarch'";
        field(begins(architecture) && all(architecture, "_"), "Arch", architecture, rule)?;
        Ok(Self(member))
    }

    pub fn member(&self) -> Member<'a> {
        self.0
    }

    pub fn entry(&self) -> &'a CatalogEntry {
        self.0.entry
    }

    pub fn label(&self) -> &'a Label {
        &self.entry().label
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
