//! The whole index, against apt-ftparchive and the decompressors of the distribution.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::fixture::{Fixture, alias, build, index, run, suite};
use super::{AptIndex, Holds, IndexedPackage, PoolLayout, stanzas};
use crate::digest::{changes, fields_of};
use crate::index::IndexError;
use crate::store::{Kind, LocalStore, Tree};

const DATE: u64 = 1_795_366_800;

fn text(tree: &Tree, path: &str, store: &LocalStore) -> String {
    String::from_utf8(bytes(tree, path, store)).unwrap()
}

fn bytes(tree: &Tree, path: &str, store: &LocalStore) -> Vec<u8> {
    match tree.get(path).unwrap_or_else(|| panic!("no {path}")).kind {
        Kind::File { object, .. } => store.get(object).unwrap(),
        _ => panic!("{path} is no file"),
    }
}

fn names(packages: &str) -> Vec<String> {
    let stanzas = stanzas(packages).unwrap();
    stanzas
        .iter()
        .map(|one| format!("{} {}", one.get("Package").unwrap(), one.get("Version").unwrap()))
        .collect()
}

#[test]
fn stanzas_are_those_of_apt_ftparchive_field_by_field() {
    let fixture = Fixture::new();
    let every_field = "Package: everything\nDescription: all fields\n long text\n .\n more\nX-Own-Field: hm\n\
        Task: t\nTag: a::b\nHomepage: https://example.org\nEnhances: e\nReplaces: r\nBreaks: b\nConflicts: q\n\
        Suggests: s\nRecommends: c\nDepends: d\nPre-Depends: p\nProvides: v\nInstalled-Size: 5\n\
        Bugs: mailto:x@example.org\nOriginal-Maintainer: O <o@example.org>\nMaintainer: M <m@example.org>\n\
        Phased-Update-Percentage: 10\nOrigin: Me\nSource: src (2)\nSection: devel\nInstaller-Menu-Item: 10\n\
        Essential: yes\nImportant: yes\nProtected: yes\nBuild-Essential: yes\nPriority: optional\n\
        Multi-Arch: foreign\nAuto-Built-Package: debug-symbols\nBuilt-For-Profiles: nodoc\n\
        Static-Built-Using: su (= 1)\nBuilt-Using: u (= 1)\nKernel-Version: 6\nVersion: 1:2.0-1\n\
        Subarchitecture: s\nArchitecture: amd64\nPackage-Type: deb\nBuild-Ids: abc\nLicense: MIT\nVendor: Us\n";
    let debs = [
        fixture.read(&fixture.pack(every_field, "everything", "x"), "x"),
        fixture.deb("libplain", "2.0~rc1-1", "all", "x", "y"),
    ];
    let tree = build(&index(vec![suite("x")]), &debs, DATE, &fixture.store).unwrap();
    let root = fixture.dir.path().join("repository");
    fixture.store.materialize(&tree, &root, DATE).unwrap();

    let ours = stanzas(&text(&tree, "dists/x/main/binary-amd64/Packages", &fixture.store)).unwrap();
    let mut ftparchive = Command::new("apt-ftparchive");
    ftparchive.args(["--md5=no", "--sha1=no", "--sha512=no", "packages", "pool"]).current_dir(&root);
    let theirs = stanzas(&run(&mut ftparchive)).unwrap();
    assert_eq!(ours.len(), 2);
    assert_eq!(ours, theirs);
}

#[test]
fn every_listed_file_exists_plain_and_by_hash_with_that_hash() {
    let fixture = Fixture::new();
    let debs = [fixture.deb("a", "1", "amd64", "x", "a"), fixture.deb("b", "1", "arm64", "x", "b")];
    let tree = build(&index(vec![suite("x"), alias("latest", "x")]), &debs, DATE, &fixture.store).unwrap();
    for codename in ["x", "latest"] {
        let release = text(&tree, &format!("dists/{codename}/Release"), &fixture.store);
        let release = stanzas(&release).unwrap().remove(0);
        assert_eq!(release.get("Codename"), Some(codename));
        assert_eq!(release.get("Architectures"), Some("amd64 arm64"));
        assert_eq!(release.get("Date"), Some("Sun, 22 Nov 2026 17:00:00 UTC"));
        let fields: Vec<&str> = release.0.iter().map(|(field, _)| field.as_str()).collect();
        let sorted: Vec<&str> = fields.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        assert_eq!(fields, sorted, "apt-ftparchive writes the fields in alphabetical order");
        let lines: Vec<_> = release.get("SHA256").unwrap().lines().skip(1).collect();
        assert_eq!(lines.len(), 2 * (4 + 2));
        for line in lines {
            let [hash, size, path] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let plain = bytes(&tree, &format!("dists/{codename}/{path}"), &fixture.store);
            let found: String = Sha256::digest(&plain).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((found.as_str(), plain.len().to_string().as_str()), (hash, size));
            let dir = path.rsplit_once('/').unwrap().0;
            let by_hash = format!("dists/{codename}/{dir}/by-hash/SHA256/{hash}");
            assert_eq!(bytes(&tree, &by_hash, &fixture.store), plain);
        }
    }
}

