use std::collections::{BTreeMap, BTreeSet};

use super::{RpmArchitecture, RpmDependency, RpmName, RpmRelation, RpmVersion};
use crate::digest::{Describe, Visitor};
use crate::package::describe::describe_list;
use crate::package::{Compression, MaintainerScript, PackageError};

/// Raised whenever the same description would give other bytes, also where a new release of a
/// compressor or of the crate `rpm` does it. A test holds the bytes of one package against it.
pub(super) const FORMAT: &str = "2";

/// One binary package of rpm, all but its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rpm {
    /// The package's name.
    pub name: RpmName,
    /// Its version.
    pub version: RpmVersion,
    /// What it runs on.
    pub architecture: RpmArchitecture,
    /// Who answers for it, `Name <address@host>`.
    pub packager: String,
    /// Who distributes it.
    pub vendor: Option<String>,
    /// Under which terms it may be used, an SPDX expression.
    pub license: String,
    /// The group of packages it belongs to.
    pub group: Option<String>,
    /// The web page of what is packaged.
    pub homepage: Option<String>,
    /// One line.
    pub summary: String,
    /// The long description; the summary stands for an empty one.
    pub description: String,
    /// Relations to others. What the distribution's generator finds comes to these, see
    /// [`Rpm::generated`].
    pub relations: BTreeMap<RpmRelation, Vec<RpmDependency>>,
    /// The relations that what the generator finds to be required is added to.
    pub generated: BTreeSet<RpmRelation>,
    /// Scriptlets, each with its `#!` line.
    pub scripts: BTreeMap<MaintainerScript, String>,
    /// Absolute paths of payload files that belong to the administrator once installed:
    /// `%config(noreplace)`.
    pub conffiles: Vec<String>,
    /// What changed in this version: lines, each item after a `-` or `*`; plain text becomes one item.
    pub changelog: String,
    /// The text of `/usr/share/licenses/<name>/copyright`, if there is to be one.
    pub copyright: Option<String>,
    /// How the payload is compressed.
    pub compression: Compression,
    /// Every time in the package, in seconds since 1970.
    pub source_date_epoch: u64,
}

impl Rpm {
    /// `name-version-release.arch.rpm`, the version without its epoch.
    pub fn file_name(&self) -> String {
        format!("{}-{}.{}.rpm", self.name, self.version.without_epoch(), self.architecture)
    }
}

impl Describe for Rpm {
    fn describe(&self, visitor: &mut dyn Visitor) {
        visitor.field("rpm writer", FORMAT);
        visitor.field("name", &self.name.to_string());
        visitor.field("version", &self.version.to_string());
        visitor.field("architecture", &self.architecture.to_string());
        visitor.field("packager", &self.packager);
        visitor.field("license", &self.license);
        for (name, text) in [("vendor", &self.vendor), ("group", &self.group), ("homepage", &self.homepage)] {
            text.iter().for_each(|text| visitor.field(name, text));
        }
        visitor.field("summary", &self.summary);
        visitor.field("description", &self.description);
        for (relation, dependencies) in &self.relations {
            let of = |dependency: &RpmDependency| match dependency.pre {
                true => format!("{dependency} (before it is installed)"),
                false => dependency.to_string(),
            };
            describe_list(visitor, relation.name(), &dependencies.iter().map(of).collect::<Vec<_>>());
        }
        let generated: Vec<String> = self.generated.iter().map(RpmRelation::to_string).collect();
        describe_list(visitor, "generated", &generated);
        for (script, text) in &self.scripts {
            visitor.field(script.file_name(), text);
        }
        describe_list(visitor, "conffiles", &self.conffiles);
        visitor.field("changelog", &self.changelog);
        self.copyright.iter().for_each(|text| visitor.field("copyright", text));
        visitor.field("compression", &self.compression.to_string());
        visitor.field("source date epoch", &self.source_date_epoch.to_string());
    }
}

