use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::ArchiveError;
use super::archive;
use crate::store::{Entry, Ingest, Kind, LocalStore, StoreError, Tree};

/// Why an archive cannot become a tree.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive itself cannot be read.
    #[error("{name}: {source}")]
    Archive {
        /// What the caller calls the archive.
        name: String,
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// An entry is not what a source archive may hold.
    #[error("{name}: entry '{entry}': {reason}")]
    Entry {
        /// What the caller calls the archive.
        name: String,
        /// The entry's path as the archive tells it.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nothing is left of it.
    #[error("{name}: nothing lies deeper than the {strip} leading directories to strip")]
    Nothing {
        /// What the caller calls the archive.
        name: String,
        /// Path components that were to be taken away.
        strip: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Brings the content of a tar archive (plain, gz, xz or zst) into the store, the first `strip`
/// path components taken away.
///
/// Modes are normalised: 0755 for directories and for files that anybody may execute, else
/// 0644. Hard links become files of their own. Paths that lead out of the archive, devices,
/// pipes and names that are not UTF-8 are refused by name. `name` is what errors call it.
pub fn unpack(store: &LocalStore, archive: &Path, name: &str, strip: usize) -> Result<Tree, UnpackError> {
    let mut opened =
        archive::open(archive).map_err(|source| UnpackError::Archive { name: name.to_owned(), source })?;
    let tree = unpack_with(store, &mut opened, archive, name, &Source { strip })?;
    match tree.entries().is_empty() {
        true => Err(UnpackError::Nothing { name: name.to_owned(), strip }),
        false => Ok(tree),
    }
}

/// What of an archive comes into the tree, and how.
pub(super) trait Rules {
    /// Where the entry at `path` (without `.`) goes; `None` leaves it out.
    fn place(&self, path: &str) -> Option<String>;
    /// Its permission bits.
    fn mode(&self, mode: u32, is_dir: bool) -> u32;
}

/// The rules for upstream's sources.
struct Source {
    strip: usize,
}

impl Rules for Source {
    fn place(&self, path: &str) -> Option<String> {
        let mut rest = path;
        for _ in 0..self.strip {
            rest = rest.split_once('/')?.1;
        }
        Some(rest.to_owned())
    }

    fn mode(&self, mode: u32, is_dir: bool) -> u32 {
        if is_dir || mode & 0o111 != 0 { 0o755 } else { 0o644 }
    }
}

/// Unpacks an opened archive; `path` and `name` are for errors.
pub(super) fn unpack_with<R: Read>(
    store: &LocalStore,
    opened: &mut tar::Archive<R>,
    path: &Path,
    name: &str,
    rules: &dyn Rules,
) -> Result<Tree, UnpackError> {
    // By way of a directory, as the store takes one with a single flush instead of one a file.
    let scratch = store.scratch()?;
    let root = scratch.path().join("tree");
    fs::create_dir(&root).map_err(StoreError::io("create", &root))?;
    let broken = |source| UnpackError::Archive {
        name: name.to_owned(),
        source: ArchiveError::unreadable(path)(source),
    };
    let mut unpacker = Unpacker { name, root, rules, placed: HashMap::new() };
    for entry in opened.entries().map_err(&broken)? {
        unpacker.take(&mut entry.map_err(&broken)?)?;
    }
    unpacker.into_tree(store)
}

/// What stands at a path already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placed {
    Dir { mode: u32 },
    File { mode: u32 },
    Symlink,
}

struct Unpacker<'a> {
    name: &'a str,
    root: PathBuf,
    rules: &'a dyn Rules,
    /// Everything below `root`: nothing else writes there, so this is asked, not the disk.
    placed: HashMap<String, Placed>,
}

impl Unpacker<'_> {
    fn take<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let told = self.text(&entry.path_bytes(), &entry.path_bytes(), "its name is not UTF-8")?;
        let Some(path) = self.place(&told, &told)? else { return Ok(()) };
        self.make_room(&path, &told, kind == EntryType::Directory)?;
        let bits = entry.header().mode().map_err(|_| self.refuse(&told, "its mode is malformed"))?;
        let mode = self.rules.mode(bits, kind == EntryType::Directory);
        let placed = match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.write(&path, &told, entry)?;
                Placed::File { mode }
            }
            EntryType::Directory => {
                let dir = self.root.join(&path);
                fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
                Placed::Dir { mode }
            }
            EntryType::Symlink => self.link(&path, &self.link_target(entry, &told)?)?,
            EntryType::Link => self.copy(&path, &told, &self.link_target(entry, &told)?)?,
            EntryType::Char | EntryType::Block => return Err(self.refuse(&told, "it is a device")),
            EntryType::Fifo => return Err(self.refuse(&told, "it is a pipe")),
            _ => return Err(self.refuse(&told, "it is of a kind that tar does not define")),
        };
        self.placed.insert(path, placed);
        Ok(())
    }

    fn refuse(&self, entry: &str, reason: &'static str) -> UnpackError {
        UnpackError::Entry { name: self.name.to_owned(), entry: entry.to_owned(), reason }
    }

    fn text(&self, bytes: &[u8], entry: &[u8], reason: &'static str) -> Result<String, UnpackError> {
        let text = std::str::from_utf8(bytes).map(str::to_owned);
        text.map_err(|_| self.refuse(&entry.escape_ascii().to_string(), reason))
    }

    /// Where `path` goes; `None` for what is left out and for the root itself.
    fn place(&self, path: &str, entry: &str) -> Result<Option<String>, UnpackError> {
        if path.starts_with('/') {
            return Err(self.refuse(entry, "an absolute path leads out of the archive"));
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.contains(&"..") {
            return Err(self.refuse(entry, "'..' leads out of the archive"));
        }
        Ok(self.rules.place(&parts.join("/")).filter(|path| !path.is_empty()))
    }

    /// Every directory above `path` stands, is none but a directory, and the place is free.
    fn make_room(&mut self, path: &str, entry: &str, is_dir: bool) -> Result<(), UnpackError> {
        for (at, _) in path.match_indices('/') {
            match self.placed.get(&path[..at]) {
                Some(Placed::Dir { .. }) => continue,
                Some(_) => return Err(self.refuse(entry, "it lies below something that is no directory")),
                None => {
                    let mode = self.rules.mode(0o755, true);
                    let dir = self.root.join(&path[..at]);
                    fs::create_dir(&dir).map_err(StoreError::io("create", &dir))?;
                    self.placed.insert(path[..at].to_owned(), Placed::Dir { mode });
                }
            }
        }
        match (self.placed.get(path), is_dir) {
            (None, _) | (Some(Placed::Dir { .. }), true) => Ok(()),
            (Some(Placed::Dir { .. }), false) => Err(self.refuse(entry, "a directory has the same path")),
            // As with tar itself, the later one stays.
            (Some(_), _) => {
                let old = self.root.join(path);
                Ok(fs::remove_file(&old).map_err(StoreError::io("remove", &old))?)
            }
        }
    }

    fn write(&self, path: &str, entry: &str, from: &mut impl Read) -> Result<(), UnpackError> {
        let path = self.root.join(path);
        let mut file = create(&path)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut buffer).map_err(|source| UnpackError::Archive {
                name: self.name.to_owned(),
                source: ArchiveError::unreadable(Path::new(entry))(source),
            })?;
            if read == 0 {
                return Ok(());
            }
            io::Write::write_all(&mut file, &buffer[..read]).map_err(StoreError::io("write", &path))?;
        }
    }

    fn link_target<R: Read>(&self, entry: &tar::Entry<'_, R>, told: &str) -> Result<String, UnpackError> {
        match entry.link_name_bytes() {
            Some(target) if !target.is_empty() => {
                self.text(&target, told.as_bytes(), "its target is not UTF-8")
            }
            _ => Err(self.refuse(told, "it is a link without a target")),
        }
    }

    fn link(&self, path: &str, target: &str) -> Result<Placed, StoreError> {
        let path = self.root.join(path);
        std::os::unix::fs::symlink(target, &path).map_err(StoreError::io("link", &path))?;
        Ok(Placed::Symlink)
    }

    /// A hard link: the same content under a second name.
    fn copy(&self, path: &str, entry: &str, target: &str) -> Result<Placed, UnpackError> {
        let target = self.place(target, entry)?;
        let known = target.and_then(|target| Some((self.placed.get(&target).copied()?, target)));
        let Some((placed, target)) = known.filter(|(_, target)| target != path) else {
            return Err(self.refuse(entry, "it is a hard link to what did not come before it"));
        };
        let (from, to) = (self.root.join(target), self.root.join(path));
        match placed {
            Placed::Dir { .. } => return Err(self.refuse(entry, "it is a hard link to a directory")),
            Placed::Symlink => {
                let target = fs::read_link(&from).map_err(StoreError::io("read", &from))?;
                std::os::unix::fs::symlink(target, &to).map_err(StoreError::io("link", &to))?;
            }
            Placed::File { .. } => {
                let mut read = File::open(&from).map_err(StoreError::io("open", &from))?;
                io::copy(&mut read, &mut create(&to)?).map_err(StoreError::io("write", &to))?;
            }
        }
        Ok(placed)
    }

    /// Modes come from the archive, not from the disk: there everything can be moved away.
    fn into_tree(self, store: &LocalStore) -> Result<Tree, UnpackError> {
        let tree = store.ingest(&self.root, Ingest::Move)?;
        let with_mode = |entry: &Entry| {
            let mode = match (&entry.kind, self.placed.get(&entry.path)) {
                (Kind::Symlink { .. }, _) | (_, None | Some(Placed::Symlink)) => entry.mode,
                (_, Some(Placed::Dir { mode } | Placed::File { mode })) => *mode,
            };
            Entry { mode, ..entry.clone() }
        };
        Ok(Tree::new(tree.entries().iter().map(with_mode).collect()))
    }
}

