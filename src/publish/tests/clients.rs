use std::fs;
use std::process::Command;
use std::time::Duration;

use super::support::{Apt, NOW, Server, World, check_whole, listing, load_key, new_key};
use crate::index::apt::fixture::{alias, build, crowd, index, run, suite};
use crate::index::{AptIndex, IndexCompression};
use crate::publish::{DirectoryTarget, Edition, Effect, Outcome, PublishError, Repository};
use crate::store::Tree;

#[test]
fn apt_updates_downloads_and_verifies_from_a_directory() {
    let world = World::new();
    let debs = [
        world.fixture.deb("hello-forge", "1:2.0-1", "amd64", "x", "two"),
        world.fixture.deb("hello-forge", "1:1.0-1", "amd64", "x", "one"),
        world.fixture.deb("forge-doc", "1.0", "all", "x", "doc"),
    ];
    let repository = world.repository("apt/27", &index(vec![suite("x")]), &debs);
    world.publish(&repository, NOW).unwrap();
    let site = world.site().join("apt/27");
    check_whole(&site, &site.join("key.gpg"));

    for key in ["key.asc", "key.gpg"] {
        let apt = Apt::new(world.path(key).with_extension("root"));
        apt.source(&format!("file:{}", site.display()), &site.join(key), "x");
        apt.update().unwrap();
        assert_eq!(apt.versions("hello-forge"), ["1:2.0-1", "1:1.0-1"]);
        assert_eq!(apt.versions("forge-doc"), ["1.0"]);
        apt.get(&["download", "hello-forge"]);
        let deb = apt.file("hello-forge_1%3a2.0-1_amd64.deb");
        assert_eq!(super::support::sha256(&deb), debs[0].sha256);
    }
}

#[test]
fn apt_fetches_by_hash_over_http_and_each_compression_is_read() {
    let world = World::new();
    let debs = [world.fixture.deb("hello-forge", "2.0-1", "amd64", "x", "two")];
    let server = Server::start(&world.site(), world.path("log"));
    let compressions =
        [Some(IndexCompression::Xz), Some(IndexCompression::Gz), Some(IndexCompression::Zst), None];
    for (at, compression) in compressions.into_iter().enumerate() {
        let settings =
            AptIndex { compressions: compression.into_iter().collect(), ..index(vec![suite("x")]) };
        let prefix = format!("apt/{at}");
        let repository = world.repository(&prefix, &settings, &debs);
        world.publish(&repository, NOW).unwrap();
        let apt = Apt::new(world.path(&format!("root-{at}")));
        let uri = format!("{}/{prefix}", server.uri);
        apt.source(&uri, &world.site().join(&prefix).join("key.asc"), "x");
        apt.update().unwrap();
        let uris = apt.get(&["install", "--print-uris", "-y", "hello-forge"]);
        let path = format!("{uri}/pool/main/h/hello-forge/hello-forge_2.0-1_amd64.deb");
        assert!(uris.contains(&format!("'{path}' hello-forge_2.0-1_amd64.deb")), "{uris}");
        apt.get(&["download", "hello-forge"]);

        let log = server.log();
        let asked =
            |part: &str| log.lines().any(|line| line.contains(&format!("/{prefix}/")) && line.contains(part));
        assert!(asked("GET") && asked("/InRelease"), "{log}");
        assert!(asked("main/binary-amd64/by-hash/SHA256/"), "{log}");
        assert!(!asked("main/binary-amd64/Packages"), "{log}");
        assert!(!log.contains("404"), "{log}");
    }
}

