//! What upstream publishes beside an archive, so that it can be checked: digests and signatures.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::thread::sleep;

use pgp::composed::{Deserializable, DetachedSignature, PublicOrSecret, SignedPublicKey};
use pgp::packet::{Signature, SignatureType};
use pgp::types::VerifyingKey;

use super::fetch::{Fault, FaultKind, Patience, file_path};
use super::{Sha256, http};

/// Longer than any list of digests; what is longer is something else.
const LONGEST: u64 = 1 << 20;

/// Why an archive is not what upstream publishes of it.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// It cannot be read.
    #[error("{0}")]
    Unreachable(Fault),
    /// It is not there, although it is declared.
    #[error("there is no signature at {0}; hold the version, or drop the signature from the upstream")]
    NoSignature(String),
    /// The list of digests does not name the archive.
    #[error(
        "{url} has no line for '{name}'; expected lines as `sha256sum` writes them, 64 hexadecimal digits and a name"
    )]
    NotListed {
        /// The list.
        url: String,
        /// The archive's file name.
        name: String,
    },
    /// The public keys cannot be read.
    #[error("cannot read OpenPGP public keys from {}: {reason}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is no signature.
    #[error("{url} holds no detached OpenPGP signature: {reason}")]
    NotASignature {
        /// Where it was read.
        url: String,
        /// What the library said.
        reason: String,
    },
    /// None of the keys made the signature over these bytes.
    #[error("the signature {url} is not one of the keys in {} over the archive {archive}", keys.display())]
    WrongSignature {
        /// The signature.
        url: String,
        /// The public keys.
        keys: PathBuf,
        /// Where the archive came from.
        archive: String,
    },
}

/// The digest that a list in the format of `sha256sum` gives for the file called `name`, also as
/// `sha256sum --tag` writes it. `None` if there is no such list.
pub fn listed_digest(url: &str, name: &str) -> Result<Option<Sha256>, PublishedError> {
    let Some(bytes) = small_file(url)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let digest = text.lines().find_map(|line| digest_in(line, name));
    let not_listed = || PublishedError::NotListed { url: url.to_owned(), name: name.to_owned() };
    digest.map(Some).ok_or_else(not_listed)
}

fn digest_in(line: &str, name: &str) -> Option<Sha256> {
    let line = line.trim();
    let (digest, listed) = match line.strip_prefix("SHA256 (") {
        Some(rest) => rest.rsplit_once(") = ").map(|(listed, digest)| (digest, listed))?,
        None => line.split_once([' ', '\t'])?,
    };
    let listed = listed.trim_start_matches([' ', '\t', '*']);
    let is_it = listed.rsplit('/').next() == Some(name);
    is_it.then(|| digest.parse().ok()).flatten()
}

/// Checks the file at `archive`, which came from `from`, against the detached signature at `url`: one of
/// the keys in the file `keys`, or of their subkeys for signing, must have made it. A key that has
/// expired since still vouches for what it signed; a revoked one does not.
pub fn check_signature(url: &str, keys: &Path, archive: &Path, from: &str) -> Result<(), PublishedError> {
    let keys_of = certificates(keys)?;
    let bytes = small_file(url)?.ok_or_else(|| PublishedError::NoSignature(url.to_owned()))?;
    for signature in signatures(url, &bytes)? {
        for certificate in &keys_of {
            if is_signed(&signature, certificate, archive)? {
                return Ok(());
            }
        }
    }
    let (url, keys, archive) = (url.to_owned(), keys.to_owned(), from.to_owned());
    Err(PublishedError::WrongSignature { url, keys, archive })
}

fn certificates(path: &Path) -> Result<Vec<SignedPublicKey>, PublishedError> {
    let keys = |reason: String| PublishedError::Keys { path: path.to_owned(), reason };
    let bytes = fs::read(path).map_err(|error| keys(error.to_string()))?;
    let none = || keys("it has none; expected what `gpg --armor --export` writes".to_owned());
    let (found, _) = PublicOrSecret::from_reader_many(&bytes[..]).map_err(|_| none())?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| keys(error.to_string()))?;
    let public = found.into_iter().map(|key| match key {
        PublicOrSecret::Public(key) => key,
        PublicOrSecret::Secret(key) => key.to_public_key(),
    });
    let public: Vec<SignedPublicKey> = public.collect();
    if public.is_empty() { Err(none()) } else { Ok(public) }
}

