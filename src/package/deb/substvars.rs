use std::collections::BTreeMap;

use super::Relation;
use crate::digest::{Describe, Visitor};
use crate::package::PackageError;

/// How deep a value may refer to other values; dpkg gives up at 50.
const DEPTH: usize = 50;

/// Values for `${name}` in relations, as dpkg-shlibdeps and debhelper give them
/// (deb-substvars(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Substvars(BTreeMap<String, String>);

impl Substvars {
    /// Reads lines of `name=value` or `name?=value`, such as `dpkg-shlibdeps -O` prints. Blank
    /// lines and lines that begin with `#` are passed over; where a name comes twice, the later
    /// value stays.
    pub fn parse(text: &str) -> Result<Self, PackageError> {
        let mut values = Self::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = assignment(line)
                .ok_or_else(|| PackageError::Substvars { line: at + 1, text: line.to_owned() })?;
            values.set(name, value);
        }
        Ok(values)
    }

    /// Gives `name` a value.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// The same with a value for `name`, unless it has one.
    pub(super) fn with_default(&self, name: &str, value: &str) -> Self {
        let mut all = self.clone();
        all.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        all
    }

    /// Puts values in the place of every `${name}`, also of those inside values; `${}` is a `$`.
    pub(super) fn expand(&self, field: Relation, text: &str) -> Result<String, PackageError> {
        self.expand_to(field, text, DEPTH)
    }

    fn expand_to(&self, field: Relation, text: &str, depth: usize) -> Result<String, PackageError> {
        let fault = |reason: &str| PackageError::Relation {
            field: field.field(),
            clause: text.to_owned(),
            reason: reason.to_owned(),
        };
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or_else(|| fault("`${` without `}`"))?;
            let depth = depth.checked_sub(1).ok_or_else(|| fault("the variable refers to itself"))?;
            expanded.push_str(before);
            match name {
                "" => expanded.push('$'),
                _ => expanded.push_str(&self.expand_to(field, self.value(field, name)?, depth)?),
            }
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn value(&self, field: Relation, name: &str) -> Result<&str, PackageError> {
        self.0.get(name).map(String::as_str).ok_or_else(|| PackageError::UnknownVariable {
            field: field.field(),
            name: name.to_owned(),
            defined: self.0.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }
}

impl Describe for Substvars {
    fn describe(&self, visitor: &mut dyn Visitor) {
        for (name, value) in &self.0 {
            visitor.field(name, value);
        }
    }
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.strip_suffix('?').unwrap_or(name);
    let fits = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-:".contains(c));
    fits.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(vars: &str, text: &str) -> Result<String, PackageError> {
        Substvars::parse(vars).unwrap().expand(Relation::Depends, text)
    }

    #[test]
    fn values_are_rescanned_and_an_empty_name_is_a_dollar() {
        let vars = "# made by a tool\n\nshlibs:Depends=libc6 (>= ${v}), libtinfo6\nv?=2.34  \nnone=\n";
        assert_eq!(expand(vars, "${shlibs:Depends}${none}").unwrap(), "libc6 (>= 2.34), libtinfo6");
        assert_eq!(expand(vars, "${}{v}").unwrap(), "${v}");
    }

    #[test]
    fn an_unknown_variable_is_named_with_those_that_are_known() {
        let error = expand("shlibs:Depends=libc6", "${misc:Depends}").unwrap_err().to_string();
        assert!(
            error.contains("Depends uses ${misc:Depends}") && error.contains("shlibs:Depends"),
            "{error}"
        );
    }

    #[test]
    fn faults_are_told_and_never_loop() {
        assert!(expand("a=${b}\nb=${a}", "${a}").unwrap_err().to_string().contains("refers to itself"));
        assert!(expand("a=1", "x ${a").is_err());
        let error = Substvars::parse("a=1\nnonsense").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("nonsense"), "{error}");
    }
}
