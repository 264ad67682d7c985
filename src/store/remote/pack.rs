//! Small objects together: one request for thousands.

use std::io::{self, Write};

use crate::digest::{Digest, Hasher};
use crate::store::{LocalStore, StoreError};

/// Objects up to this size (bytes) go into packs; larger ones lie alone, where all results share them.
pub const SMALL: u64 = 128 << 10;
/// How many bytes of objects go into one pack.
pub const PACK: u64 = 8 << 20;
/// What one pack takes in memory, its objects and its compressed bytes.
pub const PACK_MEMORY: u64 = 2 * PACK + (1 << 20);

/// Objects that go into one pack, in this order.
pub type Members = Vec<(Digest, u64)>;

/// Shares objects out among packs.
pub fn share_out(objects: impl IntoIterator<Item = (Digest, u64)>) -> Vec<Members> {
    let mut packs: Vec<Members> = Vec::new();
    let mut room = 0;
    for (object, size) in objects {
        if packs.is_empty() || room < size {
            packs.push(Members::new());
            room = PACK;
        }
        room -= size;
        packs.last_mut().expect("there is one now").push((object, size));
    }
    packs
}

/// The name of a pack of these objects.
pub fn name(members: &Members) -> Digest {
    Digest::of(index(members).as_bytes())
}

/// One line for each object, and an empty one.
fn index(members: &Members) -> String {
    let lines = members.iter().map(|(object, size)| format!("{object} {size}\n"));
    lines.collect::<String>() + "\n"
}

/// How many bytes a pack of these objects has, not compressed.
pub fn size(members: &Members) -> u64 {
    index(members).len() as u64 + members.iter().map(|(_, size)| size).sum::<u64>()
}

/// The bytes of a pack, before it is compressed. Its objects are read, and hashed, now.
pub fn write(members: &Members, store: &LocalStore) -> Result<Vec<u8>, StoreError> {
    let mut pack = index(members).into_bytes();
    for (object, _) in members {
        pack.extend(store.get(*object)?);
    }
    Ok(pack)
}

/// The objects in a pack, hashed: where one is not what its digest promises, nothing of the pack is believed.
pub fn read(pack: &[u8]) -> io::Result<Vec<(Digest, &[u8])>> {
    let damaged = || io::Error::other("it is no pack of objects");
    let end = pack.windows(2).position(|window| window == b"\n\n").ok_or_else(damaged)?;
    let index = std::str::from_utf8(&pack[..end]).map_err(|_| damaged())?;
    let mut rest = &pack[end + 2..];
    let mut objects = Vec::new();
    for line in index.lines() {
        let (digest, size) = line.split_once(' ').ok_or_else(damaged)?;
        let digest: Digest = digest.parse().map_err(|_| damaged())?;
        let size: usize = size.parse().map_err(|_| damaged())?;
        let (object, after) = rest.split_at_checked(size).ok_or_else(damaged)?;
        if Digest::of(object) != digest {
            return Err(io::Error::other(format!(
                "the bytes of object {digest} are not those of that digest"
            )));
        }
        objects.push((digest, object));
        rest = after;
    }
    Ok(objects)
}

/// The digest of bytes that come piece by piece.
pub fn digest_of(mut from: impl io::Read) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    io::copy(&mut from, &mut hasher)?;
    Ok(hasher.digest())
}

/// Hashes what is read through it.
pub struct Hashed<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: io::Read> Hashed<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// The digest of all that was read.
    pub fn digest(&self) -> Digest {
        self.hasher.digest()
    }
}

impl<R: io::Read> io::Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.write_all(&buffer[..read])?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_shared_out_in_order_and_come_back_hashed() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let texts = ["", "a", "line\n\nfeeds"];
        let members: Members =
            texts.iter().map(|text| (store.put(text.as_bytes()).unwrap(), text.len() as u64)).collect();
        let mut pack = write(&members, &store).unwrap();
        let objects = read(&pack).unwrap();
        assert_eq!(objects.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), texts.map(str::as_bytes));
        *pack.last_mut().unwrap() ^= 1;
        assert!(read(&pack).unwrap_err().to_string().contains("not those of that digest"));
        assert!(read(&pack[..pack.len() - 1]).is_err() && read(b"nonsense").is_err());

        let sizes = [PACK - 1, 1, 1, PACK];
        let objects = sizes.map(|size| (Digest::of(&size.to_le_bytes()), size));
        let packs = share_out(objects);
        assert_eq!(packs.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
    }
}
