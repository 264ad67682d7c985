use std::sync::Arc;

use super::*;

fn versions(texts: &str) -> Vec<Version> {
    texts.split_whitespace().map(Version::new).collect()
}

fn texts(versions: &[Version]) -> String {
    versions.iter().map(Version::as_str).collect::<Vec<_>>().join(" ")
}

fn named(version: &str) -> NamedVersion {
    let source = Arc::new(miette::NamedSource::new("Buildfile.kdl", String::new()));
    NamedVersion {
        version: version.into(),
        reason: "why".into(),
        span: Span { source, range: (0, 0).into() },
    }
}

fn majors(count: usize) -> VersionPolicy {
    VersionPolicy { keep: Some(Keep::Majors(count)), ..VersionPolicy::default() }
}

const UPSTREAM: &str = "28.0-rc1 27.0 25.3 26.2.5.3 26.2.5 27.3.4 27.3.4.1 27.3 26.2.5.10 25.3.2";

#[test]
fn the_newest_of_each_of_the_newest_majors_is_kept() {
    assert_eq!(texts(&majors(2).standing(&versions(UPSTREAM))), "26.2.5.10 27.3.4.1");
    let with_candidates = VersionPolicy { pre_releases: true, ..majors(2) };
    assert_eq!(texts(&with_candidates.standing(&versions(UPSTREAM))), "27.3.4.1 28.0-rc1");
    let newest = VersionPolicy { keep: Some(Keep::Newest(3)), ..VersionPolicy::default() };
    assert_eq!(texts(&newest.standing(&versions(UPSTREAM))), "27.3 27.3.4 27.3.4.1");
    assert_eq!(VersionPolicy::default().standing(&versions(UPSTREAM)).len(), 9);
    assert_eq!(texts(&majors(9).standing(&versions(""))), "");
}

#[test]
fn ranges_holds_and_pins_have_their_say() {
    let mut policy = majors(2);
    policy.holds = vec![named("27.3.4.1"), named("24.0")];
    assert_eq!(texts(&policy.standing(&versions(UPSTREAM))), "26.2.5.10 27.3.4");
    let back: Vec<_> =
        policy.held_back(&versions(UPSTREAM)).iter().map(|held| held.version.clone()).collect();
    assert_eq!(back, ["27.3.4.1"], "a hold of what would not stand there is nothing to tell");
    policy.ranges = vec![Condition::parse("<27").unwrap(), Condition::parse("!26.2.5.10").unwrap()];
    assert_eq!(texts(&policy.standing(&versions(UPSTREAM))), "25.3.2 26.2.5.3");
    policy.pins = vec![named("28.0-rc1"), named("25.3"), named("31")];
    assert_eq!(texts(&policy.standing(&versions(UPSTREAM))), "25.3 25.3.2 26.2.5.3 28.0-rc1");
}

fn selected(policy: &VersionPolicy, selection: &[&str]) -> String {
    let predicates: Vec<Predicate> = selection.iter().map(|text| Predicate::parse(text).unwrap()).collect();
    texts(&policy.selected(&versions(UPSTREAM), &Selection(predicates.iter().collect())))
}

#[test]
fn a_selection_prefers_what_stands_and_reaches_beyond_it() {
    let policy = majors(2);
    assert_eq!(selected(&policy, &[]), "26.2.5.10 27.3.4.1");
    assert_eq!(selected(&policy, &["otp=27"]), "27.3.4.1");
    assert_eq!(selected(&policy, &["otp=25"]), "25.3.2", "the newest of the line");
    assert_eq!(selected(&policy, &["otp.major=25"]), "25.3.2");
    assert_eq!(selected(&policy, &["otp.minor=26.2"]), "26.2.5.10");
    assert_eq!(selected(&policy, &["otp=26.2.5"]), "26.2.5", "a version beyond the policy is itself");
    assert_eq!(selected(&policy, &["otp=26.2.5,26"]), "26.2.5 26.2.5.10");
    assert_eq!(selected(&policy, &["otp=26.2.5.3,27"]), "26.2.5.3 27.3.4.1");
    assert_eq!(selected(&policy, &["otp=28"]), "28.0-rc1", "where there is nothing else");
    assert_eq!(selected(&policy, &["otp=<26"]), "25.3.2");
    assert_eq!(selected(&policy, &["otp=>=26", "otp=!27"]), "26.2.5.10");
    assert_eq!(selected(&policy, &["otp=24"]), "");
    assert_eq!(selected(&policy, &["otp=27", "otp=!27"]), "");
    let held = VersionPolicy { holds: vec![named("25.3.2")], ..majors(2) };
    assert_eq!(selected(&held, &["otp=25"]), "25.3");
    assert_eq!(selected(&held, &["otp=25.3.2"]), "25.3.2", "what is there can be named in full");
}

#[test]
fn only_what_nothing_known_fits_is_missing() {
    let missing = |known: &str, selection: &str| {
        let predicate = Predicate::parse(selection).unwrap();
        let selection = Selection(vec![&predicate]);
        texts(&majors(2).missing(&versions(UPSTREAM), &versions(known), &selection))
    };
    assert_eq!(missing("27.3.4", "otp=27"), "", "an older one of the line will do");
    assert_eq!(missing("27.3.4", "otp=26"), "26.2.5.10");
    assert_eq!(missing("27.3.4", "otp=26.2.5.3,27"), "26.2.5.3");
    assert_eq!(missing("27.3.4", "otp=<26"), "25.3.2");
    assert_eq!(missing("27.3.4", "otp=!26"), "");
    assert_eq!(missing("", "otp.major=26"), "26.2.5.10");
}