#[test]
fn apt_reads_an_index_of_several_pieces_in_each_form() {
    let world = World::new();
    let debs = crowd(&world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one"), 1500);
    let server = Server::start(world.fixture.dir.path(), world.path("log"));
    for compression in [IndexCompression::Xz, IndexCompression::Gz, IndexCompression::Zst] {
        let settings = AptIndex { compressions: vec![compression], ..index(vec![suite("x")]) };
        let tree = build(&settings, &debs, NOW, &world.fixture.store).unwrap();
        let dists = tree.entries().iter().filter(|entry| entry.path.starts_with("dists/")).cloned();
        let extension = compression.extension();
        let site = world.path(extension);
        world.fixture.store.materialize(&Tree::new(dists.collect()), &site, NOW).unwrap();
        let apt = Apt::new(site.with_extension("root"));
        let line = format!("deb [trusted=yes] {}/{extension} x main\n", server.uri);
        fs::write(apt.file("etc/sources.list"), line).unwrap();
        apt.get(&["update"]);
        let names = run(&mut apt.command("apt-cache", &["pkgnames", "crowd-"]));
        assert_eq!(names.lines().count(), debs.len(), "{compression:?}");
        let hash = super::support::sha256(
            &site.join("dists/x/main/binary-amd64/Packages").with_extension(extension),
        );
        assert!(server.log().contains(&hash), "apt fetched it in this form: {}", server.log());
    }
    let xz = world.path("xz/dists/x/main/binary-amd64/Packages.xz");
    let listed = run(Command::new("xz").args(["--robot", "--list"]).arg(xz));
    let [streams, blocks] = [1, 2].map(|at| listed.split(['\t', '\n']).nth(2 + at).unwrap());
    assert!(streams == "1" && blocks.parse::<u32>().unwrap() > 1, "one stream of several blocks: {listed}");
}

#[test]
fn apt_sees_a_publish_that_follows_within_the_same_second() {
    let world = World::new();
    let server = Server::start(&world.site(), world.path("log"));
    let settings = index(vec![suite("x")]);
    let mut debs = vec![world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    world.publish(&world.repository("apt/27", &settings, &debs), NOW).unwrap();
    let apt = Apt::new(world.path("root"));
    let uri = format!("{}/apt/27", server.uri);
    apt.source(&uri, &world.site().join("apt/27/key.asc"), "x");
    apt.update().unwrap();
    // By the clock it may even come before the first.
    for (at, version) in [(NOW, "2.0"), (NOW - 5, "3.0")] {
        debs.push(world.fixture.deb("hello-forge", version, "amd64", "x", version));
        let live = world.target.state("apt/27").unwrap().map(|live| live.id);
        let repository = Repository { expected: live, ..world.repository("apt/27", &settings, &debs) };
        world.publish(&repository, at).unwrap();
        apt.update().unwrap();
        assert_eq!(apt.versions("hello-forge")[0], version);
    }
}

#[test]
fn apt_subscribes_by_the_published_sources_file() {
    let world = World::new();
    let server = Server::start(&world.site(), world.path("log"));
    let debs = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    let settings = index(vec![suite("x"), alias("stable", "x")]);
    let at = |url: &str| {
        let repository = world.repository("apt/27", &settings, &debs);
        Repository { url: Some(format!("{url}/apt/27")), ..repository }
    };
    world.publish(&at("https://packages.example.org"), NOW).unwrap();
    // Where clients find it is a part of what is published.
    let said = world.difference(&at(&server.uri), Some(&world.keys), NOW).unwrap().unwrap();
    assert!(said.contains("the settings"), "{said}");
    let both = rotated(&world);
    world.publish_with(&both, &at(&server.uri), NOW + 1).unwrap();

    let site = world.site().join("apt/27");
    for suite in ["x", "stable"] {
        let apt = Apt::new(world.path(suite));
        let file = apt.file("etc/sources.list.d").join("forge.sources");
        fs::copy(site.join(format!("{suite}.sources")), file).unwrap();
        apt.update().unwrap();
        assert_eq!(apt.versions("hello-forge"), ["1.0"]);
        apt.get(&["download", "hello-forge"]);
    }
    let without = Repository { url: None, ..at("") };
    world.publish(&without, NOW + 2).unwrap();
    assert!(fs::symlink_metadata(site.join("x.sources")).is_err(), "it would lead nowhere");
}

#[test]
fn a_client_that_holds_an_older_release_still_gets_its_index() {
    let world = World::new();
    let settings = index(vec![suite("x")]);
    let old = [world.fixture.deb("hello-forge", "1.0-1", "amd64", "x", "one")];
    world.publish(&world.repository("", &settings, &old), NOW).unwrap();
    let before = fs::canonicalize(world.site().join("dists")).unwrap();
    let mut indices = by_hash_files(&before);
    // Contents stays the same: the versions install the same paths.
    indices.retain(|path| path.contains("binary-"));
    assert_eq!(indices.len(), 4);
    let new = [world.fixture.deb("hello-forge", "2.0-1", "amd64", "x", "two")];
    world.publish(&world.repository("", &settings, &new), NOW + 10).unwrap();
    for path in &indices {
        assert!(world.site().join("dists").join(path).exists(), "{path} is gone");
    }
    assert!(before.exists(), "the earlier generation stays for a while");

    // A month later the next publish forgets them; the package files stay.
    let newer = [world.fixture.deb("hello-forge", "3.0-1", "amd64", "x", "three")];
    let later = NOW + 11 + 30 * 86_400;
    world.publish(&world.repository("", &settings, &newer), later).unwrap();
    assert!(!before.exists());
    let present = |path: &&String| world.site().join("dists").join(path).exists();
    assert_eq!(indices.iter().filter(present).count(), 0, "{indices:?}");
    assert!(world.site().join("pool/main/h/hello-forge/hello-forge_1.0-1_amd64.deb").exists());
}

fn by_hash_files(dists: &std::path::Path) -> Vec<String> {
    let all = listing(dists).into_keys().filter(|path| dists.join(path).is_file());
    all.map(|path| path.to_str().unwrap().to_owned()).filter(|path| path.contains("by-hash")).collect()
}

#[test]
fn apt_refuses_what_was_tampered_with() {
    let world = World::new();
    let debs = [world.fixture.deb("hello-forge", "2.0-1", "amd64", "x", "two")];
    let settings = AptIndex { compressions: Vec::new(), ..index(vec![suite("x")]) };
    let repository = world.repository("", &settings, &debs);
    world.publish(&repository, NOW).unwrap();
    let site = world.site();
    let tamper = |path: &str, from: &str, to: &str| {
        let path = fs::canonicalize(site.join("dists/x").join(path)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let broken = text.replacen(from, to, 1);
        assert_ne!(text, broken);
        // The plain file and its by-hash name are one inode.
        fs::write(&path, broken).unwrap();
        move || fs::write(&path, &text).unwrap()
    };
    let update = |name: &str| {
        let apt = Apt::new(world.path(name));
        apt.source(&format!("file:{}", site.display()), &site.join("key.asc"), "x");
        apt.update()
    };
    update("untouched").unwrap();

    let restore = tamper("main/binary-amd64/Packages", "Section: devel", "Section: devil");
    let said = update("packages").unwrap_err();
    assert!(said.contains("Hash Sum mismatch"), "{said}");
    restore();
    let restore = tamper("InRelease", "Label: Test", "Label: Best");
    let said = update("inrelease").unwrap_err();
    assert!(said.contains("BADSIG") || said.contains("signature"), "{said}");
    restore();
    update("restored").unwrap();

    let other = world.path("other");
    fs::create_dir(&other).unwrap();
    let other_key = load_key(&other, "key.asc", &new_key());
    let public = world.path("other.asc");
    fs::write(&public, other_key.public_armored().unwrap()).unwrap();
    let apt = Apt::new(world.path("other-key"));
    apt.source(&format!("file:{}", site.display()), &public, "x");
    let said = apt.update().unwrap_err();
    assert!(said.contains("NO_PUBKEY") || said.contains("not signed"), "{said}");
}

#[test]
fn an_alias_is_followed_when_its_target_changes() {
    let world = World::new();
    let packages = [
        world.fixture.deb("hello-forge", "27.3-1", "amd64", "27", "a"),
        world.fixture.deb("hello-forge", "28.1-1", "amd64", "28", "b"),
    ];
    let aliased = |target| index(vec![suite("27"), suite("28"), alias("latest", target)]);
    world.publish(&world.repository("", &aliased("27"), &packages), NOW).unwrap();
    let apt = Apt::new(world.path("root"));
    apt.source(&format!("file:{}", world.site().display()), &world.site().join("key.asc"), "latest");
    apt.update().unwrap();
    assert_eq!(apt.versions("hello-forge"), ["27.3-1"]);

    let outcome = world.publish(&world.repository("", &aliased("28"), &packages), NOW + 5).unwrap();
    apt.update().unwrap();
    assert_eq!(apt.versions("hello-forge"), ["28.1-1"]);
    let Outcome::Committed { effect: Effect { suites }, .. } = outcome else { panic!("{outcome:?}") };
    let changed: Vec<_> = suites.iter().filter(|suite| !suite.is_empty()).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!((changed[0].suite.as_str(), changed[0].replaced[0].to.as_str()), ("latest", "28.1-1"));
    assert_eq!(changed[0].dropped[0].cause.as_deref(), Some("'latest' is an alias of '28' now"));
}

#[test]
fn an_update_within_the_same_second_is_still_newer_for_apt() {
    let world = World::new();
    let settings = index(vec![suite("x")]);
    let apt = Apt::new(world.path("root"));
    apt.source(&format!("file:{}", world.site().display()), &world.site().join("key.asc"), "x");
    let after = [
        ("1.0-1", vec!["1.0-1"]),
        ("2.0-1", vec!["2.0-1", "1.0-1"]),
        ("1.5-1", vec!["2.0-1", "1.5-1", "1.0-1"]),
    ];
    for (version, versions) in after {
        let debs = [world.fixture.deb("hello-forge", version, "amd64", "x", version)];
        world.publish(&world.repository("", &settings, &debs), NOW).unwrap();
        apt.update().unwrap();
        assert_eq!(apt.versions("hello-forge"), versions);
    }
}

#[test]
fn a_suite_of_packages_for_all_serves_every_client() {
    let world = World::new();
    let debs = [world.fixture.deb("forge-doc", "1.0", "all", "x", "doc")];
    world.publish(&world.repository("", &index(vec![suite("x")]), &debs), NOW).unwrap();
    let apt = Apt::new(world.path("root"));
    apt.source(&format!("file:{}", world.site().display()), &world.site().join("key.asc"), "x");
    apt.update().unwrap();
    assert_eq!(apt.versions("forge-doc"), ["1.0"]);
    apt.get(&["download", "forge-doc"]);
}

#[test]
fn apt_file_finds_what_a_package_installs() {
    let world = World::new();
    let debs = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "file")];
    world.publish(&world.repository("", &index(vec![suite("x")]), &debs), NOW).unwrap();
    let server = Server::start(&world.site(), world.path("log"));
    let apt = Apt::new(world.path("root"));
    apt.configure(
        "Acquire::IndexTargets::deb::Contents-deb { MetaKey \"$(COMPONENT)/Contents-$(ARCHITECTURE)\"; \
         ShortDescription \"Contents\"; Description \"Contents\"; KeepCompressed \"true\"; };\n",
    );
    apt.source(&server.uri, &world.site().join("key.asc"), "x");
    apt.update().unwrap();
    let log = server.log();
    let contents = log.lines().filter(|line| line.contains("main/by-hash/SHA256/")).count();
    assert_eq!(contents, 1, "{log}");
    let found = run(&mut apt.command("apt-file", &["search", "hello-forge/file"]));
    assert_eq!(found, "hello-forge: /usr/share/hello-forge/file\n");
}

#[test]
fn what_agrees_is_not_published_again_and_a_new_key_is() {
    let world = World::new();
    let debs = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    let repository = world.repository("", &index(vec![suite("x")]), &debs);
    world.publish(&repository, NOW).unwrap();
    let before = listing(&world.site());
    // The plan expected nothing there; what is there is just what it wants.
    assert!(matches!(world.publish(&repository, NOW + 60), Ok(Outcome::Unchanged(_))));
    assert_eq!(listing(&world.site()), before);

    let both = rotated(&world);
    let again = world.repository("", &index(vec![suite("x")]), &debs);
    let outcome = world.publish_with(&both, &again, NOW + 120).unwrap();
    let Outcome::Committed { generation, effect } = outcome else { panic!("{outcome:?}") };
    assert_eq!(generation.fingerprints.len(), 2);
    assert!(effect.is_empty());
    assert_eq!(world.target.state("").unwrap(), Some(generation));
    check_whole(&world.site(), &world.site().join("key.gpg"));
}

fn rotated(world: &World) -> crate::keys::SigningKeys {
    let second = world.path("second.asc");
    fs::write(&second, new_key()).unwrap();
    let sources = [world.path("key.asc"), second].map(super::support::source);
    crate::keys::SigningKeys::load(&sources, NOW).unwrap()
}

#[test]
fn clients_with_either_key_follow_a_rotation() {
    let world = World::new();
    let debs = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    let repository = world.repository("", &index(vec![suite("x")]), &debs);
    let both = rotated(&world);
    world.publish_with(&both, &repository, NOW).unwrap();
    let second =
        load_key(&world.path(""), "second-alone", &fs::read_to_string(world.path("second.asc")).unwrap());
    for (name, keys) in [("old", &world.keys), ("new", &second)] {
        let public = world.path(&format!("{name}.asc"));
        fs::write(&public, keys.public_armored().unwrap()).unwrap();
        let apt = Apt::new(world.path(&format!("root-{name}")));
        apt.source(&format!("file:{}", world.site().display()), &public, "x");
        let said = apt.command("apt-get", &["update"]).output().unwrap();
        assert!(said.status.success(), "{name}: {}", String::from_utf8_lossy(&said.stderr));
        assert_eq!(apt.versions("hello-forge"), ["1.0"], "{name}");
    }
}

#[test]
fn a_package_file_never_changes() {
    let world = World::new();
    let settings = index(vec![suite("x")]);
    let one = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    world.publish(&world.repository("", &settings, &one), NOW).unwrap();
    let before = listing(&world.site());
    let two = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "two")];
    let error = world.publish(&world.repository("", &settings, &two), NOW + 1).unwrap_err();
    assert!(matches!(error, PublishError::PoolConflict { .. }));
    assert!(error.to_string().contains("hello-forge_1.0_amd64.deb"), "{error}");
    assert_eq!(listing(&world.site()), before);
}

