use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use crate::digest::Digest;
use crate::package::PackageError;
use crate::store::{Kind, Tree};

/// The mode of a directory that no tree names.
const DIR_MODE: u32 = 0o755;

/// A file of the package that comes from its description.
pub(super) struct Written {
    /// Relative to the root of the installed system.
    pub path: String,
    /// The field it comes from.
    pub from: &'static str,
    pub bytes: Vec<u8>,
}

/// Everything a package installs: sorted by path, every directory present, nothing below
/// anything but a directory.
pub(super) struct Layout(BTreeMap<String, Node>);

pub(super) struct Node {
    pub mode: u32,
    pub kind: NodeKind,
}

pub(super) enum NodeKind {
    Dir,
    Object { digest: Digest, size: u64 },
    Text(Vec<u8>),
    Symlink { target: String },
}

impl Layout {
    /// The payload and the files that come from the description.
    pub fn new(payload: &Tree, written: Vec<Written>) -> Result<Self, PackageError> {
        let mut layout = Self(BTreeMap::new());
        for entry in payload.entries() {
            let kind = match &entry.kind {
                Kind::Dir => NodeKind::Dir,
                Kind::File { object, size } => NodeKind::Object { digest: *object, size: *size },
                Kind::Symlink { target } => NodeKind::Symlink { target: target.clone() },
            };
            let clash = "the payload names it twice";
            layout.insert(&entry.path, Node { mode: entry.mode & 0o7777, kind }, clash)?;
        }
        for Written { path, from, bytes } in written {
            let clash = format!(
                "the payload has it, and it is also written from {from}: leave it out of the payload"
            );
            layout.insert(&path, Node { mode: 0o644, kind: NodeKind::Text(bytes) }, &clash)?;
        }
        layout.add_parents()?;
        Ok(layout)
    }

    /// Paths and what stands there; a directory comes before what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Whether a regular file stands at `path`.
    pub fn has_file(&self, path: &str) -> bool {
        let node = self.0.get(path);
        node.is_some_and(|node| matches!(node.kind, NodeKind::Object { .. } | NodeKind::Text(_)))
    }

    /// KiB, counted as dpkg-gencontrol does: files and links each rounded up, one for each
    /// directory and one for the root.
    pub fn installed_size(&self) -> u64 {
        let size = |node: &Node| match &node.kind {
            NodeKind::Dir => 1,
            NodeKind::Object { size, .. } => size.div_ceil(1024),
            NodeKind::Text(bytes) => bytes.len().div_ceil(1024) as u64,
            NodeKind::Symlink { target } => target.len().div_ceil(1024) as u64,
        };
        1 + self.0.values().map(size).sum::<u64>()
    }

    fn insert(&mut self, path: &str, node: Node, clash: &str) -> Result<(), PackageError> {
        check_path(path)?;
        if let NodeKind::Symlink { target } = &node.kind
            && (target.is_empty() || target.contains(['\0', '\n']))
        {
            return Err(PackageError::payload(
                path,
                "the link's target is empty or holds a line feed or NUL",
            ));
        }
        match self.0.entry(path.to_owned()) {
            Slot::Occupied(_) => Err(PackageError::payload(path, clash)),
            Slot::Vacant(slot) => {
                slot.insert(node);
                Ok(())
            }
        }
    }

    fn add_parents(&mut self) -> Result<(), PackageError> {
        let paths: Vec<String> = self.0.keys().cloned().collect();
        for path in &paths {
            for (at, _) in path.match_indices('/') {
                let dir = &path[..at];
                match self.0.get(dir).map(|node| &node.kind) {
                    Some(NodeKind::Dir) => {}
                    None => {
                        self.0.insert(dir.to_owned(), Node { mode: DIR_MODE, kind: NodeKind::Dir });
                    }
                    Some(other) => return Err(not_a_dir(dir, other, path)),
                }
            }
        }
        Ok(())
    }
}

fn not_a_dir(dir: &str, kind: &NodeKind, below: &str) -> PackageError {
    let what = match kind {
        NodeKind::Symlink { .. } => "symbolic link",
        _ => "regular file",
    };
    PackageError::payload(dir, format!("it is a {what}, but /{below} needs a directory there"))
}

fn check_path(path: &str) -> Result<(), PackageError> {
    let sound = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\0', '\n']);
    match path.split('/').all(sound) {
        true => Ok(()),
        false => Err(PackageError::payload(
            path,
            "expected a relative path without `.`, `..`, empty parts, line feeds and NULs",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Entry;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry { path: path.into(), mode: 0o644, kind }
    }

    fn file(path: &str, size: u64) -> Entry {
        entry(path, Kind::File { object: Digest::of(b""), size })
    }

    fn link(path: &str, target: &str) -> Entry {
        entry(path, Kind::Symlink { target: target.into() })
    }

    fn layout(entries: Vec<Entry>) -> Result<Layout, PackageError> {
        Layout::new(&Tree::new(entries), Vec::new())
    }

    fn fault(entries: Vec<Entry>) -> String {
        layout(entries).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn missing_parents_are_added_and_kept_ones_keep_their_mode() {
        let own = Entry { mode: 0o700, ..entry("a", Kind::Dir) };
        let layout = layout(vec![file("a/b/c", 0), own]).unwrap();
        let modes: Vec<_> = layout.iter().map(|(path, node)| (path, node.mode)).collect();
        assert_eq!(modes, [("a", 0o700), ("a/b", 0o755), ("a/b/c", 0o644)]);
    }

    #[test]
    fn a_path_that_is_file_and_directory_is_refused() {
        let error = fault(vec![file("usr/a", 1), file("usr/a-b", 1), file("usr/a/b", 1)]);
        assert_eq!(error, "/usr/a: it is a regular file, but /usr/a/b needs a directory there");
        assert!(
            fault(vec![link("lib", "usr/lib"), file("lib/x", 1)]).contains("/lib: it is a symbolic link")
        );
    }

    #[test]
    fn a_path_that_comes_twice_is_refused() {
        let line = format!("f 644 {} 0 a\n", Digest::of(b""));
        let tree = Tree::from_text(&format!("{line}d 755 a\n")).unwrap();
        let error = Layout::new(&tree, Vec::new()).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("/a: ") && error.contains("twice"), "{error}");
    }

    #[test]
    fn a_written_file_never_replaces_one_of_the_payload() {
        let written = Written { path: "usr/a".into(), from: "copyright", bytes: Vec::new() };
        let tree = Tree::new(vec![file("usr/a", 1)]);
        let error = Layout::new(&tree, vec![written]).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("/usr/a") && error.contains("written from copyright"), "{error}");
    }

    #[test]
    fn paths_that_leave_the_root_or_break_lists_are_refused() {
        for path in ["", "/etc/x", "a/../b", "./a", "a//b", "a/", "a\nb", "a\0b"] {
            assert!(fault(vec![file(path, 0)]).contains("relative path"), "{path:?}");
        }
        assert!(fault(vec![link("a", "")]).contains("target is empty"));
    }

    #[test]
    fn installed_size_rounds_each_file_up() {
        let entries = vec![file("d/empty", 0), file("d/one", 1), file("d/two", 1025), link("d/l", "one")];
        assert_eq!(layout(entries).unwrap().installed_size(), 1 + 1 + 1 + 2 + 1);
    }
}