fn create(path: &Path) -> Result<File, StoreError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    let created = created.and_then(|file| {
        file.set_permissions(Permissions::from_mode(0o644))?;
        Ok(file)
    });
    created.map_err(StoreError::io("write", path))
}

#[cfg(test)]
mod tests {
    use tar::Header;

    use super::*;

    struct Bench {
        dir: tempfile::TempDir,
        store: LocalStore,
        builder: tar::Builder<Vec<u8>>,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = LocalStore::open(dir.path().join("cache")).unwrap();
            Self { dir, store, builder: tar::Builder::new(Vec::new()) }
        }

        /// The raw name goes into the header, as the crate would refuse to write a bad one.
        fn add(mut self, name: &[u8], kind: EntryType, mode: u32, data: &str) -> Self {
            let mut header = Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name);
            header.set_entry_type(kind);
            header.set_mode(mode);
            let is_link = matches!(kind, EntryType::Link | EntryType::Symlink);
            header.set_size(if is_link { 0 } else { data.len() as u64 });
            if is_link {
                header.as_gnu_mut().unwrap().linkname[..data.len()].copy_from_slice(data.as_bytes());
            }
            header.set_cksum();
            self.builder.append(&header, if is_link { &b""[..] } else { data.as_bytes() }).unwrap();
            self
        }

        fn file(self, name: &str, data: &str) -> Self {
            self.add(name.as_bytes(), EntryType::Regular, 0o644, data)
        }

        fn unpack(self, strip: usize) -> Result<(tempfile::TempDir, LocalStore, Tree), UnpackError> {
            let path = self.dir.path().join("archive.tar");
            fs::write(&path, self.builder.into_inner().unwrap()).unwrap();
            let tree = unpack(&self.store, &path, "archive", strip)?;
            Ok((self.dir, self.store, tree))
        }

        fn refusal(self) -> String {
            self.unpack(0).unwrap_err().to_string()
        }
    }

    #[test]
    fn modes_are_normalised_and_hard_links_are_copied() {
        let (_dir, store, tree) = Bench::new()
            .add(b"pkg-1.0/", EntryType::Directory, 0o2700, "")
            .add(b"./pkg-1.0/run", EntryType::Regular, 0o4711, "same")
            .add(b"pkg-1.0/deep/er/data", EntryType::Regular, 0o600, "data")
            .add(b"pkg-1.0/again", EntryType::Link, 0, "pkg-1.0/run")
            .add(b"pkg-1.0/soft", EntryType::Symlink, 0o777, "../elsewhere")
            .unpack(1)
            .unwrap();
        let told: Vec<_> = tree.entries().iter().map(|e| (e.path.as_str(), e.mode)).collect();
        let expected = [
            ("again", 0o755),
            ("deep", 0o755),
            ("deep/er", 0o755),
            ("deep/er/data", 0o644),
            ("run", 0o755),
            ("soft", 0o777),
        ];
        assert_eq!(told, expected);
        assert_eq!(tree.get("again").unwrap().kind, tree.get("run").unwrap().kind);
        assert!(store.holds_tree(store.put_tree(&tree).unwrap()));
    }

    #[test]
    fn the_later_of_two_files_stays() {
        let (_dir, store, tree) = Bench::new().file("a", "one").file("a", "two").unpack(0).unwrap();
        let Kind::File { object, .. } = tree.get("a").unwrap().kind else { panic!() };
        assert_eq!(store.get(object).unwrap(), b"two");
    }

    #[test]
    fn what_leads_out_is_refused_by_name() {
        for name in ["../evil", "a/../../evil", "/etc/evil"] {
            let told = Bench::new().file(name, "").refusal();
            assert!(told.contains(name) && told.contains("leads out"), "{told}");
        }
        let out = Bench::new().add(b"out", EntryType::Symlink, 0o777, "/tmp");
        let told = out.file("out/evil", "").refusal();
        assert!(told.contains("out/evil"), "{told}");
        let told = Bench::new().add(b"h", EntryType::Link, 0, "../../etc/passwd").refusal();
        assert!(told.contains("leads out"), "{told}");
        let told = Bench::new().add(b"h", EntryType::Link, 0, "etc/passwd").refusal();
        assert!(told.contains("did not come before"), "{told}");
    }

    #[test]
    fn what_no_source_holds_is_refused_by_name() {
        let told = Bench::new().add(b"dev/null", EntryType::Char, 0o666, "").refusal();
        assert!(told.contains("dev/null") && told.contains("device"), "{told}");
        let told = Bench::new().add(b"pipe", EntryType::Fifo, 0o666, "").refusal();
        assert!(told.contains("pipe"), "{told}");
        let told = Bench::new().add(b"caf\xe9", EntryType::Regular, 0o644, "").refusal();
        assert!(told.contains("caf\\xe9") && told.contains("UTF-8"), "{told}");
    }

    #[test]
    fn stripping_all_of_it_is_an_error() {
        let told = Bench::new().file("a/b", "").unpack(2).unwrap_err().to_string();
        assert!(told.contains("2 leading"), "{told}");
    }
}