#[test]
fn a_change_of_label_is_refused_before_clients_refuse_it() {
    let world = World::new();
    let debs = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    world.publish(&world.repository("", &index(vec![suite("x")]), &debs), NOW).unwrap();
    let renamed = AptIndex { label: "Other".into(), ..index(vec![suite("x")]) };
    let error = world.publish(&world.repository("", &renamed, &debs), NOW + 1).unwrap_err();
    assert!(matches!(error, PublishError::Identity { field: "Label", .. }), "{error}");
}

#[test]
fn what_forge_did_not_write_is_left_alone() {
    let world = World::new();
    let debs = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    let repository = world.repository("", &index(vec![suite("x")]), &debs);
    fs::create_dir_all(world.site().join("dists/x")).unwrap();
    fs::write(world.site().join("dists/x/Release"), "of another tool").unwrap();
    let error = world.publish(&repository, NOW).unwrap_err();
    assert!(matches!(error, PublishError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(world.site().join("dists/x/Release")).unwrap(), b"of another tool");
}

#[test]
fn several_repositories_are_published_by_one_call() {
    let world = World::new();
    let debs = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    let repositories =
        ["apt/28", "apt/27"].map(|prefix| world.repository(prefix, &index(vec![suite("x")]), &debs));
    let publish = |repositories: &[_]| world.target.publish(&world.edition(repositories, NOW), &mut |_| {});
    assert_eq!(publish(&repositories).unwrap().len(), 2);
    for prefix in ["apt/27", "apt/28"] {
        let site = world.site().join(prefix);
        check_whole(&site, &site.join("key.gpg"));
    }
    let twice = [repositories[0].clone(), repositories[0].clone()];
    assert!(matches!(publish(&twice), Err(PublishError::Prefix(_))));
    for prefix in ["../x", "/x", "a//b", "dists", ".x", "a/pool"] {
        let error = world.target.state(prefix).unwrap_err();
        assert!(matches!(error, PublishError::Prefix(_)), "{prefix}");
    }
}

#[test]
fn without_keys_there_is_a_release_and_no_signature() {
    let world = World::new();
    let debs = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    let repository = world.repository("", &index(vec![suite("x")]), &debs);
    let target = DirectoryTarget::new(world.site()).with_retention(Duration::ZERO);
    let unsigned = Edition { keys: None, ..world.edition(std::slice::from_ref(&repository), NOW) };
    target.publish(&unsigned, &mut |_| {}).unwrap();
    let suite = world.site().join("dists/x");
    assert!(suite.join("Release").exists());
    assert!(!suite.join("InRelease").exists() && !suite.join("Release.gpg").exists());
    assert!(fs::symlink_metadata(world.site().join("key.asc")).is_err());
    let mut date = Command::new("grep");
    assert_eq!(run(date.arg("Date").arg(suite.join("Release"))), "Date: Thu, 01 Jan 2026 00:00:00 UTC\n");
}
