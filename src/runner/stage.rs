use std::collections::HashMap;
use std::fmt;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::collect::{Outcome, collect};
use super::paths::join_plain;
use super::{Command, Exit, RunError};
use crate::digest::Digest;
use crate::store::{Ingest, LocalStore, Moment, Scratch, Sighting, Spares, StoreError, is_plain};

/// The modes of what a command is given.
const DIR_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// What an action sees as `/forge`.
const FORGE: &str = "forge";

/// The directories that belong to an action.
const OWN_DIRS: [&str; 3] = ["forge/work", "forge/out", "forge/home"];

/// Where what a command writes goes.
pub(super) const LOG: &str = "log";

/// The script of a closed command.
pub(super) const SCRIPT: &str = "forge/script";

/// The directories of a writable layer over a root.
pub(super) const OVERLAY_DIRS: [&str; 2] = ["upper", "overlay"];

/// What both runners lay out before an action, and read back after it.
///
/// | path | content |
/// | --- | --- |
/// | `forge/` | `/forge`: the script, `work/`, `out/`, `home/` |
/// | `etc/` | the files that say who and where the machine is |
/// | `log` | all that the command wrote |
/// | `root/` | nothing: where a sandbox mounts its root |
/// | `spares/` | what those before it left, for those after it |
pub(super) struct Stage {
    store: Arc<LocalStore>,
    scratch: Scratch,
    mounts: Vec<(PathBuf, String)>,
    /// What earlier actions left here.
    spares: Spares,
    /// How directories looked that are as they were made: as long as they do, nobody touched them.
    as_made: HashMap<&'static str, Sighting>,
}

impl Stage {
    /// Makes the directories and checks out what is mounted. Blocks.
    pub(super) fn prepare(command: &Command, store: Arc<LocalStore>) -> Result<Self, RunError> {
        let scratch = store.scratch()?;
        let mut stage = Self::laid_out(store, scratch)?;
        stage.mount(command)?;
        Ok(stage)
    }

    fn laid_out(store: Arc<LocalStore>, scratch: Scratch) -> Result<Self, StoreError> {
        let (mounts, spares, as_made) = Default::default();
        let stage = Self { store, scratch, mounts, spares, as_made };
        [FORGE].iter().chain(&OWN_DIRS).chain(&["etc"]).try_for_each(|dir| stage.make_dir(dir))?;
        stage.write("etc/hosts", b"127.0.0.1\tlocalhost forge\n::1\tlocalhost\n")?;
        stage.write("etc/hostname", b"forge\n")?;
        Ok(stage)
    }

    /// One for several commands, with spares that are kept in the directory that `spares` gets. Blocks.
    fn lasting(store: Arc<LocalStore>, spares: fn(PathBuf) -> Spares) -> Result<Self, StoreError> {
        let scratch = store.lasting_scratch()?;
        let mut stage = Self::laid_out(store, scratch)?;
        ["root", "spares"].iter().try_for_each(|dir| stage.make_dir(dir))?;
        stage.spares = spares(stage.path("spares"));
        Ok(stage)
    }

    /// Checks out what is mounted. Blocks.
    pub(super) fn mount(&mut self, command: &Command) -> Result<(), StoreError> {
        let checkout = |mount: &super::Mount| Ok((self.store.checkout(mount.tree)?, mount.at.clone()));
        self.mounts = command.mounts.iter().map(checkout).collect::<Result<_, StoreError>>()?;
        Ok(())
    }

