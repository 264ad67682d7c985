use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use pgp::composed::{PublicOrSecret, SignedSecretKey};
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, KeyVersion, Password, Tag};

use super::sign::Signer;
use crate::buildfile;

/// Where a secret text is read from, at the moment it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
        }
    }
}

impl Secret {
    fn read(&self) -> Result<Vec<u8>, KeyError> {
        let bytes = match self {
            Self::File(path) => std::fs::read(path),
            Self::Env(name) => std::env::var_os(name)
                .map(OsString::into_vec)
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is not set")),
        };
        bytes.map_err(|source| KeyError::Unreadable { secret: self.clone(), source })
    }
}

/// A secret key and, where it is locked, its passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// One or more OpenPGP secret keys, armored or binary.
    pub key: Secret,
    /// The passphrase; a line end after it is not part of it.
    pub passphrase: Option<Secret>,
}

impl From<&buildfile::Key> for KeySource {
    fn from(key: &buildfile::Key) -> Self {
        let passphrase = key.passphrase_env.clone().map(Secret::Env);
        let key = match &key.source {
            buildfile::KeySource::File(path) => Secret::File(path.clone()),
            buildfile::KeySource::Env(name) => Secret::Env(name.clone()),
        };
        Self { key, passphrase }
    }
}

/// Seconds since 1970: now, or `SOURCE_DATE_EPOCH`, by which two publishes can be compared
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
pub fn signing_time() -> u64 {
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    fixed.unwrap_or_else(now)
}

/// Why a key cannot sign. Nothing of a key or passphrase stands in the message.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such file or variable.
    #[error("cannot read the signing key or its passphrase from {secret}: {source}")]
    Unreadable {
        /// Where it was looked for.
        secret: Secret,
        /// What the system said.
        source: io::Error,
    },
    /// No OpenPGP key was found.
    #[error("{secret} holds no OpenPGP key; expected what `gpg --armor --export-secret-keys` writes")]
    NotAKey {
        /// Where it was read.
        secret: Secret,
    },
    /// The key cannot be used.
    #[error("the key {fingerprint} of {secret} {fault}")]
    Unfit {
        /// Where it was read.
        secret: Secret,
        /// The fingerprint of its primary key.
        fingerprint: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// No key was given at all.
    #[error("no signing key is given")]
    None,
    /// The OpenPGP library could not do what it was asked.
    #[error("cannot {doing}: {reason}")]
    OpenPgp {
        /// What was tried, as a verb.
        doing: &'static str,
        /// What the library said.
        reason: String,
    },
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It has no secret part.
    #[error("is a public key only; give the secret key")]
    PublicOnly,
    /// Clients check signatures of version 4 keys only.
    #[error("is not a version 4 key, which is the only version that every apt client reads")]
    Version,
    /// Its own signatures do not hold.
    #[error("carries no valid signature of its own on its user ID")]
    Unbound,
    /// It was revoked.
    #[error("is revoked; use its successor")]
    Revoked,
    /// Its time is over.
    #[error("expired {0} days ago; extend it (`gpg --quick-set-expire`) or use its successor")]
    Expired(u64),
    /// It was made later than now.
    #[error("was created later than now; set this machine's clock")]
    NotYet,
    /// Neither it nor one of its valid subkeys may sign.
    #[error("may not sign, and has no valid subkey with a secret part that may")]
    CannotSign,
    /// It is encrypted.
    #[error("is locked by a passphrase; name one, or export the key without")]
    Locked,
    /// The passphrase does not open it.
    #[error("cannot be unlocked: the passphrase is wrong, or its secret part is elsewhere (a card)")]
    WrongPassphrase,
}

/// Secret keys that were found able to sign: one, or two during a rotation.
pub struct SigningKeys {
    pub(super) keys: Vec<UsableKey>,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKeys").field(&self.fingerprints()).finish()
    }
}

pub(super) struct UsableKey {
    pub certificate: SignedSecretKey,
    pub signer: Signer,
    pub passphrase: Password,
}

impl SigningKeys {
    /// Reads the keys and makes sure that each can sign at `now` (seconds since 1970), by
    /// having it sign something.
    pub fn load(sources: &[KeySource], now: u64) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for source in sources {
            for certificate in certificates(&source.key)? {
                keys.push(UsableKey::new(certificate, source, now)?);
            }
        }
        // The same key may stand in two places during a rotation.
        let mut seen = BTreeSet::new();
        keys.retain(|key| seen.insert(key.fingerprint()));
        match keys.is_empty() {
            true => Err(KeyError::None),
            false => Ok(Self { keys }),
        }
    }

    /// The fingerprints of the primary keys, upper-case hexadecimal, in the order given.
    pub fn fingerprints(&self) -> Vec<String> {
        self.keys.iter().map(UsableKey::fingerprint).collect()
    }
}

