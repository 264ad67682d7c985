use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::paths::join_plain;
use super::{Exit, RunError};
use crate::digest::Digest;
use crate::store::{Entry, Ingest, Kind, LocalStore, StoreError, Tree};

/// What a command that succeeded has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The tree of each output, by its declared name: for a directory what is in it, for
    /// anything else one entry of its own name.
    pub outputs: BTreeMap<String, Digest>,
    /// The object with all the command wrote, both streams in the order they came.
    pub log: Digest,
}

/// Where the outputs are below the scratch directory.
const OUT: &str = "forge/out";

/// Moves the outputs of a command that did not fail into the store, where its log is. Blocks.
pub(super) fn collect(
    store: &LocalStore,
    scratch: &Path,
    outputs: &[String],
    failed: Option<Exit>,
    log: Digest,
) -> Result<Outcome, RunError> {
    if let Some(exit) = failed {
        return Err(RunError::Failed { exit, log });
    }
    let mut found = Found::default();
    outputs.iter().try_for_each(|name| found.add(scratch, name)).map_err(|fault| fault.with_log(log))?;
    let tree = match found.ingest(store, scratch) {
        Ok(tree) => tree,
        Err(StoreError::Unsupported { path, reason }) => {
            let path = path.strip_prefix(scratch.join(OUT)).unwrap_or(&path).display().to_string();
            return Err(Fault::Unfit(path, reason.to_owned()).with_log(log));
        }
        Err(error) => return Err(error.into()),
    };
    let outputs = outputs.iter().map(|name| Ok((name.clone(), store.put_tree(&output_tree(&tree, name))?)));
    Ok(Outcome { outputs: outputs.collect::<Result<_, StoreError>>()?, log })
}

fn output_tree(all: &Tree, name: &str) -> Tree {
    // Written once more, as "./a" and "a/" are the same output as "a".
    let name = super::paths::components(name).unwrap_or_default().join("/");
    let path = format!("{OUT}/{name}");
    match all.get(&path) {
        Some(entry) if entry.kind != Kind::Dir => {
            let path = name.rsplit('/').next().unwrap_or(&name).to_owned();
            Tree::new(vec![Entry { path, ..entry.clone() }])
        }
        _ => all.below(&path),
    }
}

enum Fault {
    Missing(String),
    Unfit(String, String),
}

impl Fault {
    fn with_log(self, log: Digest) -> RunError {
        match self {
            Self::Missing(name) => RunError::MissingOutput { name, log },
            Self::Unfit(path, reason) => RunError::UnfitOutput { path, reason, log },
        }
    }
}

/// Everything below the declared outputs.
#[derive(Default)]
struct Found {
    paths: Vec<PathBuf>,
    /// The modes of what had to be opened up to be read.
    modes: HashMap<PathBuf, u32>,
}

impl Found {
    fn add(&mut self, scratch: &Path, name: &str) -> Result<(), Fault> {
        let unfit = |error: std::io::Error| Fault::Unfit(name.to_owned(), error.to_string());
        let path = join_plain(scratch, &format!("{OUT}/{name}")).map_err(unfit)?;
        match fs::symlink_metadata(&path) {
            Ok(metadata) => self.walk(path, metadata).map_err(unfit),
            Err(_) => Err(Fault::Missing(name.to_owned())),
        }
    }

    fn walk(&mut self, path: PathBuf, metadata: Metadata) -> std::io::Result<()> {
        let may_read_all = rustix::process::geteuid().is_root();
        let mut ahead = vec![(path, metadata)];
        while let Some((path, metadata)) = ahead.pop() {
            if !may_read_all && (metadata.is_dir() || metadata.is_file()) {
                self.open_up(&path, &metadata)?;
            }
            if metadata.is_dir() {
                for entry in fs::read_dir(&path)? {
                    let entry = entry?;
                    ahead.push((entry.path(), entry.metadata()?));
                }
            }
            self.paths.push(path);
        }
        Ok(())
    }