    /// Empties the directories for the next action. One that an action changed, or put something in the place of, is an error.
    fn empty(&mut self) -> io::Result<()> {
        self.mounts.clear();
        // Then what is in these is theirs.
        self.empty_dir(FORGE, |stage, forge| stage.empty_forge(forge))?;
        for dir in OWN_DIRS {
            self.empty_dir(dir, |stage, path| stage.spares.take_from(path))?;
        }
        let script = self.path(SCRIPT);
        match is_as_made(&script, false) {
            Ok(true) => {}
            Ok(false) => remove(&script)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        for dir in OVERLAY_DIRS.map(|dir| self.path(dir)) {
            if dir.exists() {
                remove(&dir)?;
            }
        }
        // What it holds would take room until the next command.
        let log = self.path(LOG);
        match fs::symlink_metadata(&log) {
            Ok(metadata) if metadata.len() > 0 => File::options().write(true).open(log)?.set_len(0),
            _ => Ok(()),
        }
    }

    /// Empties a directory, unless it looks as it did when nothing was in it.
    fn empty_dir(
        &mut self,
        dir: &'static str,
        empty: impl FnOnce(&Self, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let (path, now) = (self.path(dir), Moment::now());
        let seen = Sighting::at(&path);
        if seen.is_some() && seen.as_ref() == self.as_made.get(dir) {
            return Ok(());
        }
        if !is_as_made(&path, true)? {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        empty(self, &path)?;
        // If it was not empty, it looks otherwise now.
        self.as_made.extend(seen.filter(|seen| seen.is_before(now)).map(|seen| (dir, seen)));
        Ok(())
    }

    /// Removes what an action put beside its directories and the script.
    fn empty_forge(&self, forge: &Path) -> io::Result<()> {
        for entry in fs::read_dir(forge)? {
            let name = Path::new(FORGE).join(entry?.file_name());
            if name != Path::new(SCRIPT) && OWN_DIRS.iter().all(|own| name != Path::new(own)) {
                remove(&self.path(&name))?;
            }
        }
        Ok(())
    }

    /// Copies into the working directory what belongs there. Blocks.
    pub(super) fn copy_in(&self, command: &Command) -> Result<(), RunError> {
        let work = self.path("forge/work");
        for copy in &command.copies {
            let through_link = |_| {
                RunError::Setup(format!(
                    "copied into '{}': a tree copied before has no directory there",
                    copy.into
                ))
            };
            let to = join_plain(&work, &format!("{}/.", copy.into)).map_err(through_link)?;
            if fs::symlink_metadata(&to).is_ok_and(|metadata| !metadata.is_dir()) {
                return Err(through_link(io::ErrorKind::NotADirectory.into()));
            }
            self.store.materialize_in(
                &self.store.tree(copy.tree)?,
                &to,
                command.source_date_epoch,
                &self.spares,
            )?;
        }
        Ok(())
    }

    pub(super) fn store(&self) -> &Arc<LocalStore> {
        &self.store
    }

    /// The checkouts to be mounted read-only, and where.
    pub(super) fn mounts(&self) -> &[(PathBuf, String)] {
        &self.mounts
    }

    pub(super) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.scratch.path().join(relative)
    }

    /// The scratch directory's own name.
    pub(super) fn name(&self) -> &str {
        self.scratch.path().file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    pub(super) fn make_dir(&self, relative: &str) -> Result<(), StoreError> {
        make_dir(&self.path(relative))
    }

    pub(super) fn write(&self, relative: &str, bytes: &[u8]) -> Result<(), StoreError> {
        write(&self.path(relative), bytes)
    }

    /// Gives all it wrote to the store: what every end of a command has in common.
    pub(super) async fn finish(self, command: &Command, failed: Option<Exit>) -> Result<Outcome, RunError> {
        let command = command.clone();
        blocking(move || self.collect(&command, failed)).await
    }

    /// The same, for whoever may block and keeps the stage.
    pub(super) fn collect(&self, command: &Command, failed: Option<Exit>) -> Result<Outcome, RunError> {
        let log = self.path(LOG);
        let tree = self.store.ingest_paths(self.scratch.path(), vec![log], Ingest::Move)?;
        let log = tree.files().map(|(object, _)| object).next();
        let log = log.ok_or_else(|| RunError::Setup("the log of the command is not a file".to_owned()))?;
        self.collect_with(command, failed, log)
    }

    /// The same where the log is stored already.
    pub(super) fn collect_with(
        &self,
        command: &Command,
        failed: Option<Exit>,
        log: Digest,
    ) -> Result<Outcome, RunError> {
        collect(&self.store, self.scratch.path(), &command.outputs, failed, log)
    }
}

/// A directory for a command.
fn make_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .mode(DIR_MODE)
        .create(path)
        // Whatever the caller's umask: other users than root inside must find their way.
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(DIR_MODE)))
        .map_err(StoreError::io("create", path))
}

