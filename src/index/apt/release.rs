use std::collections::BTreeMap;
use std::fmt::Write as _;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::stanza::push_field;
use super::{AptIndex, Suite};
use crate::index::shelf::Summed;

/// The Release of one suite. Its fields stand in the order of `apt-ftparchive release`. Only
/// SHA256 is listed: apt takes the strongest hash listed, and by-hash has each one.
pub(super) fn release(
    index: &AptIndex,
    suite: &Suite,
    component: &str,
    architectures: &[String],
    files: &BTreeMap<String, Summed>,
    date: u64,
) -> String {
    let (date, architectures) = (rfc1123(date), architectures.join(" "));
    let fields = [
        ("Acquire-By-Hash", Some("yes")),
        ("Architectures", Some(architectures.as_str())),
        ("Codename", Some(suite.codename.as_str())),
        ("Components", Some(component)),
        ("Date", Some(date.as_str())),
        ("Description", Some(index.description.as_str())),
        ("Label", Some(index.label.as_str())),
        ("Origin", Some(index.origin.as_str())),
        ("Suite", suite.suite.as_deref()),
        ("Version", suite.version.as_deref()),
    ];
    let mut text = String::new();
    for (field, value) in fields {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            push_field(&mut text, field, value);
        }
    }
    text.push_str("SHA256:\n");
    for (path, Summed { size, sha256 }) in files {
        writeln!(text, " {sha256} {size:>16} {path}").expect("a String takes every write");
    }
    text
}

/// `Sun, 22 Nov 2026 17:00:00 UTC`: RFC 1123 with the one zone name that every apt takes.
fn rfc1123(seconds: u64) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] UTC"
    );
    /// 9999-12-31T23:59:59Z: no later year has four digits.
    const LAST: i64 = 253_402_300_799;
    let seconds = i64::try_from(seconds).map_or(LAST, |seconds| seconds.min(LAST));
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(FORMAT).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_rfc_1123_in_utc() {
        assert_eq!(rfc1123(1_795_366_800), "Sun, 22 Nov 2026 17:00:00 UTC");
        assert_eq!(rfc1123(0), "Thu, 01 Jan 1970 00:00:00 UTC");
        assert_eq!(rfc1123(u64::MAX), "Fri, 31 Dec 9999 23:59:59 UTC");
    }
}
