use std::io::Read;
use std::ops::Range;

use rpm::PackageMetadata;

use crate::package::PackageError;

/// The bytes of the lead, of a header's intro and of an entry of its index.
const LEAD: usize = 96;
const INTRO: usize = 16;
const ENTRY: usize = 16;
/// The most rpm itself takes: entries of a header, bytes of the signatures and of the header.
const ENTRIES: u32 = 0xffff;
const SIGNATURES: u32 = 64 << 20;
const HEADER: u32 = 256 << 20;

/// Of most packages, no more bytes stand before the payload.
const USUAL: usize = 16 << 10;

/// All of a package that stands before its payload.
pub(super) struct Front {
    pub metadata: PackageMetadata,
    /// The header's place in the file, in bytes.
    pub header: Range<u64>,
    bytes: Vec<u8>,
}

impl Front {
    /// Reads it. The crate trusts sizes and offsets, so they are looked at first.
    pub fn read(input: &mut dyn Read) -> Result<Self, PackageError> {
        let mut bytes = Vec::with_capacity(USUAL);
        exactly(input, LEAD as u64, "lead", &mut bytes)?;
        if bytes[..4] != [0xed, 0xab, 0xee, 0xdb] {
            return Err(PackageError::malformed("lead", "the file does not begin as an rpm package does"));
        }
        header(input, "signature header", SIGNATURES, &mut bytes)?;
        // A lead is a multiple of this.
        let padding = bytes.len().next_multiple_of(8) - bytes.len();
        exactly(input, padding as u64, "signature header", &mut bytes)?;
        let start = bytes.len() as u64;
        header(input, "header", HEADER, &mut bytes)?;
        let metadata = PackageMetadata::parse(&mut &bytes[..])
            .map_err(|error| PackageError::malformed("header", error))?;
        Ok(Self { metadata, header: start..bytes.len() as u64, bytes })
    }

    /// The header's own bytes, which signatures and digests are of.
    pub fn header_bytes(&self) -> &[u8] {
        &self.bytes[self.header.start as usize..]
    }
}

/// Reads a header behind the bytes that were read before.
fn header(input: &mut dyn Read, part: &str, limit: u32, bytes: &mut Vec<u8>) -> Result<(), PackageError> {
    let fault = |reason: &str| PackageError::malformed(part, reason);
    let start = bytes.len();
    exactly(input, INTRO as u64, part, bytes)?;
    let intro = &bytes[start..];
    if intro[..4] != [0x8e, 0xad, 0xe8, 1] {
        return Err(fault("it does not begin as a header of version 1 does"));
    }
    let (entries, size) = (number(intro, 8), number(intro, 12));
    if entries > ENTRIES || size > limit {
        return Err(fault("it says that it is larger than any package's"));
    }
    exactly(input, entries as u64 * ENTRY as u64 + size as u64, part, bytes)?;
    let (index, data) = bytes[start + INTRO..].split_at(entries as usize * ENTRY);
    let mut left = data.len();
    for entry in index.chunks_exact(ENTRY) {
        let taken = taken(entry, data, left);
        left -= taken.ok_or_else(|| fault("an entry of its index leads out of it, or over others"))?;
    }
    Ok(())
}

/// The bytes that an entry takes of the header's data, if they are there, and no more than `left`:
/// entries share none, and so a header of many that name the same bytes cannot fill the memory.
fn taken(entry: &[u8], data: &[u8], left: usize) -> Option<usize> {
    let (kind, offset, count) = (number(entry, 4), number(entry, 8) as usize, number(entry, 12) as usize);
    let rest = data.get(offset..)?;
    let rest = &rest[..rest.len().min(left)];
    let size = match kind {
        0 => Some(0),
        1 | 2 | 7 => Some(count),
        3 => count.checked_mul(2),
        4 => count.checked_mul(4),
        5 => count.checked_mul(8),
        6 if count != 1 => None,
        6 | 8 | 9 => end_of_strings(rest, count),
        _ => None,
    };
    size.filter(|size| *size <= rest.len())
}

/// Where the last of `count` strings ends, each with its NUL.
fn end_of_strings(bytes: &[u8], count: usize) -> Option<usize> {
    match count {
        0 => Some(0),
        count => memchr::memchr_iter(0, bytes).nth(count - 1).map(|at| at + 1),
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Reads so many bytes behind those before. It takes no more memory than there are, whatever their number is said to be.
fn exactly(input: &mut dyn Read, size: u64, part: &str, bytes: &mut Vec<u8>) -> Result<(), PackageError> {
    let read = input.take(size).read_to_end(bytes).map_err(|error| PackageError::malformed(part, error))?;
    match read as u64 == size {
        true => Ok(()),
        false => Err(PackageError::malformed(part, "the file ends too early")),
    }
}
