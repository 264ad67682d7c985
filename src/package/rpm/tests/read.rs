//! The reader, on packages of rpmbuild and on hostile ones.

use std::fs::{self, File};
use std::path::Path;

use crate::package::rpm::testing::{Bench, query, rpm, rpmbuild, run};
use crate::package::{Comparison, PackageError, RpmDependency, RpmFileKind, RpmInfo, RpmRelation};

const SPEC: &str = r#"
Name: forge-sample
Epoch: 3
Version: 1.2~rc1
Release: 4.el9
Summary: sample of what a package may hold
License: MIT and "others"
Group: Development/Tools
URL: https://example.org/sample?a=1&b=2
Vendor: Forge Sample
Packager: Forge Sample <sample@example.org>
BuildArch: noarch
Requires: sh-one >= 1:2-3, sh-two < 4
Requires(pre): /bin/sh
Requires: (one or two)
Provides: sample-api = 7
Conflicts: other
Obsoletes: older <= 2
Recommends: nice
Suggests: nicer
Supplements: whole
Enhances: part > 1

%description
It holds <files>, links & directories.

Ünd two paragraphs.

%install
mkdir -p %{buildroot}/opt/sample/empty %{buildroot}/etc
echo 'answer = 42' > %{buildroot}/etc/forge-sample.conf
echo text > %{buildroot}/opt/sample/text
echo "space" > "%{buildroot}/opt/sample/with space"
ln -s text %{buildroot}/opt/sample/link

%post
echo post

%files
%config(noreplace) /etc/forge-sample.conf
%dir /opt/sample
%attr(0750,root,root) %dir /opt/sample/empty
/opt/sample/text
"/opt/sample/with space"
/opt/sample/link
%ghost /var/log/sample.log

%changelog
* Tue Nov 14 2023 Forge Sample <sample@example.org> - 1.2~rc1-4
- newest
* Mon Nov 13 2023 Forge Sample <sample@example.org> - 1.1-1
- older
- two lines
"#;

fn read(bytes: &[u8]) -> Result<RpmInfo, PackageError> {
    RpmInfo::read(bytes)
}

