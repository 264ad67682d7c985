//! The whole index against createrepo_c, which the rpm world makes its repositories with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use roxmltree::{Document, Node};
use sha2::{Digest as _, Sha256};

use super::fixture::{BUILT, build, entered, rpm_index};
use super::{IndexedRpm, NEXT, RpmIndex};
use crate::digest::{changes, fields_of};
use crate::index::fixture::{Fixture, run};
use crate::index::{
    Bundles, IndexCompression, IndexError, Member, Settings, bundles_of, catalog, read_catalog, updateinfo_of,
};
use crate::store::{Kind, Tree};

const DATE: u64 = 1_795_366_800;

/// Much of what a spec file can say, in three packages and a source package.
const RICH: &str = r#"
Name: everything
Epoch: 3
Version: 2.0~rc1^git5
Release: 4.el9
Summary: all <fields> & "quotes" of 'a' package, naïve ☃
License: MIT AND Apache-2.0
Group: Development/Tools
URL: https://example.org/?a=1&b=2
Vendor: Example <vendor@example.org>
Packager: Jürgen <juergen@example.org>
Requires: bash >= 4, tool = 1:2.0-3, other < 5, (a or b), (c >= 1 if d), /usr/bin/env, /etc/passwd
Requires: everything = 3:2.0~rc1^git5-4.el9, bash >= 4, libfoo(x86-64) <= 1.0
Requires: libc.so.6, libc.so.6(GLIBC_2.4)(64bit), libc.so.6(GLIBC_2.34)(64bit), libc.so.6()(64bit)
Requires(pre): shadow-utils
Requires(post): systemd, shadow-utils
Requires(preun): systemd
Requires(postun): systemd
Requires(pretrans): pre-all
Requires(posttrans): post-all
Provides: virtual = 1.0, virtual(feature), /usr/bin/virtual, config(own) = 2
Requires: virtual = 1.0, virtual(feature), virtual(feature) = 2
Conflicts: enemy < 2:1.0, friend > 7
Obsoletes: ancestor <= 1.0-1
Recommends: pandoc, (x and y)
Suggests: fonts >= 2
Supplements: (langpacks and everything)
Enhances: vim
Source0: source.txt

%description
A description with <markup>, & and several

paragraphs. Ünïcödé.

%package -n every-doc
Summary: only documentation
BuildArch: noarch
Requires: %{name} = %{epoch}:%{version}-%{release}
%description -n every-doc
Documentation.

%package empty
Summary: nothing in it
%description empty

%prep
%build
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc/every.d %{buildroot}/usr/share/doc/every %{buildroot}/var/lib/every \
    %{buildroot}/usr/sbin "%{buildroot}/usr/share/with space & sign" %{buildroot}/usr/lib/combine
printf '#!/bin/sh\necho hi\n' > %{buildroot}/usr/bin/every
chmod 755 %{buildroot}/usr/bin/every
ln -s every %{buildroot}/usr/bin/every-link
ln -s /nowhere %{buildroot}/usr/sbin/dangling
echo a=1 > %{buildroot}/etc/every.conf
echo b=1 > %{buildroot}/etc/every.d/one.conf
touch %{buildroot}/etc/every.ghost
echo x > "%{buildroot}/usr/share/with space & sign/ünïcödé ☃.txt"
echo doc > %{buildroot}/usr/share/doc/every/README
cp /bin/true %{buildroot}/usr/lib/combine/program

%pre
exit 0
%post -p /bin/sh
exit 0
%preun
exit 0
%postun
exit 0
%posttrans -p /usr/bin/posttrans
exit 0

%files
%config(noreplace) /etc/every.conf
%config /etc/every.d/one.conf
%dir /etc/every.d
%ghost /etc/every.ghost
%ghost %dir /var/lib/every
/usr/bin/every
/usr/bin/every-link
/usr/sbin/dangling
/usr/lib/combine
"/usr/share/with space & sign"
%attr(4755, root, root) /usr/lib/combine/program

