use std::fmt;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression as GzLevel, GzBuilder};
use liblzma::read::XzDecoder;
use liblzma::stream::Stream;
use zstd::zstd_safe::CParameter;

use super::xz::{Blocks, XzWriter};
use crate::package::PackageError;

/// One job of zstd, in bytes. A fixed size, as the job bounds show in the output.
const ZSTD_JOB: u32 = 8 << 20;
/// The most an xz decoder may take; preset 9 takes 65 MiB.
const XZ_DECODER_MEMORY: u64 = 512 << 20;
/// The largest window a zstd decoder may take, log2: that of level 22, 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How what is inside a package is compressed. The bytes do not depend on the number of
/// threads that made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Every dpkg and rpm reads it.
    Xz {
        /// A preset of xz(1), 0 to 9.
        level: u32,
    },
    /// dpkg reads it from 1.21.18 on (Debian 12), Ubuntu's from 18.04 on; rpm from 4.14 on (RHEL 8).
    Zstd {
        /// 1 to 22; dpkg-deb takes 19.
        level: u32,
    },
    /// Level 9, on one thread.
    Gzip,
}

impl Default for Compression {
    /// What dpkg-deb does on Debian, and every rpm reads.
    fn default() -> Self {
        Self::Xz { level: 6 }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xz { level } => write!(f, "xz -{level}"),
            Self::Zstd { level } => write!(f, "zstd -{level}"),
            Self::Gzip => f.write_str("gzip -9"),
        }
    }
}

impl Compression {
    /// The ending of a compressed archive's name.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Xz { .. } => "xz",
            Self::Zstd { .. } => "zst",
            Self::Gzip => "gz",
        }
    }

    /// Refuses a level the format does not have.
    pub(super) fn check(self) -> Result<(), PackageError> {
        let expected = match self {
            Self::Xz { level: 10.. } => "a level from 0 to 9",
            Self::Zstd { level: 0 | 23.. } => "a level from 1 to 22",
            _ => return Ok(()),
        };
        Err(PackageError::Field { field: "compression", value: self.to_string(), expected })
    }

    /// Compresses what is written to it into `out`, on as many of `threads` as a quarter of
    /// this machine's memory holds.
    pub(super) fn writer<W: Write>(self, threads: NonZeroUsize, out: W) -> io::Result<Compressor<W>> {
        self.writer_on(self.affordable(threads, total_memory() / 4), out)
    }

    fn writer_on<W: Write>(self, threads: u32, out: W) -> io::Result<Compressor<W>> {
        match self {
            Self::Xz { level } => {
                Ok(Compressor::Xz(XzWriter::new(Blocks::of_level(level), threads as usize, out)?))
            }
            Self::Zstd { level } => {
                let mut encoder = zstd::Encoder::new(out, level as i32)?;
                // With no worker at all zstd would cut the input otherwise: never zero.
                encoder.set_parameter(CParameter::NbWorkers(threads))?;
                encoder.set_parameter(CParameter::JobSize(ZSTD_JOB))?;
                encoder.include_checksum(true)?;
                Ok(Compressor::Zstd(encoder))
            }
            Self::Gzip => Ok(Compressor::Gzip(GzBuilder::new().write(out, GzLevel::best()))),
        }
    }

    fn affordable(self, threads: NonZeroUsize, memory: u64) -> u32 {
        let held = (memory / self.memory_per_thread().max(1)).max(1);
        u32::try_from(threads.get() as u64).unwrap_or(u32::MAX).min(u32::try_from(held).unwrap_or(u32::MAX))
    }

    /// Bytes: what liblzma tells; for zstd a bound above its tables, window and job buffers.
    fn memory_per_thread(self) -> u64 {
        match self {
            Self::Xz { level } => Blocks::of_level(level).memory_per_thread(),
            Self::Zstd { level } => {
                let window: u64 = match level {
                    ..=16 => 4 << 20,
                    17..=19 => 8 << 20,
                    20 => 32 << 20,
                    21 => 64 << 20,
                    _ => 128 << 20,
                };
                12 * window + 4 * u64::from(ZSTD_JOB)
            }
            Self::Gzip => 1 << 20,
        }
    }
}

fn total_memory() -> u64 {
    let system = rustix::system::sysinfo();
    (system.totalram as u64).saturating_mul(u64::from(system.mem_unit))
}

