use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use super::stanza::{get, push_field};
use crate::digest::Digest;
use crate::index::record::{self, Entered, Recorded};
use crate::index::{CatalogEntry, IndexError, Label, Member};
use crate::package::DebInfo;

/// A package as the index sees it: all of this is read from a `.deb` once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedPackage {
    /// Where it comes from (a node, a file), for messages; nothing of it is written.
    pub origin: String,
    /// The codename of the suite it goes into.
    pub suite: String,
    /// The control stanza, in its own order. A value is what stands after the colon; its further
    /// lines keep the space they begin with.
    pub fields: Vec<(String, String)>,
    /// The `.deb` in the store.
    pub object: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA256, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// The files it installs (no directories), with or without a leading `/` or `./`; only
    /// the Contents index needs them.
    pub paths: Vec<String>,
}

impl IndexedPackage {
    pub(in crate::index) fn new(info: DebInfo, object: Digest, suite: String, origin: String) -> Self {
        let DebInfo { fields, size, sha256, paths, .. } = info;
        let paths = paths.iter().map(|path| path.display().to_string()).collect();
        Self { origin, suite, fields, object, size, sha256, paths }
    }

    /// Its entry, and its record.
    pub(in crate::index) fn enter(self) -> Result<Entered, IndexError> {
        let Self { origin, suite, fields, object, size, sha256, paths } = self;
        let label = label(suite, &fields, &origin)?;
        let record = Record { fields, paths };
        let bytes = record.to_bytes()?;
        let entry = CatalogEntry { label, size, sha256, object, record: Digest::of(&bytes) };
        Checked::new(Member { entry: &entry, record: None, origin: Some(&origin) })?;
        Ok(Entered { entry, record: record::Record::Deb(record), bytes })
    }
}

fn label(suite: String, fields: &[(String, String)], origin: &str) -> Result<Label, IndexError> {
    let required = |field| match get(fields, field) {
        Some(value) => Ok(value.to_owned()),
        None => Err(IndexError::MissingField { origin: origin.to_owned(), field }),
    };
    let (name, version) = (required("Package")?, required("Version")?);
    Ok(Label { suite, name, version, architecture: required("Architecture")? })
}

/// What an index says of a package beside its entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    fields: Vec<(String, String)>,
    paths: Vec<String>,
}

impl Record {
    /// `path<TAB>[section/]package` for each file, sorted, as the Contents index names files and packages.
    pub(super) fn owned(&self, name: &str) -> Vec<String> {
        let owner = match get(&self.fields, "Section") {
            Some(section) => format!("{section}/{name}"),
            None => name.to_owned(),
        };
        let path = |path: &String| path.trim_start_matches("./").trim_start_matches('/').to_owned();
        self.paths.iter().map(|one| format!("{}\t{owner}\n", path(one))).collect()
    }

    /// Appends the stanza of the `Packages` index.
    pub(super) fn push_stanza(&self, text: &mut String, entry: &CatalogEntry, filename: &str) {
        let size = entry.size.to_string();
        let added = [("Filename", filename), ("Size", &size), ("SHA256", &entry.sha256)];
        let own = self.fields.iter().map(|(field, value)| (field.as_str(), value.as_str()));
        let own = own.filter(|(field, _)| !is_in(&RESERVED, field));
        let mut fields: Vec<_> =
            own.chain(added).map(|(field, value)| (place(field), field, value)).collect();
        fields.sort_by_key(|(place, ..)| *place);
        for (_, field, value) in fields {
            push_field(text, field, value.trim_end());
        }
        text.push('\n');
    }
}

fn place(field: &str) -> usize {
    let known = FIELD_ORDER.iter().position(|known| known.eq_ignore_ascii_case(field));
    known.unwrap_or(FIELD_ORDER.len())
}

/// The order of `apt-ftparchive packages` (apt 2.6); what is not listed comes last, in the
/// order of the control stanza.
const FIELD_ORDER: [&str; 41] = [
    "Package",
    "Package-Type",
    "Architecture",
    "Subarchitecture",
    "Version",
    "Kernel-Version",
    "Built-Using",
    "Static-Built-Using",
    "Built-For-Profiles",
    "Auto-Built-Package",
    "Multi-Arch",
    "Priority",
    "Build-Essential",
    "Protected",
    "Important",
    "Essential",
    "Installer-Menu-Item",
    "Section",
    "Source",
    "Origin",
    "Phased-Update-Percentage",
    "Maintainer",
    "Original-Maintainer",
    "Bugs",
    "Installed-Size",
    "Provides",
    "Pre-Depends",
    "Depends",
    "Recommends",
    "Suggests",
    "Conflicts",
    "Breaks",
    "Replaces",
    "Enhances",
    "Filename",
    "Size",
    "SHA256",
    "Homepage",
    "Description",
    "Tag",
    "Task",
];

/// Not in the control data of a package: the index adds them, or apt would take them for its own.
const RESERVED: [&str; 7] = ["Filename", "Size", "MD5sum", "SHA1", "SHA256", "SHA512", "Status"];

/// A package whose name, version and architecture were checked, so that they can stand in paths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked<'a>(Member<'a>);

