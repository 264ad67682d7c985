//! What can be made again stands behind the digest of its bytes, so that what is torn is told from what is whole.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use super::files::{open_to_overwrite, put_anew};
use super::{LocalStore, StoreError};
use crate::digest::{Digest, Hasher};

impl LocalStore {
    /// Writes what can be made again, after its digest: a reader sees all of it or nothing, and is told by [`unsealed`]
    /// what a power cut left of it.
    pub(super) fn write_sealed(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        put_anew(self.temporary(&[Digest::of(bytes).as_bytes(), bytes])?, path)
    }
}

/// The same of more bytes than are held at once, which `write` gives piece by piece. They go over what is there: to have new room, in
/// memory and on the disk, and to give back the old takes longer than to write. Meanwhile, and if two do that at once, what is there is
/// torn.
pub(super) fn overwrite_sealed(
    path: &Path,
    write: impl FnOnce(&mut SealedPieces) -> io::Result<()>,
) -> Result<(), StoreError> {
    let mut file = open_to_overwrite(path)?;
    // The digest goes where there is room for it: until then, nothing is whole.
    file.write_all(&[0; Digest::LENGTH])
        .and_then(|()| sealed_behind(&file, write))
        .and_then(|seal| {
            let end = file.stream_position()?;
            file.set_len(end)?;
            file.write_all_at(seal.as_bytes(), 0)
        })
        .map_err(StoreError::io("write", path))
}

/// Pieces go into the file by another thread, while the next one is made. Gives the digest of all of them.
fn sealed_behind(file: &File, make: impl FnOnce(&mut SealedPieces) -> io::Result<()>) -> io::Result<Digest> {
    let (pieces, made) = mpsc::sync_channel::<Vec<u8>>(1);
    let mut sealed = SealedPieces { pieces, hasher: Hasher::default() };
    thread::scope(|scope| {
        let written = scope.spawn(move || made.iter().try_for_each(|piece| (&*file).write_all(&piece)));
        let made = make(&mut sealed);
        let SealedPieces { pieces, hasher } = sealed;
        drop(pieces);
        // Why it could not be written says more than that nobody took it.
        written.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        made.map(|()| hasher.digest())
    })
}

/// What is written piece by piece, and hashed on the way.
pub(super) struct SealedPieces {
    pieces: mpsc::SyncSender<Vec<u8>>,
    hasher: Hasher,
}

impl SealedPieces {
    /// The next piece: best of some hundred KiB.
    pub fn add(&mut self, piece: Vec<u8>) -> io::Result<()> {
        self.hasher.update(&piece);
        self.pieces.send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The bytes that [`LocalStore::write_sealed`] wrote, if they are whole: torn ones are as good as none.
pub(super) fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    let (seal, bytes) = bytes.split_first_chunk()?;
    is_whole(*seal, bytes).then_some(bytes)
}

/// Whether bytes are those that were written with this seal.
pub(super) fn is_whole(seal: [u8; Digest::LENGTH], bytes: &[u8]) -> bool {
    *Digest::of(bytes).as_bytes() == seal
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn overwrite(path: &Path, pieces: &[&[u8]]) -> Result<(), StoreError> {
        overwrite_sealed(path, |out| pieces.iter().try_for_each(|piece| out.add(piece.to_vec())))
    }

    fn whole(path: &Path) -> Option<Vec<u8>> {
        Some(unsealed(&fs::read(path).unwrap())?.to_vec())
    }

    #[test]
    fn what_is_written_over_something_longer_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shard/file");
        for pieces in [vec![b"one".as_slice(), b"two"], vec![b"longer than that"], vec![b"1"], vec![]] {
            overwrite(&path, &pieces).unwrap();
            assert_eq!(whole(&path), Some(pieces.concat()));
        }
    }

    #[test]
    fn what_was_not_written_to_its_end_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        overwrite(&path, &[b"before"]).unwrap();
        let stopped = overwrite_sealed(&path, |out| {
            out.add(b"bef".to_vec())?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(stopped.unwrap_err().to_string().contains("file"));
        assert_eq!(whole(&path), None);
        // Also where what stopped would have written the same.
        assert_eq!(fs::read(&path).unwrap()[Digest::LENGTH..], *b"before");
        overwrite(&path, &[b"after"]).unwrap();
        assert_eq!(whole(&path), Some(b"after".to_vec()));
    }
}
