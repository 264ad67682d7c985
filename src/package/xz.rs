//! Streams of xz whose blocks are compressed side by side, and streams made of others.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver};

use flate2::Crc;
use liblzma::stream::{Check, MtStreamBuilder};
use liblzma::write::XzEncoder;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Sizes in bytes (the .xz file format, sections 2.1.1 and 2.1.2).
const HEADER: usize = 12;
const FOOTER: usize = 12;

/// log2 of the dictionary of each preset (xz(1)).
const DICTIONARY_LOG: [u32; 10] = [18, 20, 21, 22, 22, 23, 23, 24, 25, 26];

/// How blocks are compressed.
#[derive(Clone, Copy)]
pub(super) struct Blocks {
    level: u32,
    /// Bytes of its dictionary.
    dictionary: usize,
}

impl Blocks {
    /// By a preset of xz(1).
    pub fn of_level(level: u32) -> Self {
        Self { level, dictionary: DICTIONARY_LOG.get(level as usize).map_or(0, |log| 1 << log) }
    }

    /// Bytes of a block: liblzma's own choice for the preset, which dpkg-deb has too.
    fn size(self) -> usize {
        (3 * self.dictionary).max(1 << 20)
    }

    /// Bytes that a thread takes: what liblzma tells, its block, and another one that waits.
    pub fn memory_per_thread(self) -> u64 {
        self.encoder().memusage() + 2 * self.size() as u64
    }

    /// Where what is left is cut that is no whole block. What one thread compresses at the end, all others wait for. Each cut
    /// forgets what stands before it: there is none that would cost much of the whole.
    fn cut(self, left: usize, is_alone: bool) -> usize {
        if is_alone || left <= self.dictionary { left } else { left.div_ceil(2) }
    }

    /// liblzma's encoder for threads notes in front of a block how long it is, by which dpkg and xz share it out as they unpack.
    fn encoder(self) -> MtStreamBuilder {
        let mut encoder = MtStreamBuilder::new();
        encoder.preset(self.level).check(Check::Crc64).block_size(self.size() as u64).threads(1);
        encoder
    }

    /// A stream of one block, or of none where there is nothing.
    fn compress(self, block: &[u8]) -> io::Result<Vec<u8>> {
        let mut encoder = XzEncoder::new_stream(Vec::new(), self.encoder().encoder()?);
        encoder.write_all(block)?;
        encoder.finish()
    }
}

/// Compresses what is written to it. How it is cut into blocks, and so each byte, depends on nothing but what that is: not on
/// threads, nor on the pieces in which it comes.
pub(super) struct XzWriter<W: Write> {
    blocks: Blocks,
    pool: ThreadPool,
    /// In their order.
    under_way: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    /// What is no whole block yet.
    left: Vec<u8>,
    is_alone: bool,
    joined: Joined<W>,
}

impl<W: Write> XzWriter<W> {
    pub fn new(blocks: Blocks, threads: usize, out: W) -> io::Result<Self> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|_| "xz".to_owned());
        Ok(Self {
            blocks,
            pool: pool.build().map_err(io::Error::other)?,
            under_way: VecDeque::new(),
            left: Vec::new(),
            is_alone: true,
            joined: Joined::new(out),
        })
    }

    fn start(&mut self, block: Vec<u8>) -> io::Result<()> {
        // One more than there are threads: who is done has the next at once.
        if self.under_way.len() > self.pool.current_num_threads() {
            self.take_first()?;
        }
        let (blocks, (done, compressed)) = (self.blocks, mpsc::channel());
        self.pool.spawn(move || {
            // Nobody listens any more where writing failed.
            let _ = done.send(blocks.compress(&block));
        });
        self.under_way.push_back(compressed);
        Ok(())
    }

    /// Writes the first of those that are under way. False if none is.
    fn take_first(&mut self) -> io::Result<bool> {
        let Some(first) = self.under_way.pop_front() else { return Ok(false) };
        let stream = first.recv().map_err(io::Error::other)??;
        self.joined.add(&stream).map(|()| true)
    }

    /// Writes what is left and gives the inner writer back.
    pub fn finish(mut self) -> io::Result<W> {
        let mut left = std::mem::take(&mut self.left);
        let second = left.split_off(self.blocks.cut(left.len(), self.is_alone));
        if self.is_alone || !left.is_empty() {
            self.start(left)?;
        }
        if !second.is_empty() {
            self.start(second)?;
        }
        while self.take_first()? {}
        self.joined.finish()
    }
}

