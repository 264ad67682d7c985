//! Many small objects in one, so that keeping them is one file, and reading them all one request.

use std::collections::BTreeSet;
use std::io::Read;

use crate::digest::Digest;
use crate::store::StoreError;

/// With more bundles of records than this, the next publish packs all of them into one.
const MOST: usize = 8;

/// The records of a generation: which of the bundles of the live one, which hold `bundled`, it goes on with, and what is to
/// be packed beside them.
pub(super) fn next<T>(
    live: Vec<T>,
    bundled: &BTreeSet<Digest>,
    records: BTreeSet<Digest>,
) -> (Vec<T>, BTreeSet<Digest>) {
    match live.len() < MOST {
        true => (live, records.difference(bundled).copied().collect()),
        false => (Vec::new(), records),
    }
}

/// What a bundle is called, by the digest of its bytes.
pub(super) fn file_name(bundle: Digest) -> String {
    format!("{bundle}.tar.zst")
}

/// A compressed archive of objects, each named by its digest.
pub(super) fn pack(objects: &[(Digest, Vec<u8>)]) -> Result<Vec<u8>, StoreError> {
    let write = || {
        let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 3)?);
        for (digest, bytes) in objects {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            archive.append_data(&mut header, digest.to_string(), bytes.as_slice())?;
        }
        archive.into_inner()?.finish()
    };
    write().map_err(StoreError::io("pack", "the records of packages"))
}

/// The objects of an archive, each checked by its digest.
pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<(Digest, Vec<u8>)>, StoreError> {
    let read = || {
        let mut archive = tar::Archive::new(zstd::Decoder::new(bytes)?);
        let mut objects = Vec::new();
        for entry in archive.entries()? {
            let mut bytes = Vec::new();
            entry?.read_to_end(&mut bytes)?;
            objects.push((Digest::of(&bytes), bytes));
        }
        Ok(objects)
    };
    read().map_err(StoreError::io("unpack", "the records of packages"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again_and_the_same_gives_the_same() {
        let objects: Vec<_> =
            [&b"one"[..], b"", &[7; 10_000]].map(|bytes| (Digest::of(bytes), bytes.to_vec())).into();
        let packed = pack(&objects).unwrap();
        assert_eq!(unpack(&packed).unwrap(), objects);
        assert_eq!(pack(&objects).unwrap(), packed);
        assert!(unpack(&packed[..packed.len() / 2]).is_err());
    }
}
