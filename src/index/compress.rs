use std::io::{self, Write};

/// How a file of an index is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IndexCompression {
    /// One stream of xz.
    Xz,
    /// One member of gzip, without name and time.
    Gz,
    /// One frame of Zstandard; apt reads it since 1.5, dnf since RHEL 8.4.
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

    /// Same bytes in, same bytes out: no name, no time, no number of threads.
    pub(super) fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            // One stream: apt reads no further than the first.
            Self::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Gz => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Zst => zstd::bulk::compress(bytes, 19),
        }
    }
}