#[test]
fn compressed_forms_are_what_the_distribution_s_tools_read() {
    let fixture = Fixture::new();
    let debs = [fixture.deb("a", "1", "amd64", "x", "a")];
    let tree = build(&index(vec![suite("x")]), &debs, DATE, &fixture.store).unwrap();
    let root = fixture.dir.path().join("repository");
    fixture.store.materialize(&tree, &root, DATE).unwrap();
    let dir = root.join("dists/x/main/binary-amd64");
    let plain = fs::read_to_string(dir.join("Packages")).unwrap();
    for (tool, extension) in [("xz", "xz"), ("gzip", "gz"), ("zstd", "zst")] {
        let mut tool = Command::new(tool);
        assert_eq!(run(tool.arg("-dc").arg(dir.join(format!("Packages.{extension}")))), plain);
    }
    let list = run(Command::new("xz").args(["--robot", "--list"]).arg(dir.join("Packages.xz")));
    assert!(list.lines().any(|line| line.starts_with("file\t1\t")), "one stream: {list}");
    let gz = fs::read(dir.join("Packages.gz")).unwrap();
    assert_eq!(gz[3..8], [0; 5], "no name, no time");
}

#[test]
fn order_of_packages_does_not_matter_and_equal_ones_are_taken_once() {
    let fixture = Fixture::new();
    let versions = ["1:27.1-1", "27.3-1", "27.3~rc1-1", "27.10-1"];
    let debs = versions.map(|version| fixture.deb("a", version, "amd64", "x", version));
    let settings = index(vec![suite("x")]);
    let tree = build(&settings, &debs, DATE, &fixture.store).unwrap();
    let mut other: Vec<IndexedPackage> = debs.iter().rev().cloned().collect();
    other.push(debs[0].clone());
    assert_eq!(build(&settings, &other, DATE, &fixture.store).unwrap(), tree);
    let packages = text(&tree, "dists/x/main/binary-amd64/Packages", &fixture.store);
    assert_eq!(names(&packages), ["a 27.3~rc1-1", "a 27.3-1", "a 27.10-1", "a 1:27.1-1"]);
}

#[test]
fn packages_for_all_architectures_go_into_each() {
    let fixture = Fixture::new();
    let debs = [fixture.deb("doc", "1", "all", "x", "d"), fixture.deb("a", "1", "amd64", "x", "a")];
    let mut settings = index(vec![suite("x"), suite("only-all")]);
    settings.suites[0].holds =
        Holds::Packages { component: "main".into(), architectures: vec!["riscv64".into()] };
    let mut debs = debs.to_vec();
    debs.push(IndexedPackage { suite: "only-all".into(), ..debs[0].clone() });
    let tree = build(&settings, &debs, DATE, &fixture.store).unwrap();
    let packages = |path: &str| names(&text(&tree, path, &fixture.store));
    assert_eq!(packages("dists/x/main/binary-amd64/Packages"), ["a 1", "doc 1"]);
    assert_eq!(packages("dists/x/main/binary-riscv64/Packages"), ["doc 1"]);
    assert_eq!(packages("dists/only-all/main/binary-all/Packages"), ["doc 1"]);
    assert!(tree.get("dists/x/main/binary-all/Packages").is_none());
}

#[test]
fn one_version_with_two_contents_is_refused_naming_both() {
    let fixture = Fixture::new();
    let debs = [fixture.deb("a", "1", "amd64", "x", "one"), fixture.deb("a", "1", "amd64", "x", "two")];
    let error = build(&index(vec![suite("x")]), &debs, DATE, &fixture.store).unwrap_err();
    assert!(matches!(error, IndexError::Conflict { .. }));
    let message = error.to_string();
    assert!(debs.iter().all(|deb| message.contains(&deb.origin)), "{message}");
}

#[test]
fn suites_with_other_bytes_under_one_version_need_a_pool_each() {
    let fixture = Fixture::new();
    let debs = [fixture.deb("a", "1", "amd64", "x", "one"), fixture.deb("a", "1", "amd64", "y", "two")];
    let shared = index(vec![suite("x"), suite("y"), alias("latest", "y")]);
    let error = build(&shared, &debs, DATE, &fixture.store).unwrap_err();
    assert!(matches!(error, IndexError::PoolConflict { .. }), "{error}");

    let own = AptIndex { pool: PoolLayout::PerSuite, ..shared };
    let tree = build(&own, &debs, DATE, &fixture.store).unwrap();
    assert!(tree.get("pool/x/main/a/a/a_1_amd64.deb").is_some());
    let latest = text(&tree, "dists/latest/main/binary-amd64/Packages", &fixture.store);
    assert!(latest.contains("\nFilename: pool/y/main/a/a/a_1_amd64.deb\n"), "{latest}");
}

#[test]
fn unknown_suites_and_broken_settings_are_refused() {
    let fixture = Fixture::new();
    let deb = [fixture.deb("a", "1", "amd64", "trixie", "a")];
    let fails = |index: &AptIndex| build(index, &deb, DATE, &fixture.store).unwrap_err().to_string();
    let unknown = fails(&index(vec![suite("bookworm"), alias("latest", "bookworm")]));
    assert!(unknown.contains("'trixie'") && unknown.ends_with("one of: bookworm"), "{unknown}");
    assert!(fails(&index(vec![suite("x"), alias("trixie", "x")])).contains("is an alias"));
    assert!(fails(&index(vec![alias("a", "b"), alias("b", "a")])).contains("alias of 'b'"));
    assert!(fails(&index(vec![suite("trixie"), suite("trixie")])).contains("two suites"));
    assert!(fails(&index(vec![suite("../trixie")])).contains("codename"));
    let broken = AptIndex { label: "a\nOrigin: b".into(), ..index(vec![suite("trixie")]) };
    assert!(fails(&broken).contains("label"));
}

#[test]
fn a_change_of_settings_is_told_by_its_name() {
    let before = index(vec![suite("x"), alias("latest", "x")]);
    let mut after = before.clone();
    after.suites[1].version = Some("2".into());
    after.compressions.reverse();
    let changes = changes(&fields_of(&before), &fields_of(&after));
    let names: Vec<_> = changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(names, ["latest.version"]);
}
