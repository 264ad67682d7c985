use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::ByteStream;

use super::bucket::Counters;
use super::{S3Error, S3Fault};

/// How long a service may be silent in the middle of an object.
const SILENCE: Duration = Duration::from_secs(10);

/// The bytes of an object as they come. Whoever takes them hashes them.
pub struct Download {
    pub(super) body: ByteStream,
    pub(super) url: String,
    /// How many bytes are to come in all, where the service says.
    pub(super) length: Option<u64>,
    pub(super) received: u64,
    pub(super) modified: Option<SystemTime>,
    pub(super) traffic: Arc<Counters>,
}

impl Download {
    /// When the object was written.
    pub fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    /// The next bytes; `None` at the end. An object that ends early is an error.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, S3Error> {
        let next = tokio::time::timeout(SILENCE, self.body.next()).await;
        let next = next.map_err(|_| self.broken(format!("nothing came for {} s", SILENCE.as_secs())))?;
        match next.transpose().map_err(|error| self.broken(error.to_string()))? {
            Some(bytes) => {
                self.received += bytes.len() as u64;
                self.traffic.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(Some(bytes.to_vec()))
            }
            None => match self.length.filter(|length| *length != self.received) {
                Some(length) => Err(self.broken(format!("{} bytes came of {length}", self.received))),
                None => {
                    self.traffic.objects_received.fetch_add(1, Ordering::Relaxed);
                    Ok(None)
                }
            },
        }
    }

    /// All bytes, if they are no more than `most`.
    pub async fn whole(mut self, most: u64) -> Result<Vec<u8>, S3Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > most {
                let message = format!("it has more than the {most} bytes that it may have");
                return Err(S3Error { fault: S3Fault::Damaged, ..self.broken(message) });
            }
            bytes.extend(chunk);
        }
        Ok(bytes)
    }

    fn broken(&self, message: String) -> S3Error {
        S3Error { action: "read", url: self.url.clone(), fault: S3Fault::Unavailable, message }
    }
}