%files -n every-doc
%doc /usr/share/doc/every

%files empty

%changelog
* Fri Jan 12 2001 Ada <ada@example.org> - 12
- twelve
* Thu Jan 11 2001 Ada <ada@example.org> - 11
- eleven, <b> & "c"
- and more
* Thu Jan 11 2001 Bob <bob@example.org> - 10.2
- ten, the same day
* Thu Jan 11 2001 Bob <bob@example.org> - 10.1
- ten, the same day, before
* Tue Jan 09 2001 Ada <ada@example.org>
- nine
* Mon Jan 08 2001 Ada <ada@example.org>
- eight
* Sun Jan 07 2001 Ada <ada@example.org>
- seven
* Sat Jan 06 2001 Ada <ada@example.org>
- six
* Fri Jan 05 2001 Ada <ada@example.org>
- five
* Thu Jan 04 2001 Ada <ada@example.org>
- four
* Wed Jan 03 2001 Ada <ada@example.org>
- three: the eleventh, which is not told
"#;

/// A repository of the rich packages and two plain ones, also as files.
fn rich(fixture: &Fixture) -> (Vec<IndexedRpm>, Tree, PathBuf) {
    let spec = RICH.replace("Source0: source.txt\n", "");
    let mut packages: Vec<_> = fixture.rpmbuild(&spec).iter().map(|rpm| fixture.read_rpm(rpm)).collect();
    packages.push(fixture.rpm("plain", "1.0-1", "one"));
    packages.push(fixture.rpm("plain", "1.0-2", "two"));
    let tree = build(&rpm_index(), &packages, None, DATE, &fixture.store).unwrap();
    let root = fixture.dir.path().join("repository");
    fixture.store.materialize(&tree, &root, BUILT).unwrap();
    (packages, tree, root)
}

/// What `createrepo_c` makes of the packages below `root`: the directory with its `repodata`.
fn createrepo(fixture: &Fixture, root: &Path) -> PathBuf {
    let out = fixture.dir.path().join("theirs");
    fs::create_dir(&out).unwrap();
    let mut createrepo = Command::new("createrepo_c");
    createrepo.args(["--quiet", "--no-database", "--simple-md-filenames", "--excludes=repodata/*"]);
    run(createrepo.arg("-o").arg(&out).arg(root));
    out
}

/// The one file below `repodata/` whose name has this in it, decompressed by the distribution's tools.
fn metadata(root: &Path, part: &str) -> String {
    let files = fs::read_dir(root.join("repodata")).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().contains(part);
    let file = files.filter(name).collect::<Vec<_>>();
    let [file] = &file[..] else { panic!("{file:?}") };
    match file.extension().unwrap().to_str().unwrap() {
        "zst" => run(Command::new("zstd").arg("-dc").arg(file)),
        "gz" => run(Command::new("gzip").arg("-dc").arg(file)),
        "xz" => run(Command::new("xz").arg("-dc").arg(file)),
        _ => fs::read_to_string(file).unwrap(),
    }
}

/// Every element with its name, its attributes and its text, a line each.
fn shape(node: Node<'_, '_>, depth: usize, lines: &mut Vec<String>) {
    let name = node.tag_name();
    let mut attributes: Vec<String> =
        node.attributes().map(|one| format!("{}={:?}", one.name(), one.value())).collect();
    attributes.sort();
    let children: Vec<_> = node.children().filter(Node::is_element).collect();
    let text = if children.is_empty() { node.text().unwrap_or_default() } else { "" };
    let indent = "  ".repeat(depth);
    lines.push(format!("{indent}{{{}}}{} {attributes:?} {text:?}", name.namespace().unwrap(), name.name()));
    children.into_iter().for_each(|child| shape(child, depth + 1, lines));
}