fn signatures(url: &str, bytes: &[u8]) -> Result<Vec<DetachedSignature>, PublishedError> {
    let not_one = |reason: String| PublishedError::NotASignature { url: url.to_owned(), reason };
    let read = match bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        true => {
            DetachedSignature::from_armor_many(bytes).and_then(|(all, _)| all.collect::<Result<Vec<_>, _>>())
        }
        false => DetachedSignature::from_bytes_many(bytes).and_then(|all| all.collect()),
    };
    let read = read.map_err(|error| not_one(error.to_string()))?;
    if read.is_empty() { Err(not_one("it is empty".to_owned())) } else { Ok(read) }
}

fn is_signed(
    signature: &DetachedSignature,
    certificate: &SignedPublicKey,
    archive: &Path,
) -> Result<bool, PublishedError> {
    let primary = &certificate.primary_key;
    let revoked = certificate.details.revocation_signatures.iter().any(|s| s.verify_key(primary).is_ok());
    if revoked {
        return Ok(false);
    }
    if verifies(&signature.signature, primary, archive)? {
        return Ok(true);
    }
    for subkey in &certificate.public_subkeys {
        let says = |typ| {
            let is_own = move |s: &&Signature| {
                s.typ() == Some(typ) && s.verify_subkey_binding(primary, &subkey.key).is_ok()
            };
            subkey.signatures.iter().filter(is_own)
        };
        let is_revoked = says(SignatureType::SubkeyRevocation).next().is_some();
        let is_for_signing = says(SignatureType::SubkeyBinding).any(|binding| binding.key_flags().sign());
        if is_for_signing && !is_revoked && verifies(&signature.signature, &subkey.key, archive)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn verifies(signature: &Signature, key: &impl VerifyingKey, archive: &Path) -> Result<bool, PublishedError> {
    let unreadable = |error: std::io::Error| {
        let kind = FaultKind::Unusable(error.to_string());
        PublishedError::Unreachable(Fault { place: archive.display().to_string(), kind })
    };
    let file = File::open(archive).map_err(unreadable)?;
    Ok(signature.verify(key, BufReader::new(file)).is_ok())
}

/// The bytes of a file that upstream publishes; `None` where there is none (HTTP 404).
fn small_file(url: &str) -> Result<Option<Vec<u8>>, PublishedError> {
    let patience = Patience::default();
    let (mut tries, mut pause) = (1, patience.pause);
    loop {
        match read_small(url) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(FaultKind::NotFound) => return Ok(None),
            Err(kind) if kind.is_passing() && tries < patience.tries => {
                sleep(pause);
                (tries, pause) = (tries + 1, pause * 2);
            }
            Err(kind) => return Err(PublishedError::Unreachable(Fault { place: url.to_owned(), kind })),
        }
    }
}

fn read_small(url: &str) -> Result<Vec<u8>, FaultKind> {
    let body: Box<dyn Read> = match url.strip_prefix("file:") {
        Some(path) => Box::new(File::open(file_path(path)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => FaultKind::NotFound,
            _ => FaultKind::Unusable(error.to_string()),
        })?),
        None => http::get(url, 0, None)?.body,
    };
    let mut bytes = Vec::new();
    body.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| FaultKind::Network(error.to_string()))?;
    match bytes.len() as u64 > LONGEST {
        true => Err(FaultKind::Unusable(format!("it is longer than {LONGEST} bytes"))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_in_each_of_its_forms() {
        let (a, b) = (Sha256::of(b"a"), Sha256::of(b"b"));
        for list in [
            format!("{b}  other.tar\n{a}  a b.tar\n"),
            format!("{a} *a b.tar\r\n{b} *other.tar\r\n"),
            format!("# of today\n{b}  a b.tar.gz\n{a}  ./dist/a b.tar"),
            format!("SHA256 (other.tar) = {b}\nSHA256 (a b.tar) = {a}\n"),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), &list).unwrap();
            let url = format!("file://{}", file.path().display());
            assert_eq!(listed_digest(&url, "a b.tar").unwrap(), Some(a), "{list}");
            let error = listed_digest(&url, "b.tar").unwrap_err().to_string();
            assert!(error.contains("no line for 'b.tar'"), "{error}");
        }
        assert_eq!(listed_digest("file:///no/such/list", "a").unwrap(), None);
    }
}