impl<'a> Checked<'a> {
    pub fn new(member: Member<'a>) -> Result<Self, IndexError> {
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let field = |holds: bool, field, value: &str, rule| match holds {
            true => Ok(()),
            false => {
                let (origin, value) = (member.origin(), value.to_owned());
                Err(IndexError::MalformedField { origin, field, value, rule })
            }
        };
        let Label { name, version, architecture, .. } = &member.entry.label;
        field(
            begins(name) && name.bytes().all(|byte| lower(byte) || matches!(byte, b'+' | b'-' | b'.')),
            "Package",
            name,
            "expected lower-case letters, digits, '+', '-' and '.' (Debian Policy 5.6.1)",
        )?;
        field(
            begins(version)
                && version.bytes().all(|byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'~' | b':' | b'-')
                }),
            "Version",
            version,
            "expected letters, digits, '.', '+', '~', ':' and '-' (Debian Policy 5.6.12)",
        )?;
        field(
            begins(architecture) && architecture.bytes().all(|byte| lower(byte) || byte == b'-'),
            "Architecture",
            architecture,
            "expected one architecture of Debian, such as 'amd64' or 'all'",
        )?;
        let sha256 = &member.entry.sha256;
        field(
            sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
            "SHA256",
            sha256,
            "expected 64 lower-case hexadecimal digits",
        )?;
        Ok(Self(member))
    }

    pub fn member(&self) -> Member<'a> {
        self.0
    }

    pub fn label(&self) -> &'a Label {
        &self.0.entry.label
    }

    /// What is in it, by its digest.
    pub fn sha256(&self) -> &'a str {
        &self.0.entry.sha256
    }

    pub fn origin(&self) -> String {
        self.0.origin()
    }

    /// Where the file is, below the repository's root.
    pub fn pool_path(&self, area: Area<'a>) -> PoolPath<'a> {
        PoolPath { area, label: self.label() }
    }
}

/// Name, version and architecture, for messages.
pub(super) fn told(label: &Label) -> String {
    format!("{} {} ({})", label.name, label.version, label.architecture)
}

/// A part of the pool: `[<codename>/]<component>`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area<'a> {
    /// Where each suite has its own.
    pub codename: Option<&'a str>,
    pub component: &'a str,
}

impl fmt::Display for Area<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(codename) = self.codename {
            write!(f, "{codename}/")?;
        }
        f.write_str(self.component)
    }
}

/// Where the file of a package is, below the repository's root:
/// `pool/<area>/<p>/<package>/<package>_<version without epoch>_<architecture>.deb`.
#[derive(Clone, Copy, Debug)]
pub struct PoolPath<'a> {
    pub(super) area: Area<'a>,
    pub(super) label: &'a Label,
}

impl fmt::Display for PoolPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { area, label: Label { name, version, architecture, .. } } = self;
        let first = |text: &str| text.chars().next().map_or(0, char::len_utf8);
        let prefix = match name.strip_prefix("lib").map(first) {
            Some(next) if next > 0 => 3 + next,
            _ => first(name),
        };
        let (prefix, version) =
            (&name[..prefix], version.split_once(':').map_or(version.as_str(), |(_, rest)| rest));
        write!(f, "pool/{area}/{prefix}/{name}/{name}_{version}_{architecture}.deb")
    }
}

impl PartialEq<str> for PoolPath<'_> {
    fn eq(&self, path: &str) -> bool {
        struct Rest<'a>(&'a str);

        impl fmt::Write for Rest<'_> {
            fn write_str(&mut self, shown: &str) -> fmt::Result {
                self.0 = self.0.strip_prefix(shown).ok_or(fmt::Error)?;
                Ok(())
            }
        }

        let mut rest = Rest(path);
        write!(rest, "{self}").is_ok() && rest.0.is_empty()
    }
}

fn is_in(names: &[&str], field: &str) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, version: &str) -> CatalogEntry {
        let (name, version, architecture) = (name.to_owned(), version.to_owned(), "amd64".to_owned());
        let label = Label { suite: "x".to_owned(), name, version, architecture };
        let object = Digest::of(b"");
        CatalogEntry { label, size: 7, sha256: "0".repeat(64), object, record: object }
    }

    fn path(name: &str, version: &str) -> String {
        let (entry, area) = (entry(name, version), Area { codename: None, component: "main" });
        let path =
            Checked::new(Member { entry: &entry, record: None, origin: None }).unwrap().pool_path(area);
        let text = path.to_string();
        assert!(path == *text && path != text[1..] && path != text[..text.len() - 1], "{text}");
        assert!(path != *format!("{text}x") && path != *text.replace("main", "mean"), "{text}");
        text
    }

    #[test]
    fn pool_paths_have_the_lib_prefix_and_no_epoch() {
        assert_eq!(path("hello", "1:27.3-1"), "pool/main/h/hello/hello_27.3-1_amd64.deb");
        assert_eq!(path("libssl", "1"), "pool/main/libs/libssl/libssl_1_amd64.deb");
        assert_eq!(path("lib", "1"), "pool/main/l/lib/lib_1_amd64.deb");
    }

    #[test]
    fn what_could_leave_the_pool_is_refused_by_name() {
        for (name, version) in [("../x", "1"), ("a", "1/../../x"), ("A", "1"), ("a", ""), ("", "1")] {
            let error =
                Checked::new(Member { entry: &entry(name, version), record: None, origin: Some("x.deb") })
                    .unwrap_err();
            assert!(
                matches!(&error, IndexError::MalformedField { origin, .. } if origin == "x.deb"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_foreign_hash_or_status_in_the_control_data_is_not_repeated() {
        let fields = [
            ("Version", "1"),
            ("Architecture", "amd64"),
            ("Package", "a"),
            ("sha256", "lie"),
            ("X-Own", "mine"),
        ];
        let fields = fields.map(|(field, value)| (field.to_owned(), value.to_owned())).into();
        let record = Record { fields, paths: Vec::new() };
        let mut text = String::new();
        record.push_stanza(&mut text, &entry("a", "1"), "pool/a.deb");
        assert!(!text.contains("lie"), "{text}");
        assert!(
            text.starts_with("Package: a\nArchitecture: amd64\nVersion: 1\nFilename: pool/a.deb\n"),
            "{text}"
        );
        assert!(text.ends_with("X-Own: mine\n\n"), "{text}");
    }
}
