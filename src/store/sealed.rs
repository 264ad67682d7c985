//! What can be made again stands behind the digest of its bytes, so that what is torn is told from what is whole.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use super::files::put_anew;
use super::{LocalStore, StoreError};
use crate::digest::{Digest, Hasher};

impl LocalStore {
    /// Writes what can be made again, after its digest: a reader sees all of it or nothing, and is told by [`unsealed`]
    /// what a power cut left of it.
    pub(super) fn write_sealed(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        put_anew(self.temporary(&[Digest::of(bytes).as_bytes(), bytes])?, path)
    }

    /// The same of more bytes than are held at once, which `write` gives piece by piece.
    pub(super) fn write_sealed_by(
        &self,
        path: &Path,
        write: impl FnOnce(&mut SealedPieces) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        // The digest goes where there is room for it.
        let temp = self.temporary(&[&[0; Digest::LENGTH]])?;
        sealed_behind(temp.as_file(), write)
            .and_then(|seal| temp.as_file().write_all_at(seal.as_bytes(), 0))
            .map_err(StoreError::io("write", temp.path()))?;
        put_anew(temp, path)
    }
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
