use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// As many as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// The parts of a relative path that stays below where it starts; `None` for any other.
pub(super) fn components(relative: &str) -> Option<Vec<&str>> {
    let parts = Path::new(relative).components().filter(|part| *part != Component::CurDir);
    parts
        .map(|part| match part {
            Component::Normal(name) => name.to_str().filter(|name| !name.contains('\0')),
            _ => None,
        })
        .collect()
}

/// `base` and `relative` joined, if every directory on the way is a real one: what an action or
/// a foreign tree made could otherwise lead the host elsewhere. The last part may be anything,
/// or absent.
pub(super) fn join_plain(base: &Path, relative: &str) -> io::Result<PathBuf> {
    let parts = components(relative).ok_or(io::ErrorKind::InvalidInput)?;
    let mut path = base.to_owned();
    for (at, part) in parts.iter().enumerate() {
        path.push(part);
        let last = at + 1 == parts.len();
        if !last && fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_dir()) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
    }
    Ok(path)
}

/// Where the absolute `path` leads for a process whose root is `root`, links resolved the way
/// `chroot` would; what does not exist stays as it is written.
pub(super) fn resolve_inside(root: &Path, path: &str) -> io::Result<PathBuf> {
    let mut resolved = PathBuf::new();
    let mut ahead: VecDeque<OsString> = parts(Path::new(path)).collect();
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            resolved.pop();
            continue;
        }
        let next = resolved.join(part);
        let Ok(target) = fs::read_link(root.join(&next)) else {
            resolved = next;
            continue;
        };
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::other(format!("too many symbolic links in {path}")));
        }
        if target.is_absolute() {
            resolved = PathBuf::new();
        }
        ahead = parts(&target).chain(ahead).collect();
    }
    Ok(Path::new("/").join(resolved))
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_resolve_inside_the_root_and_never_above_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/lib")).unwrap();
        symlink("usr/lib", root.path().join("lib")).unwrap();
        symlink("/usr/lib", root.path().join("abs")).unwrap();
        symlink("../../../../etc", root.path().join("usr/up")).unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        let resolve = |path| resolve_inside(root.path(), path).map(|path| path.display().to_string());
        assert_eq!(resolve("/lib/x/y").unwrap(), "/usr/lib/x/y");
        assert_eq!(resolve("/abs/x").unwrap(), "/usr/lib/x");
        assert_eq!(resolve("/usr/up/passwd").unwrap(), "/etc/passwd");
        assert!(resolve("/loop").is_err());
    }

    #[test]
    fn joining_follows_no_link_on_the_way() {
        let base = tempfile::tempdir().unwrap();
        symlink("/etc", base.path().join("link")).unwrap();
        assert!(join_plain(base.path(), "link/passwd").is_err());
        assert!(join_plain(base.path(), "../x").is_err());
        assert_eq!(join_plain(base.path(), "link").unwrap(), base.path().join("link"));
        assert_eq!(join_plain(base.path(), "./a/b").unwrap(), base.path().join("a/b"));
    }
}
