use std::fmt;
use std::str::FromStr;

use crate::package::PackageError;

/// A Debian package version, `[epoch:]upstream[-revision]` (Debian policy 5.6.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebVersion {
    epoch: Option<u32>,
    upstream: String,
    revision: Option<String>,
}

impl DebVersion {
    /// A version of these parts. The upstream version starts with a digit and holds letters,
    /// digits, `.`, `+`, `~`, and, if there is a revision, `-`; the revision holds the same
    /// without `-`. An epoch is at most 2147483647, as dpkg keeps it in a C `int`.
    pub fn new(epoch: Option<u32>, upstream: &str, revision: Option<&str>) -> Result<Self, PackageError> {
        let version = Self { epoch, upstream: upstream.to_owned(), revision: revision.map(str::to_owned) };
        match version.fault() {
            None => Ok(version),
            Some(expected) => {
                Err(PackageError::Field { field: "version", value: version.to_string(), expected })
            }
        }
    }

    /// The number before the colon.
    pub fn epoch(&self) -> Option<u32> {
        self.epoch
    }

    /// The version of the packaged software.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// The version of the packaging; none for a native package.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The version as file names have it: without the epoch.
    pub fn without_epoch(&self) -> String {
        match &self.revision {
            Some(revision) => format!("{}-{revision}", self.upstream),
            None => self.upstream.clone(),
        }
    }

    fn fault(&self) -> Option<&'static str> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".+~".contains(c);
        let hyphen = self.revision.is_some();
        if self.epoch.is_some_and(|epoch| epoch > i32::MAX as u32) {
            Some("an epoch of at most 2147483647")
        } else if !self.upstream.starts_with(|c: char| c.is_ascii_digit()) {
            Some("an upstream version that starts with a digit")
        } else if !self.upstream.chars().all(|c| plain(c) || (hyphen && c == '-')) {
            Some("letters, digits and `.+~` in the upstream version (`-` only if a revision follows)")
        } else if self.revision.as_ref().is_some_and(|r| r.is_empty() || !r.chars().all(plain)) {
            Some("letters, digits and `.+~` in the revision, the part after the last hyphen")
        } else {
            None
        }
    }
}

impl FromStr for DebVersion {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (Some(parse_epoch(epoch, text)?), rest),
            None => (None, text),
        };
        match rest.rsplit_once('-') {
            Some((upstream, revision)) => Self::new(epoch, upstream, Some(revision)),
            None => Self::new(epoch, rest, None),
        }
    }
}

/// `u32::from_str` would take a sign.
fn parse_epoch(epoch: &str, version: &str) -> Result<u32, PackageError> {
    Some(epoch)
        .filter(|epoch| epoch.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|e| e.parse().ok())
        .ok_or_else(|| PackageError::Field {
            field: "version",
            value: version.to_owned(),
            expected: "a whole number before the colon (the epoch)",
        })
}

impl fmt::Display for DebVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(epoch) = self.epoch {
            write!(f, "{epoch}:")?;
        }
        f.write_str(&self.without_epoch())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::deb::testing::tool;

    const GOOD: [&str; 9] = [
        "1",
        "27.3.4.1",
        "1:27.3.4.1-1",
        "0:1.0~rc1-1~bpo12+1",
        "2.0-rc.1-1",
        "1.18.3+dfsg-0.1",
        "2147483647:1",
        "1A-a",
        "1~-1",
    ];
    const BAD: [&str; 13] =
        ["", "a1", "1 2", "1_2", "-1", "1-", ":1", "x:1", "+1:1", "2147483648:1", "1-1_2", "1:2:3-é", "1\n2"];

    #[test]
    fn text_round_trips() {
        for text in GOOD {
            assert_eq!(text.parse::<DebVersion>().unwrap().to_string(), text);
        }
        let version: DebVersion = "1:2.0-rc.1-1".parse().unwrap();
        assert_eq!(
            (version.epoch(), version.upstream(), version.revision()),
            (Some(1), "2.0-rc.1", Some("1"))
        );
        assert_eq!(version.without_epoch(), "2.0-rc.1-1");
    }

    #[test]
    fn dpkg_takes_what_is_taken_and_refuses_what_is_refused() {
        let dpkg = |text: &str| tool("dpkg", "dpkg").args(["--validate-version", text]).output().unwrap();
        for text in GOOD {
            assert!(dpkg(text).status.success(), "{text}");
            let same = tool("dpkg", "dpkg").args(["--compare-versions", text, "eq", text]).status().unwrap();
            assert!(same.success(), "{text}");
        }
        for text in BAD {
            assert!(text.parse::<DebVersion>().is_err(), "{text}");
            // dpkg reads the sign of an epoch; nobody writes it.
            if text != "+1:1" {
                assert!(!dpkg(text).status.success(), "{text}");
            }
        }
    }

    #[test]
    fn a_hyphen_needs_a_revision_after_it() {
        let error = DebVersion::new(None, "1.0-rc1", None).unwrap_err().to_string();
        assert!(error.contains("1.0-rc1") && error.contains("revision"), "{error}");
        assert!(DebVersion::new(None, "1.0-rc1", Some("1")).is_ok());
    }
}
