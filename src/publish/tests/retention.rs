//! What was published before: what of it stays, and what a rule drops.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::support::{Apt, NOW, World, check_whole, listing};
use crate::buildfile::Retention;
use crate::index::apt::fixture::{alias, build, crowd, index, suite};
use crate::index::{AptIndex, Holds, IndexedPackage, Suite};
use crate::publish::draft::Listed;
use crate::publish::{Changed, DirectoryTarget, Effect, Outcome, PublishError, Repository, Target};
use crate::store::Kind;

const DAY: u64 = 86_400;

fn committed(outcome: Result<Outcome, PublishError>) -> Effect {
    match outcome {
        Ok(Outcome::Committed { effect, .. }) => effect,
        other => panic!("{other:?}"),
    }
}

/// What is live, as `suite: name version (architecture)`.
fn live(world: &World) -> Vec<String> {
    world.target.state("").unwrap().unwrap().seen().iter().map(ToString::to_string).collect()
}

fn keeping(repository: Repository, versions: usize, days: u64) -> Repository {
    Repository { keep: Some(Retention { versions, days }), ..repository }
}

/// One publish for each version, a day apart.
fn history(world: &World, versions: &[&str]) {
    for (day, version) in versions.iter().enumerate() {
        let debs = ["x", "y"].map(|suite| world.fixture.deb("hello-forge", version, "amd64", suite, version));
        let repository = world.repository("", &settings(), &debs);
        world.publish(&repository, NOW + day as u64 * DAY).unwrap();
    }
}

/// Other bytes under one version in each suite, as a matrix over distributions makes them.
fn settings() -> AptIndex {
    AptIndex { pool: crate::index::PoolLayout::PerSuite, ..index(vec![suite("x"), suite("y")]) }
}

#[test]
fn what_was_published_before_stays_installable() {
    let world = World::new();
    history(&world, &["27.3.4-1"]);
    // Another machine: its store has nothing of the earlier release.
    world.fixture.store.lose_all();
    let new = [world.fixture.deb("hello-forge", "27.3.4.1-1", "amd64", "x", "new")];
    let effect = committed(world.publish(&world.repository("", &settings(), &new), NOW + DAY));
    assert_eq!(effect.counts(), [0, 1, 0, 2]);
    check_whole(&world.site(), &world.site().join("key.gpg"));

    let apt = Apt::new(world.path("root"));
    apt.source(&format!("file:{}", world.site().display()), &world.site().join("key.asc"), "x");
    apt.update().unwrap();
    assert_eq!(apt.versions("hello-forge"), ["27.3.4.1-1", "27.3.4-1"]);
    apt.get(&["download", "hello-forge=27.3.4-1"]);
}

