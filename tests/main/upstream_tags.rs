//! Tag forms, order and policies on the real lists of tags of two projects, with their oddities.

use forge::buildfile::{Keep, TagForm, Version, VersionPolicy};

/// The versions that real tags of a form stand for, and the tags of other forms.
fn of_tags<'a>(tags: &'a str, form: &str) -> (Vec<Version>, Vec<&'a str>) {
    let form = TagForm::parse(form).unwrap();
    let (versions, others): (Vec<_>, Vec<_>) =
        tags.lines().map(|tag| (tag, form.version(tag))).partition(|(_, version)| version.is_some());
    let mut versions: Vec<Version> = versions.into_iter().filter_map(|(_, version)| version).collect();
    versions.sort();
    (versions, others.into_iter().map(|(tag, _)| tag).collect())
}

/// The neighbours of a version among all, in order.
fn around(versions: &[Version], version: &str) -> String {
    let at = versions.iter().position(|known| known.as_str() == version).unwrap();
    versions[at - 1..=at + 1].iter().map(Version::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_tags_of_a_project_with_four_numbers_and_a_long_past() {
    let tags = include_str!("../data/tags/otp.txt");
    let (versions, others) = of_tags(tags, "OTP-{version}");
    assert_eq!((versions.len(), others.len()), (541, 28));
    assert!(others.contains(&"OTP_R16B03-1") && others.contains(&"OTP_17.0-rc1"), "{others:?}");
    assert!(others.contains(&"R16B02_yielding_binary_to_term") && others.contains(&"erl_1252"));
    assert_eq!(versions[0].as_str(), "17.0");
    assert_eq!(around(&versions, "18.0-rc2"), "18.0-rc1 18.0-rc2 18.0");
    assert_eq!(around(&versions, "18.2.4.0.1"), "18.2.4 18.2.4.0.1 18.2.4.1");
    assert_eq!(around(&versions, "20.2.0.1"), "20.2 20.2.0.1 20.2.1");
    assert_eq!(around(&versions, "22.3.4.12.1"), "22.3.4.12 22.3.4.12.1 22.3.4.13");
    assert_eq!(around(&versions, "24.3.4.17"), "24.3.4.16 24.3.4.17 25.0-rc1");
    assert_eq!(around(&versions, "28.5.0.1"), "28.5 28.5.0.1 28.5.0.2");
    let pre_releases = versions.iter().filter(|version| version.is_pre_release());
    assert!(pre_releases.clone().all(|version| version.as_str().contains("-rc")));
    assert_eq!(pre_releases.count(), 33);
    let policy = VersionPolicy { keep: Some(Keep::Majors(4)), ..VersionPolicy::default() };
    assert_eq!(written(&policy.standing(&versions)), "26.2.5.21 27.3.4.17 28.5.0.7 29.1.1");
}

#[test]
fn the_tags_of_a_project_with_semantic_versions_and_tags_that_move() {
    let tags = include_str!("../data/tags/elixir.txt");
    let (versions, others) = of_tags(tags, "v{version}");
    assert_eq!(others, ["main-latest", "v1.18-latest", "v1.19-latest"]);
    assert_eq!(written(&versions[..2]), "0.5.dev 0.5.0", "what leads to a line comes before all of it");
    assert_eq!(around(&versions, "1.0.0-rc2"), "1.0.0-rc1 1.0.0-rc2 1.0.0");
    assert_eq!(around(&versions, "1.2.0-rc.0"), "1.1.1 1.2.0-rc.0 1.2.0-rc.1");
    assert_eq!(around(&versions, "1.10.0"), "1.10.0-rc.0 1.10.0 1.10.1");
    assert_eq!(around(&versions, "1.9.4"), "1.9.3 1.9.4 1.10.0-rc.0");
    let policy = VersionPolicy { keep: Some(Keep::Newest(1)), ..VersionPolicy::default() };
    assert_eq!(written(&policy.standing(&versions)), "1.19.5");
}

fn written(versions: &[Version]) -> String {
    versions.iter().map(Version::as_str).collect::<Vec<_>>().join(" ")
}
