use std::fmt::Write as _;

use time::OffsetDateTime;

use crate::upstream::{Added, LockedSource, LockedVersion, UpstreamChange};

/// What `forge update` found of one upstream, one version a line; nothing where there is no news.
pub fn change_summary(change: &UpstreamChange) -> String {
    let UpstreamChange { upstream, added, unavailable, no_longer_kept, keep, held } = change;
    let mut lines = Vec::new();
    for Added { locked, notes } in added {
        lines.push(('+', &locked.version, told(locked)));
        lines.extend(notes.iter().map(|note| (' ', &locked.version, note.clone())));
    }
    for version in no_longer_kept {
        let rule = keep.map(|keep| format!(" by '{}'", keep.written())).unwrap_or_default();
        lines.push((
            '-',
            version,
            format!("no longer kept{rule}; it stays in the lock, and can be selected"),
        ));
    }
    for (version, reason) in unavailable {
        lines.push(('?', version, format!("listed upstream, but not there: {reason}")));
    }
    for held in held {
        lines.push(('!', &held.version, format!("held: {}", held.reason)));
    }
    let width = lines.iter().map(|(_, version, _)| version.len()).max().unwrap_or(0);
    let mut text = String::new();
    if !lines.is_empty() {
        writeln!(text, "{upstream}:").expect("a String takes every write");
    }
    for (sign, version, told) in lines {
        let version = if sign == ' ' { "" } else { version };
        writeln!(text, "  {sign} {version:width$}  {told}").expect("a String takes every write");
    }
    text
}

/// What a version is, in a line: date, commit, digest, and why that digest is believed.
pub fn told(locked: &LockedVersion) -> String {
    let mut facts = Vec::new();
    let date =
        i64::try_from(locked.date).ok().and_then(|date| OffsetDateTime::from_unix_timestamp(date).ok());
    facts.extend(date.filter(|_| locked.is_available()).map(|date| date.date().to_string()));
    facts.extend(locked.commit.as_ref().map(|commit| format!("commit {}", short(commit))));
    match &locked.source {
        LockedSource::Absent => facts.push("its archive is not there".to_owned()),
        LockedSource::Tree(_) => facts.push("from the repository itself".to_owned()),
        LockedSource::Archive(archive) => {
            facts.push(format!("sha256 {}", short(&archive.sha256.to_string())));
            let checks: Vec<&str> = archive.checks.iter().map(|check| check.as_str()).collect();
            facts.push(match (checks.is_empty(), &locked.commit) {
                (false, _) => format!("checked by {}", checks.join(" and ")),
                (true, Some(_)) => "trusted on first use".to_owned(),
                // The digests of a Debian archive stand in its signed indices.
                (true, None) => "checked by the archive's signature".to_owned(),
            });
        }
    }
    facts.join(", ")
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