fn fault(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

/// What `rpm -qp` says in one line each, as the reader says it.
fn fields(info: &RpmInfo) -> Vec<String> {
    let none = || "(none)".to_owned();
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(none);
    let epoch = info.epoch.map_or_else(none, |epoch| epoch.to_string());
    let mut fields = vec![
        info.name.clone(),
        epoch,
        info.version.clone(),
        info.release.clone(),
        info.architecture.clone(),
        info.summary.clone(),
        info.description.replace('\n', "|"),
        or_none(&info.license),
        or_none(&info.vendor),
        or_none(&info.group),
        or_none(&info.packager),
        or_none(&info.build_host),
        or_none(&info.url),
        or_none(&info.source_rpm),
        info.build_time.to_string(),
        info.installed_size.to_string(),
        info.archive_size.to_string(),
    ];
    fields.extend(info.files.iter().map(|file| file.path.clone()));
    fields.extend(info.changelog.iter().map(|change| format!("{} {}", change.author, change.time)));
    fields
}

fn fields_of_rpm(package: &Path) -> Vec<String> {
    let format = "%{NAME}\\n%{EPOCH}\\n%{VERSION}\\n%{RELEASE}\\n%{ARCH}\\n%{SUMMARY}\\n%{DESCRIPTION}END OF TEXT\\n\
        %{LICENSE}\\n%{VENDOR}\\n%{GROUP}\\n%{PACKAGER}\\n%{BUILDHOST}\\n%{URL}\\n%{SOURCERPM}\\n%{BUILDTIME}\\n\
        %{LONGSIZE}\\n%{LONGARCHIVESIZE}\\n[%{FILENAMES}\\n][%{CHANGELOGNAME} %{CHANGELOGTIME}\\n]";
    let told = query(package, format);
    // The description is the one field of several lines.
    let (front, rest) = told.split_once("END OF TEXT").unwrap();
    let mut lines: Vec<&str> = front.splitn(7, '\n').collect();
    let description = lines.pop().unwrap().replace('\n', "|");
    let mut fields: Vec<String> = lines.into_iter().map(str::to_owned).collect();
    fields.push(description);
    fields.extend(rest.lines().skip(1).map(str::to_owned));
    fields
}

#[test]
fn a_package_of_rpmbuild_is_read_as_rpm_reads_it() {
    let bench = Bench::new();
    for payload in ["w9.gzdio", "w6.xzdio", "w3T2.xzdio", "w3.zstdio"] {
        let path = rpmbuild(&bench, SPEC, &[&format!("_binary_payload {payload}")]);
        let info = RpmInfo::read(File::open(&path).unwrap()).unwrap();
        assert_eq!(fields(&info), fields_of_rpm(&path), "{payload}");
        let kept = serde_json::to_string(&info).unwrap();
        assert_eq!(serde_json::from_str::<RpmInfo>(&kept).unwrap(), info);

        for relation in RpmRelation::ALL {
            let told = run(rpm("rpm", bench.dir.path())
                .args(["-qp", &format!("--{}", relation.name().to_lowercase())])
                .arg(&path));
            let read: Vec<String> = info.relations[&relation].iter().map(RpmDependency::to_string).collect();
            assert_eq!(read, told.lines().collect::<Vec<_>>(), "{relation}");
        }
        let pre: Vec<&str> = info.relations[&RpmRelation::Requires]
            .iter()
            .filter(|dependency| dependency.pre)
            .map(|dependency| dependency.name.as_str())
            .collect();
        assert_eq!(pre, ["/bin/sh", "/bin/sh"]);
        let part = &info.relations[&RpmRelation::Enhances][0];
        assert_eq!(part.version, Some((Comparison::Greater, "1".to_owned())));

        let kinds = [RpmFileKind::File, RpmFileKind::Dir, RpmFileKind::Dir];
        assert_eq!(info.files.iter().map(|file| file.kind).take(3).collect::<Vec<_>>(), kinds);
        let last = info.files.last().unwrap();
        assert_eq!((last.path.as_str(), last.kind), ("/var/log/sample.log", RpmFileKind::Ghost));
        assert_eq!(info.changelog[1].text, "- older\n- two lines");

        assert_eq!(info.size, fs::metadata(&path).unwrap().len());
        let sum = run(crate::package::testing::tool("sha256sum", "coreutils").arg(&path));
        assert_eq!(sum.split(' ').next().unwrap(), info.sha256);
    }
}

#[test]
fn the_header_s_place_is_that_of_createrepo() {
    let bench = Bench::new();
    let path = rpmbuild(&bench, SPEC, &[]);
    let info = RpmInfo::read(File::open(&path).unwrap()).unwrap();
    let repository = bench.path("repository");
    fs::create_dir(&repository).unwrap();
    fs::copy(&path, repository.join("a.rpm")).unwrap();
    run(crate::package::testing::tool("createrepo_c", "createrepo-c").arg("--quiet").arg(&repository));
    let primary = walkdir::WalkDir::new(repository.join("repodata")).into_iter().flatten();
    let primary = primary.into_iter().find(|e| e.path().to_string_lossy().contains("primary.xml")).unwrap();
    let text = run(crate::package::testing::tool("zcat", "gzip").arg(primary.path()));
    let range = format!("<rpm:header-range start=\"{}\" end=\"{}\"/>", info.header.start, info.header.end);
    assert!(text.contains(&range), "{range}\n{text}");
    let size = format!(
        "<size package=\"{}\" installed=\"{}\" archive=\"{}\"/>",
        info.size, info.installed_size, info.archive_size
    );
    assert!(text.contains(&size), "{size}\n{text}");
}

#[test]
fn a_package_cut_anywhere_is_an_error_and_never_a_panic() {
    let bench = Bench::new();
    let bytes = fs::read(rpmbuild(&bench, SPEC, &[])).unwrap();
    read(&bytes).unwrap();
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn a_package_with_any_byte_flipped_never_panics_and_its_header_and_payload_are_checked() {
    let bench = Bench::new();
    let path = rpmbuild(&bench, SPEC, &[]);
    let header = RpmInfo::read(File::open(&path).unwrap()).unwrap().header;
    let mut bytes = fs::read(path).unwrap();
    for at in 0..bytes.len() {
        bytes[at] ^= 0xff;
        let read = read(&bytes);
        assert!((at as u64) < header.start || read.is_err(), "byte {at} of {header:?}");
        bytes[at] ^= 0xff;
    }
}

#[test]
fn what_is_no_package_is_told_by_its_part() {
    assert!(fault(b"").contains("lead: the file ends too early"));
    assert!(fault(&[0; 200]).contains("does not begin as an rpm package"));
    let mut lead = vec![0xed, 0xab, 0xee, 0xdb];
    lead.resize(96, 0);
    assert!(fault(&lead).contains("signature header: the file ends too early"));
    let with = |intro: &[u8]| [&lead[..], intro].concat();
    assert!(fault(&with(&[0; 16])).contains("header of version 1"));
    let intro = |entries: u32, size: u32| {
        let mut intro = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
        intro.extend(entries.to_be_bytes());
        intro.extend(size.to_be_bytes());
        intro
    };
    assert!(fault(&with(&intro(u32::MAX, 0))).contains("larger than any"));
    assert!(fault(&with(&intro(0, u32::MAX))).contains("larger than any"));
    assert!(fault(&with(&intro(0xffff, 60 << 20))).contains("ends too early"));
    let entry = |kind: u32, offset: u32, count: u32| {
        [1000, kind, offset, count].iter().flat_map(|number: &u32| number.to_be_bytes()).collect::<Vec<u8>>()
    };
    let leads_out = |kind, offset, count| {
        let bytes = with(&[intro(1, 8), entry(kind, offset, count), vec![b'a'; 8]].concat());
        assert!(fault(&bytes).contains("leads out of it"), "{kind} {offset} {count}");
    };
    for (kind, offset, count) in [
        (4, 0, 3),
        (4, u32::MAX, 1),
        (5, 8, 1),
        (4, 0, u32::MAX),
        (6, 0, 1),
        (8, 0, 1),
        (7, 1, 8),
        (10, 0, 1),
    ] {
        leads_out(kind, offset, count);
    }
}

#[test]
fn entries_that_name_the_same_bytes_do_not_fill_the_memory() {
    let mut bytes = vec![0xed, 0xab, 0xee, 0xdb];
    bytes.resize(96, 0);
    let (entries, size) = (10_000_u32, 1_u32 << 20);
    bytes.extend([0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0]);
    bytes.extend(entries.to_be_bytes());
    bytes.extend(size.to_be_bytes());
    for tag in 0..entries {
        bytes.extend([1000 + tag, 4, 0, size / 4].iter().flat_map(|number| number.to_be_bytes()));
    }
    bytes.resize(bytes.len() + size as usize, 0);
    assert!(fault(&bytes).contains("over others"));
}
