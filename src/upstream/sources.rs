use super::apt::Want;
use super::{AptError, AptRoot, Expected, MirrorKind, Mirrors, Sha256};

/// One version of a source package, with the archive that upstream released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceVersion {
    /// Upstream's version: no epoch, no Debian revision, no mark of repacking (`+dfsg1`).
    pub version: String,
    /// The whole version of the source package.
    pub full: String,
    /// The suite or pocket that lists it: `bookworm`, `bookworm-security`.
    pub suite: String,
    /// Which archive holds it.
    pub mirror: MirrorKind,
    /// Where the upstream archive lies, relative to the mirror.
    pub path: String,
    /// Its file name.
    pub name: String,
    /// Its SHA-256 by the signed index.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
}

impl SourceVersion {
    /// Where to download the upstream archive. A mirror may list it and still not have it:
    /// then fetching gives [`super::FetchError::NotFound`].
    pub fn urls(&self, mirrors: &Mirrors) -> Vec<String> {
        mirrors.urls(self.mirror, &self.path)
    }

    /// What the download must turn out to be.
    pub fn expected(&self) -> Expected {
        Expected { sha256: self.sha256, size: Some(self.size) }
    }
}

/// Every version of the source package `package` in `suites` and their updates, as their
/// signed indices tell, in the order of the suites. A package that no suite has gives none.
pub fn source_versions(
    root: &AptRoot,
    package: &str,
    suites: &[String],
) -> Result<Vec<SourceVersion>, AptError> {
    let mut versions: Vec<SourceVersion> = Vec::new();
    for suite in suites {
        let suite = root.suite(suite, &Want::Sources)?;
        for index in suite.indices(&Want::Sources)? {
            for paragraph in paragraphs(&index.text).filter(|text| field(text, "Package") == Some(package)) {
                let found = read_source(paragraph).ok_or_else(|| suite.unexpected(first_line(paragraph)))?;
                let Some(found) = found else { continue };
                let (suite, mirror) = (index.pocket.name.clone(), index.pocket.mirror);
                versions.push(SourceVersion { suite, mirror, ..found });
            }
        }
    }
    Ok(versions)
}

/// The paragraphs of an index (deb-src-control(5)), which blank lines part.
pub(super) fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty())
}

/// The value of a field; that of several lines begins after the first line feed.
pub(super) fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    let start = lines_with_offsets(paragraph).find_map(|(at, line)| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with(':').then_some(at + name.len() + 1)
    })?;
    let mut end = paragraph.len();
    for (at, _) in paragraph[start..].match_indices('\n') {
        if !paragraph[start + at + 1..].starts_with([' ', '\t']) {
            end = start + at;
            break;
        }
    }
    Some(paragraph[start..end].trim())
}

fn lines_with_offsets(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        at += line.len();
        (at - line.len(), line)
    })
}

fn first_line(paragraph: &str) -> &str {
    paragraph.trim_start().lines().next().unwrap_or_default()
}

/// `None` if the paragraph is malformed; `Some(None)` if it has no upstream archive.
fn read_source(paragraph: &str) -> Option<Option<SourceVersion>> {
    let full = field(paragraph, "Version")?.to_owned();
    let directory = field(paragraph, "Directory")?;
    let files: Vec<(&str, &str, &str)> =
        field(paragraph, "Checksums-Sha256")?.lines().map(checksum_line).collect::<Option<_>>()?;
    let Some(&(sha256, size, name)) = upstream_archive(&files) else { return Some(None) };
    Some(Some(SourceVersion {
        version: upstream_version(&full).to_owned(),
        full,
        suite: String::new(),
        mirror: MirrorKind::Main,
        path: format!("{directory}/{name}"),
        name: name.to_owned(),
        sha256: sha256.parse().ok()?,
        size: size.parse().ok()?,
    }))
}

fn checksum_line(line: &str) -> Option<(&str, &str, &str)> {
    let mut words = line.split_whitespace();
    Some((words.next()?, words.next()?, words.next()?))
}

/// `name_version.orig.tar.xz`, or for a native package `name_version.tar.xz`; never the
/// additional ones (`.orig-docs.tar.gz`), the packaging (`.debian.tar.xz`) or a signature.
fn upstream_archive<'a, 'b>(
    files: &'a [(&'b str, &'b str, &'b str)],
) -> Option<&'a (&'b str, &'b str, &'b str)> {
    let is_tar = |name: &str| name.contains(".tar.") && !name.ends_with(".asc");
    let by = |accept: &dyn Fn(&str) -> bool| files.iter().find(|(_, _, name)| is_tar(name) && accept(name));
    by(&|name| name.contains(".orig.tar."))
        .or_else(|| by(&|name| !name.contains(".debian.tar.") && !name.contains(".orig-")))
}