/// The root's line, and the lines of each package, sorted by its digest: createrepo_c has its own order.
fn packages(xml: &str) -> (String, Vec<Vec<String>>) {
    let document = Document::parse(xml).unwrap_or_else(|error| panic!("{error} in\n{xml}"));
    let mut root = Vec::new();
    shape(document.root_element(), 0, &mut root);
    let mut all = Vec::new();
    for package in document.root_element().children().filter(Node::is_element) {
        let checksum = package.children().find(|child| child.tag_name().name() == "checksum");
        let id = package.attribute("pkgid").or(checksum.and_then(|node| node.text())).unwrap();
        let mut lines = vec![id.to_owned()];
        shape(package, 0, &mut lines);
        all.push(lines);
    }
    all.sort();
    (root.remove(0), all)
}

#[test]
fn metadata_is_that_of_createrepo_c_element_by_element() {
    let fixture = Fixture::new();
    let (_, _, root) = rich(&fixture);
    let theirs = createrepo(&fixture, &root);
    for part in ["primary.xml", "filelists.xml", "other.xml"] {
        let (our_root, ours) = packages(&metadata(&root, part));
        let (their_root, theirs) = packages(&metadata(&theirs, part));
        assert_eq!(our_root, their_root);
        assert_eq!(ours.len(), 6, "three of a spec, its source, two plain ones");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let differing: Vec<_> = ours.iter().filter(|line| !theirs.contains(line)).collect();
            let lacking: Vec<_> = theirs.iter().filter(|line| !ours.contains(line)).collect();
            assert!(
                differing.is_empty() && lacking.is_empty(),
                "{part}: {differing:#?} and not {lacking:#?}"
            );
            assert_eq!(ours, theirs, "{part}: another order");
        }
    }
}

