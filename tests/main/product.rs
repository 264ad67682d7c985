//! What is packaged is the product of versions, releases and platforms, less what is excluded.

use std::collections::BTreeSet;

use super::scratch::Scratch;

const BUILDFILE: &str = r#"
upstream "lang" {
    LANG
    archive "https://example.org/lang-{version}.tar.gz"
}
upstream "lib" {
    LIB
    archive "https://example.org/lib-{version}.tar.gz"
}
axis "lang" from="lang"
axis "lib" from="lib"
axis "distro" {
    value "debian-12" os="debian" release="12"
    value "debian-13" os="debian" release="13"
    value "ubuntu-24.04" os="ubuntu" release="24.04"
    value "rocky-9" os="rocky" release="9"
}
axis "arch" {
    value "amd64" platform="linux/amd64"
    value "arm64" platform="linux/arm64"
}
exclude lang="<26" distro="debian-13"
exclude distro="rocky-9" arch="arm64"
include lang=">=28" distro="rocky-9" arch="arm64"
package "lang" over="lang distro arch" arch="{arch}" {
    META
}
package "lib" over="lib lang.major distro arch" arch="{arch}" {
    META
}
"#;

const META: &str = r#"version "1"
    maintainer "Somebody <somebody@example.org>"
    summary "something"
    copyright "copyright""#;

const LANG: [&str; 4] = ["25.3.2.20", "27.3.4", "28.0-rc1", "28.1"];
const LIB: [&str; 2] = ["1.14.0", "1.18.3"];
const DISTROS: [(&str, &str); 4] = [("debian", "12"), ("debian", "13"), ("ubuntu", "24.04"), ("rocky", "9")];
const ARCHES: [&str; 2] = ["amd64", "arm64"];

/// Product, version, os, release, platform.
type Packaged = BTreeSet<[String; 5]>;

fn versions(list: &[&str]) -> String {
    let digest = "0".repeat(64);
    list.iter().map(|version| format!("version \"{version}\" sha256=\"{digest}\"\n    ")).collect()
}

fn planned(words: &str) -> Packaged {
    let text = BUILDFILE.replace("LANG", &versions(&LANG)).replace("LIB", &versions(&LIB));
    let graph = Scratch::new(&text.replace("META", META)).ok(&format!("graph --json {words}")).stdout;
    let graph: serde_json::Value = serde_json::from_str(&graph).unwrap();
    let packages = graph["nodes"].as_array().unwrap().iter().filter(|node| node["kind"] == "package");
    packages
        .map(|node| {
            let (product, attributes) = (&node["target"], &node["attributes"]);
            let version = &node["cell"][product.as_str().unwrap()];
            let (os, release) = (&attributes["distro.os"], &attributes["distro.release"]);
            let all = [product, version, os, release, &attributes["arch.platform"]];
            all.map(|value| value.as_str().unwrap().to_owned())
        })
        .collect()
}

/// The same by loops. `lang` limits the versions that a cell may be of.
fn expected(lang: impl Fn(&str) -> bool, distro: impl Fn(&str) -> bool) -> Packaged {
    let major = |version: &str| version.split('.').next().unwrap().parse::<u32>().unwrap();
    let is_in = |version: &str, os: &str, release: &str, arch: &str| {
        let too_old = major(version) < 26 && (os, release) == ("debian", "13");
        let no_rocky = os == "rocky" && arch == "arm64" && major(version) < 28;
        !too_old && !no_rocky
    };
    let mut all = Packaged::new();
    for (os, release) in DISTROS.into_iter().filter(|(os, release)| distro(&format!("{os}-{release}"))) {
        for arch in ARCHES {
            let platform = format!("linux/{arch}");
            for version in LANG.into_iter().filter(|v| lang(v) && is_in(v, os, release, arch)) {
                all.insert(["lang", version, os, release, &platform].map(String::from));
                // One for each version of its own; by major release, so that more than one
                // version of lang makes no more of them.
                for lib in LIB {
                    all.insert(["lib", lib, os, release, &platform].map(String::from));
                }
            }
        }
    }
    all
}

#[test]
fn the_graph_holds_the_product_less_what_is_excluded() {
    let all = planned("");
    assert_eq!(all, expected(|_| true, |_| true));
    // Of 2 products: 4 versions and 2, each on 4 releases and 2 platforms, less 2 + 2 of lang.
    assert_eq!(all.len(), 32 - 4 + 16);
}

#[test]
fn a_selection_gives_its_part_of_the_product() {
    assert_eq!(planned("lang=27,28 distro!=rocky-9"), expected(|v| v >= "27", |d| d != "rocky-9"));
    assert_eq!(planned("lang=25 distro=debian-12"), expected(|v| v < "26", |d| d == "debian-12"));
}
