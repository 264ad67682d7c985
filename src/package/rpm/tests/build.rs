//! Against rpm, rpmkeys, rpmlint, rpm2cpio, and rpmbuild for the same content.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::Path;

use super::{rich_package, rich_payload};
use crate::digest::Digest;
use crate::keys::SigningKeys;
use crate::keys::testing::{Gpg, KEY_TIME, NOW, load_key, new_key, source};
use crate::package::rpm::testing::{Bench, bytes, fault, package, query, rpm, rpmbuild, run, tool, write};
use crate::package::{Compression, Rpm, RpmGenerated, RpmInfo, RpmRelation};
use crate::store::{Ingest, Tree};

const EVERY_COMPRESSION: [Compression; 3] =
    [Compression::Xz { level: 6 }, Compression::Zstd { level: 19 }, Compression::Gzip];

fn ask(package: &Path, arguments: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    run(rpm("rpm", home.path()).arg("-qp").args(arguments).arg(package))
}

#[test]
fn rpm_reads_every_compression_and_finds_every_digest_good() {
    let bench = Bench::new();
    for compression in EVERY_COMPRESSION {
        let package = write(&bench, &Rpm { compression, ..rich_package() }, &rich_payload(&bench));
        let checked = run(rpm("rpmkeys", bench.dir.path()).args(["-Kv"]).arg(&package));
        for digest in ["Header SHA256 digest", "Header SHA1 digest", "Payload SHA256 digest", "MD5 digest"] {
            assert!(checked.contains(&format!("{digest}: OK")), "{compression}: {checked}");
        }
        let info = RpmInfo::read(File::open(&package).unwrap()).unwrap();
        assert_eq!(info.files.len(), 15, "{:?}", info.files);
        let format = "%{NAME} %{EPOCHNUM} %{VERSION} %{RELEASE} %{ARCH} %{BUILDTIME} %{BUILDHOST}";
        let told = query(&package, format);
        assert_eq!(told, "forge-sample 1 1.2.3 2.el9 noarch 1700000000 reproducible");
    }
}

#[test]
fn files_are_rooted_dated_and_marked_and_the_system_s_directories_left_out() {
    let bench = Bench::new();
    let package = write(&bench, &rich_package(), &rich_payload(&bench));
    let dumped = ask(&package, &["--dump"]);
    let lines: Vec<Vec<&str>> = dumped.lines().map(|line| line.rsplitn(11, ' ').collect()).collect();
    let mut facts = String::new();
    for fields in &lines {
        let [link, _, doc, config, group, user, mode, _, mtime, size, path] = fields[..] else {
            panic!("{fields:?}")
        };
        assert_eq!((user, group, mtime), ("root", "root", "1700000000"));
        facts += &format!("{path} {mode} {size} config={config} doc={doc} {link}\n");
    }
    assert_eq!(facts, FILES);
    let licenses = ask(&package, &["--licensefiles"]);
    assert_eq!(licenses, "/usr/share/licenses/forge-sample/copyright\n");
    assert_eq!(
        query(&package, "[%{FILEFLAGS:fflags}%{FILENAMES}\\n]").lines().next().unwrap(),
        "cn/etc/forge-sample.conf"
    );
}

const FILES: &str = "\
/etc/forge-sample.conf 0100644 12 config=1 doc=0 X
/usr/bin/sample 0120777 22 config=0 doc=0 ../lib/sample/bin/tool
/usr/lib/sample 040755 0 config=0 doc=0 X
/usr/lib/sample/bin 040755 0 config=0 doc=0 X
/usr/lib/sample/bin-more 0100644 52 config=0 doc=0 X
/usr/lib/sample/bin/plain 0100755 10 config=0 doc=0 X
/usr/lib/sample/bin/tool 0104755 3000 config=0 doc=0 X
/usr/lib/sample/empty 040750 0 config=0 doc=0 X
/usr/lib/sample/empty-file 0100640 0 config=0 doc=0 X
/usr/lib/sample/gr\u{fc}\u{df}e \u{2603}.txt 0100644 6 config=0 doc=0 X
/usr/share/doc/forge-sample 040755 0 config=0 doc=0 X
/usr/share/doc/forge-sample/README 0100644 8 config=0 doc=1 X
/usr/share/licenses/forge-sample 040755 0 config=0 doc=0 X
/usr/share/licenses/forge-sample/copyright 0100644 28 config=0 doc=0 X
/usr/share/man/man1/sample.1.gz 0100644 14 config=0 doc=1 X
";

