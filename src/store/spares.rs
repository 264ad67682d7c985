//! Files and directories of actions that ended, for those that come after them.
//!
//! Some filesystems look at every inode that was freed lately before they give out another (ext4 without a journal): with
//! thousands of small actions, making and removing what they see takes longer than they do.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// No more of a kind are kept.
const MOST: usize = 1_000;
/// What is longer is removed: it would hold the space.
const LONGEST: u64 = 64 << 10;
/// The mode of a new directory.
const DIR_MODE: u32 = 0o755;

/// Makes files and directories, of what it has where it can. The default has nothing, and gets nothing.
#[derive(Debug, Default)]
pub struct Spares {
    /// Where they are.
    room: PathBuf,
    /// Whether files are kept, which still hold what was in them.
    keeps_files: bool,
    files: Mutex<Vec<PathBuf>>,
    dirs: Mutex<Vec<PathBuf>>,
}

/// Takes one and moves it to `to`, where nothing may be. `None` if there is none, or the filesystem cannot do that.
fn reuse(spares: &Mutex<Vec<PathBuf>>, to: &Path) -> Option<io::Result<()>> {
    let spare = lock(spares).pop()?;
    let moved = renameat_with(CWD, &spare, CWD, to, RenameFlags::NOREPLACE);
    if moved.is_err() {
        lock(spares).push(spare);
    }
    match moved {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => None,
        moved => Some(moved.map_err(io::Error::from)),
    }
}

