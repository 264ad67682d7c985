use std::io::{self, Write};

use flate2::{Compression as Level, GzBuilder};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::Deb;
use super::control::one_line;
use crate::package::PackageError;
use crate::package::layout::Written;

/// Unix, in the header of gzip: what gzip itself writes (RFC 1952).
const UNIX: u8 = 3;

impl Deb {
    /// Changelog, copyright and lintian overrides, at the places Debian policy 12 and lintian give.
    pub(super) fn written_files(&self) -> Result<Vec<Written>, PackageError> {
        let name = &self.name;
        // Debian policy 12.7: a native package's changelog is that of its upstream.
        let changelog =
            if self.version.revision().is_some() { "changelog.Debian.gz" } else { "changelog.gz" };
        let mut files = vec![
            Written {
                path: format!("usr/share/doc/{name}/{changelog}"),
                from: "changelog",
                bytes: gzip(self.changelog_file()?.as_bytes()).map_err(PackageError::Write)?,
            },
            Written {
                path: format!("usr/share/doc/{name}/copyright"),
                from: "copyright",
                bytes: not_empty("copyright", &self.copyright)?.into_bytes(),
            },
        ];
        if !self.lintian_overrides.is_empty() {
            files.push(Written {
                path: format!("usr/share/lintian/overrides/{name}"),
                from: "lintian overrides",
                bytes: self.overrides_file()?.into_bytes(),
            });
        }
        Ok(files)
    }

    /// One entry in the syntax of Debian policy 4.4.
    fn changelog_file(&self) -> Result<String, PackageError> {
        let Self { name, version, maintainer, .. } = self;
        let entry = changelog_entry(&not_empty("changelog", &self.changelog)?);
        let date = self.date()?;
        Ok(format!("{name} ({version}) unstable; urgency=medium\n\n{entry}\n -- {maintainer}  {date}\n"))
    }

    fn date(&self) -> Result<String, PackageError> {
        i64::try_from(self.source_date_epoch)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .and_then(|date| date.format(&Rfc2822).ok())
            .ok_or_else(|| PackageError::Field {
                field: "source date epoch",
                value: self.source_date_epoch.to_string(),
                expected: "seconds since 1970, before the year 10000",
            })
    }

    fn overrides_file(&self) -> Result<String, PackageError> {
        let lines = self.lintian_overrides.iter();
        lines.map(|line| Ok(format!("{}\n", one_line("lintian override", line)?))).collect()
    }
}

/// The lines indented as a changelog wants them; text without items becomes one item.
fn changelog_entry(text: &str) -> String {
    let lines: Vec<&str> = text.trim_matches('\n').lines().map(str::trim_end).collect();
    let indented = lines.iter().all(|line| line.is_empty() || line.starts_with("  "));
    let has_items = lines.iter().any(|line| line.trim_start().starts_with('*'));
    let indent = |at: usize| match (has_items, at) {
        (true, _) if indented => "",
        (true, _) => "  ",
        (false, 0) => "  * ",
        (false, _) => "    ",
    };
    let line = |(at, line): (usize, &&str)| match *line {
        "" => "\n".to_owned(),
        line => format!("{}{line}\n", indent(at)),
    };
    lines.iter().enumerate().map(line).collect()
}

/// The text with one line feed at its end.
fn not_empty(field: &'static str, text: &str) -> Result<String, PackageError> {
    match text.trim() {
        "" => Err(PackageError::Field {
            field,
            value: String::new(),
            expected: "a text: every Debian package carries one (Debian policy 12.5, 12.7)",
        }),
        _ => Ok(format!("{}\n", text.trim_end())),
    }
}

/// As `gzip -9n`: no name, no time.
fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().operating_system(UNIX).write(Vec::new(), Level::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::deb::testing::deb;

    #[test]
    fn plain_text_becomes_an_item_and_items_stay() {
        assert_eq!(changelog_entry("New release.\nWith more."), "  * New release.\n    With more.\n");
        assert_eq!(changelog_entry("* One\n  more\n\n* Two\n"), "  * One\n    more\n\n  * Two\n");
        assert_eq!(changelog_entry("  * One\n    more"), "  * One\n    more\n");
    }

    #[test]
    fn a_missing_text_or_an_impossible_date_is_told() {
        for (field, deb) in [
            ("changelog", Deb { changelog: " \n".into(), ..deb() }),
            ("copyright", Deb { copyright: String::new(), ..deb() }),
            ("source date epoch", Deb { source_date_epoch: u64::MAX, ..deb() }),
            ("source date epoch", Deb { source_date_epoch: 253_402_300_800, ..deb() }),
            ("lintian override", Deb { lintian_overrides: vec!["a\nb".into()], ..deb() }),
        ] {
            let error = deb.written_files().map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }

    #[test]
    fn a_native_package_names_its_changelog_otherwise() {
        let paths = |version: &str| {
            let deb = Deb { version: version.parse().unwrap(), ..deb() };
            deb.written_files().unwrap().into_iter().map(|file| file.path).collect::<Vec<_>>()
        };
        assert!(paths("1-1").contains(&"usr/share/doc/forge-sample/changelog.Debian.gz".to_owned()));
        assert!(paths("1").contains(&"usr/share/doc/forge-sample/changelog.gz".to_owned()));
    }
}