#[test]
fn relations_scripts_and_changes_are_as_rpm_shows_them() {
    let bench = Bench::new();
    let package = write(&bench, &rich_package(), &rich_payload(&bench));
    for (what, told) in [
        (
            "--requires",
            "(forge-needed >= 1:2 or forge-other)\n/bin/sh\n/bin/sh\n/bin/sh\n/bin/sh\n\
             config(forge-sample) = 1:1.2.3-2.el9\nforge-three < 3~rc1\n\
             rpmlib(CompressedFileNames) <= 3.0.4-1\nrpmlib(FileDigests) <= 4.6.0-1\n\
             rpmlib(PayloadFilesHavePrefix) <= 4.0-1\nrpmlib(PayloadIsXz) <= 5.2-1\n\
             rpmlib(RichDependencies) <= 4.12.0-1\nrpmlib(TildeInVersions) <= 4.10.0-1\n",
        ),
        (
            "--provides",
            "config(forge-sample) = 1:1.2.3-2.el9\nforge-sample = 1:1.2.3-2.el9\nsample-api = 1:1.2.3-2.el9\n",
        ),
        ("--conflicts", "forge-enemy\n"),
        ("--obsoletes", "forge-elder <= 2\n"),
        ("--recommends", "forge-nice\n"),
        ("--suggests", "forge-nicer\n"),
        ("--supplements", "(forge-a and forge-b)\n"),
        ("--enhances", "forge-whole\n"),
        (
            "--changelog",
            "* Tue Nov 14 2023 Forge Sample <sample@example.org> - 1:1.2.3-2.el9\n- New upstream release.\n\n",
        ),
    ] {
        assert_eq!(ask(&package, &[what]), told, "{what}");
    }
    let scripts = ask(&package, &["--scripts"]);
    for (kind, name) in [
        ("preinstall", "pre"),
        ("postinstall", "post"),
        ("preuninstall", "preun"),
        ("postuninstall", "postun"),
    ] {
        let text = format!("{kind} scriptlet (using /bin/sh):\nset -e\necho \"{name} $*\" >> /calls\n");
        assert!(scripts.contains(&text), "{scripts}");
    }
}

#[test]
fn what_is_extracted_is_what_was_packed() {
    let bench = Bench::new();
    let payload = rich_payload(&bench);
    for compression in EVERY_COMPRESSION {
        let package = write(&bench, &Rpm { compression, ..rich_package() }, &payload);
        let to = bench.path(&compression.to_string());
        fs::create_dir(&to).unwrap();
        let (archive, cpio) = (bench.path("archive"), "cpio -id --quiet < \"$1\"");
        fs::write(&archive, tool("rpm2cpio", "rpm2cpio").arg(&package).output().unwrap().stdout).unwrap();
        run(tool("sh", "dash").args(["-c", cpio, "sh"]).arg(&archive).current_dir(&to));
        let found = bench.store.ingest(&to, Ingest::Copy).unwrap();
        for entry in payload.entries().iter().filter(|entry| entry.path != "usr/bin") {
            assert_eq!(found.get(&entry.path), Some(entry));
        }
    }
}

/// What tells of the machine, and of its generators; sums and sizes, which this changes.
const OTHERWISE: &str = "
    CLASSDICT COOKIE FILECLASS OPTFLAGS PLATFORM RPMVERSION DEPENDSDICT FILEDEPENDSN FILEDEPENDSX
    HDRID HEADERIMMUTABLE PAYLOADDIGEST PAYLOADDIGESTALT SHA1HEADER SHA256HEADER SIGMD5 PKGID
    SIGSIZE ARCHIVESIZE HEADERSIGNATURES
";

/// The same package by rpmbuild: the header's tags, but for those that tell of the machine.
#[test]
fn the_header_is_that_of_rpmbuild_for_the_same_content() {
    let bench = Bench::new();
    let theirs = rpmbuild(
        &bench,
        SPEC,
        &["_binary_payload w6.xzdio", "_buildhost reproducible", "use_source_date_epoch_as_buildtime 1"],
    );
    // The script in the payload, by which rpmbuild's generator knows.
    let (found, generated) = (RpmGenerated::parse("/bin/sh\n", "").unwrap(), [RpmRelation::Requires].into());
    let compression = Compression::Xz { level: 6 };
    let rpm = Rpm { compression, copyright: None, generated, ..rich_package() };
    let ours = bench.path("ours.rpm");
    let mut file = File::create(&ours).unwrap();
    let (one, payload) = (NonZeroUsize::MIN, rich_payload(&bench));
    rpm.write_on(one, &payload, &found, None, &bench.store, &mut file).unwrap();
    let (theirs, mut ours) = (tags(&theirs), tags(&ours));
    for (tag, value) in theirs {
        let own = ours.remove(&tag);
        if OTHERWISE.split_whitespace().any(|known| known == tag) {
            continue;
        }
        assert_eq!(own, Some(value), "{tag}");
    }
    assert!(ours.is_empty(), "tags that rpmbuild does not have: {ours:?}");
}

