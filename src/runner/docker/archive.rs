use std::fs::{Permissions, set_permissions};
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use rustix::fs::{CWD, FileType, Mode};
use tar::{Archive, Builder, EntryType, Header};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::paths::join_plain;
use super::super::stage::blocking;
use crate::store::{Entry, Kind, LocalStore, StoreError, Tree};

/// Bytes that go through a channel at once, and how many such pieces wait in it.
const PIECE: usize = 128 * 1024;
const WAITING: usize = 8;

/// A body that could not be made has ended before its request; no other is worth a wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest link target that a tar header holds by itself.
const HEADER_LINK: usize = 100;

/// Writes `tree` below `prefix` (empty, or a path that ends in `/`), all of it root's and of
/// the time `time`.
pub(super) fn append_tree(
    archive: &mut Builder<impl Write>,
    prefix: &str,
    tree: &Tree,
    store: &LocalStore,
    time: u64,
) -> io::Result<()> {
    for Entry { path, mode, kind } in tree.entries() {
        let path = format!("{prefix}{path}");
        match kind {
            Kind::Dir => append_dir(archive, &path, *mode, time)?,
            Kind::File { object, size } => {
                let file = store.open_object(*object).map_err(io::Error::other)?;
                let mut header = header(EntryType::Regular, *mode, time);
                header.set_size(*size);
                archive.append_data(&mut header, path, file)?;
            }
            Kind::Symlink { target } => {
                let mut header = header(EntryType::Symlink, *mode, time);
                if target.len() <= HEADER_LINK {
                    // As it is: `append_link` would take a `./` away.
                    header.set_link_name_literal(target)?;
                    archive.append_data(&mut header, path, io::empty())?;
                } else {
                    archive.append_link(&mut header, path, target)?;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn append_dir(
    archive: &mut Builder<impl Write>,
    path: &str,
    mode: u32,
    time: u64,
) -> io::Result<()> {
    let path = format!("{}/", path.trim_end_matches('/'));
    archive.append_data(&mut header(EntryType::Directory, mode, time), path, io::empty())
}

pub(super) fn append_file(
    archive: &mut Builder<impl Write>,
    path: &str,
    bytes: &[u8],
    time: u64,
) -> io::Result<()> {
    let mut header = header(EntryType::Regular, 0o644, time);
    header.set_size(bytes.len() as u64);
    archive.append_data(&mut header, path, bytes)
}

fn header(kind: EntryType, mode: u32, time: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

/// What `write` makes in a thread of its own while it is sent as a request's body. The handle
/// gives the error of `write`, of which the request itself can only tell that it broke off.
pub(super) fn streamed<B: From<Vec<u8>>>(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> (impl Stream<Item = io::Result<B>> + Send + 'static, JoinHandle<io::Result<()>>) {
    let (pieces, mut received) = mpsc::channel::<io::Result<Vec<u8>>>(WAITING);
    let written = tokio::task::spawn_blocking(move || {
        let mut pipe = BufWriter::with_capacity(PIECE, Sender(pieces.clone()));
        let done = write(&mut pipe).and_then(|()| pipe.flush());
        if done.is_err() {
            // Else the engine would take what it has for the whole. If it is gone, so be it.
            let _ = pieces.blocking_send(Err(io::ErrorKind::Interrupted.into()));
        }
        done
    });
    let stream = futures_util::stream::poll_fn(move |context| received.poll_recv(context));
    (stream.map(|piece| piece.map(B::from)), written)
}

/// Why a body could not be made, once its request has ended.
pub(super) async fn made(sent: JoinHandle<io::Result<()>>, store: &LocalStore) -> Result<(), StoreError> {
    match tokio::time::timeout(PATIENCE, sent).await {
        // A broken pipe: the engine did not want more, and says why.
        Ok(Ok(Err(error))) if error.kind() != io::ErrorKind::BrokenPipe => Err(error
            .downcast::<StoreError>()
            .unwrap_or_else(StoreError::io("read the trees in", store.root()))),
        _ => Ok(()),
    }
}

struct Sender(mpsc::Sender<io::Result<Vec<u8>>>);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(bytes.to_owned())).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Which entries of an archive are unpacked.
pub(super) type Keep = fn(&Path, EntryType) -> bool;

/// Unpacks an archive while it arrives.
pub(super) async fn unpack<B: AsRef<[u8]>, E>(
    mut stream: impl Stream<Item = Result<B, E>> + Unpin,
    to: PathBuf,
    keep: Keep,
) -> Result<io::Result<()>, E> {
    let (pieces, received) = mpsc::channel(WAITING);
    let unpacked = tokio::task::spawn_blocking(move || unpack_from(Receiver::new(received), &to, keep));
    let mut failed = None;
    while let Some(piece) = stream.next().await {
        match piece {
            // A send fails when unpacking has failed, which tells why.
            Ok(piece) if pieces.send(piece.as_ref().to_owned()).await.is_ok() => {}
            Ok(_) => break,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    drop(pieces);
    let unpacked = unpacked.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    failed.map_or(Ok(unpacked), Err)
}

/// Unpacks an archive that is a file.
pub(super) async fn unpack_file(file: PathBuf, to: PathBuf, keep: Keep) -> io::Result<()> {
    blocking(move || unpack_from(io::BufReader::new(std::fs::File::open(file)?), &to, keep)).await
}

fn unpack_from(from: impl Read, to: &Path, keep: Keep) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    let mut archive = Archive::new(from);
    archive.set_preserve_permissions(true);
    let mut dirs: Vec<(PathBuf, u32)> = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let (path, kind) = (entry.path()?.into_owned(), entry.header().entry_type());
        if !keep(&path, kind) {
            continue;
        }
        match kind {
            EntryType::Directory => {
                let dir = join_plain(to, &path.to_string_lossy())?;
                std::fs::create_dir_all(&dir)?;
                dirs.push((dir, entry.header().mode()? & 0o7777));
            }
            EntryType::Fifo | EntryType::Char | EntryType::Block => make_special(to, &path)?,
            _ => {
                entry.unpack_in(to)?;
            }
        }
    }
    // Last and from the bottom up: a read-only directory takes no files.
    dirs.iter().rev().try_for_each(|(dir, mode)| set_permissions(dir, Permissions::from_mode(*mode)))
}

struct Receiver {
    pieces: mpsc::Receiver<Vec<u8>>,
    piece: Cursor<Vec<u8>>,
}

impl Receiver {
    fn new(pieces: mpsc::Receiver<Vec<u8>>) -> Self {
        Self { pieces, piece: Cursor::default() }
    }
}

impl Read for Receiver {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.piece.read(buffer)? {
                0 => match self.pieces.blocking_recv() {
                    Some(piece) => self.piece = Cursor::new(piece),
                    None => return Ok(0),
                },
                length => return Ok(length),
            }
        }
    }
}

/// Something that no tree holds still has to be found, and named, where the tree is made.
fn make_special(to: &Path, path: &Path) -> io::Result<()> {
    let path = join_plain(to, &path.to_string_lossy())?;
    Ok(rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Ingest;

    #[test]
    fn a_tree_survives_the_way_into_an_archive_and_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let long = "l".repeat(150);
        let from = dir.path().join("from");
        std::fs::create_dir_all(from.join(&long).join(&long)).unwrap();
        std::fs::write(from.join(&long).join(&long).join("file"), "bytes").unwrap();
        std::fs::write(from.join("setuid"), "x").unwrap();
        set_permissions(from.join("setuid"), Permissions::from_mode(0o4755)).unwrap();
        set_permissions(from.join(&long), Permissions::from_mode(0o555)).unwrap();
        std::os::unix::fs::symlink("./../here/./x", from.join("literal")).unwrap();
        std::os::unix::fs::symlink(format!("/{long}"), from.join("far")).unwrap();
        let tree = store.ingest(&from, Ingest::Copy).unwrap();

        let mut archive = Builder::new(Vec::new());
        append_tree(&mut archive, "top/", &tree, &store, 1).unwrap();
        let to = dir.path().join("to");
        unpack_from(&archive.into_inner().unwrap()[..], &to, |_, _| true).unwrap();
        assert_eq!(store.ingest(&to.join("top"), Ingest::Copy).unwrap(), tree);
    }

    #[test]
    fn a_pipe_is_found_where_the_tree_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let mut archive = Builder::new(Vec::new());
        archive.append_data(&mut header(EntryType::Fifo, 0o644, 1), "out/pipe", io::empty()).unwrap();
        let bytes = archive.into_inner().unwrap();
        let to = dir.path().join("to");
        std::fs::create_dir_all(to.join("out")).unwrap();
        unpack_from(&bytes[..], &to, |_, _| true).unwrap();
        assert!(store.ingest(&to, Ingest::Move).unwrap_err().to_string().contains("pipe"));
    }
}
