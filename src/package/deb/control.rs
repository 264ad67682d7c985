use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Deb, Substvars};
use crate::package::PackageError;
use crate::package::layout::Layout;

/// The directives of deb-triggers(5).
const TRIGGERS: [&str; 6] =
    ["interest", "interest-await", "interest-noawait", "activate", "activate-await", "activate-noawait"];

impl Deb {
    /// The `control` file, its fields in the order of dpkg-gencontrol. `installed_size` is in KiB.
    pub(super) fn stanza(&self, substvars: &Substvars, installed_size: u64) -> Result<String, PackageError> {
        let substvars = substvars.with_default("binary:Version", &self.version.to_string());
        let mut stanza = Stanza::default();
        stanza.line("Package", &self.name.to_string());
        stanza.line("Version", &self.version.to_string());
        stanza.line("Architecture", &self.architecture.to_string());
        stanza.line("Maintainer", check_maintainer(&self.maintainer)?);
        stanza.line("Installed-Size", &installed_size.to_string());
        for (relation, clauses) in &self.relations {
            if let Some(value) = relation.value(clauses, &substvars)? {
                stanza.line(relation.field(), &value);
            }
        }
        stanza.line("Section", check_section(&self.section)?);
        stanza.line("Priority", &self.priority.to_string());
        if let Some(homepage) = &self.homepage {
            stanza.line("Homepage", check_homepage(homepage)?);
        }
        stanza.line("Description", one_line("summary", &self.summary)?);
        stanza.0.push_str(&long_description(&self.description)?);
        Ok(stanza.0)
    }

    /// The `conffiles` file; every path in it is a regular file of the payload.
    pub(super) fn conffiles_file(&self, layout: &Layout) -> Result<String, PackageError> {
        let mut paths = BTreeSet::new();
        for path in &self.conffiles {
            let relative = path.strip_prefix('/').ok_or_else(|| PackageError::Field {
                field: "conffile",
                value: path.clone(),
                expected: "an absolute path such as `/etc/name.conf`",
            })?;
            if !layout.has_file(relative) {
                let reason = "it is a conffile, but the payload has no regular file there";
                return Err(PackageError::payload(relative, reason));
            }
            paths.insert(path);
        }
        Ok(paths.into_iter().map(|path| format!("{path}\n")).collect())
    }

    /// The `triggers` file.
    pub(super) fn triggers_file(&self) -> Result<String, PackageError> {
        self.triggers.iter().map(|trigger| Ok(format!("{}\n", check_trigger(trigger)?))).collect()
    }
}

#[derive(Default)]
struct Stanza(String);

impl Stanza {
    fn line(&mut self, field: &str, value: &str) {
        writeln!(self.0, "{field}: {value}").expect("a String takes every write");
    }
}

/// Lines of the long description after the synopsis (Debian policy 5.6.13).
fn long_description(text: &str) -> Result<String, PackageError> {
    let mut lines = String::new();
    for line in text.trim_matches('\n').lines().map(str::trim_end) {
        if line.starts_with('.') || line.chars().any(char::is_control) {
            return Err(PackageError::Field {
                field: "description",
                value: line.to_owned(),
                expected: "lines without tabs that do not begin with a full stop (Debian policy 5.6.13): \
                           wrap the text elsewhere",
            });
        }
        let line = if line.is_empty() { "." } else { line };
        writeln!(lines, " {line}").expect("a String takes every write");
    }
    Ok(lines)
}

pub(super) fn one_line<'a>(field: &'static str, value: &'a str) -> Result<&'a str, PackageError> {
    let plain = !value.is_empty() && value.trim() == value && !value.chars().any(char::is_control);
    ensure(plain, field, value, "one line of text without spaces around it")
}

fn check_maintainer(value: &str) -> Result<&str, PackageError> {
    let address = |rest: &str| rest.strip_suffix('>').is_some_and(|a| a.contains('@') && !a.contains(' '));
    let fits = value.split_once(" <").is_some_and(|(name, rest)| !name.is_empty() && address(rest));
    ensure(fits, "maintainer", one_line("maintainer", value)?, "`Name <address@host>`")
}