const SPEC: &str = r#"
Name: forge-sample
Epoch: 1
Version: 1.2.3
Release: 2.el9
Summary: Sample of what a package may hold
License: MIT
URL: https://example.org/sample
Packager: Forge Sample <sample@example.org>
BuildArch: noarch
Requires: (forge-needed >= 1:2 or forge-other)
Requires: forge-three < 3~rc1
Provides: sample-api = 1:1.2.3-2.el9
Conflicts: forge-enemy
Obsoletes: forge-elder <= 2
Recommends: forge-nice
Suggests: forge-nicer
Supplements: (forge-a and forge-b)
Enhances: forge-whole

%description
It holds files, links and directories, so that their way
through rpm can be seen.

Nothing depends on it.

%install
cd %{buildroot}
mkdir -p etc usr/bin usr/lib/sample/bin usr/lib/sample/empty usr/share/doc/forge-sample usr/share/man/man1
echo 'answer = 42' > etc/forge-sample.conf
head -c 3000 /dev/zero | tr '\0' '\7' > usr/lib/sample/bin/tool
echo '#!/bin/sh' > usr/lib/sample/bin/plain
chmod 755 usr/lib/sample/bin/plain
echo 'where the order of paths is not that of directories' > usr/lib/sample/bin-more
touch usr/lib/sample/empty-file
echo utf-8 > "usr/lib/sample/grüße ☃.txt"
echo 'read me' > usr/share/doc/forge-sample/README
echo 'a manual page' > usr/share/man/man1/sample.1.gz
ln -s ../lib/sample/bin/tool usr/bin/sample
touch -h -d @1700000000 usr/bin/sample
find . -depth -exec touch -h -d @1700000000 '{}' +

%pre
set -e
echo "pre $*" >> /calls

%post
set -e
echo "post $*" >> /calls

%preun
set -e
echo "preun $*" >> /calls

%postun
set -e
echo "postun $*" >> /calls

%files
%config(noreplace) %attr(0644,root,root) /etc/forge-sample.conf
/usr/bin/sample
%dir %attr(0755,root,root) /usr/lib/sample
%dir %attr(0755,root,root) /usr/lib/sample/bin
%attr(0644,root,root) /usr/lib/sample/bin-more
%attr(0755,root,root) /usr/lib/sample/bin/plain
%attr(4755,root,root) /usr/lib/sample/bin/tool
%dir %attr(0750,root,root) /usr/lib/sample/empty
%attr(0640,root,root) /usr/lib/sample/empty-file
%attr(0644,root,root) "/usr/lib/sample/grüße ☃.txt"
%dir %attr(0755,root,root) /usr/share/doc/forge-sample
%attr(0644,root,root) /usr/share/doc/forge-sample/README
%attr(0644,root,root) /usr/share/man/man1/sample.1.gz

%changelog
* Tue Nov 14 2023 Forge Sample <sample@example.org> - 1:1.2.3-2.el9
- New upstream release.
"#;

/// Names that are made of other tags, and other names of the same.
const DERIVED: &str = "
    ARCHSUFFIX CONFLICTNEVRS CONFLICTS DBINSTANCE DEPFLAGS DESCRIPTION ENHANCENEVRS ENHANCES
    EPOCHNUM EVR FILECAPS FILENAMES FILENLINKS FILEPROVIDE FILEREQUIRE FILESTATES FILETRIGGERCONDS
    FILETRIGGERTYPE GROUP HEADERCOLOR HEADERIMAGE INSTALLEDIDS INSTFILENAMES LONGARCHIVESIZE
    LONGFILESIZES LONGSIGSIZE LONGSIZE NEVR NEVRA NVR NVRA OBSOLETENEVRS OBSOLETES ORIGFILENAMES
    PROVIDENEVRS PROVIDES RECOMMENDNEVRS RECOMMENDS REQUIRENEVRS REQUIRES SUGGESTNEVRS SUGGESTS
    SUMMARY SUPPLEMENTNEVRS SUPPLEMENTS SYSUSERS TRANSFILETRIGGERCONDS TRANSFILETRIGGERTYPE
    TRIGGERCONDS TRIGGERTYPE VERBOSE C E N O P R V SVNID SERIAL COPYRIGHT FILEMD5S SOURCEPACKAGE
