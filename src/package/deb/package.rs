use std::collections::BTreeMap;
use std::fmt;

use super::{Architecture, DebVersion, PackageName, Relation};
use crate::digest::{Describe, Visitor};
use crate::package::describe::describe_list;
use crate::package::{Compression, MaintainerScript};

/// Raised whenever the same description would give other bytes, also where a new release of a
/// compressor does it. A test holds the bytes of one package against it.
const FORMAT: &str = "2";

/// One Debian binary package, all but its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deb {
    /// The package's name.
    pub name: PackageName,
    /// Its version; without a revision it is a native package.
    pub version: DebVersion,
    /// What it runs on.
    pub architecture: Architecture,
    /// Who answers for it, `Name <address@host>`.
    pub maintainer: String,
    /// Its section of the archive, `devel` or `area/devel`.
    pub section: String,
    /// How much a system needs it.
    pub priority: Priority,
    /// The web page of what is packaged.
    pub homepage: Option<String>,
    /// The synopsis, one line.
    pub summary: String,
    /// The long description: plain lines, paragraphs parted by blank ones; a line that begins
    /// with a space is shown as it is. May be empty.
    pub description: String,
    /// Clauses by relation, each `name (>= version) | other`, with `${…}` in them;
    /// `${binary:Version}` is always defined.
    pub relations: BTreeMap<Relation, Vec<String>>,
    /// The scripts dpkg runs, each with its `#!` line.
    pub scripts: BTreeMap<MaintainerScript, String>,
    /// Absolute paths of payload files that belong to the administrator once installed.
    pub conffiles: Vec<String>,
    /// Directives of deb-triggers(5), such as `interest-noawait /usr/lib/x`.
    pub triggers: Vec<String>,
    /// What changed in this version: lines, each item after a `*`; plain text becomes one item.
    pub changelog: String,
    /// The text of `/usr/share/doc/<name>/copyright`.
    pub copyright: String,
    /// Lines of `/usr/share/lintian/overrides/<name>`, with `# reason` lines among them.
    pub lintian_overrides: Vec<String>,
    /// How both archives inside are compressed.
    pub compression: Compression,
    /// Every time in the package, in seconds since 1970.
    pub source_date_epoch: u64,
}

impl Deb {
    /// `name_version_arch.deb`, the version without its epoch.
    pub fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.without_epoch(), self.architecture)
    }
}

impl Describe for Deb {
    fn describe(&self, visitor: &mut dyn Visitor) {
        visitor.field("deb writer", FORMAT);
        visitor.field("name", &self.name.to_string());
        visitor.field("version", &self.version.to_string());
        visitor.field("architecture", &self.architecture.to_string());
        visitor.field("maintainer", &self.maintainer);
        visitor.field("section", &self.section);
        visitor.field("priority", &self.priority.to_string());
        if let Some(homepage) = &self.homepage {
            visitor.field("homepage", homepage);
        }
        visitor.field("summary", &self.summary);
        visitor.field("description", &self.description);
        for (relation, clauses) in &self.relations {
            describe_list(visitor, relation.field(), clauses);
        }
        for (script, text) in &self.scripts {
            visitor.field(script.file_name(), text);
        }
        describe_list(visitor, "conffiles", &self.conffiles);
        describe_list(visitor, "triggers", &self.triggers);
        visitor.field("changelog", &self.changelog);
        visitor.field("copyright", &self.copyright);
        describe_list(visitor, "lintian overrides", &self.lintian_overrides);
        visitor.field("compression", &self.compression.to_string());
        visitor.field("source date epoch", &self.source_date_epoch.to_string());
    }
}

/// How much a system needs a package (Debian policy 2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Priority {
    Required,
    Important,
    Standard,
    #[default]
    Optional,
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Required => "required",
            Self::Important => "important",
            Self::Standard => "standard",
            Self::Optional => "optional",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{changes, fields_of, key_of};
    use crate::package::deb::testing::deb;

    #[test]
    fn the_file_name_has_no_epoch() {
        let deb = Deb { version: "1:2.0-3".parse().unwrap(), ..deb() };
        assert_eq!(deb.file_name(), "forge-sample_2.0-3_all.deb");
    }

    #[test]
    fn every_field_is_in_the_key() {
        let base = || Deb { homepage: None, ..deb() };
        let list = || vec!["x".to_owned()];
        let others = [
            Deb { name: "other".parse().unwrap(), ..base() },
            Deb { version: "9-9".parse().unwrap(), ..base() },
            Deb { architecture: "riscv64".parse().unwrap(), ..base() },
            Deb { maintainer: "x".into(), ..base() },
            Deb { section: "x".into(), ..base() },
            Deb { priority: Priority::Required, ..base() },
            Deb { homepage: Some("x".into()), ..base() },
            Deb { summary: "x".into(), ..base() },
            Deb { description: "x".into(), ..base() },
            Deb { relations: BTreeMap::from([(Relation::Breaks, list())]), ..base() },
            Deb { scripts: BTreeMap::from([(MaintainerScript::PreRm, "x".into())]), ..base() },
            Deb { conffiles: list(), ..base() },
            Deb { triggers: list(), ..base() },
            Deb { changelog: "x".into(), ..base() },
            Deb { copyright: "x".into(), ..base() },
            Deb { lintian_overrides: list(), ..base() },
            Deb { compression: Compression::Zstd { level: 1 }, ..base() },
            Deb { source_date_epoch: 1, ..base() },
        ];
        for other in others {
            assert_ne!(key_of(&other), key_of(&base()), "{other:?}");
            assert!(!changes(&fields_of(&base()), &fields_of(&other)).is_empty());
        }
        assert_eq!(key_of(&base()), key_of(&base()));
    }
}
