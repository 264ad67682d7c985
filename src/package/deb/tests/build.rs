//! Against dpkg-deb, dpkg-gencontrol, dpkg-parsechangelog, md5sum and lintian.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{LONG, rich_deb, rich_payload};
use crate::digest::Digest;
use crate::package::deb::testing::{Bench, deb, run, tool};
use crate::package::{Compression, Deb, DebInfo, MaintainerScript, Substvars};
use crate::store::{Ingest, Tree};

const EVERY_COMPRESSION: [Compression; 3] =
    [Compression::Xz { level: 6 }, Compression::Zstd { level: 19 }, Compression::Gzip];

fn dpkg_deb(args: &[&str], paths: &[&Path]) -> String {
    run(tool("dpkg-deb", "dpkg").args(args).args(paths))
}

#[test]
fn dpkg_deb_reads_every_compression() {
    let bench = Bench::new();
    for compression in EVERY_COMPRESSION {
        let deb = Deb { compression, ..rich_deb() };
        let package = bench.package(&deb, &rich_payload(&bench));
        assert_eq!(dpkg_deb(&["--field"], &[&package]), CONTROL, "{compression}");
        let info = dpkg_deb(&["--info"], &[&package]);
        for file in ["conffiles", "md5sums", "postinst", "postrm", "prerm", "triggers"] {
            assert!(info.contains(file), "{info}");
        }
        let members = run(tool("ar", "binutils").args(["tv"]).arg(&package).env("TZ", "UTC"));
        let line = "rw-r--r-- 0/0      4 Nov 14 22:13 2023 debian-binary\n";
        assert!(members.starts_with(line), "{members}");
    }
}

/// In the order of dpkg-gencontrol.
const CONTROL: &str = "\
Package: forge-sample
Version: 1:1.2.3-2
Architecture: all
Maintainer: Forge Sample <sample@example.org>
Installed-Size: 25
Pre-Depends: forge-before
Depends: dpkg (>= 1.15), sh-one | sh-two
Breaks: forge-other (<< 1:1)
Provides: sample-api (= 1:1.2.3-2)
Section: misc
Priority: optional
Homepage: https://example.org/sample
Description: sample of what a package may hold
 It holds files, links and directories, so that their way
 through dpkg can be seen.
 .
 Nothing depends on it.
";

#[test]
fn contents_are_rooted_sorted_and_end_with_the_links() {
    let bench = Bench::new();
    let package = bench.package(&rich_deb(), &rich_payload(&bench));
    let listed = run(tool("dpkg-deb", "dpkg").arg("--contents").arg(&package).env("TZ", "UTC"));
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0], "drwxr-xr-x root/root         0 2023-11-14 22:13 ./");
    assert!(lines.iter().all(|line| line.contains(" root/root ") && line.contains(" 2023-11-14 22:13 ./")));
    assert!(lines.contains(&"-rwsr-xr-x root/root      3000 2023-11-14 22:13 ./opt/sample/bin/tool"));
    assert!(lines.contains(&"drwxr-x--- root/root         0 2023-11-14 22:13 ./opt/sample/empty/"));
    let names: Vec<&str> =
        lines.iter().map(|line| line.split_once(" ./").unwrap().1.trim_end_matches('/')).collect();
    let links = names.iter().position(|name| name.contains(" -> ")).unwrap();
    let (files, links) = names.split_at(links);
    let by_directory = |names: &[&str]| names.is_sorted_by_key(|name| name.split('/').collect::<Vec<_>>());
    assert!(by_directory(files) && by_directory(links) && links.len() == 2, "{names:?}");
    assert_eq!(links[1], format!("opt/sample/far -> ../../{LONG}"));
}

#[test]
fn what_is_extracted_is_what_was_packed() {
    let bench = Bench::new();
    let payload = rich_payload(&bench);
    for compression in EVERY_COMPRESSION {
        let deb = Deb { compression, ..rich_deb() };
        let package = bench.package(&deb, &payload);
        let to = bench.path(compression.extension());
        dpkg_deb(&["--extract"], &[&package, &to]);
        let found = bench.store.ingest(&to, Ingest::Copy).unwrap();
        for entry in payload.entries() {
            assert_eq!(found.get(&entry.path), Some(entry));
        }
        let own = ["usr/share/doc/forge-sample/changelog.Debian.gz", "usr/share/doc/forge-sample/copyright"];
        let added = found
            .entries()
            .iter()
            .map(|entry| entry.path.as_str())
            .filter(|path| payload.get(path).is_none() && fs::metadata(to.join(path)).unwrap().is_file());
        assert_eq!(added.collect::<Vec<_>>(), own);
        assert_eq!(fs::symlink_metadata(to.join("opt/sample/far")).unwrap().mtime(), 1_700_000_000);
    }
}

