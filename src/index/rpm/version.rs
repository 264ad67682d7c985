use std::cmp::Ordering;

/// Orders two versions, `[epoch:]version[-release]`, as rpm does: `~` sorts before the end of a
/// part, `^` right after it (rpm-version(7)).
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    rpm_version::rpm_evr_compare(a, b)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// What rpm's own library says of each pair.
    fn rpm_orders(pairs: &[(String, String)]) -> Vec<Ordering> {
        let print = |(a, b): &(String, String)| format!("print(rpm.vercmp('{a}', '{b}') .. ' ') ");
        let lua: String = pairs.iter().map(print).collect();
        let rpm = Command::new("rpm").args(["--eval", &format!("%{{lua: {lua}}}")]).output();
        let output = rpm.expect("rpm is installed (tests/prepare)");
        let text = String::from_utf8(output.stdout).unwrap();
        let orders = text.split_whitespace().map(|order| match order {
            "-1" => Ordering::Less,
            "0" => Ordering::Equal,
            "1" => Ordering::Greater,
            other => panic!("rpm says {other}"),
        });
        orders.collect()
    }

    fn compare_with_rpm(pairs: Vec<(String, String)>) {
        // The system limits the length of an argument.
        let orders: Vec<Ordering> = pairs.chunks(500).flat_map(rpm_orders).collect();
        assert_eq!(orders.len(), pairs.len());
        for ((a, b), order) in pairs.iter().zip(orders) {
            assert_eq!(compare_versions(a, b), order, "{a} and {b}");
        }
    }

    #[test]
    fn agrees_with_rpm_on_chosen_pairs() {
        let versions = [
            "1:27.3.4-1",
            "27.3.4-1",
            "0:27.3.4-1",
            "27.3.4.1-1",
            "27.3.4-1.el9",
            "27.3.4-1.el10",
            "27.0~rc1-1",
            "27.0~rc10-1",
            "27.0~~-1",
            "27.0-1",
            "27.0^git1-1",
            "27.0^-1",
            "27.0^git1~1-1",
            "27.00-1",
            "1.0a-1",
            "1.0.a-1",
            "1.0+1-1",
            "1.0_1-1",
            "1.0a1-1",
            "1.10-1",
            "1.9-1",
            "1.0-2",
            "1.0-10",
            "99999999999999999999999.1-1",
            "99999999999999999999998.1-1",
            "a-1",
            "A-1",
            "1-a",
        ];
        let pairs = versions.iter().flat_map(|a| versions.iter().map(|b| ((*a).into(), (*b).into())));
        compare_with_rpm(pairs.collect());
    }

    #[test]
    fn agrees_with_rpm_on_random_pairs() {
        let mut rng = StdRng::seed_from_u64(27);
        let mut random = |alphabet: &[u8], length: usize| {
            let pick = |rng: &mut StdRng| char::from(alphabet[rng.gen_range(0..alphabet.len())]);
            (0..length).map(|_| pick(&mut rng)).collect::<String>()
        };
        let mut version = |round: usize| {
            let (upstream, release) = (random(b"001129~^a+.B_", round % 7), random(b"01~^a+.z", round % 5));
            format!("1{upstream}-0{release}")
        };
        compare_with_rpm((0..2000).map(|round| (version(round), version(round / 2))).collect());
    }
}
