use std::cmp::Ordering;
use std::fmt;

/// An upstream version, ordered as upstreams count: numbers by value, and a part that starts
/// with a letter (`rc1`, `beta2`) before the release it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// `rc1`: comes before the end of the version.
    PreRelease(String, u64),
    Number(u64),
}

impl Version {
    /// Reads any text; what is not a number counts as a pre-release word.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let parts = text.split(['.', '-', '_', '+', '~']).filter(|part| !part.is_empty()).map(part).collect();
        Self { text, parts }
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

    /// Whether it leads to a release that is not out yet.
    pub fn is_pre_release(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::PreRelease(..)))
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
                Part::PreRelease(..) => None,
            })
            .take(count)
            .collect();
        numbers.join(".")
    }
}

fn part(text: &str) -> Part {
    if let Ok(number) = text.parse() {
        return Part::Number(number);
    }
    let word = text.trim_end_matches(|c: char| c.is_ascii_digit());
    Part::PreRelease(word.to_owned(), text[word.len()..].parse().unwrap_or(0))
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.parts.len().max(other.parts.len());
        // A missing part is the release itself: after any pre-release, before any number.
        let rank = |part: Option<&Part>| match part {
            Some(Part::PreRelease(..)) => 0,
            None => 1,
            Some(Part::Number(_)) => 2,
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
}
