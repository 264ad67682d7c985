use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use tar::EntryType;

/// A tar archive, decompressed while it is read.
pub(super) type Archive = tar::Archive<Box<dyn Read>>;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read, or is not a tar archive, or ends too soon.
    #[error("cannot read the archive {}: {source}", path.display())]
    Unreadable {
        /// The archive.
        path: PathBuf,
        /// What the system or the decoder said.
        source: io::Error,
    },
    /// It is compressed in a way forge does not read.
    #[error(
        "the archive {} is compressed with {found}; forge reads tar, plain or as gz, xz or zst",
        path.display()
    )]
    Compression {
        /// The archive.
        path: PathBuf,
        /// The compression found by its first bytes.
        found: &'static str,
    },
    /// It has no entry.
    #[error("the archive {} is empty", .0.display())]
    Empty(PathBuf),
}

impl ArchiveError {
    pub(super) fn unreadable(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        |source| Self::Unreadable { path: path.to_owned(), source }
    }
}

/// Opens a tar archive. Its compression is told by its first bytes, never by its name: an
/// object in the store has none.
pub(super) fn open(path: &Path) -> Result<Archive, ArchiveError> {
    let unreadable = ArchiveError::unreadable(path);
    let file = File::open(path).map_err(&unreadable)?;
    match decode(BufReader::with_capacity(128 * 1024, file)).map_err(&unreadable)? {
        Decoded::Plain(plain) => Ok(tar::Archive::new(plain)),
        Decoded::Unknown(found) => Err(ArchiveError::Compression { path: path.to_owned(), found }),
    }
}

/// What lies below a compression.
pub(super) enum Decoded {
    /// The bytes, decompressed while they are read.
    Plain(Box<dyn Read>),
    /// Nothing, as this compression is not read.
    Unknown(&'static str),
}

pub(super) fn decode(mut bytes: impl BufRead + 'static) -> io::Result<Decoded> {
    Ok(Decoded::Plain(match bytes.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(bytes))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(bytes)?),
        [b'B', b'Z', b'h', ..] => return Ok(Decoded::Unknown("bzip2")),
        [0x5d, 0, 0, ..] => return Ok(Decoded::Unknown("lzma")),
        [b'P', b'K', 3, 4, ..] => return Ok(Decoded::Unknown("zip")),
        _ => Box::new(bytes),
    }))
}

/// The newest time of modification of anything in the archive, in seconds since 1970: upstream's
/// own date, fit for `SOURCE_DATE_EPOCH` (<https://reproducible-builds.org/specs/source-date-epoch/>).
pub fn newest_mtime(path: &Path) -> Result<u64, ArchiveError> {
    let unreadable = ArchiveError::unreadable(path);
    let mut archive = open(path)?;
    let mut newest = None;
    for entry in archive.entries().map_err(&unreadable)? {
        let entry = entry.map_err(&unreadable)?;
        if entry.header().entry_type() != EntryType::XGlobalHeader {
            newest = newest.max(Some(entry.header().mtime().map_err(&unreadable)?));
        }
    }
    newest.ok_or_else(|| ArchiveError::Empty(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tar_of(times: &[u64]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (at, &time) in times.iter().enumerate() {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(time);
            header.set_size(0);
            builder.append_data(&mut header, format!("file-{at}"), io::empty()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn newest_of(bytes: &[u8]) -> Result<u64, ArchiveError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        newest_mtime(file.path())
    }

    #[test]
    fn the_newest_time_is_found_in_every_compression() {
        let plain = tar_of(&[1_000, 1_700_000_000, 5]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&plain).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).unwrap();
        let zst = zstd::encode_all(&plain[..], 1).unwrap();
        for bytes in [plain, gz.finish().unwrap(), xz.finish().unwrap(), zst] {
            assert_eq!(newest_of(&bytes).unwrap(), 1_700_000_000);
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert!(matches!(newest_of(b"BZh91AY"), Err(ArchiveError::Compression { found: "bzip2", .. })));
        assert!(matches!(newest_of(b""), Err(ArchiveError::Empty(_))));
        assert!(matches!(newest_of(&[b'x'; 2048]), Err(ArchiveError::Unreadable { .. })));
        let plain = tar_of(&[1]);
        let zst = zstd::encode_all(&plain[..], 1).unwrap();
        assert!(matches!(newest_of(&zst[..zst.len() / 2]), Err(ArchiveError::Unreadable { .. })));
    }
}