/// The version upstream gave it (Debian Policy 5.6.12; repacking marks by custom).
fn upstream_version(full: &str) -> &str {
    let version = full.split_once(':').map_or(full, |(_, rest)| rest);
    let version = version.rsplit_once('-').map_or(version, |(version, _)| version);
    let mark = ["dfsg", "ds", "repack"].iter().filter_map(|mark| {
        let at = ['+', '~', '.'].iter().find_map(|sign| version.rfind(&format!("{sign}{mark}")))?;
        let count = &version[at + 1 + mark.len()..];
        count.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.').then_some(at)
    });
    &version[..mark.min().unwrap_or(version.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LocalStore;
    use crate::upstream::{FetchError, fetch, newest_mtime, unpack};

    #[test]
    fn upstreams_version_is_what_is_left() {
        for (full, version) in [
            ("1:27.3.4.1+dfsg-1+deb13u2", "27.3.4.1"),
            ("1:25.2.3+dfsg-1", "25.2.3"),
            ("2.10-3", "2.10"),
            ("1.2~rc3+ds2-1~bpo12+1", "1.2~rc3"),
            ("1.0~dfsg.1-4", "1.0"),
            ("3.0+repack-1", "3.0"),
            ("1.18.3.dfsg-1.1", "1.18.3"),
            ("2.0-beta-1", "2.0-beta"),
            ("20230311", "20230311"),
            ("1.0+dsomething-1", "1.0+dsomething"),
        ] {
            assert_eq!(upstream_version(full), version, "{full}");
        }
    }

    #[test]
    fn the_upstream_archive_is_chosen() {
        let names = |names: &[&'static str]| {
            let files: Vec<_> = names.iter().map(|&name| ("", "", name)).collect();
            upstream_archive(&files).map(|file| file.2)
        };
        let quilt = [
            "p_1-1.dsc",
            "p_1.orig-docs.tar.gz",
            "p_1.orig.tar.xz.asc",
            "p_1.orig.tar.xz",
            "p_1-1.debian.tar.xz",
        ];
        assert_eq!(names(&quilt), Some("p_1.orig.tar.xz"));
        assert_eq!(names(&["p_1.dsc", "p_1.tar.xz"]), Some("p_1.tar.xz"));
        assert_eq!(names(&["p_1-1.dsc", "p_1-1.debian.tar.xz"]), None);
    }

    #[test]
    fn fields_of_several_lines_end_where_the_next_begins() {
        let text = "Package: a\nFiles:\n x 1 b\n y 2 c\nVersion: 1\nVersion-Of: 2";
        assert_eq!(field(text, "Files"), Some("x 1 b\n y 2 c"));
        assert_eq!(field(text, "Version"), Some("1"));
        assert_eq!(field(text, "Vers"), None);
    }

    #[test]
    fn a_small_source_package_is_found_fetched_and_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let root =
            AptRoot::of_host(dir.path().join("apt")).expect("this test needs the apt mirror of this machine");
        let suites = ["bookworm".to_owned(), "trixie".to_owned()];
        let versions = source_versions(&root, "hello", &suites).unwrap();
        assert!(
            versions.iter().any(|found| found.suite == "bookworm" && found.version == "2.10"),
            "{versions:?}"
        );

        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let mut missing = Vec::new();
        let fetched = versions.iter().find_map(|found| {
            match fetch(&store, &found.urls(root.mirrors()), &found.expected(), None, &mut |_, _| {}) {
                Ok(fetched) => Some((found, fetched)),
                Err(FetchError::NotFound { urls }) => {
                    missing.extend(urls);
                    None
                }
                Err(other) => panic!("{other}"),
            }
        });
        let (found, fetched) = fetched.unwrap_or_else(|| panic!("the mirror has none of {missing:?}"));
        let path = store.object_file(fetched.object).unwrap();
        let tree = unpack(&store, &path, &found.name, 1).unwrap();
        assert!(tree.get("src/hello.c").is_some() && tree.get("configure").is_some_and(|e| e.mode == 0o755));
        let year_2010 = 1_262_304_000;
        assert!(newest_mtime(&path).unwrap() > year_2010);
        assert_eq!(source_versions(&root, "no-such-source-package", &suites[..1]).unwrap(), []);
    }
}
