use std::path::PathBuf;

use aws_sdk_s3::primitives::{ByteStream, Length};

use super::S3Error;

/// What is to be written.
#[derive(Clone, Debug)]
pub enum Body {
    /// Bytes that are in memory.
    Bytes(Vec<u8>),
    /// A file, read while it is sent.
    File(PathBuf),
}

impl Body {
    /// How many bytes it has.
    pub(super) async fn len(&self, url: &str) -> Result<u64, S3Error> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::File(path) => match tokio::fs::metadata(path).await {
                Ok(metadata) => Ok(metadata.len()),
                Err(error) => Err(S3Error::local("read what is to be written to", url.to_owned(), &error)),
            },
        }
    }

    /// A part of it, to be sent.
    pub(super) async fn part(&self, offset: u64, length: u64, url: &str) -> Result<ByteStream, S3Error> {
        match self {
            Self::Bytes(bytes) => {
                let (from, to) = (offset as usize, (offset + length) as usize);
                Ok(ByteStream::from(bytes[from..to].to_vec()))
            }
            Self::File(path) => {
                let stream = ByteStream::read_from().path(path).offset(offset).length(Length::Exact(length));
                stream.build().await.map_err(|error| {
                    S3Error::local(
                        "read what is to be written to",
                        url.to_owned(),
                        &std::io::Error::other(error),
                    )
                })
            }
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}
