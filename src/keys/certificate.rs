use pgp::types::KeyDetails;

use super::{KeyError, SigningKeys};
use crate::digest::Digest;

/// What is public of keys that sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The fingerprints of the primary keys, upper-case hexadecimal.
    pub fingerprints: Vec<String>,
    /// The digest of the public keys: it changes also where the same keys get a new user ID, a
    /// subkey or another expiry.
    pub digest: Digest,
    /// When the newest of the keys was made, in seconds since 1970.
    pub date: u64,
}

impl SigningKeys {
    /// What is public of them.
    pub fn certificate(&self) -> Result<Certificate, KeyError> {
        let created = self.keys.iter().map(|key| key.certificate.primary_key.public_key().created_at());
        let date = created.map(|time| u64::from(time.as_secs())).max().unwrap_or_default();
        let digest = Digest::of(&self.public_binary()?);
        Ok(Certificate { fingerprints: self.fingerprints(), digest, date })
    }
}
