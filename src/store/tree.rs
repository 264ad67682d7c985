use std::fmt::Write as _;

use crate::digest::Digest;

/// A sorted manifest of paths, modes and objects. Owners and times are not part of it:
/// every tree belongs to root, and its times are given when it is written out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: Vec<Entry>,
}

/// One path of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative, `/`-separated, without `.` and `..`.
    pub path: String,
    /// Permission bits (`0o7777`); always `0o777` for a symbolic link.
    pub mode: u32,
    /// What stands there.
    pub kind: Kind,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File {
        /// The object that holds its bytes.
        object: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, unchanged.
        target: String,
    },
}

/// A manifest that no version of forge wrote.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the tree manifest is malformed")]
pub struct TreeParseError {
    /// Counted from 1.
    pub line: usize,
}

impl Tree {
    /// A tree of `entries` in any order. Where two have the same path, the later one stays.
    pub fn new(mut entries: Vec<Entry>) -> Self {
        entries.reverse();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        Self { entries }
    }

    /// The entries, sorted by path; a directory stands before what is in it.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at `path`.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok().map(|at| &self.entries[at])
    }

    /// The part below `path`, with paths relative to it; the whole tree for an empty path.
    pub fn below(&self, path: &str) -> Self {
        if path.is_empty() {
            return self.clone();
        }
        let prefix = format!("{path}/");
        let entries = self.entries.iter().filter_map(|entry| {
            let path = entry.path.strip_prefix(&prefix)?.to_owned();
            Some(Entry { path, ..entry.clone() })
        });
        Self { entries: entries.collect() }
    }

    /// The paths that only one of the two has, or that differ in content, mode or kind; sorted.
    pub fn differing_paths(&self, other: &Self) -> Vec<String> {
        let differing = |of: &Self, from: &Self| -> Vec<String> {
            let differs = of.entries.iter().filter(|entry| from.get(&entry.path) != Some(entry));
            differs.map(|entry| entry.path.clone()).collect()
        };
        let mut paths = [differing(self, other), differing(other, self)].concat();
        paths.sort();
        paths.dedup();
        paths
    }

    /// The bytes of all regular files together.
    pub fn size(&self) -> u64 {
        self.files().map(|(_, size)| size).sum()
    }

    /// The objects that hold the tree's files, with their sizes; one may come twice.
    pub fn files(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        self.entries.iter().filter_map(|entry| match entry.kind {
            Kind::File { object, size } => Some((object, size)),
            _ => None,
        })
    }

    /// The canonical text: one line for each entry, `kind mode [digest size] path[\0target]`.
    /// `\` and line feeds in paths are escaped.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.entries.len() * 120);
        for Entry { path, mode, kind } in &self.entries {
            let path = escape(path);
            let written = match kind {
                Kind::Dir => writeln!(text, "d {mode:o} {path}"),
                Kind::File { object, size } => writeln!(text, "f {mode:o} {object} {size} {path}"),
                Kind::Symlink { target } => writeln!(text, "l {mode:o} {path}\0{}", escape(target)),
            };
            written.expect("a String takes every write");
        }
        text
    }

    /// Reads what [`Tree::to_text`] wrote.
    pub fn from_text(text: &str) -> Result<Self, TreeParseError> {
        let entries = text
            .lines()
            .enumerate()
            .map(|(at, line)| parse_line(line).ok_or(TreeParseError { line: at + 1 }))
            .collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// The tree's own digest: that of its canonical text.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_text().as_bytes())
    }
}

fn parse_line(line: &str) -> Option<Entry> {
    let (kind, rest) = line.split_once(' ')?;
    let (mode, rest) = rest.split_once(' ')?;
    let mode = u32::from_str_radix(mode, 8).ok()?;
    let (path, kind) = match kind {
        "d" => (rest, Kind::Dir),
        "f" => {
            let (object, rest) = rest.split_once(' ')?;
            let (size, path) = rest.split_once(' ')?;
            let (object, size) = (object.parse().ok()?, size.parse().ok()?);
            (path, Kind::File { object, size })
        }
        "l" => {
            let (path, target) = rest.split_once('\0')?;
            (path, Kind::Symlink { target: unescape(target) })
        }
        _ => return None,
    };
    Some(Entry { path: unescape(path), mode, kind })
}

fn escape(path: &str) -> String {
    path.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescape(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(if chars.next() == Some('n') { '\n' } else { '\\' }),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Entry {
        let object = Digest::of(path.as_bytes());
        Entry { path: path.into(), mode: 0o644, kind: Kind::File { object, size: 7 } }
    }

    #[test]
    fn text_round_trips_odd_names() {
        let link = Kind::Symlink { target: "a b\nc".into() };
        let tree = Tree::new(vec![
            file("z"),
            Entry { path: "d".into(), mode: 0o755, kind: Kind::Dir },
            file("d/back\\slash\nfeed and space"),
            Entry { path: "l".into(), mode: 0o777, kind: link },
        ]);
        assert_eq!(Tree::from_text(&tree.to_text()).unwrap(), tree);
    }

    #[test]
    fn order_of_making_does_not_matter_and_the_later_entry_wins() {
        let (a, b) = (file("a"), file("b"));
        let executable = Entry { mode: 0o755, ..a.clone() };
        let one = Tree::new(vec![a.clone(), b.clone(), executable.clone()]);
        assert_eq!(one, Tree::new(vec![b, executable.clone()]));
        assert_eq!(one.get("a"), Some(&executable));
    }

    #[test]
    fn below_strips_the_prefix_and_takes_no_namesakes() {
        let tree = Tree::new(vec![file("root/x"), file("rootless"), file("root/y/z")]);
        let paths: Vec<_> = tree.below("root").entries().iter().map(|e| e.path.clone()).collect();
        assert_eq!(paths, ["x", "y/z"]);
    }

    #[test]
    fn differing_paths_tell_additions_removals_and_changes() {
        let executable = Entry { mode: 0o755, ..file("b") };
        let before = Tree::new(vec![file("a"), file("b"), file("same")]);
        let after = Tree::new(vec![executable, file("c"), file("same")]);
        assert_eq!(before.differing_paths(&after), ["a", "b", "c"]);
    }

    #[test]
    fn malformed_text_names_its_line() {
        assert_eq!(Tree::from_text("d 755 a\nnonsense").unwrap_err().line, 2);
    }
}