#[test]
fn repomd_has_the_form_of_createrepo_c_and_names_each_file_rightly() {
    let fixture = Fixture::new();
    let (_, _, root) = rich(&fixture);
    let theirs = createrepo(&fixture, &root);
    let without_values = |repomd: &str| {
        let document = Document::parse(repomd).unwrap();
        let mut lines = Vec::new();
        shape(document.root_element(), 0, &mut lines);
        let is_value = |line: &String| line.contains("location");
        lines.retain(|line| !is_value(line));
        lines.iter().map(|line| line.rsplit_once(" \"").unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    let ours = fs::read_to_string(root.join("repodata/repomd.xml")).unwrap();
    let theirs = fs::read_to_string(theirs.join("repodata/repomd.xml")).unwrap();
    assert_eq!(without_values(&ours), without_values(&theirs));

    for base in [root.clone(), root.join(NEXT)] {
        let repomd = fs::read_to_string(base.join("repodata/repomd.xml")).unwrap();
        let document = Document::parse(&repomd).unwrap();
        let all: Vec<_> = document.descendants().filter(|node| node.has_tag_name(tag("data"))).collect();
        assert_eq!(all.len(), 3);
        for data in all {
            let child = |name| data.children().find(|child| child.has_tag_name(tag(name))).unwrap();
            let text = |name| child(name).text().unwrap().to_owned();
            let href = child("location").attribute("href").unwrap();
            let file = fs::read(base.join(href)).unwrap();
            let open = metadata(&base, &format!("{}.xml", data.attribute("type").unwrap()));
            assert_eq!((text("checksum"), text("size")), (sha256(&file), file.len().to_string()));
            assert_eq!(
                (text("open-checksum"), text("open-size")),
                (sha256(open.as_bytes()), open.len().to_string())
            );
            assert!(href.starts_with(&format!("repodata/{}-", text("checksum"))), "{href}");
            assert_eq!(text("timestamp"), DATE.to_string());
        }
    }
}

fn tag(name: &str) -> (&str, &str) {
    ("http://linux.duke.edu/metadata/repo", name)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_generation_s_metadata_differs_in_the_places_of_the_packages_alone() {
    let fixture = Fixture::new();
    let (_, _, root) = rich(&fixture);
    let [plain, next] = [root.clone(), root.join(NEXT)].map(|base| metadata(&base, "primary.xml"));
    assert_eq!(plain.replace("href=\"packages/", "href=\"../../packages/"), next);
    assert_eq!(plain.matches("href=\"packages/").count(), 6);
    for part in ["filelists.xml", "other.xml"] {
        assert_eq!(metadata(&root, part), metadata(&root.join(NEXT), part));
    }
}

#[test]
fn compressed_forms_are_what_the_distribution_s_tools_read() {
    let fixture = Fixture::new();
    let package = [fixture.rpm("plain", "1.0-1", "one")];
    let mut texts = Vec::new();
    for compression in [IndexCompression::Zst, IndexCompression::Gz, IndexCompression::Xz] {
        let tree = build(&RpmIndex { compression }, &package, None, DATE, &fixture.store).unwrap();
        let root = fixture.dir.path().join(compression.extension());
        fixture.store.materialize(&tree, &root, DATE).unwrap();
        assert!(fs::read_dir(root.join("repodata")).unwrap().any(|entry| {
            entry.unwrap().path().extension().is_some_and(|extension| extension == compression.extension())
        }));
        texts.push(metadata(&root, "primary.xml"));
    }
    assert!(texts.iter().all(|text| *text == texts[0]));
}

#[test]
fn a_catalog_gives_back_what_went_in() {
    let fixture = Fixture::new();
    let (packages, tree, _) = rich(&fixture);
    let entered = entered(&packages, &fixture.store).unwrap();
    let catalog = catalog(&entered, Some(b"<updates/>"), &fixture.store).unwrap();
    let entries = read_catalog(&catalog, &fixture.store).unwrap();
    let names: Vec<_> = entries.iter().map(|entry| entry.label.to_string()).collect();
    let version = "3:2.0~rc1^git5-4.el9";
    let expected = [
        format!("every-doc {version} (noarch)"),
        format!("everything {version} (src)"),
        format!("everything {version} (x86_64)"),
        format!("everything-empty {version} (x86_64)"),
        "plain 1.0-1 (noarch)".to_owned(),
        "plain 1.0-2 (noarch)".to_owned(),
    ];
    assert_eq!(names, expected);
    for entry in &entries {
        let file = tree.get(&super::path(&entry.label)).unwrap();
        assert!(
            matches!(file.kind, Kind::File { object, size } if (object, size) == (entry.object, entry.size))
        );
    }
    // In another store nothing is remembered but what the catalog names.
    let other = Fixture::new();
    let members: Vec<_> = entries.iter().map(|entry| Member { entry, record: None, origin: None }).collect();
    let records = Bundles::new(&fixture.store, bundles_of(&catalog));
    let record = |record| Ok::<_, IndexError>(records.record(record)?);
    let again = Settings::Rpm(rpm_index()).build(&members, None, DATE, &other.store, &record).unwrap();
    assert_eq!(again, tree);
    let updateinfo = updateinfo_of(&catalog).unwrap();
    assert_eq!(fixture.store.get(updateinfo).unwrap(), b"<updates/>");
}

#[test]
fn order_of_packages_does_not_matter_and_equal_ones_are_taken_once() {
    let fixture = Fixture::new();
    let mut packages: Vec<_> = ["1.0~rc1-1", "1.0-1", "1.0^git1-1", "1.10-1"]
        .map(|version| fixture.rpm("a", version, version))
        .into();
    let tree = build(&rpm_index(), &packages, None, DATE, &fixture.store).unwrap();
    packages.reverse();
    packages.push(packages[0].clone());
    assert_eq!(build(&rpm_index(), &packages, None, DATE, &fixture.store).unwrap(), tree);
    let root = fixture.dir.path().join("repository");
    fixture.store.materialize(&tree, &root, DATE).unwrap();
    let primary = metadata(&root, "primary.xml");
    let versions =
        ["1.0~rc1", "1.0", "1.0^git1", "1.10"].map(|version| primary.find(&format!("ver=\"{version}\" rel")));
    assert!(versions.iter().all(Option::is_some) && versions.is_sorted(), "{versions:?}");
}

#[test]
fn an_empty_repository_is_whole() {
    let fixture = Fixture::new();
    let tree = build(&rpm_index(), &[], None, DATE, &fixture.store).unwrap();
    let root = fixture.dir.path().join("repository");
    fixture.store.materialize(&tree, &root, DATE).unwrap();
    let theirs = createrepo(&fixture, &root);
    for part in ["primary.xml", "filelists.xml", "other.xml"] {
        assert_eq!(packages(&metadata(&root, part)), packages(&metadata(&theirs, part)));
    }
}

#[test]
fn two_contents_under_one_name_are_refused_naming_both() {
    let fixture = Fixture::new();
    let one = fixture.rpm("a", "1.0-1", "one");
    let two = fixture.rpm("a", "1.0-1", "two");
    // The epoch is not in the file's name.
    let mut epoch = fixture.rpm("a", "1.0-1", "three");
    epoch.info.epoch = Some(1);
    for other in [&two, &epoch] {
        let packages = [one.clone(), other.clone()];
        let error = build(&rpm_index(), &packages, None, DATE, &fixture.store).unwrap_err();
        assert!(matches!(error, IndexError::FileConflict { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(&one.origin) && message.contains(&other.origin), "{message}");
        assert!(message.contains("packages/a/a-1.0-1.noarch.rpm"), "{message}");
    }
}

#[test]
fn what_could_leave_the_repository_or_break_the_xml_is_refused() {
    let fixture = Fixture::new();
    let sound = fixture.rpm("a", "1.0-1", "one");
    let refused = |change: fn(&mut IndexedRpm)| {
        let mut package = sound.clone();
        change(&mut package);
        build(&rpm_index(), &[package], None, DATE, &fixture.store).unwrap_err().to_string()
    };
    assert!(refused(|one| one.info.name = "../a".into()).contains("'../a' is no valid Name"));
    assert!(refused(|one| one.info.name = String::new()).contains("Name"));
    assert!(refused(|one| one.info.version = "1/2".into()).contains("Version"));
    assert!(refused(|one| one.info.release = "1-2".into()).contains("Release"));
    assert!(refused(|one| one.info.architecture = "x86/64".into()).contains("Arch"));
    let bell = refused(|one| one.info.summary = "ring\u{7}".into());
    assert!(bell.contains("'\\u{7}'") && bell.contains(&sound.origin), "{bell}");
    assert!(refused(|one| one.info.files[0].path.push('\u{1b}')).contains("'\\u{1b}'"));
}

#[test]
fn advisories_are_passed_on_and_looked_at() {
    let fixture = Fixture::new();
    let package = [fixture.rpm("a", "1.0-1", "one")];
    let with = |text: &[u8]| build(&rpm_index(), &package, Some(text), DATE, &fixture.store);
    let good =
        "<?xml version=\"1.0\"?>\n<updates><update type=\"security\"><id>A-1</id></update></updates>\n";
    let tree = with(good.as_bytes()).unwrap();
    let root = fixture.dir.path().join("repository");
    fixture.store.materialize(&tree, &root, DATE).unwrap();
    for base in [root.clone(), root.join(NEXT)] {
        assert_eq!(metadata(&base, "updateinfo.xml"), good);
        assert!(metadata(&base, "repomd.xml").contains("<data type=\"updateinfo\">"));
    }
    for (bad, reason) in [
        (&b""[..], "no root"),
        (b"<updates>", "end"),
        (b"<updates></update>", "update"),
        (b"<html></html>", "'html'"),
        (b"<updates/><updates/>", "more than one"),
        (b"\xff<updates/>", "utf-8"),
    ] {
        let error = with(bad).unwrap_err();
        assert!(matches!(error, IndexError::Updateinfo { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    with(b"<updates/>").unwrap();
}

#[test]
fn a_change_of_settings_is_told_by_its_name() {
    let after = RpmIndex { compression: IndexCompression::Gz };
    let changes = changes(&fields_of(&rpm_index()), &fields_of(&after));
    let names: Vec<_> = changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(names, ["compression"]);
}