/// A file for a command.
fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    fs::write(path, bytes)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(FILE_MODE)))
        .map_err(StoreError::io("write", path))
}

/// Stages for actions, one after the other: to make and remove the directories of each takes longer than a small one does.
#[derive(Clone, Default)]
pub(super) struct Stages(Arc<Mutex<Vec<Stage>>>);

impl Stages {
    fn free(&self) -> MutexGuard<'_, Vec<Stage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a command that sees this machine: what it is given are files and directories that others had. Blocks.
    pub(super) fn open(&self, store: &Arc<LocalStore>) -> Result<Stage, StoreError> {
        self.free_of(store).map_or_else(|| Stage::lasting(store.clone(), Spares::new), Ok)
    }

    /// For one that sees nothing else: of what another had in its hands it gets directories that look as new. Blocks.
    pub(super) fn closed(&self, store: &Arc<LocalStore>) -> Result<Stage, StoreError> {
        self.free_of(store).map_or_else(|| Stage::lasting(store.clone(), Spares::of_dirs), Ok)
    }

    fn free_of(&self, store: &Arc<LocalStore>) -> Option<Stage> {
        let mut free = self.free();
        let at = free.iter().position(|stage| Arc::ptr_eq(&stage.store, store))?;
        Some(free.swap_remove(at))
    }

    /// Blocks. A stage that cannot be emptied goes away.
    pub(super) fn give_back(&self, mut stage: Stage) {
        if stage.empty().is_ok() {
            self.free().push(stage);
        }
    }
}

impl fmt::Debug for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stages", self.free().len())
    }
}

/// Whether a directory, or a file, looks as it was made.
fn is_as_made(path: &Path, is_dir: bool) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    let (is_of_kind, mode) = match is_dir {
        true => (metadata.is_dir(), DIR_MODE),
        false => (metadata.is_file() && metadata.nlink() == 1, FILE_MODE),
    };
    Ok(is_of_kind && metadata.mode() & 0o7777 == mode && is_plain(path, &metadata))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The scratch directory goes next: an owner who is not root cannot empty what an
        // action left closed.
        if !rustix::process::geteuid().is_root() {
            open_dirs(self.scratch.path().to_owned());
        }
    }
}

fn open_dirs(path: PathBuf) {
    let mut ahead = vec![path];
    while let Some(dir) = ahead.pop() {
        // What cannot be opened is left to the next sweep.
        let _ = fs::set_permissions(&dir, Permissions::from_mode(0o700));
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                ahead.push(entry.path());
            }
        }
    }
}

/// Runs what blocks beside the event loop, so that other actions' logs are read on.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Why nobody waits for a command any longer.
pub(super) enum Stop {
    TimedOut(Duration),
    Cancelled,
}

/// Waits for whatever ends a command before its own end. Never, if nothing does.
pub(super) async fn stopped(timeout: Option<Duration>, mut cancel: watch::Receiver<bool>) -> Stop {
    let cancelled = async {
        if cancel.wait_for(|&cancelled| cancelled).await.is_err() {
            // Nobody is left who could cancel.
            std::future::pending::<()>().await;
        }
    };
    let Some(timeout) = timeout else {
        cancelled.await;
        return Stop::Cancelled;
    };
    tokio::select! {
        () = cancelled => Stop::Cancelled,
        () = tokio::time::sleep(timeout) => Stop::TimedOut(timeout),
    }
}
