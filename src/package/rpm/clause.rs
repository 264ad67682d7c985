//! Relations as a Buildfile has them: in Debian's syntax (Debian policy 7.1), or as a whole
//! expression of rpm in parentheses.

use super::{Comparison, RpmDependency, RpmRelation, RpmVersion};
use crate::package::PackageError;
use crate::package::constraint::constraint;

impl RpmRelation {
    /// What `text` says, for a package of version `own`, which `${binary:Version}` stands for.
    /// `field` is what the relation is called where it was written. Clauses are parted by
    /// commas, alternatives by `|`: `a (>= 1:2) | b` is rpm's `(a >= 1:2 or b)`.
    pub fn parse(
        self,
        field: &'static str,
        text: &str,
        own: &RpmVersion,
    ) -> Result<Vec<RpmDependency>, PackageError> {
        let text = text.replace("${binary:Version}", &own.to_string());
        let fault = |clause: &str, reason: String| PackageError::Relation {
            field,
            clause: clause.to_owned(),
            reason,
        };
        if text.trim().starts_with('(') {
            let expression = self.expression(text.trim()).map_err(|reason| fault(&text, reason))?;
            return Ok(vec![expression]);
        }
        let clauses = text.split(',').map(str::trim).filter(|clause| !clause.is_empty());
        clauses.map(|clause| self.clause(clause).map_err(|reason| fault(clause, reason))).collect()
    }

    fn clause(self, text: &str) -> Result<RpmDependency, String> {
        let alternatives =
            text.split('|').map(|alternative| target(alternative.trim())).collect::<Result<Vec<_>, _>>()?;
        let inexact = |target: &RpmDependency| {
            target.version.as_ref().is_some_and(|(comparison, _)| *comparison != Comparison::Equal)
        };
        if self == Self::Provides && alternatives.iter().any(inexact) {
            return Err("a package provides one exact version, `(= version)`".to_owned());
        }
        match &alternatives[..] {
            [single] => Ok(single.clone()),
            _ if matches!(self, Self::Provides | Self::Obsoletes) => Err(self.takes_no_expression()),
            several => {
                let alternatives: Vec<String> = several.iter().map(RpmDependency::to_string).collect();
                Ok(RpmDependency::of(format!("({})", alternatives.join(" or "))))
            }
        }
    }

    /// rpm reads expressions itself when it installs; here only what would break out of the field.
    fn expression(self, text: &str) -> Result<RpmDependency, String> {
        let mut depth = 0_i32;
        for (at, c) in text.char_indices() {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            if depth == 0 && at + 1 < text.len() {
                return Err("an expression of rpm is one whole, in one pair of parentheses".to_owned());
            }
        }
        if depth != 0 || text.chars().any(char::is_control) {
            return Err("expected as many `)` as `(`, on one line".to_owned());
        }
        match self {
            Self::Provides | Self::Obsoletes => Err(self.takes_no_expression()),
            _ => Ok(RpmDependency::of(text.to_owned())),
        }
    }

    fn takes_no_expression(self) -> String {
        format!("{self} takes no alternatives and no expressions; list them one by one")
    }
}

/// `name [(operator version)]`; a name may have parentheses of its own, as `perl(A)` does.
fn target(text: &str) -> Result<RpmDependency, String> {
    let opens = text.match_indices('(').map(|(at, _)| at);
    let is_constraint = |at: &usize| text[at + 1..].trim_start().starts_with(['<', '=', '>']);
    let end = opens.into_iter().find(is_constraint).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let name = name.trim_end();
    let name = name.strip_suffix(":any").unwrap_or(name);
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || "<=>".contains(c)) {
        return Err(format!("'{name}' is no name; expected `name` or `name (operator version)`"));
    }
    let version = match rest {
        "" => None,
        rest => {
            let (operator, version) = constraint(rest)?;
            if version.is_empty()
                || !version.chars().all(|c| c.is_ascii_alphanumeric() || ".+_~^:-".contains(c))
            {
                return Err(format!("'{version}' is no version"));
            }
            Some((Comparison::from_debian(operator), version.to_owned()))
        }
    };
    Ok(RpmDependency { version, ..RpmDependency::of(name.to_owned()) })
}

impl Comparison {
    fn from_debian(operator: &str) -> Self {
        match operator {
            "<<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">=" => Self::GreaterOrEqual,
            ">>" => Self::Greater,
            _ => Self::Equal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(relation: RpmRelation, text: &str) -> Result<String, String> {
        let own = RpmVersion::new(Some(1), "27.3", "1.el9").unwrap();
        let all = relation.parse("Depends", text, &own).map_err(|error| error.to_string())?;
        Ok(all.iter().map(RpmDependency::to_string).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn debian_s_syntax_becomes_rpm_s() {
        for (debian, rpm) in [
            ("a", "a"),
            ("a (>= 1:2)", "a >= 1:2"),
            ("a(<<2), b (>> 3-1) , c ( = 4 )", "a < 2, b > 3-1, c = 4"),
            ("a (>= 1:2) | b", "(a >= 1:2 or b)"),
            ("a (= ${binary:Version})", "a = 1:27.3-1.el9"),
            ("python3:any", "python3"),
            ("libcrypto.so.3()(64bit)", "libcrypto.so.3()(64bit)"),
            ("perl(A::B) (>= 2)", "perl(A::B) >= 2"),
            ("/usr/bin/python3", "/usr/bin/python3"),
            ("(a if b)", "(a if b)"),
            ("(a >= 2 with (b or c))", "(a >= 2 with (b or c))"),
        ] {
            assert_eq!(parse(RpmRelation::Requires, debian).unwrap(), rpm);
        }
    }

    #[test]
    fn what_rpm_could_not_read_is_refused_with_its_clause() {
        for (relation, text, reason) in [
            (RpmRelation::Requires, "a >= 2", "is no name"),
            (RpmRelation::Requires, "a (> 2)", "<< <= = >= >>"),
            (RpmRelation::Requires, "a (>= )", "is no version"),
            (RpmRelation::Requires, "a (>= 2", "(operator version)"),
            (RpmRelation::Requires, "a |", "'' is no name"),
            (RpmRelation::Requires, "(a or b) or (c)", "one whole"),
            (RpmRelation::Requires, "(a or b", "as many `)`"),
            (RpmRelation::Obsoletes, "a | b", "takes no alternatives"),
            (RpmRelation::Provides, "(a or b)", "takes no alternatives"),
            (RpmRelation::Provides, "a (>= 2)", "one exact version"),
        ] {
            let error = parse(relation, text).unwrap_err();
            assert!(error.starts_with("Depends: '") && error.contains(reason), "{text}: {error}");
        }
    }
}