";

/// Every tag that stands in a package, as rpm prints it.
fn tags(package: &Path) -> BTreeMap<String, String> {
    let names = run(tool("rpm", "rpm").arg("--querytags"));
    let mut all = BTreeMap::new();
    let derived = |name: &str| DERIVED.split_whitespace().any(|known| known == name);
    let names = names.lines().filter(|name| !derived(name));
    let formats = names.map(|name| format!("<<{name}>>%|{name}?{{[%{{{name}}}\\n]}}:{{absent}}|"));
    let told = query(package, &formats.collect::<String>());
    for (name, value) in told.split("<<").filter_map(|told| told.split_once(">>")) {
        if value != "absent" {
            all.insert(name.to_owned(), value.to_owned());
        }
    }
    all.insert("SUMMARY".into(), query(package, "%{SUMMARY} %{DESCRIPTION} %{GROUP}"));
    all
}

#[test]
fn bytes_are_the_same_on_any_number_of_threads_and_as_they_were() {
    let bench = Bench::new();
    let big = bench.file("usr/lib/sample/big", 0o644, &crate::package::testing::text_like(9 << 20));
    for compression in [Compression::Xz { level: 1 }, Compression::Zstd { level: 3 }, Compression::Gzip] {
        let mut entries = rich_payload(&bench).entries().to_vec();
        entries.push(big.clone());
        let (rpm, payload) = (Rpm { compression, ..rich_package() }, Tree::new(entries));
        let on = |threads| {
            let mut out = Vec::new();
            let threads = NonZeroUsize::new(threads).unwrap();
            rpm.write_on(threads, &payload, &RpmGenerated::default(), None, &bench.store, &mut out).unwrap();
            out
        };
        assert!(on(1) == on(4), "{compression}");
    }
    // Where this fails and nothing was to change, a compressor or the crate rpm did: raise FORMAT.
    let digest = Digest::of(&bytes(&bench, &rich_package(), &rich_payload(&bench))).to_string();
    assert_eq!(
        digest,
        "fc825c104128d82d0772a1ffd11f5aa0e16cc4ab21052f67595e5c37eb8a20aa",
        "the bytes of format {}",
        crate::package::rpm::package::FORMAT
    );
}

#[test]
fn a_signed_package_is_verified_by_rpm_and_is_the_same_each_time() {
    let rsa = Gpg::new();
    let rsa = SigningKeys::load(&[source(rsa.make("", "rsa3072", "default", "never"))], NOW).unwrap();
    let bench = Bench::new();
    let ed25519 = load_key(bench.dir.path(), "key.asc", &new_key());
    for (keys, algorithm) in [(rsa, "RSA/SHA512"), (ed25519, "EdDSA/SHA512")] {
        let signed = || {
            let mut out = Vec::new();
            let (one, generated) = (NonZeroUsize::MIN, RpmGenerated::default());
            let payload = rich_payload(&bench);
            rich_package().write_on(one, &payload, &generated, Some(&keys), &bench.store, &mut out).unwrap();
            out
        };
        let package = bench.path("signed.rpm");
        fs::write(&package, signed()).unwrap();
        assert!(signed() == fs::read(&package).unwrap());
        RpmInfo::read(File::open(&package).unwrap()).unwrap();

        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("key.asc");
        fs::write(&key, keys.public_armored().unwrap()).unwrap();
        let refused = rpm("rpmkeys", home.path()).arg("-K").arg(&package).output().unwrap();
        assert!(
            !refused.status.success()
                && String::from_utf8_lossy(&refused.stdout).contains("SIGNATURES NOT OK")
        );
        run(rpm("rpmkeys", home.path()).arg("--import").arg(&key));
        let checked = run(rpm("rpmkeys", home.path()).arg("-Kv").arg(&package));
        let id = keys.fingerprints()[0][24..].to_lowercase();
        assert!(
            checked.contains(&format!("Header V4 {algorithm} Signature, key ID {}: OK", &id[8..])),
            "{checked}"
        );
        // The key is as old as the package; a younger one signs when it is made.
        let when = query(&package, "%|RSAHEADER?{%{RSAHEADER:pgpsig}}:{%{DSAHEADER:pgpsig}}|");
        assert!(when.contains("Tue Nov 14 22:13:20 2023") && when.contains(&id), "{when}");

        let mut damaged = fs::read(&package).unwrap();
        let at = damaged.len() - 1;
        damaged[at] ^= 1;
        fs::write(&package, damaged).unwrap();
        assert!(!rpm("rpmkeys", home.path()).arg("-K").arg(&package).status().unwrap().success());
    }
}

