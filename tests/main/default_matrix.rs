//! This repository's own Buildfile with no selection: every release that it names, from a lock as `forge update` writes it.

use std::collections::BTreeSet;
use std::process::Command;

use super::scratch::Scratch;

const OTP: [&str; 4] = ["26.2.5.21", "27.3.4.17", "28.5.0.7", "29.1.1"];
const ELIXIR: &str = "1.20.3";
const DEBS: [&str; 6] =
    ["debian-12", "debian-13", "ubuntu-20.04", "ubuntu-22.04", "ubuntu-24.04", "ubuntu-26.04"];
const RPMS: [&str; 2] = ["rocky-9", "rocky-10"];
const ARCHES: [&str; 2] = ["amd64", "arm64"];
const BASES: [&str; 8] = [
    "debian:bookworm",
    "debian:trixie",
    "ubuntu:focal",
    "ubuntu:jammy",
    "ubuntu:noble",
    "ubuntu:resolute",
    "rockylinux:9",
    "rockylinux:10",
];

fn project() -> Scratch {
    let scratch = Scratch::new("");
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["Buildfile.kdl", "targets", "dockerfiles"] {
        let copied =
            Command::new("cp").arg("-r").arg(here.join(name)).arg(scratch.path("")).status().unwrap();
        assert!(copied.success());
    }
    scratch.write("keys/archive.asc", &super::repository::new_key());
    scratch.write("forge.lock", &lock());
    scratch
}

fn lock() -> String {
    let digest = "0".repeat(64);
    let version = |version: &str| {
        format!(
            "    version \"{version}\" {{\n        date \"2026-10-01T00:00:00Z\"\n        commit \"{}\"\n        \
             sha256 \"{digest}\"\n        size 1\n        archive \"https://example.org/{version}.tar.gz\"\n    }}\n",
            "0".repeat(40)
        )
    };
    let otp: String = OTP.into_iter().map(version).collect();
    let mut text = format!("upstream \"elixir\" {{\n{}}}\nupstream \"otp\" {{\n{otp}}}\n", version(ELIXIR));
    for base in BASES {
        for platform in ARCHES {
            text +=
                &format!("registry \"{base}\" platform=\"linux/{platform}\" digest=\"sha256:{digest}\"\n");
        }
    }
    text
}

#[test]
fn the_default_matrix_is_four_majors_on_eight_releases_and_two_architectures() {
    let scratch = project();
    let graph = scratch.ok("graph publish --json").stdout;
    let graph: serde_json::Value = serde_json::from_str(&graph).unwrap();
    let nodes = graph["nodes"].as_array().unwrap();
    let cells = |target: &str| -> BTreeSet<String> {
        let of_target = nodes.iter().filter(|node| node["target"] == target);
        of_target.map(|node| node["name"].as_str().unwrap().to_owned()).collect()
    };
    let distros = DEBS.into_iter().chain(RPMS);
    let mut expected = BTreeSet::new();
    for distro in distros.clone() {
        for (otp, arch) in OTP.iter().flat_map(|otp| ARCHES.map(|arch| (otp, arch))) {
            expected.insert(format!("esl-erlang[otp={otp},distro={distro},arch={arch}]"));
        }
    }
    assert_eq!(cells("esl-erlang"), expected);
    // The newest Elixir is not for the oldest of these releases, says upstream.
    let majors = ["27", "28", "29"];
    let of = |major: &str, distro: &str| format!("elixir[otp.major={major},elixir={ELIXIR},distro={distro}]");
    let expected = distros.flat_map(|distro| majors.map(|major| of(major, distro)));
    assert_eq!(cells("elixir"), expected.collect());
    assert_eq!(cells("apt").len(), OTP.len());
    assert_eq!(cells("rpm").len(), OTP.len() * RPMS.len() * ARCHES.len());
    let plan = scratch.ok("plan publish").stdout;
    let count = format!("{} nodes: 0 known", nodes.len());
    assert!(plan.contains(&count), "{count}\n{plan}");
    // Targets and repositories, not nodes.
    assert!(plan.lines().count() < 250, "{plan}");
}
