use std::fmt;

use super::name::is_architecture;
use super::{DebVersion, PackageName, Substvars};
use crate::package::PackageError;
use crate::package::constraint::constraint;

/// A field that relates a package to others (Debian policy 7), in the order dpkg writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Relation {
    PreDepends,
    Depends,
    Recommends,
    Suggests,
    Enhances,
    Conflicts,
    Breaks,
    Replaces,
    Provides,
}

impl Relation {
    /// Every relation, in order.
    pub const ALL: [Self; 9] = [
        Self::PreDepends,
        Self::Depends,
        Self::Recommends,
        Self::Suggests,
        Self::Enhances,
        Self::Conflicts,
        Self::Breaks,
        Self::Replaces,
        Self::Provides,
    ];

    /// The name of the control field.
    pub fn field(self) -> &'static str {
        match self {
            Self::PreDepends => "Pre-Depends",
            Self::Depends => "Depends",
            Self::Recommends => "Recommends",
            Self::Suggests => "Suggests",
            Self::Enhances => "Enhances",
            Self::Conflicts => "Conflicts",
            Self::Breaks => "Breaks",
            Self::Replaces => "Replaces",
            Self::Provides => "Provides",
        }
    }

    /// Debian policy 7.1 names the fields that may list alternatives.
    fn takes_alternatives(self) -> bool {
        matches!(self, Self::PreDepends | Self::Depends | Self::Recommends | Self::Suggests)
    }

    /// The field's value: `clauses` with their variables replaced, checked, spaced as dpkg does,
    /// each once. None if nothing is left.
    pub(super) fn value(
        self,
        clauses: &[String],
        substvars: &Substvars,
    ) -> Result<Option<String>, PackageError> {
        let mut all: Vec<String> = Vec::new();
        for clause in clauses {
            let text = substvars.expand(self, clause)?;
            for clause in text.split(',').map(str::trim).filter(|clause| !clause.is_empty()) {
                let clause = self.clause(clause)?;
                if !all.contains(&clause) {
                    all.push(clause);
                }
            }
        }
        Ok((!all.is_empty()).then(|| all.join(", ")))
    }

    fn clause(self, text: &str) -> Result<String, PackageError> {
        let fault =
            |reason: String| PackageError::Relation { field: self.field(), clause: text.to_owned(), reason };
        let alternatives = text
            .split('|')
            .map(|alternative| Target::parse(alternative.trim()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(fault)?;
        if alternatives.len() > 1 && !self.takes_alternatives() {
            return Err(fault("this field takes no alternatives (`|`); list them one by one".into()));
        }
        let inexact = |target: &Target| target.version.as_ref().is_some_and(|(operator, _)| *operator != "=");
        if self == Self::Provides && alternatives.iter().any(inexact) {
            return Err(fault("a package provides one exact version, `(= version)`".into()));
        }
        Ok(alternatives.iter().map(Target::to_string).collect::<Vec<_>>().join(" | "))
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field())
    }
}

/// `name[:arch] [(operator version)]`.
struct Target {
    name: PackageName,
    qualifier: Option<String>,
    version: Option<(&'static str, DebVersion)>,
}

impl Target {
    fn parse(text: &str) -> Result<Self, String> {
        let end = text.find(|c: char| c.is_whitespace() || c == '(').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let (name, qualifier) = match name.split_once(':') {
            Some((name, qualifier)) => (name, Some(parse_qualifier(qualifier)?)),
            None => (name, None),
        };
        let name = name.parse().map_err(|error: PackageError| error.to_string())?;
        let version = match rest.trim() {
            "" => None,
            rest => Some(parse_constraint(rest)?),
        };
        Ok(Self { name, qualifier, version })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)?;
        if let Some(qualifier) = &self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        match &self.version {
            Some((operator, version)) => write!(f, " ({operator} {version})"),
            None => Ok(()),
        }
    }
}

fn parse_qualifier(text: &str) -> Result<String, String> {
    match is_architecture(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("'{text}' is no architecture; expected `:any` or one such as `:amd64`")),
    }
}

fn parse_constraint(text: &str) -> Result<(&'static str, DebVersion), String> {
    let (operator, version) = constraint(text)?;
    let version = version.parse().map_err(|error: PackageError| error.to_string())?;
    Ok((operator, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(field: Relation, clauses: &[&str]) -> Result<Option<String>, PackageError> {
        let clauses: Vec<String> = clauses.iter().map(|&clause| clause.to_owned()).collect();
        let vars = Substvars::parse("shlibs:Depends=libc6 (>= 2.34), libssl3\nmisc:Depends=\n").unwrap();
        field.value(&clauses, &vars)
    }

    #[test]
    fn clauses_are_expanded_spaced_and_given_once() {
        let clauses = ["${shlibs:Depends}", "${misc:Depends}", "libc6(>=2.34)", "a1:any|b2  ( << 1:2-3 )"];
        assert_eq!(
            value(Relation::Depends, &clauses).unwrap().unwrap(),
            "libc6 (>= 2.34), libssl3, a1:any | b2 (<< 1:2-3)"
        );
    }

    #[test]
    fn an_empty_result_drops_out() {
        assert_eq!(value(Relation::Depends, &["${misc:Depends}", " "]).unwrap(), None);
    }

    #[test]
    fn a_fault_names_the_field_and_the_clause() {
        for (field, clause, reason) in [
            (Relation::Depends, "Hello", "package name is 'Hello'"),
            (Relation::Depends, "libc6 (> 2)", "<< <= = >= >>"),
            (Relation::Depends, "libc6 (>= 2.34", "(operator version)"),
            (Relation::Depends, "libc6 2.34", "(operator version)"),
            (Relation::Depends, "libc6 (>= x)", "version is 'x'"),
            (Relation::Depends, "libc6 [amd64]", "(operator version)"),
            (Relation::Depends, "a1 |", "package name is ''"),
            (Relation::Depends, "a1:", "is no architecture"),
            (Relation::Conflicts, "a1 | b1", "takes no alternatives"),
            (Relation::Provides, "a1 (>= 1)", "one exact version"),
        ] {
            let error = value(field, &[clause]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{field}: '{clause}'")), "{error}");
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(value(Relation::Provides, &["a1 (= 1)"]).unwrap().unwrap(), "a1 (= 1)");
    }
}
