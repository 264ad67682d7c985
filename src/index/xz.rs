//! One stream of xz made of others.

use std::io;

use flate2::Crc;

/// Sizes in bytes (the .xz file format, sections 2.1.1 and 2.1.2).
const HEADER: usize = 12;
const FOOTER: usize = 12;

/// One stream with the blocks of all these streams, each of which is whole and nothing but one stream. They must have
/// the same check. Not simply one after the other: apt reads no further than the first stream.
pub(super) fn join<'a>(streams: impl Iterator<Item = &'a [u8]>) -> io::Result<Vec<u8>> {
    let (mut out, mut records) = (Vec::new(), Vec::new());
    for stream in streams {
        let parts = Parts::of(stream).ok_or_else(|| io::Error::other("a piece is no stream of xz"))?;
        if out.is_empty() {
            out.extend_from_slice(parts.header);
        }
        out.extend_from_slice(parts.blocks);
        records.extend(parts.records);
    }
    let index = index(&records);
    let flags = out.get(6..8).ok_or_else(|| io::Error::other("there is no piece"))?.to_owned();
    out.extend_from_slice(&index);
    out.extend_from_slice(&footer(index.len(), &flags));
    Ok(out)
}

/// A stream taken apart.
struct Parts<'a> {
    header: &'a [u8],
    blocks: &'a [u8],
    records: Vec<Record>,
}

/// What an index says of a block.
struct Record {
    unpadded: u64,
    uncompressed: u64,
}

impl<'a> Parts<'a> {
    fn of(stream: &'a [u8]) -> Option<Self> {
        let (header, rest) = stream.split_at_checked(HEADER)?;
        let (rest, footer) = rest.split_at_checked(rest.len().checked_sub(FOOTER)?)?;
        let stored = u32::from_le_bytes(footer[4..8].try_into().ok()?);
        let (blocks, index) = rest.split_at_checked(rest.len().checked_sub((stored as usize + 1) * 4)?)?;
        let records = records(index)?;
        let total: u64 = records.iter().map(|record| record.unpadded.next_multiple_of(4)).sum();
        (total == blocks.len() as u64).then_some(Self { header, blocks, records })
    }
}

/// Reads an index (section 4).
fn records(index: &[u8]) -> Option<Vec<Record>> {
    let mut rest = index.strip_prefix(&[0])?;
    let count = number(&mut rest)?;
    let record = |_| Some(Record { unpadded: number(&mut rest)?, uncompressed: number(&mut rest)? });
    (0..count).map(record).collect()
}

fn index(records: &[Record]) -> Vec<u8> {
    let mut out = vec![0];
    push_number(&mut out, records.len() as u64);
    for record in records {
        push_number(&mut out, record.unpadded);
        push_number(&mut out, record.uncompressed);
    }
    out.resize(out.len().next_multiple_of(4), 0);
    let sum = crc32(&out);
    out.extend_from_slice(&sum);
    out
}

fn footer(index: usize, flags: &[u8]) -> Vec<u8> {
    let stored = (index / 4 - 1) as u32;
    let told = [&stored.to_le_bytes(), flags].concat();
    [&crc32(&told), &told[..], b"YZ"].concat()
}

/// Seven bits in each byte, the lowest first (section 1.2).
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn push_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::index::IndexCompression;

    #[test]
    fn joined_streams_are_one_stream_for_its_own_library() {
        let texts = ["one\n".repeat(1000), String::new(), "two\n".repeat(70_000), "three\n".to_owned()];
        let streams = texts.each_ref().map(|text| IndexCompression::Xz.compress(text.as_bytes()).unwrap());
        let joined = join(streams.iter().map(Vec::as_slice)).unwrap();
        let mut read = String::new();
        // Reads one stream, and takes anything after it for an error.
        liblzma::read::XzDecoder::new(&joined[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, texts.concat());
        assert_eq!(join([&joined[..]].into_iter()).unwrap(), joined, "what is joined can be joined");
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        let stream = IndexCompression::Xz.compress(b"text").unwrap();
        for length in 0..stream.len() {
            assert!(join([&stream[..length]].into_iter()).is_err(), "cut at {length}");
        }
        assert!(join(std::iter::empty()).is_err());
    }
}
