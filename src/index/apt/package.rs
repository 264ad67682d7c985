use super::stanza::{get, push_field};
use crate::digest::Digest;
use crate::index::IndexError;

/// A package as the index sees it: all of this is read from a `.deb` once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedPackage {
    /// Where it comes from (a node, a file), for messages; nothing of it is written.
    pub origin: String,
    /// The codenames of the suites it goes into.
    pub suites: Vec<String>,
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
    /// The value of a field of the control stanza.
    pub fn field(&self, name: &str) -> Option<&str> {
        get(&self.fields, name)
    }
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

/// A package whose fields were checked, so that they can stand in paths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked<'a> {
    pub package: &'a IndexedPackage,
    pub name: &'a str,
    pub version: &'a str,
    pub architecture: &'a str,
}

impl<'a> Checked<'a> {
    pub fn new(package: &'a IndexedPackage) -> Result<Self, IndexError> {
        let required = |field| {
            let missing = || IndexError::MissingField { origin: package.origin.clone(), field };
            package.field(field).ok_or_else(missing)
        };
        let checked = Self {
            package,
            name: required("Package")?,
            version: required("Version")?,
            architecture: required("Architecture")?,
        };
        checked.check()?;
        Ok(checked)
    }

    fn check(&self) -> Result<(), IndexError> {
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let field = |holds: bool, field, value: &str, rule| match holds {
            true => Ok(()),
            false => {
                let (origin, value) = (self.package.origin.clone(), value.to_owned());
                Err(IndexError::MalformedField { origin, field, value, rule })
            }
        };
        field(
            begins(self.name) && self.name.chars().all(|c| lower(c) || "+-.".contains(c)),
            "Package",
            self.name,
            "expected lower-case letters, digits, '+', '-' and '.' (Debian Policy 5.6.1)",
        )?;
        field(
            begins(self.version)
                && self.version.chars().all(|c| c.is_ascii_alphanumeric() || ".+~:-".contains(c)),
            "Version",
            self.version,
            "expected letters, digits, '.', '+', '~', ':' and '-' (Debian Policy 5.6.12)",
        )?;
        field(
            begins(self.architecture) && self.architecture.chars().all(|c| lower(c) || c == '-'),
            "Architecture",
            self.architecture,
            "expected one architecture of Debian, such as 'amd64' or 'all'",
        )?;
        let sha256 = &self.package.sha256;
        field(
            sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()),
            "SHA256",
            sha256,
            "expected 64 lower-case hexadecimal digits",
        )
    }

    /// Where the file is, below the repository's root.
    pub fn pool_path(&self, area: &str) -> String {
        pool_path(area, self.name, self.version, self.architecture)
    }

    /// Name, version and architecture, for messages.
    pub fn label(&self) -> String {
        format!("{} {} ({})", self.name, self.version, self.architecture)
    }

    /// `[section/]package`, as the Contents index names a package.
    pub fn contents_name(&self) -> String {
        match self.package.field("Section") {
            Some(section) => format!("{section}/{}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// Appends the stanza of the `Packages` index.
    pub fn push_stanza(&self, text: &mut String, filename: &str) {
        let (filename, size) = (filename.to_owned(), self.package.size.to_string());
        let sha256 = self.package.sha256.clone();
        let added = [("Filename", filename), ("Size", size), ("SHA256", sha256)];
        let own = self.package.fields.iter().map(|(field, value)| (field.as_str(), value.as_str()));
        let mut fields: Vec<(&str, &str)> = own.filter(|(field, _)| !is_in(&RESERVED, field)).collect();
        fields.extend(added.iter().map(|(field, value)| (*field, value.as_str())));
        fields.sort_by_key(|(field, _)| {
            FIELD_ORDER
                .iter()
                .position(|known| known.eq_ignore_ascii_case(field))
                .unwrap_or(FIELD_ORDER.len())
        });
        for (field, value) in fields {
            push_field(text, field, value.trim_end());
        }
        text.push('\n');
    }
}

/// `pool/<area>/<p>/<package>/<package>_<version without epoch>_<architecture>.deb`.
pub(super) fn pool_path(area: &str, name: &str, version: &str, architecture: &str) -> String {
    let prefix = match name.strip_prefix("lib").and_then(|rest| rest.chars().next()) {
        Some(next) => format!("lib{next}"),
        None => name.chars().take(1).collect(),
    };
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    format!("pool/{area}/{prefix}/{name}/{name}_{version}_{architecture}.deb")
}

fn is_in(names: &[&str], field: &str) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> IndexedPackage {
        let fields = [("Version", version), ("Architecture", "amd64"), ("Package", name)];
        IndexedPackage {
            origin: format!("{name}.deb"),
            suites: vec!["x".into()],
            fields: fields.map(|(field, value)| (field.into(), value.into())).into(),
            object: Digest::of(name.as_bytes()),
            size: 7,
            sha256: "0".repeat(64),
            paths: Vec::new(),
        }
    }

    fn path(name: &str, version: &str) -> String {
        Checked::new(&package(name, version)).unwrap().pool_path("main")
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
            let error = Checked::new(&package(name, version)).unwrap_err();
            assert!(matches!(error, IndexError::MalformedField { .. }), "{name} {version}: {error}");
        }
    }

    #[test]
    fn a_foreign_hash_or_status_in_the_control_data_is_not_repeated() {
        let mut package = package("a", "1");
        package.fields.push(("sha256".into(), "lie".into()));
        package.fields.push(("X-Own".into(), "mine".into()));
        let mut text = String::new();
        Checked::new(&package).unwrap().push_stanza(&mut text, "pool/a.deb");
        assert!(!text.contains("lie"), "{text}");
        assert!(
            text.starts_with("Package: a\nArchitecture: amd64\nVersion: 1\nFilename: pool/a.deb\n"),
            "{text}"
        );
        assert!(text.ends_with("X-Own: mine\n\n"), "{text}");
    }
}