#[test]
fn md5sums_hold_for_md5sum() {
    let bench = Bench::new();
    let package = bench.package(&rich_deb(), &rich_payload(&bench));
    let to = bench.path("extracted");
    dpkg_deb(&["--raw-extract"], &[&package, &to]);
    let checked = run(tool("md5sum", "coreutils").args(["--check", "DEBIAN/md5sums"]).current_dir(&to));
    // Every regular file but the conffile.
    assert_eq!(checked.lines().count(), 8, "{checked}");
    assert!(checked.lines().all(|line| line.ends_with(": OK")) && checked.contains(LONG), "{checked}");
    let sums = fs::read_to_string(to.join("DEBIAN/md5sums")).unwrap();
    assert!(!sums.contains("etc/"), "{sums}");
}

#[test]
fn dpkg_gencontrol_counts_the_same_installed_size() {
    let bench = Bench::new();
    let package = bench.package(&rich_deb(), &rich_payload(&bench));
    let source = bench.path("source");
    fs::create_dir_all(source.join("debian")).unwrap();
    dpkg_deb(&["--extract"], &[&package, &source.join("tree")]);
    let control =
        "Source: x\nMaintainer: a <a@b.c>\n\nPackage: forge-sample\nArchitecture: all\nDescription: x\n";
    fs::write(source.join("debian/control"), control).unwrap();
    let entry = "x (1) unstable; urgency=low\n\n  * x\n\n -- a <a@b.c>  Tue, 14 Nov 2023 22:13:20 +0000\n";
    fs::write(source.join("debian/changelog"), entry).unwrap();
    let printed = run(tool("dpkg-gencontrol", "dpkg-dev").args(["-O", "-Ptree"]).current_dir(&source));
    let size = printed.lines().find(|line| line.starts_with("Installed-Size")).unwrap();
    assert_eq!(size, "Installed-Size: 25");
}

#[test]
fn dpkg_deb_builds_the_same_package_from_the_same_tree() {
    let bench = Bench::new();
    let package = bench.package(&rich_deb(), &rich_payload(&bench));
    let (tree, built) = (bench.path("tree"), bench.path("built.deb"));
    dpkg_deb(&["--raw-extract"], &[&package, &tree]);
    run(tool("dpkg-deb", "dpkg")
        .args(["--root-owner-group", "-Zxz", "-z6", "--build"])
        .args([&tree, &built])
        .env("SOURCE_DATE_EPOCH", "1700000000"));
    // The first line of --info tells the compressed size.
    let info = |path: &Path| dpkg_deb(&["--info"], &[path]).split_once('\n').unwrap().1.to_owned();
    // With the same files in the same order.
    let contents = |path: &Path| dpkg_deb(&["--contents"], &[path]);
    let without_control_size = |info: String| info.split_once('\n').unwrap().1.to_owned();
    assert_eq!(without_control_size(info(&package)), without_control_size(info(&built)));
    assert_eq!(contents(&package), contents(&built));
    assert_eq!(read(&package).fields, read(&built).fields);
}

#[test]
fn size_is_within_a_hundredth_of_dpkg_debs() {
    let bench = Bench::new();
    // What dpkg-dev itself consists of: Perl modules and documents.
    let modules = Path::new("/usr/share/perl5/Dpkg");
    assert!(modules.is_dir(), "this test packs the modules of dpkg-dev: apt-get install libdpkg-perl");
    let payload = bench.store.ingest(modules, Ingest::Copy).unwrap();
    let deb = Deb { compression: Compression::Xz { level: 6 }, ..deb() };
    let package = bench.package(&deb, &payload);
    let (tree, built) = (bench.path("tree"), bench.path("built.deb"));
    dpkg_deb(&["--raw-extract"], &[&package, &tree]);
    dpkg_deb(&["--root-owner-group", "-Zxz", "-z6", "--build"], &[&tree, &built]);
    let (ours, theirs) = (read(&package).size, read(&built).size);
    assert!(ours.abs_diff(theirs) * 100 <= theirs, "{ours} and {theirs}");
}

#[test]
fn bytes_are_the_same_twice_and_on_any_number_of_threads() {
    let bench = Bench::new();
    let payload = rich_payload(&bench);
    for compression in EVERY_COMPRESSION {
        let deb = Deb { compression, ..rich_deb() };
        let on = |threads: usize| {
            let mut bytes = Vec::new();
            let threads = NonZeroUsize::new(threads).unwrap();
            deb.write_on(threads, &payload, &Substvars::default(), &bench.store, &mut bytes).unwrap();
            bytes
        };
        let one = on(1);
        assert!([1, 2, 4].into_iter().all(|threads| on(threads) == one), "{compression}");
        assert!(bench.bytes(&deb, &payload) == one, "{compression}");
    }
}

/// These digests may change only together with `FORMAT` in `package.rs`.
#[test]
fn bytes_are_those_of_this_format() {
    let bench = Bench::new();
    let payload = rich_payload(&bench);
    let digests = EVERY_COMPRESSION.map(|compression| {
        let deb = Deb { compression, ..rich_deb() };
        Digest::of(&bench.bytes(&deb, &payload)).short()
    });
    assert_eq!(digests, ["f5add1de8d2a", "1befa9b13524", "27b172a7e083"]);
}