#[test]
fn indices_made_anew_are_those_of_all_packages_at_once() {
    let world = World::new();
    let all: Vec<IndexedPackage> = [("a", "1"), ("a", "2"), ("liba", "1"), ("b", "1:3~rc1")]
        .map(|(name, version)| world.fixture.deb(name, version, "amd64", "x", version))
        .into();
    let settings = index(vec![suite("x"), alias("latest", "x")]);
    for (step, part) in all.chunks(1).enumerate() {
        world.publish(&world.repository("", &settings, part), NOW + step as u64).unwrap();
    }
    let date = world.target.state("").unwrap().unwrap().date;
    let tree = build(&settings, &all, date, &world.fixture.store).unwrap();
    let mut compared = 0;
    for entry in tree.entries().iter().filter(|entry| entry.path.starts_with("dists/")) {
        let Kind::File { object, .. } = entry.kind else { continue };
        let published = fs::read(world.site().join(&entry.path)).unwrap();
        assert_eq!(published, world.fixture.store.get(object).unwrap(), "{}", entry.path);
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn publishing_a_part_of_the_matrix_leaves_the_rest_and_again_changes_nothing() {
    let world = World::new();
    let all = index(vec![suite("x"), suite("y"), alias("stable", "y")]);
    let deb = |version, suite| world.fixture.deb("hello-forge", version, "amd64", suite, version);
    world.publish(&world.repository("", &all, &[deb("1", "x"), deb("2", "y")]), NOW).unwrap();
    let before = live(&world);

    // As the graph has it where only `x` is selected: the alias is declared, its suite is not there.
    let part = index(vec![suite("x"), alias("stable", "y")]);
    let same = world.repository("", &part, &[deb("1", "x")]);
    assert_eq!(world.difference(&same, Some(&world.keys), NOW + 5).unwrap(), None);
    let unchanged = listing(&world.site());
    assert!(matches!(world.publish(&same, NOW + 5), Ok(Outcome::Unchanged(_))));
    assert_eq!(listing(&world.site()), unchanged);

    let new = keeping(world.repository("", &part, &[deb("3", "x")]), 1, 0);
    let said = world.difference(&new, Some(&world.keys), NOW + 6).unwrap().unwrap();
    assert!(said.ends_with("1 packages come, 1 go"), "{said}");
    committed(world.publish(&new, NOW + 6));
    let mut after = before;
    after[1] = "x: hello-forge 3 (amd64)".to_owned();
    assert_eq!(live(&world), after, "stable, x and y, of which only x has changed");
    check_whole(&world.site(), &world.site().join("key.gpg"));
}

#[test]
fn the_newest_versions_stay_and_what_is_younger() {
    let world = World::new();
    history(&world, &["1", "2", "10", "3", "4"]);
    let now = NOW + 10 * DAY;
    let debs = [world.fixture.deb("hello-forge", "11", "amd64", "x", "new")];
    let new = keeping(world.repository("", &settings(), &debs), 2, 8);
    // The day of the first publish counts: 3 is 7 days old, 2 is 9 days old.
    let wanted = BTreeSet::from_iter(new.packages.iter().map(|package| package.label.clone()));
    let forecast = world.target.forecast(&new, &wanted, now).unwrap();
    let effect = committed(world.publish(&new, now));
    assert_eq!(effect, forecast);
    assert_eq!(effect.suites[0].replaced[0].from, "10");
    let dropped = |version: &str, rule: &str| Changed {
        name: "hello-forge".into(),
        version: version.into(),
        cause: Some(format!("keep versions=2 days=8: {rule}")),
    };
    let rules = [
        dropped("1", "5 are newer, first published on 2026-01-01"),
        dropped("2", "4 are newer, first published on 2026-01-02"),
    ];
    assert_eq!(effect.suites[0].dropped, rules);
    assert_eq!(effect.suites[1].kept, 5, "y is in no package of this publish, so it is left alone");
    check_whole(&world.site(), &world.site().join("key.gpg"));
    assert!(world.site().join("pool/x/main/h/hello-forge/hello-forge_1_amd64.deb").exists());

    // By time alone: a day later the next one is old enough.
    assert!(world.difference(&new, None, now).unwrap().unwrap().contains("other keys"));
    let later = world.difference(&new, Some(&world.keys), now + DAY).unwrap().unwrap();
    assert!(later.ends_with("0 packages come, 1 go"), "{later}");
}

#[test]
fn what_is_asked_for_is_never_dropped_and_without_a_rule_nothing_is() {
    let world = World::new();
    history(&world, &["1", "2", "3"]);
    let old = [world.fixture.deb("hello-forge", "1", "amd64", "x", "1")];
    let again = keeping(world.repository("", &settings(), &old), 1, 0);
    let effect = committed(world.publish(&again, NOW + 400 * DAY));
    assert_eq!(effect.suites[0].dropped.iter().map(|one| one.version.as_str()).collect::<Vec<_>>(), ["2"]);
    let other = [world.fixture.deb("other", "1", "amd64", "x", "1")];
    let effect = committed(world.publish(&world.repository("", &settings(), &other), NOW + 4000 * DAY));
    assert_eq!(effect.counts(), [1, 0, 0, 5]);
}

#[test]
fn other_bytes_under_a_published_name_are_refused_before_anything_is_written() {
    let world = World::new();
    history(&world, &["1"]);
    let before = listing(&world.site());
    let other = [world.fixture.deb("hello-forge", "1", "amd64", "x", "other")];
    let repository = world.repository("", &settings(), &other);
    for error in [
        world.difference(&repository, Some(&world.keys), NOW).unwrap_err(),
        world.publish(&repository, NOW).unwrap_err(),
    ] {
        assert!(matches!(error, PublishError::PoolConflict { .. }), "{error}");
        assert!(error.to_string().contains("pool/x/main/h/hello-forge/hello-forge_1_amd64.deb"), "{error}");
    }
    assert_eq!(listing(&world.site()), before);
}

#[test]
fn another_component_takes_what_was_published_along() {
    let world = World::new();
    history(&world, &["1"]);
    world.fixture.store.lose_all();
    let debs = [world.fixture.deb("hello-forge", "2", "amd64", "x", "two")];
    let of = |codename| {
        let holds = Holds::Packages { component: "extra".into(), architectures: Vec::new() };
        Suite { holds, ..suite(codename) }
    };
    let moved = AptIndex { suites: vec![of("x")], ..settings() };
    world.publish(&world.repository("", &moved, &debs), NOW + 1).unwrap();
    check_whole(&world.site(), &world.site().join("key.gpg"));
    assert!(world.site().join("pool/x/extra/h/hello-forge/hello-forge_1_amd64.deb").exists());
    assert!(world.site().join("dists/y/extra/binary-amd64/Packages").exists());
}

#[test]
fn a_damaged_record_is_told_and_what_is_live_stays() {
    let world = World::new();
    history(&world, &["1"]);
    let state = world.target.state("").unwrap().unwrap();
    // As on another machine, which has to read what is published.
    world.fixture.store.lose_all();
    fs::remove_dir_all(world.fixture.store.root().join("pieces")).unwrap();
    let records = world.site().join(".generations").join(&state.id).join("records");
    let path = fs::read_dir(records).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let debs = [world.fixture.deb("hello-forge", "2", "amd64", "x", "two")];
    let error = world.publish(&world.repository("", &settings(), &debs), NOW + 1).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    assert_eq!(world.target.state("").unwrap().unwrap(), state);
}

/// The lists of packages of the live generation, each with the number of its file.
fn lists(world: &World) -> BTreeSet<(String, u64)> {
    let live = world.target.state("").unwrap().unwrap();
    let dir = world.site().join(".generations").join(live.id).join("packages");
    let listed = fs::read_dir(dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().ino())
    });
    listed.collect()
}