    /// Lets an owner who is not root read a file, and empty a directory.
    fn open_up(&mut self, path: &Path, metadata: &Metadata) -> std::io::Result<()> {
        let mode = metadata.permissions().mode() & 0o7777;
        let needed = if metadata.is_dir() { 0o700 } else { 0o400 };
        if mode & needed != needed {
            fs::set_permissions(path, Permissions::from_mode(mode | needed))?;
            self.modes.insert(path.to_owned(), mode);
        }
        Ok(())
    }

    /// All in one batch, so that the filesystem is flushed once.
    fn ingest(self, store: &LocalStore, scratch: &Path) -> Result<Tree, StoreError> {
        let tree = store.ingest_paths(scratch, self.paths, Ingest::Move)?;
        if self.modes.is_empty() {
            return Ok(tree);
        }
        let entries = tree.entries().iter().cloned().map(|entry| {
            let mode = self.modes.get(&scratch.join(&entry.path)).copied().unwrap_or(entry.mode);
            Entry { mode, ..entry }
        });
        Ok(Tree::new(entries.collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn scratch() -> (tempfile::TempDir, LocalStore, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let scratch = dir.path().join("scratch");
        fs::create_dir_all(scratch.join(OUT)).unwrap();
        (dir, store, scratch)
    }

    fn log(store: &LocalStore) -> Digest {
        store.put(b"log").unwrap()
    }

    #[test]
    fn a_directory_gives_its_content_and_a_file_itself() {
        let (_dir, store, scratch) = scratch();
        fs::create_dir_all(scratch.join("forge/out/root/usr")).unwrap();
        fs::write(scratch.join("forge/out/root/usr/a"), "a").unwrap();
        fs::write(scratch.join("forge/out/undeclared"), "u").unwrap();
        fs::create_dir_all(scratch.join("forge/out/pkg")).unwrap();
        fs::write(scratch.join("forge/out/pkg/x.deb"), "x").unwrap();
        let names = ["root".to_owned(), "pkg/x.deb".to_owned()];
        let outcome = collect(&store, &scratch, &names, None, log(&store)).unwrap();
        let paths = |name: &str| -> Vec<String> {
            let tree = store.tree(outcome.outputs[name]).unwrap();
            tree.entries().iter().map(|entry| entry.path.clone()).collect()
        };
        assert_eq!(paths("root"), ["usr", "usr/a"]);
        assert_eq!(paths("pkg/x.deb"), ["x.deb"]);
        assert_eq!(store.get(outcome.log).unwrap(), b"log");
    }

    #[test]
    fn an_out_directory_that_became_a_link_leads_nowhere() {
        let (_dir, store, scratch) = scratch();
        fs::remove_dir(scratch.join(OUT)).unwrap();
        symlink("/etc", scratch.join(OUT)).unwrap();
        let error = collect(&store, &scratch, &["passwd".into()], None, log(&store)).unwrap_err();
        assert!(matches!(error, RunError::UnfitOutput { .. }), "{error}");
    }

    #[test]
    fn the_log_is_kept_whenever_something_unfit_is_found() {
        for _ in 0..50 {
            let (_dir, store, scratch) = scratch();
            fs::create_dir(scratch.join("forge/out/root")).unwrap();
            for name in 0..20 {
                fs::write(scratch.join(format!("forge/out/root/{name}")), name.to_string()).unwrap();
            }
            let _socket = std::os::unix::net::UnixListener::bind(scratch.join("forge/out/root/s")).unwrap();
            let error = collect(&store, &scratch, &["root".into()], None, log(&store)).unwrap_err();
            let RunError::UnfitOutput { log, .. } = error else { panic!("{error}") };
            assert_eq!(store.get(log).unwrap(), b"log");
        }
    }

    #[test]
    fn the_log_of_a_failure_is_kept() {
        let (_dir, store, scratch) = scratch();
        let error =
            collect(&store, &scratch, &["root".into()], Some(Exit::Code(3)), log(&store)).unwrap_err();
        let RunError::Failed { exit: Exit::Code(3), log } = error else { panic!("{error}") };
        assert_eq!(store.get(log).unwrap(), b"log");
    }
}