#[test]
fn dpkg_parsechangelog_reads_the_changelog() {
    let bench = Bench::new();
    let changelog = "* One.\n  Still one.\n\n* Two.".to_owned();
    let package = bench.package(&Deb { changelog, ..deb() }, &Tree::default());
    let to = bench.path("extracted");
    dpkg_deb(&["--extract"], &[&package, &to]);
    let packed = to.join("usr/share/doc/forge-sample/changelog.Debian.gz");
    let text = run(tool("gzip", "gzip").arg("-dc").arg(&packed));
    let plain = bench.path("changelog");
    fs::write(&plain, &text).unwrap();
    let parsed = run(tool("dpkg-parsechangelog", "dpkg-dev").arg("-l").arg(&plain));
    for line in [
        "Source: forge-sample",
        "Version: 1:1.2.3-2",
        "Maintainer: Forge Sample <sample@example.org>",
        "Timestamp: 1700000000",
        "   * One.",
        "     Still one.",
        "   * Two.",
    ] {
        assert!(parsed.lines().any(|found| found == line), "no '{line}' in\n{parsed}");
    }
    // The header of gzip -9n: no time, best compression, Unix.
    assert_eq!(fs::read(&packed).unwrap()[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3]);
}

#[test]
fn lintian_finds_no_fault_and_overrides_hold() {
    let bench = Bench::new();
    let overrides = ["# the sample has no manual on purpose", "no-manual-page [usr/bin/sample]"];
    let deb = Deb {
        scripts: BTreeMap::from([(MaintainerScript::PostInst, "#!/bin/sh\nset -e\nsample\n".into())]),
        conffiles: vec!["/etc/forge-sample.conf".into()],
        changelog: "New upstream release. (Closes: #1000001)".into(),
        lintian_overrides: overrides.map(str::to_owned).to_vec(),
        ..deb()
    };
    let payload = Tree::new(vec![
        bench.file("usr/bin/sample", 0o755, b"#!/bin/sh\necho sample\n"),
        bench.file("etc/forge-sample.conf", 0o644, b"answer = 42\n"),
    ]);
    let lintian = |package: &Path| {
        let mut command = tool("lintian", "lintian");
        run(command.args(["--allow-root", "--fail-on", "none", "--no-cfg"]).arg(package))
    };
    assert_eq!(lintian(&bench.package(&deb, &payload)), "");

    let bare = Deb { lintian_overrides: Vec::new(), ..deb };
    let said = lintian(&bench.package(&bare, &payload));
    assert_eq!(said, "W: forge-sample: no-manual-page [usr/bin/sample]\n");
}

#[test]
fn faults_of_the_description_are_told() {
    let bench = Bench::new();
    let conf = || bench.file("etc/x", 0o644, b"x");
    let conffile = |path: &str| Deb { conffiles: vec![path.into()], ..deb() };
    let fault = bench.fault(&conffile("/etc/y"), vec![conf()]);
    assert_eq!(fault, "/etc/y: it is a conffile, but the payload has no regular file there");
    assert!(
        bench.fault(&conffile("etc/x"), vec![conf()]).contains("conffile is 'etc/x'; expected an absolute")
    );
    assert!(bench.fault(&conffile("/etc/l"), vec![bench.link("etc/l", "x")]).contains("no regular file"));

    let fault = bench.fault(&deb(), vec![bench.file("a", 0o644, b""), bench.file("a/b", 0o644, b"")]);
    assert_eq!(fault, "/a: it is a regular file, but /a/b needs a directory there");

    let copyright = "usr/share/doc/forge-sample/copyright";
    let fault = bench.fault(&deb(), vec![bench.file(copyright, 0o644, b"mine")]);
    assert!(fault.starts_with(&format!("/{copyright}: ")) && fault.contains("leave it out"), "{fault}");

    let scripts = BTreeMap::from([(MaintainerScript::PreInst, "echo hello".to_owned())]);
    let fault = bench.fault(&Deb { scripts, ..deb() }, Vec::new());
    assert!(fault.starts_with("preinst is 'echo hello'") && fault.contains("#!/bin/sh"), "{fault}");

    let fault = bench.fault(&Deb { compression: Compression::Xz { level: 12 }, ..deb() }, Vec::new());
    assert_eq!(fault, "compression is 'xz -12'; expected a level from 0 to 9");
}

#[test]
fn an_object_that_is_absent_or_damaged_stops_the_package() {
    let bench = Bench::new();
    let right = [b'4'; 5000];
    let entry = bench.file("a", 0o644, &right);
    let object = bench.store.object_path(Digest::of(&right));
    for damage in [&[b'5'; 5000], &right[1..]] {
        fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&object, damage).unwrap();
        assert!(bench.fault(&deb(), vec![entry.clone()]).contains("is damaged"), "{}", damage.len());
    }
    fs::remove_file(&object).unwrap();
    assert!(bench.fault(&deb(), vec![entry]).contains("is not in the store"));
}

fn read(path: &Path) -> DebInfo {
    DebInfo::read(fs::File::open(path).unwrap()).unwrap()
}
