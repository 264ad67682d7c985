use std::cmp::Ordering;
use std::fmt;

/// An upstream version, ordered as upstreams count: numbers by value, a pre-release (`28.0-rc1`)
/// before the release it leads to, a letter (`1.1.1w`) after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    text: String,
    parts: Vec<Part>,
    is_regular: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// `rc`: comes before the end of the version. Words by their place in [`PRE_RELEASES`].
    PreRelease(usize),
    /// Any other word: comes after the end of the version, and before a further number.
    Word(String),
    Number(u64),
}

/// Words that lead to a release, the earliest first.
const PRE_RELEASES: [&str; 10] =
    ["dev", "snapshot", "nightly", "a", "alpha", "b", "beta", "pre", "preview", "rc"];

impl Version {
    /// Reads any text.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let pieces: Vec<&str> = text.split(SEPARATORS).collect();
        let mut parts = Vec::new();
        let mut is_regular = true;
        for piece in &pieces {
            is_regular &= read_piece(piece, &mut parts);
        }
        is_regular &= matches!(parts.first(), Some(Part::Number(_)));
        Self { text, parts, is_regular }
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first number (`27` of `27.3.4.1`).
    pub fn major(&self) -> String {
        self.numbers(1)
    }

    /// The first two numbers (`27.3`).
    pub fn minor(&self) -> String {
        self.numbers(2)
    }

    /// The version itself, or its attribute `major` or `minor`.
    pub fn get(&self, attribute: Option<&str>) -> Option<String> {
        match attribute {
            None => Some(self.text.clone()),
            Some("major") => Some(self.major()),
            Some("minor") => Some(self.minor()),
            Some(_) => None,
        }
    }

    /// Whether it leads to a release that is not out yet.
    pub fn is_pre_release(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::PreRelease(_)))
    }

    /// Whether it is made as versions are: it begins with a number, and each word in it stands for a
    /// pre-release or is a letter or so behind a number. A tag `v1.18-latest` is none.
    pub fn is_regular(&self) -> bool {
        self.is_regular
    }

    /// Whether `prefix` is this version or a version line it belongs to: `27.3` has `27.3.4` and not `27.30`.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        let rest = self.text.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
    }

    fn numbers(&self, count: usize) -> String {
        let numbers: Vec<String> = self
            .parts
            .iter()
            .map_while(|part| match part {
                Part::Number(number) => Some(number.to_string()),
                _ => None,
            })
            .take(count)
            .collect();
        numbers.join(".")
    }
}

const SEPARATORS: [char; 5] = ['.', '-', '_', '+', '~'];

/// Reads what stands between two separators; false if versions are not made like this.
fn read_piece(piece: &str, parts: &mut Vec<Part>) -> bool {
    let mut is_regular = !piece.is_empty();
    let mut rest = piece;
    while !rest.is_empty() {
        let is_free = rest.len() == piece.len();
        let is_number = rest.starts_with(|c: char| c.is_ascii_digit());
        let end = rest.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        parts.push(match is_number {
            // A number that is longer than any counter is told apart by the text.
            true => Part::Number(run.parse().unwrap_or(u64::MAX)),
            false => {
                let word = word(run, after);
                let is_pre_release = matches!(word, Part::PreRelease(_));
                is_regular &= run.bytes().all(|byte| byte.is_ascii_alphabetic());
                is_regular &= is_pre_release || !is_free;
                word
            }
        });
        rest = after;
    }
    is_regular
}

/// A single `a` or `b` is a pre-release if a number follows: `3.13.0a1`, and not `1.0.2a`.
fn word(run: &str, after: &str) -> Part {
    let lower = run.to_ascii_lowercase();
    let known = PRE_RELEASES.iter().position(|word| *word == lower);
    match known.filter(|_| run.len() > 1 || !after.is_empty()) {
        Some(place) => Part::PreRelease(place),
        None => Part::Word(lower),
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.parts.len().max(other.parts.len());
        // A missing part is the release itself: after any pre-release, before anything else.
        let rank = |part: Option<&Part>| match part {
            Some(Part::PreRelease(_)) => 0,
            None => 1,
            Some(Part::Word(_)) => 2,
            Some(Part::Number(_)) => 3,
        };
        (0..length)
            .map(|at| (self.parts.get(at), other.parts.get(at)))
            .map(|(a, b)| rank(a).cmp(&rank(b)).then_with(|| a.cmp(&b)))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_real_versions() {
        let ordered =
            ["18.0-rc2", "18.0", "18.0.1", "24.3.4", "24.3.4.2", "24.3.4.17", "27.0-rc1", "27.0", "28"];
        for pair in ordered.windows(2) {
            assert!(Version::new(pair[0]) < Version::new(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn prefixes_end_at_a_dot() {
        let version = Version::new("27.3.4.1");
        assert!(version.has_prefix("27") && version.has_prefix("27.3.4.1"));
        assert!(!version.has_prefix("2") && !version.has_prefix("27.3.4.10"));
    }

    #[test]
    fn major_and_minor_leave_pre_releases_out() {
        let version = Version::new("28.0-rc1");
        assert_eq!((version.major(), version.minor()), ("28".into(), "28.0".into()));
        assert!(version.is_pre_release());
    }

    #[test]
    fn words_are_pre_releases_letters_or_nothing() {
        for ordered in [
            "1.0.dev 1.0-alpha 1.0-beta2 1.0-rc 1.0-rc1 1.0-RC2 1.0-rc.10 1.0",
            "1.1.1 1.1.1a 1.1.1w 1.1.2",
            "9.6 9.6p1 9.6p2 9.7",
            "3.13.0a1 3.13.0b2 3.13.0rc1 3.13.0",
        ] {
            let versions: Vec<Version> = ordered.split(' ').map(Version::new).collect();
            assert!(versions.is_sorted(), "{ordered}");
            assert!(versions.iter().all(Version::is_regular), "{ordered}");
        }
        assert!(Version::new("1.0-RC2").is_pre_release() && Version::new("3.13.0a1").is_pre_release());
        assert!(!Version::new("1.0.2a").is_pre_release() && !Version::new("1.1.1w").is_pre_release());
        for odd in ["", "R16B03-1", "1.18-latest", "1.0.5-otp-18", "1..2", "1.2-", "latest", "1.2 3", "1/2"] {
            assert!(!Version::new(odd).is_regular(), "{odd}");
        }
    }
}