fn certificates(secret: &Secret) -> Result<Vec<SignedSecretKey>, KeyError> {
    let bytes = secret.read()?;
    let not_a_key = || KeyError::NotAKey { secret: secret.clone() };
    let (keys, _) = PublicOrSecret::from_reader_many(&bytes[..]).map_err(|_| not_a_key())?;
    let keys = keys.collect::<Result<Vec<_>, _>>().map_err(|_| not_a_key())?;
    if keys.is_empty() {
        return Err(not_a_key());
    }
    let secret_key = |key| match key {
        PublicOrSecret::Secret(key) => Ok(key),
        PublicOrSecret::Public(key) => Err(KeyError::Unfit {
            secret: secret.clone(),
            fingerprint: format!("{:X}", key.fingerprint()),
            fault: Fault::PublicOnly,
        }),
    };
    keys.into_iter().map(secret_key).collect()
}

impl UsableKey {
    fn new(certificate: SignedSecretKey, source: &KeySource, now: u64) -> Result<Self, KeyError> {
        let fingerprint = format!("{:X}", certificate.primary_key.fingerprint());
        let unfit = |fault| {
            let (secret, fingerprint) = (source.key.clone(), fingerprint.clone());
            KeyError::Unfit { secret, fingerprint, fault }
        };
        check_primary(&certificate, now).map_err(unfit)?;
        let signer = Signer::choose(&certificate, now).ok_or_else(|| unfit(Fault::CannotSign))?;
        let passphrase = source.passphrase.as_ref().map(Secret::read).transpose()?;
        if signer.is_locked(&certificate) && passphrase.is_none() {
            return Err(unfit(Fault::Locked));
        }
        let passphrase = passphrase.unwrap_or_default();
        let passphrase = Password::from(passphrase.trim_ascii_end());
        let key = Self { certificate, signer, passphrase };
        key.sign(SignatureType::Binary, now, b"").map_err(|_| unfit(Fault::WrongPassphrase))?;
        Ok(key)
    }

    fn fingerprint(&self) -> String {
        format!("{:X}", self.certificate.primary_key.fingerprint())
    }
}

fn check_primary(key: &SignedSecretKey, now: u64) -> Result<(), Fault> {
    let primary = key.primary_key.public_key();
    if primary.version() != KeyVersion::V4 {
        return Err(Fault::Version);
    }
    let revocations = &key.details.revocation_signatures;
    if revocations.iter().any(|signature| signature.verify_key(primary).is_ok()) {
        return Err(Fault::Revoked);
    }
    let own = newest(own_signatures(key)).ok_or(Fault::Unbound)?;
    check_times(primary, own, now)
}

/// What the key says of itself: on its user IDs, or directly. Signatures of others are passed over.
pub(super) fn own_signatures(key: &SignedSecretKey) -> impl Iterator<Item = &Signature> {
    let primary = key.primary_key.public_key();
    let on_users = key.details.users.iter().flat_map(move |user| {
        let own = move |signature: &&Signature| {
            signature.typ() != Some(SignatureType::CertRevocation)
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        };
        user.signatures.iter().filter(own)
    });
    let direct = key.details.direct_signatures.iter();
    on_users.chain(direct.filter(move |signature| signature.verify_key(primary).is_ok()))
}

/// The newest statement counts (RFC 9580, section 5.2.3.10).
pub(super) fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signature.created())
}

/// Whether a key with this binding is alive at `now`.
pub(super) fn check_times(key: &impl KeyDetails, binding: &Signature, now: u64) -> Result<(), Fault> {
    let created = u64::from(key.created_at().as_secs());
    if created > now {
        return Err(Fault::NotYet);
    }
    match binding.key_expiration_time().map_or(0, |lifetime| u64::from(lifetime.as_secs())) {
        0 => Ok(()),
        lifetime if created + lifetime > now => Ok(()),
        lifetime => Err(Fault::Expired((now - created - lifetime) / 86_400)),
    }
}

/// A binding without key flags allows all that the algorithm can do, as in GnuPG.
pub(super) fn may_sign(binding: &Signature) -> bool {
    let flags = |signature: &Signature| {
        let config = signature.config()?;
        let is_flags = |data: &SubpacketData| matches!(data, SubpacketData::KeyFlags(_));
        config.hashed_subpackets.iter().any(|subpacket| is_flags(&subpacket.data)).then_some(())
    };
    flags(binding).is_none() || binding.key_flags().sign()
}