fn check_section(value: &str) -> Result<&str, PackageError> {
    let name = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let fits = value.split('/').all(name) && value.split('/').count() <= 2;
    ensure(fits, "section", value, "a section of the archive such as `devel` or `contrib/devel`")
}

fn check_homepage(value: &str) -> Result<&str, PackageError> {
    let fits = value.contains("://") && !value.chars().any(|c| c.is_whitespace() || c.is_control());
    ensure(fits, "homepage", value, "a web address such as `https://example.org/`")
}

fn check_trigger(value: &str) -> Result<&str, PackageError> {
    let fits = value.split_once(' ').is_some_and(|(directive, name)| {
        TRIGGERS.contains(&directive) && !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
    });
    ensure(fits, "trigger", value, "a directive of deb-triggers(5) and a name: `interest-noawait /usr/lib/x`")
}

fn ensure<'a>(
    fits: bool,
    field: &'static str,
    value: &'a str,
    expected: &'static str,
) -> Result<&'a str, PackageError> {
    match fits {
        true => Ok(value),
        false => Err(PackageError::Field { field, value: value.to_owned(), expected }),
    }
}

/// The fields of one stanza, in order: names as written, values with their continuation lines
/// (each after a line feed, with the space it begins with).
pub(super) fn parse_stanza(text: &str) -> Result<Vec<(String, String)>, PackageError> {
    let fault = |reason: String| PackageError::malformed("control", reason);
    let mut fields: Vec<(String, String)> = Vec::new();
    for (at, line) in text.trim_end_matches('\n').split('\n').enumerate() {
        let fault = |what| fault(format!("line {}: {what}", at + 1));
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut().ok_or_else(|| fault("continues nothing"))?;
            value.push('\n');
            value.push_str(line.trim_end());
            continue;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| fault("expected `Field: value`"))?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(fault("expected the name of a field before the colon"));
        }
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut seen = BTreeSet::new();
    match fields.iter().find(|(name, _)| !seen.insert(name.to_ascii_lowercase())) {
        Some((name, _)) => Err(fault(format!("the field {name} comes twice"))),
        None => Ok(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::deb::testing::deb;

    #[test]
    fn a_description_keeps_paragraphs_and_verbatim_lines() {
        let text = "\nFirst line.\n\n  * verbatim  \nlast\n";
        assert_eq!(long_description(text).unwrap(), " First line.\n .\n   * verbatim\n last\n");
        assert_eq!(long_description("").unwrap(), "");
        assert!(long_description("it runs on\n.NET").unwrap_err().to_string().contains("'.NET'"));
    }

    #[test]
    fn a_field_that_would_break_the_stanza_is_refused_by_name() {
        for (field, deb) in [
            ("summary", Deb { summary: "two\nlines".into(), ..deb() }),
            ("summary", Deb { summary: String::new(), ..deb() }),
            ("maintainer", Deb { maintainer: "Nobody".into(), ..deb() }),
            ("maintainer", Deb { maintainer: "N <a@b>\nX: y".into(), ..deb() }),
            ("section", Deb { section: "devel\nX: y".into(), ..deb() }),
            ("homepage", Deb { homepage: Some("example.org".into()), ..deb() }),
        ] {
            let error = deb.stanza(&Substvars::default(), 1).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
        let deb = Deb { triggers: vec!["watch /x".into()], ..deb() };
        assert!(deb.triggers_file().unwrap_err().to_string().contains("watch /x"));
    }

    #[test]
    fn a_stanza_is_read_in_order_with_its_continuations() {
        let fields = parse_stanza("Package: a\nDescription: b\n c\n .\n d\nX-y:z\n\n").unwrap();
        let expected = [("Package", "a"), ("Description", "b\n c\n .\n d"), ("X-y", "z")];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for bad in [" a", "a", ": a", "A: 1\na: 2", "A: 1\n\nB: 2", ""] {
            assert!(parse_stanza(bad).is_err(), "{bad:?}");
        }
    }
}