impl<W: Write> Write for XzWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.blocks.size();
        let taken = bytes.len().min(size - self.left.len());
        self.left.extend_from_slice(&bytes[..taken]);
        if self.left.len() == size {
            self.is_alone = false;
            let block = std::mem::take(&mut self.left);
            self.start(block)?;
        }
        Ok(taken)
    }

    /// Does nothing: a flush in the middle would show in the output.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One stream with the blocks of others, each of which is whole and nothing but one stream. They must have the same check. Not
/// simply one after the other: apt reads no further than the first stream.
pub(crate) struct Joined<W> {
    out: W,
    /// What the first stream says of all: its check.
    flags: Option<[u8; 2]>,
    records: Vec<Record>,
}

impl<W: Write> Joined<W> {
    pub fn new(out: W) -> Self {
        Self { out, flags: None, records: Vec::new() }
    }

    /// The blocks of the next one.
    pub fn add(&mut self, stream: &[u8]) -> io::Result<()> {
        let parts = Parts::of(stream).ok_or_else(|| io::Error::other("a piece is no stream of xz"))?;
        if self.flags.is_none() {
            self.flags = Some([parts.header[6], parts.header[7]]);
            self.out.write_all(parts.header)?;
        }
        self.out.write_all(parts.blocks)?;
        self.records.extend(parts.records);
        Ok(())
    }

    /// Ends the stream.
    pub fn finish(mut self) -> io::Result<W> {
        let flags = self.flags.ok_or_else(|| io::Error::other("there is no piece"))?;
        let index = index(&self.records);
        self.out.write_all(&index)?;
        self.out.write_all(&footer(index.len(), flags))?;
        Ok(self.out)
    }
}

/// A stream taken apart.
struct Parts<'a> {
    header: &'a [u8; HEADER],
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
        let (header, rest) = stream.split_first_chunk::<HEADER>()?;
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

fn footer(index: usize, flags: [u8; 2]) -> Vec<u8> {
    let stored = (index / 4 - 1) as u32;
    let told = [&stored.to_le_bytes()[..], &flags].concat();
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

    fn compressed(text: &str) -> Vec<u8> {
        Blocks::of_level(6).compress(text.as_bytes()).unwrap()
    }

    fn join<'a>(mut streams: impl Iterator<Item = &'a [u8]>) -> io::Result<Vec<u8>> {
        let mut joined = Joined::new(Vec::new());
        streams.try_for_each(|stream| joined.add(stream))?;
        joined.finish()
    }

    #[test]
    fn joined_streams_are_one_stream_for_its_own_library() {
        let texts = ["one\n".repeat(1000), String::new(), "two\n".repeat(70_000), "three\n".to_owned()];
        let streams = texts.each_ref().map(|text| compressed(text));
        let joined = join(streams.iter().map(Vec::as_slice)).unwrap();
        let mut read = String::new();
        // Reads one stream, and takes anything after it for an error.
        liblzma::read::XzDecoder::new(&joined[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, texts.concat());
        assert_eq!(join([&joined[..]].into_iter()).unwrap(), joined, "what is joined can be joined");
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        let stream = compressed("text");
        for length in 0..stream.len() {
            assert!(join([&stream[..length]].into_iter()).is_err(), "cut at {length}");
        }
        assert!(join(std::iter::empty()).is_err());
    }

    #[test]
    fn a_writer_that_fails_is_told() {
        let mut full = [0; 100];
        let mut writer = XzWriter::new(Blocks::of_level(0), 2, &mut full[..]).unwrap();
        let noise: Vec<u8> =
            (0..8_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let written = writer.write_all(&noise);
        assert_eq!(
            written.and_then(|()| writer.finish().map(drop)).unwrap_err().kind(),
            io::ErrorKind::WriteZero
        );
    }
}
