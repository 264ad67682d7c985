use std::fmt;
use std::str::FromStr;

use crate::package::PackageError;

/// The name of a Debian package (Debian policy 5.6.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageName(String);

impl FromStr for PackageName {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.len() >= 2
            && text.starts_with(is_lower_alphanumeric)
            && text.chars().all(|c| is_lower_alphanumeric(c) || "+-.".contains(c));
        checked(
            fits,
            "package name",
            text,
            "two or more of a-z, 0-9, `+`, `-`, `.`, the first a letter or digit",
        )
        .map(Self)
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The one architecture a binary package is for, or `all` (Debian policy 5.6.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture(String);

impl FromStr for Architecture {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wildcard = text == "source" || text.split('-').any(|part| part == "any");
        checked(
            is_architecture(text) && !wildcard,
            "architecture",
            text,
            "one Debian architecture such as `amd64`, or `all`",
        )
        .map(Self)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn is_architecture(text: &str) -> bool {
    text.starts_with(is_lower_alphanumeric) && text.chars().all(|c| is_lower_alphanumeric(c) || c == '-')
}

fn is_lower_alphanumeric(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
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

    #[test]
    fn names_follow_policy() {
        for good in ["g++", "libstdc++6", "0ad", "lib-hello", "python3.11"] {
            assert_eq!(good.parse::<PackageName>().unwrap().to_string(), good);
        }
        for bad in ["", "a", "Hello", "-a", "a_b", "a b", "a/b", "é1", "a\nb"] {
            let error = bad.parse::<PackageName>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("package name is '{bad}'; expected")), "{error}");
        }
    }

    #[test]
    fn an_architecture_is_no_wildcard() {
        for good in ["all", "amd64", "arm64", "kfreebsd-amd64"] {
            assert!(good.parse::<Architecture>().is_ok(), "{good}");
        }
        for bad in ["", "any", "linux-any", "any-amd64", "source", "AMD64", "amd64 arm64"] {
            assert!(bad.parse::<Architecture>().is_err(), "{bad}");
        }
    }
}
