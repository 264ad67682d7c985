use std::io::{self, Read, Write};

use libdeflater::{CompressionLvl, Compressor, Decompressor};
use liblzma::stream::{Check, Filters, LzmaOptions, Stream};

use crate::package::xz;

/// The smallest and the largest dictionary of xz that a piece is given, in bytes: the least that there is, and that of preset 6.
const XZ_DICTIONARY: (usize, usize) = (4 << 10, 8 << 20);

/// Of libdeflate, which is quicker than zlib, since a piece is there as a whole: level 6 gives 1 to 2 % less.
const GZ_LEVEL: i32 = 5;

/// How a file of an index is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IndexCompression {
    /// One stream of xz.
    Xz,
    /// Members of gzip, without name and time.
    Gz,
    /// Frames of Zstandard; apt reads it since 1.5, dnf since RHEL 8.4.
    Zst,
}

impl IndexCompression {
    /// What the name of a compressed file ends with, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Xz => "xz",
            Self::Gz => "gz",
            Self::Zst => "zst",
        }
    }

    /// What pieces are remembered under. Raised whenever the same bytes would be compressed otherwise.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xz => "xz 2",
            Self::Gz => "gz 4",
            Self::Zst => "zst 1",
        }
    }

    /// A piece of a file. Same bytes in, same bytes out: no name, no time, no number of threads.
    pub(super) fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), xz_stream(bytes.len())?);
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Gz => {
                let mut compressor = Compressor::new(gz_level()?);
                let mut member = vec![0; compressor.gzip_compress_bound(bytes.len())];
                let length = compressor.gzip_compress(bytes, &mut member).map_err(io::Error::other)?;
                member.truncate(length);
                Ok(member)
            }
            Self::Zst => zstd::bulk::compress(bytes, 19),
        }
    }

    /// What was compressed.
    pub(super) fn decompress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Xz => {
                let mut plain = Vec::new();
                liblzma::read::XzDecoder::new(bytes).read_to_end(&mut plain)?;
                Ok(plain)
            }
            Self::Gz => {
                // A member ends in the length of what is in it (RFC 1952, section 2.3.1).
                let length = bytes.last_chunk().map_or(0, |length| u32::from_le_bytes(*length));
                let mut plain = vec![0; length as usize];
                Decompressor::new().gzip_decompress(bytes, &mut plain).map_err(io::Error::other)?;
                Ok(plain)
            }
            Self::Zst => zstd::decode_all(bytes),
        }
    }

    /// How quickly it is decompressed, beside others.
    pub(super) fn quickness(self) -> usize {
        match self {
            Self::Xz => 0,
            Self::Gz => 1,
            Self::Zst => 2,
        }
    }

    /// Begins the file made of compressed pieces, of which there is at least one.
    pub(super) fn join(self, out: &mut dyn Write) -> Join<'_> {
        match self {
            Self::Xz => Join::Xz(xz::Joined::new(out)),
            Self::Gz | Self::Zst => Join::Plain(out),
        }
    }
}

/// A file that grows by compressed pieces.
pub(super) enum Join<'a> {
    /// Into one stream.
    Xz(xz::Joined<&'a mut dyn Write>),
    /// Members and frames may follow each other (RFC 1952, RFC 8878).
    Plain(&'a mut dyn Write),
}

impl Join<'_> {
    pub fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Xz(stream) => stream.add(piece),
            Self::Plain(out) => out.write_all(piece),
        }
    }

    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Xz(stream) => stream.finish().map(drop),
            Self::Plain(_) => Ok(()),
        }
    }
}

fn gz_level() -> io::Result<CompressionLvl> {
    CompressionLvl::new(GZ_LEVEL).map_err(|_| io::Error::other("libdeflate has no such level"))
}

/// Preset 6, with no more of a dictionary than there is to look back to: what a larger one holds stays empty, and has to be
/// made first.
fn xz_stream(length: usize) -> io::Result<Stream> {
    let (least, most) = XZ_DICTIONARY;
    let mut options = LzmaOptions::new_preset(6)?;
    options.dict_size(length.next_power_of_two().clamp(least, most) as u32);
    // In a text nothing depends on where it is, modulo a power of two.
    options.position_bits(0);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    Ok(Stream::new_stream_encoder(&filters, Check::Crc64)?)
}