fn lock(spares: &Mutex<Vec<PathBuf>>) -> MutexGuard<'_, Vec<PathBuf>> {
    spares.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Spares {
    /// They are kept in the directory `room`, which is empty.
    pub fn new(room: PathBuf) -> Self {
        Self { room, keeps_files: true, ..Self::default() }
    }

    /// The same, of directories alone.
    pub fn of_dirs(room: PathBuf) -> Self {
        Self { room, ..Self::default() }
    }

    /// Makes a directory.
    fn dir(&self, path: &Path) -> io::Result<()> {
        reuse(&self.dirs, path).unwrap_or_else(|| DirBuilder::new().mode(DIR_MODE).create(path))
    }

    /// Makes a directory, if it is not there, and those it is in.
    pub(super) fn dir_all(&self, path: &Path) -> io::Result<()> {
        // To find out by a move takes longer.
        if path.is_dir() {
            return Ok(());
        }
        match self.dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.dir_all(path.parent().ok_or(error)?)?;
                self.dir(path)
            }
            Err(_) if path.is_dir() => Ok(()),
            made => made,
        }
    }

    /// Makes a file where nothing is, to be written from its start. It may be longer than what is written: to cut it at first
    /// makes some filesystems write it out when it is closed.
    pub(super) fn file(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        if let Some(moved) = reuse(&self.files, path) {
            moved?;
            match options.open(path) {
                // Something that an action left behind may still run it.
                Err(_) => fs::remove_file(path)?,
                opened => return opened,
            }
        }
        options.create_new(true).open(path)
    }

    /// Empties a directory, and keeps what can be used again.
    pub fn take_from(&self, dir: &Path) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (path, metadata) = (entry.path(), entry.metadata()?);
            if metadata.is_dir() {
                self.take_from(&path)?;
                self.take(&self.dirs, &path, &metadata, DIR_MODE)?;
            } else if self.keeps_files
                && metadata.is_file()
                && metadata.nlink() == 1
                && metadata.len() <= LONGEST
            {
                self.take(&self.files, &path, &metadata, 0o600)?;
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn take(
        &self,
        spares: &Mutex<Vec<PathBuf>>,
        path: &Path,
        metadata: &Metadata,
        mode: u32,
    ) -> io::Result<()> {
        let mut spares = lock(spares);
        if !is_plain(path, metadata) || spares.len() >= MOST {
            return if metadata.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
        let is_open = metadata.mode() & mode == mode;
        if metadata.mode() & 0o7777 != mode && (metadata.is_dir() || !is_open) {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        // No other has this name: an inode has one.
        let spare = self.room.join(metadata.ino().to_string());
        fs::rename(path, &spare)?;
        spares.push(spare);
        Ok(())
    }
}

/// Whether nothing but its mode tells what is at a path from what this process would make there.
pub fn is_plain(path: &Path, metadata: &Metadata) -> bool {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // Their names do not fit into so little. A filesystem without attributes gives another error, and there are none.
    let is_marked = || matches!(rustix::fs::llistxattr(path, &mut [0_u8; 1]), Ok(1..) | Err(Errno::RANGE));
    (metadata.uid(), metadata.gid()) == own && !is_marked()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory, and spares that are kept in it.
    fn spares() -> (tempfile::TempDir, PathBuf, Spares) {
        let dir = tempfile::tempdir().unwrap();
        let (room, work) = (dir.path().join("room"), dir.path().join("work"));
        [&room, &work].iter().for_each(|dir| fs::create_dir(dir).unwrap());
        (dir, work, Spares::new(room))
    }

    fn inode(path: &Path) -> u64 {
        fs::symlink_metadata(path).unwrap().ino()
    }

    #[test]
    fn what_was_left_is_used_again_elsewhere() {
        let (_dir, work, spares) = spares();
        fs::create_dir_all(work.join("a/b")).unwrap();
        fs::write(work.join("a/b/old"), "old").unwrap();
        fs::set_permissions(work.join("a"), Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(work.join("a/b/old"), Permissions::from_mode(0o444)).unwrap();
        let mut dirs = [inode(&work.join("a")), inode(&work.join("a/b"))];
        let file = inode(&work.join("a/b/old"));
        spares.take_from(&work).unwrap();
        assert_eq!(fs::read_dir(&work).unwrap().count(), 0);

        spares.dir_all(&work.join("c/d")).unwrap();
        spares.file(&work.join("c/d/new")).unwrap();
        let mut again = [inode(&work.join("c")), inode(&work.join("c/d"))];
        dirs.sort_unstable();
        again.sort_unstable();
        assert_eq!((again, inode(&work.join("c/d/new"))), (dirs, file));
        assert_eq!(fs::metadata(work.join("c")).unwrap().mode() & 0o7777, DIR_MODE);
    }

    #[test]
    fn nothing_is_replaced() {
        let (_dir, work, spares) = spares();
        fs::write(work.join("left"), "left").unwrap();
        spares.take_from(&work).unwrap();
        fs::write(work.join("there"), "there").unwrap();
        assert_eq!(spares.file(&work.join("there")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(work.join("there")).unwrap(), b"there");
        assert!(spares.dir_all(&work.join("there")).is_err());
        assert!(spares.file(&work.join("new")).is_ok());
    }

    #[test]
    fn what_has_two_names_or_is_long_or_leads_elsewhere_is_not_kept() {
        let (dir, work, spares) = spares();
        let beside = dir.path().join("beside");
        fs::write(&beside, "beside").unwrap();
        fs::hard_link(&beside, work.join("linked")).unwrap();
        std::os::unix::fs::symlink(&beside, work.join("leads")).unwrap();
        fs::write(work.join("long"), vec![0; LONGEST as usize + 1]).unwrap();
        spares.take_from(&work).unwrap();
        assert_eq!(fs::read_dir(&work).unwrap().count(), 0);
        assert!(lock(&spares.files).is_empty());
        assert_eq!(fs::read(&beside).unwrap(), b"beside");
    }

    #[test]
    fn what_was_marked_is_not_kept() {
        let (_dir, work, spares) = spares();
        for name in ["plain", "marked"] {
            fs::create_dir(work.join(name)).unwrap();
        }
        let marked = inode(&work.join("marked"));
        rustix::fs::setxattr(work.join("marked"), "user.mark", b"x", rustix::fs::XattrFlags::CREATE).unwrap();
        spares.take_from(&work).unwrap();
        let kept: Vec<u64> = lock(&spares.dirs).iter().map(|dir| inode(dir)).collect();
        assert!(kept.len() == 1 && kept[0] != marked);
    }
}