#[test]
fn generations_share_the_lists_of_packages_that_did_not_change() {
    let world = World::new();
    let debs = crowd(&world.fixture.deb("hello-forge", "1", "amd64", "x", "one"), 1500);
    world.publish(&world.repository("", &settings(), &debs[..1499]), NOW).unwrap();
    let before = lists(&world);
    assert!(before.len() > 4, "{} lists", before.len());
    world.publish(&world.repository("", &settings(), &debs[1499..]), NOW + 1).unwrap();
    let after = lists(&world);
    assert!((1..=3).contains(&after.difference(&before).count()), "{before:?}\n{after:?}");
    assert_eq!(live(&world).len(), 1500);
    // By another forge, which remembers nothing of what it read.
    let other = Target::Directory(DirectoryTarget::new(world.site()));
    assert_eq!(other.state("").unwrap(), world.target.state("").unwrap());
}

#[test]
fn a_damaged_list_of_packages_is_told_and_nothing_is_published() {
    for damage in [|path: &Path| fs::write(path, "[]").unwrap(), |path: &Path| fs::remove_file(path).unwrap()]
    {
        let world = World::new();
        history(&world, &["1"]);
        let (list, _) = lists(&world).pop_first().unwrap();
        let live = world.target.state("").unwrap().unwrap();
        let repository = world.repository("", &settings(), &[]);
        damage(&world.site().join(".generations").join(&live.id).join("packages").join(&list));
        let world = World { target: Target::Directory(DirectoryTarget::new(world.site())), ..world };
        let error = world.publish(&repository, NOW + 1).unwrap_err();
        assert!(matches!(&error, PublishError::State { path, .. } if path.ends_with(&list)), "{error}");
    }
}

#[test]
fn a_state_that_is_damaged_or_of_a_later_forge_is_told() {
    let world = World::new();
    history(&world, &["1"]);
    let live = world.target.state("").unwrap().unwrap();
    let path = world.site().join(".generations").join(&live.id).join("state.json");
    let state = fs::read_to_string(&path).unwrap();
    let later = state.replacen("\"format\":4", "\"format\":5", 1);
    let damaged = state.replacen("\"generation\"", "\"generatiom\"", 1);
    for (text, told) in [
        (later, "its format is 5, this forge knows 4; use a newer forge"),
        (damaged, "missing field `generation`"),
        (state[..state.len() / 2].to_owned(), "EOF while parsing"),
        (String::new(), "EOF while parsing"),
    ] {
        fs::write(&path, text).unwrap();
        let target = Target::Directory(DirectoryTarget::new(world.site()));
        let error = target.state("").unwrap_err().to_string();
        assert!(error.contains("state.json") && error.contains(told), "{error}");
    }
}

#[test]
fn what_an_earlier_forge_published_is_gone_on_with() {
    let world = World::new();
    history(&world, &["1", "2"]);
    let live = world.target.state("").unwrap().unwrap();
    // It wrote all in one file, and listed package files among the others.
    let dir = world.site().join(".generations").join(&live.id);
    fs::remove_dir_all(dir.join("packages")).unwrap();
    fs::write(dir.join("state.json"), serde_json::to_vec(&live).unwrap()).unwrap();
    let files: Vec<Listed> = serde_json::from_slice(&fs::read(dir.join("files.json")).unwrap()).unwrap();
    fs::write(dir.join("files.json"), serde_json::to_vec(&live.files(files.clone())).unwrap()).unwrap();
    let world = World { target: Target::Directory(DirectoryTarget::new(world.site())), ..world };
    assert_eq!(world.target.state("").unwrap().unwrap(), live);
    let checked = world.target.verify("").unwrap().unwrap();
    assert_eq!((checked.files, checked.faults), (files.len() + live.packages.len(), Vec::new()));

    let debs = [world.fixture.deb("hello-forge", "3", "amd64", "x", "three")];
    world.publish(&world.repository("", &settings(), &debs), NOW + 9).unwrap();
    assert_eq!(world.target.state("").unwrap().unwrap().packages.len(), live.packages.len() + 1);
    check_whole(&world.site(), &world.site().join("key.gpg"));
}
