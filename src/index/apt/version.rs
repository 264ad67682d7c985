use std::cmp::Ordering;

/// Orders two Debian versions, `[epoch:]upstream[-revision]`, by Debian Policy 5.6.12.
///
/// Every text has its place in the order, also one that is no valid version: what the rules
/// say nothing of is compared as they would compare it.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    compare_numbers(a.epoch, b.epoch)
        .then_with(|| compare_part(a.upstream, b.upstream))
        .then_with(|| compare_part(a.revision, b.revision))
}

struct Parts<'a> {
    epoch: &'a str,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> Parts<'a> {
    /// An absent epoch is zero; an absent revision is as good as `0`, which the empty text is.
    fn of(version: &'a str) -> Self {
        let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch, upstream, revision }
    }
}

/// Takes turns at a run of non-digits and a run of digits, until one decides.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let (letters, digits);
        ((letters, a), (digits, b)) = (split_run(a, false), split_run(b, false));
        let order = compare_letters(letters, digits);
        if order.is_ne() {
            return order;
        }
        let (left, right);
        ((left, a), (right, b)) = (split_run(a, true), split_run(b, true));
        let order = compare_numbers(left, right);
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn split_run(text: &str, digits: bool) -> (&str, &str) {
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

/// `~` sorts before the end of the run, the end before letters, letters before all else.
fn compare_letters(a: &str, b: &str) -> Ordering {
    let rank = |byte: u8| match byte {
        b'~' => -1,
        byte if byte.is_ascii_alphabetic() => i32::from(byte),
        byte => i32::from(byte) + 256,
    };
    let ranks = |text: &str, length: usize| {
        let end = std::iter::repeat_n(0, length - text.len());
        text.bytes().map(rank).chain(end).collect::<Vec<_>>()
    };
    let length = a.len().max(b.len());
    ranks(a, length).cmp(&ranks(b, length))
}

/// Compares decimal numbers of any length; the empty text is zero.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn dpkg_says(a: &str, relation: &str, b: &str) -> bool {
        let status = Command::new("dpkg").args(["--compare-versions", a, relation, b]).status();
        status.expect("dpkg runs").success()
    }

    fn dpkg_order(a: &str, b: &str) -> Ordering {
        match (dpkg_says(a, "lt", b), dpkg_says(a, "gt", b)) {
            (true, _) => Ordering::Less,
            (_, true) => Ordering::Greater,
            _ => Ordering::Equal,
        }
    }

    #[test]
    fn agrees_with_dpkg_on_chosen_pairs() {
        let versions = [
            "1:27.3.4-1",
            "27.3.4-1",
            "27.3.4.1-1",
            "27.3.4-1~bookworm",
            "27.3.4-1~bookworm+1",
            "27.3.4-1+b1",
            "27.0~rc1-1",
            "27.0~~-1",
            "27.0-1",
            "27.0",
            "27.0-0",
            "27.00-0",
            "0:27.0-0",
            "1.0a",
            "1.0+",
            "1.0.",
            "1.0-a-1",
            "1.0-a",
            "1.0a1-1",
            "1.10-1",
            "1.9-1",
            "1.0-2-10",
            "99999999999999999999999.1-1",
            "99999999999999999999998.1-1",
        ];
        for a in versions {
            for b in versions {
                assert_eq!(compare_versions(a, b), dpkg_order(a, b), "{a} and {b}");
            }
        }
    }

    #[test]
    fn agrees_with_dpkg_on_random_pairs() {
        let mut rng = StdRng::seed_from_u64(27);
        let mut random = |alphabet: &[u8], length: usize| {
            let pick = |rng: &mut StdRng| char::from(alphabet[rng.gen_range(0..alphabet.len())]);
            (0..length).map(|_| pick(&mut rng)).collect::<String>()
        };
        for round in 0..300 {
            let [a, b] = std::array::from_fn(|side| {
                let upstream = random(b"001129~a+.B", (round + side) % 6);
                let revision = random(b"01~a+.z", (round / 2 + side) % 4);
                format!("1{upstream}-0{revision}")
            });
            assert_eq!(compare_versions(&a, &b), dpkg_order(&a, &b), "{a} and {b}");
        }
    }
}
