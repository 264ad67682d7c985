use std::fmt;
use std::str::FromStr;

use crate::package::PackageError;

/// The name of an rpm package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpmName(String);

impl FromStr for RpmName {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        let expected = "letters, digits and `+-._`, the first a letter or digit";
        checked(fits, "package name", text, expected).map(Self)
    }
}

impl fmt::Display for RpmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The architecture an rpm package is for, by rpm's own name, or `noarch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpmArchitecture(String);

/// Debian's name, rpm's, and what rpm calls its libraries (`%_isa`).
const ARCHITECTURES: [(&str, &str, &str); 8] = [
    ("amd64", "x86_64", "x86-64"),
    ("arm64", "aarch64", "aarch-64"),
    ("i386", "i686", "x86-32"),
    ("armhf", "armv7hl", "armv7hl-32"),
    ("ppc64el", "ppc64le", "ppc-64"),
    ("s390x", "s390x", "s390-64"),
    ("riscv64", "riscv64", "riscv-64"),
    ("loong64", "loongarch64", "loongarch-64"),
];

impl RpmArchitecture {
    /// rpm's name of what Debian calls `name`; one that is not known stays as it is.
    pub fn from_debian(name: &str) -> Result<Self, PackageError> {
        match ARCHITECTURES.iter().find(|(debian, ..)| *debian == name) {
            Some((_, rpm, _)) => Ok(Self((*rpm).to_owned())),
            None if name == "all" => Ok(Self("noarch".to_owned())),
            None => name.parse(),
        }
    }

    /// What capabilities are marked with that are for one architecture: `(x86-64)`.
    pub(super) fn isa(&self) -> Option<String> {
        let isa = ARCHITECTURES.iter().find(|(_, rpm, _)| *rpm == self.0).map(|(.., isa)| isa)?;
        Some(format!("({isa})"))
    }
}

impl FromStr for RpmArchitecture {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let fits = fits && text != "src" && text != "nosrc";
        checked(fits, "architecture", text, "one architecture such as `x86_64`, or `noarch`").map(Self)
    }
}

impl fmt::Display for RpmArchitecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of an rpm package: `[epoch:]version-release`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpmVersion {
    epoch: Option<u32>,
    version: String,
    release: String,
}

impl RpmVersion {
    /// A version of these parts. Version and release hold letters, digits and `.+_~^`.
    pub fn new(epoch: Option<u32>, version: &str, release: &str) -> Result<Self, PackageError> {
        let fits = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".+_~^".contains(c))
        };
        let expected = "letters, digits and `.+_~^`, and no `-`, which parts version and release";
        checked(fits(version), "version", version, expected)?;
        checked(fits(release), "release", release, expected)?;
        Ok(Self { epoch, version: version.to_owned(), release: release.to_owned() })
    }

    /// The number before the colon.
    pub fn epoch(&self) -> Option<u32> {
        self.epoch
    }

    /// The version of the packaged software.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The version of the packaging.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The version as file names have it: without the epoch.
    pub fn without_epoch(&self) -> String {
        format!("{}-{}", self.version, self.release)
    }
}

impl fmt::Display for RpmVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(epoch) = self.epoch {
            write!(f, "{epoch}:")?;
        }
        f.write_str(&self.without_epoch())
    }
}

fn checked(
    fits: bool,
    field: &'static str,
    value: &str,
    expected: &'static str,
) -> Result<String, PackageError> {
    match fits {
        true => Ok(value.to_owned()),
        false => Err(PackageError::Field { field, value: value.to_owned(), expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::rpm::testing::{run, tool};

    #[test]
    fn debian_s_names_of_architectures_become_those_of_rpm() {
        let rpm = |name: &str| RpmArchitecture::from_debian(name).unwrap().to_string();
        let names = ["amd64", "arm64", "all", "armhf", "mips64"].map(rpm);
        assert_eq!(names, ["x86_64", "aarch64", "noarch", "armv7hl", "mips64"]);
        for bad in ["", "linux-any", "a b", "src", "x/y"] {
            assert!(RpmArchitecture::from_debian(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rpm_marks_its_libraries_by_the_same_names() {
        for (_, rpm, isa) in ARCHITECTURES {
            // Debian's rpm has no settings for this one.
            if rpm == "loongarch64" || rpm == "armv7hl" {
                continue;
            }
            let told = run(tool("rpm", "rpm").args(["--target", rpm, "--eval", "%{?_isa}"]));
            assert_eq!(told.trim(), format!("({isa})"), "{rpm}");
        }
    }

    #[test]
    fn names_and_versions_that_rpm_refuses_are_refused() {
        for good in ["esl-erlang", "g++", "X_y.z", "7zip"] {
            assert_eq!(good.parse::<RpmName>().unwrap().to_string(), good);
        }
        for bad in ["", "-a", "a b", "a/b", "é", "a:b", "a(b)"] {
            assert!(bad.parse::<RpmName>().is_err(), "{bad}");
        }
        let version = RpmVersion::new(Some(1), "28.0~rc1", "1.el9").unwrap();
        assert_eq!(
            (version.to_string(), version.without_epoch()),
            ("1:28.0~rc1-1.el9".into(), "28.0~rc1-1.el9".into())
        );
        for (version, release) in
            [("28.0-rc1", "1"), ("", "1"), ("1", ""), ("1", "1-2"), ("1:2", "1"), ("1 ", "1")]
        {
            let error = RpmVersion::new(None, version, release).unwrap_err().to_string();
            assert!(error.contains("and no `-`"), "{error}");
        }
    }
}