#[test]
fn no_signature_is_older_than_its_key() {
    let bench = Bench::new();
    let keys = load_key(bench.dir.path(), "key.asc", &new_key());
    let time = |date| {
        let packet = keys.sign_packet(b"x", date).unwrap();
        assert!(!packet.is_rsa);
        packet.bytes
    };
    assert_eq!(time(1), time(KEY_TIME));
    assert_ne!(time(KEY_TIME + 1), time(KEY_TIME));
}

#[test]
fn rpmlint_finds_no_error() {
    let bench = Bench::new();
    let mut entries = rich_payload(&bench).entries().to_vec();
    // What rpmlint is right about: the tool is no program, and the link leads to it.
    entries.retain(|entry| {
        !entry.path.contains("tool") && entry.path != "usr/bin/sample" && !entry.path.contains("man1")
    });
    entries.retain(|entry| !entry.path.contains("empty"));
    let mut rpm = rich_package();
    rpm.relations.remove(&RpmRelation::Obsoletes);
    let group = Some("Development/Tools".into());
    let rpm = Rpm { description: "It holds files.".into(), group, ..rpm };
    let keys = load_key(bench.dir.path(), "key.asc", &new_key());
    let (payload, generated, package) =
        (Tree::new(entries), RpmGenerated::default(), bench.path("signed.rpm"));
    let mut file = File::create(&package).unwrap();
    rpm.write_on(NonZeroUsize::MIN, &payload, &generated, Some(&keys), &bench.store, &mut file).unwrap();
    // rpmlint asks for the key in the database below HOME.
    let (home, public) = (bench.path("home"), bench.path("public.asc"));
    fs::create_dir(&home).unwrap();
    fs::write(&public, keys.public_armored().unwrap()).unwrap();
    run(tool("rpmkeys", "rpm").env("HOME", &home).arg("--import").arg(&public));
    let output = tool("rpmlint", "rpmlint").env("HOME", &home).arg(&package).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors: Vec<&str> = told.lines().filter(|line| line.contains(": E: ")).collect();
    assert!(errors.is_empty() && told.contains("1 packages"), "{told}");
}

#[test]
fn what_no_package_may_hold_is_refused_before_anything_is_written() {
    let bench = Bench::new();
    for (field, rpm) in [
        ("license is ''", Rpm { license: String::new(), ..package() }),
        ("summary is 'two", Rpm { summary: "two\nlines".into(), ..package() }),
        ("packager is ''", Rpm { packager: " ".trim().into(), ..package() }),
        ("changelog is ''", Rpm { changelog: String::new(), ..package() }),
        ("description is", Rpm { description: "a\tb".into(), ..package() }),
        ("source date epoch is", Rpm { source_date_epoch: 1 << 33, ..package() }),
        ("conffile is 'etc/x'", Rpm { conffiles: vec!["etc/x".into()], ..package() }),
        ("/etc/x: it is a conffile", Rpm { conffiles: vec!["/etc/x".into()], ..package() }),
        ("postinst is 'ldconfig'", {
            let scripts = BTreeMap::from([(crate::package::MaintainerScript::PostInst, "ldconfig".into())]);
            Rpm { scripts, ..package() }
        }),
    ] {
        let told = fault(&bench, &rpm, Vec::new());
        assert!(told.starts_with(field), "{told}");
    }
    let twice = vec![bench.file("usr/share/licenses/forge-sample/copyright", 0o644, b"x")];
    assert!(fault(&bench, &package(), twice).contains("written from copyright"));
    let mut large = bench.file("usr/lib/large", 0o644, b"x");
    large.kind = match large.kind {
        crate::store::Kind::File { object, .. } => crate::store::Kind::File { object, size: 1 << 32 },
        other => other,
    };
    assert!(
        fault(&bench, &package(), vec![large]).contains("has 4294967296 bytes; its format holds at most")
    );
}

#[test]
fn a_damaged_object_makes_no_package() {
    let bench = Bench::new();
    let entry = bench.file("usr/lib/sample/file", 0o644, &[b'1'; 5000]);
    let crate::store::Kind::File { object, .. } = entry.kind else { panic!() };
    let path = bench.store.object_path(object);
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false)]
    permissions.set_readonly(false);
    fs::set_permissions(&path, permissions).unwrap();
    for bad in [&[b'2'; 5000][..], b"short\n"] {
        fs::write(&path, bad).unwrap();
        let told = fault(&bench, &package(), vec![entry.clone()]);
        assert!(told.contains(&object.to_string()[..8]), "{told}");
    }
}