/// What the distribution's own generator found in a payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RpmGenerated {
    requires: Vec<RpmDependency>,
    provides: Vec<RpmDependency>,
}

impl RpmGenerated {
    /// Reads what `rpmdeps --requires` and `rpmdeps --provides` print.
    pub fn parse(requires: &str, provides: &str) -> Result<Self, PackageError> {
        Ok(Self { requires: lines(requires, "Requires")?, provides: lines(provides, "Provides")? })
    }

    /// What the payload needs.
    pub fn requires(&self) -> &[RpmDependency] {
        &self.requires
    }

    /// What others find in it.
    pub fn provides(&self) -> &[RpmDependency] {
        &self.provides
    }
}

fn lines(text: &str, field: &'static str) -> Result<Vec<RpmDependency>, PackageError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            RpmDependency::from_line(line).ok_or_else(|| PackageError::Relation {
                field,
                clause: line.to_owned(),
                reason: "expected a line of rpmdeps: `name` or `name operator version`".to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{changes, fields_of, key_of};
    use crate::package::rpm::testing::package;

    #[test]
    fn the_file_name_has_no_epoch() {
        assert_eq!(package().file_name(), "forge-sample-1.2.3-2.el9.noarch.rpm");
    }

    #[test]
    fn every_field_is_in_the_key() {
        let base = || Rpm { homepage: None, ..package() };
        let list = || vec!["x".to_owned()];
        let dependency = RpmDependency::of("x".into());
        let pre = RpmDependency { pre: true, ..dependency.clone() };
        let requires = |dependency| BTreeMap::from([(RpmRelation::Requires, vec![dependency])]);
        let others = [
            Rpm { name: "other".parse().unwrap(), ..base() },
            Rpm { version: RpmVersion::new(None, "9", "9").unwrap(), ..base() },
            Rpm { architecture: "riscv64".parse().unwrap(), ..base() },
            Rpm { packager: "x".into(), ..base() },
            Rpm { vendor: Some("x".into()), ..base() },
            Rpm { license: "x".into(), ..base() },
            Rpm { group: Some("x".into()), ..base() },
            Rpm { homepage: Some("x".into()), ..base() },
            Rpm { summary: "x".into(), ..base() },
            Rpm { description: "x".into(), ..base() },
            Rpm { relations: requires(dependency), ..base() },
            Rpm { relations: requires(pre), ..base() },
            Rpm { generated: BTreeSet::from([RpmRelation::Requires]), ..base() },
            Rpm { scripts: BTreeMap::from([(MaintainerScript::PreRm, "x".into())]), ..base() },
            Rpm { conffiles: list(), ..base() },
            Rpm { changelog: "x".into(), ..base() },
            Rpm { copyright: Some("x".into()), ..base() },
            Rpm { compression: Compression::Zstd { level: 1 }, ..base() },
            Rpm { source_date_epoch: 1, ..base() },
        ];
        let keys: BTreeSet<_> = others.iter().chain([&base()]).map(|rpm| key_of(rpm)).collect();
        assert_eq!(keys.len(), others.len() + 1, "each has a key of its own");
        for other in &others {
            assert!(!changes(&fields_of(&base()), &fields_of(other)).is_empty());
        }
    }

    #[test]
    fn lines_of_generators_are_read() {
        let requires = "libc.so.6(GLIBC_2.34)(64bit)\n\nperl(A) >= 2\n(a or b >= 3)\n";
        let generated = RpmGenerated::parse(requires, "pkgconfig(x) = 3\n").unwrap();
        let told: Vec<String> = generated.requires().iter().map(RpmDependency::to_string).collect();
        assert_eq!(told, ["libc.so.6(GLIBC_2.34)(64bit)", "perl(A) >= 2", "(a or b >= 3)"]);
        for bad in ["a b", "a ~ 2", "a >= 2 3"] {
            let error = RpmGenerated::parse(bad, "").unwrap_err().to_string();
            assert!(error.starts_with(&format!("Requires: '{bad}'")), "{error}");
        }
    }
}