pub(super) enum Compressor<W: Write> {
    Xz(XzWriter<W>),
    Zstd(zstd::Encoder<'static, W>),
    Gzip(GzEncoder<W>),
}

impl<W: Write> Compressor<W> {
    /// Writes what is left and gives the inner writer back.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Xz(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Xz(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: a flush in the middle would show in the output.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Unpacks an archive by its name's ending after `.tar`; none if dpkg-deb knows no such one
/// (bzip2 and lzma, which dpkg-deb no longer writes, are left out).
pub(super) fn unpacker<'a>(ending: &str, input: impl Read + 'a) -> io::Result<Option<Box<dyn Read + 'a>>> {
    Ok(Some(match ending {
        "" => Box::new(input),
        ".gz" => Box::new(MultiGzDecoder::new(input)),
        ".xz" => Box::new(XzDecoder::new_stream(input, Stream::new_stream_decoder(XZ_DECODER_MEMORY, 0)?)),
        ".zst" => {
            let mut decoder = zstd::Decoder::new(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::testing::text_like;

    const ALL: [Compression; 4] = [
        Compression::Xz { level: 1 },
        Compression::Zstd { level: 3 },
        Compression::Zstd { level: 19 },
        Compression::Gzip,
    ];

    fn compress(how: Compression, threads: u32, chunk: usize, data: &[u8]) -> Vec<u8> {
        let mut writer = how.writer_on(threads, Vec::new()).unwrap();
        for chunk in data.chunks(chunk) {
            writer.write_all(chunk).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn bytes_are_the_same_on_any_number_of_threads_and_in_any_pieces() {
        // Several blocks of xz (3 MiB) and more than one job of zstd (8 MiB).
        let data = text_like(9 << 20);
        for how in ALL {
            let one = compress(how, 1, 8192, &data);
            for (threads, chunk) in [(2, 100_003), (4, data.len())] {
                assert!(one == compress(how, threads, chunk, &data), "{how} on {threads} threads");
            }
            let mut unpacked = Vec::new();
            let ending = format!(".{}", how.extension());
            unpacker(&ending, &one[..]).unwrap().unwrap().read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == data, "{how}");
        }
    }

    #[test]
    fn xz_is_one_stream_of_blocks_of_a_fixed_size_and_what_is_left_in_halves() {
        let data = text_like(8 << 20);
        for (length, blocks) in [
            (0, &[][..]),
            (2_500_000, &["2500000"]),
            (3 << 20, &["3145728"]),
            (7 << 20, &["3145728", "3145728", "1048576"]),
            (8 << 20, &["3145728", "3145728", "1048576", "1048576"]),
        ] {
            let file = tempfile::NamedTempFile::with_suffix(".xz").unwrap();
            let how = Compression::Xz { level: 1 };
            std::fs::write(file.path(), compress(how, 2, 8192, &data[..length])).unwrap();
            let listed = crate::package::testing::tool("xz", "xz-utils")
                .args(["--robot", "--list", "--verbose"])
                .arg(file.path())
                .output()
                .unwrap();
            let listed = String::from_utf8(listed.stdout).unwrap();
            let sizes: Vec<&str> = listed
                .lines()
                .filter(|line| line.starts_with("block\t"))
                .filter_map(|line| line.split('\t').nth(7))
                .collect();
            assert_eq!(sizes, blocks, "{listed}");
            let one_stream = format!("file\t1\t{}\t", blocks.len());
            assert!(listed.lines().any(|line| line.starts_with(&one_stream)), "{listed}");
        }
    }

    #[test]
    fn threads_stay_within_memory_and_never_fall_to_none() {
        let threads = NonZeroUsize::new(64).unwrap();
        let xz = Compression::Xz { level: 9 };
        assert_eq!(xz.affordable(threads, 0), 1);
        assert_eq!(xz.affordable(threads, u64::MAX), 64);
        let held = xz.affordable(threads, 4 << 30);
        assert!((2..64).contains(&held), "{held}");
        assert!(total_memory() > 64 << 20);
    }

    #[test]
    fn a_level_that_does_not_exist_is_refused() {
        for bad in
            [Compression::Xz { level: 10 }, Compression::Zstd { level: 0 }, Compression::Zstd { level: 23 }]
        {
            assert!(bad.check().unwrap_err().to_string().contains(&bad.to_string()));
        }
        for good in ALL.into_iter().chain([Compression::Xz { level: 9 }, Compression::Zstd { level: 22 }]) {
            good.check().unwrap();
        }
    }
}
