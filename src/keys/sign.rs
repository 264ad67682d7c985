use std::io::{self, Write};

use pgp::armor::{self, BlockType};
use pgp::composed::{CleartextSignedMessage, SignedPublicKey, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{PacketTrait, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, Password, SigningKey, Timestamp};

use super::signing_keys::{KeyError, SigningKeys, UsableKey, check_times, may_sign, newest, own_signatures};

/// Which part of a certificate signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    Primary,
    /// The secret subkey at this place.
    Subkey(usize),
}

impl Signer {
    /// The newest valid subkey for signing, or the primary key: GnuPG's own choice.
    pub fn choose(key: &SignedSecretKey, now: u64) -> Option<Self> {
        let subkeys = key.secret_subkeys.iter().enumerate();
        let valid = subkeys.filter(|(at, _)| subkey_may_sign(key, *at, now));
        let subkey = valid.max_by_key(|(_, subkey)| subkey.key.created_at());
        let primary = || {
            let own = newest(own_signatures(key))?;
            (may_sign(own) && can_sign(key.primary_key.algorithm())).then_some(Self::Primary)
        };
        subkey.map(|(at, _)| Self::Subkey(at)).or_else(primary)
    }

    pub fn is_locked(self, key: &SignedSecretKey) -> bool {
        match self {
            Self::Primary => key.primary_key.secret_params().is_encrypted(),
            Self::Subkey(at) => key.secret_subkeys[at].key.secret_params().is_encrypted(),
        }
    }
}

/// Bound by the primary key, for signing, with the subkey's own consent (RFC 9580, 5.2.1.9),
/// not revoked and not expired.
fn subkey_may_sign(key: &SignedSecretKey, at: usize, now: u64) -> bool {
    let primary = key.primary_key.public_key();
    let subkey = &key.secret_subkeys[at];
    let public = subkey.key.public_key();
    let by_type = |typ| {
        let valid = move |signature: &&Signature| {
            signature.typ() == Some(typ) && signature.verify_subkey_binding(primary, public).is_ok()
        };
        subkey.signatures.iter().filter(valid)
    };
    let revoked = by_type(SignatureType::SubkeyRevocation).next().is_some();
    let Some(binding) = newest(by_type(SignatureType::SubkeyBinding)) else { return false };
    let consents = || {
        let back = binding.embedded_signature()?;
        back.verify_primary_key_binding(public, primary).ok()
    };
    !revoked
        && may_sign(binding)
        && can_sign(public.algorithm())
        && check_times(public, binding, now).is_ok()
        && consents().is_some()
}

fn can_sign(algorithm: PublicKeyAlgorithm) -> bool {
    use PublicKeyAlgorithm::{DSA, ECDSA, Ed448, Ed25519, EdDSALegacy, RSA, RSASign};
    matches!(algorithm, RSA | RSASign | DSA | ECDSA | EdDSALegacy | Ed25519 | Ed448)
}

/// A signature as a packet of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketSignature {
    /// An RSA key made it; rpm keeps these apart from all others.
    pub is_rsa: bool,
    /// The packet.
    pub bytes: Vec<u8>,
}

impl UsableKey {
    fn algorithm(&self) -> PublicKeyAlgorithm {
        match self.signer {
            Signer::Primary => self.certificate.primary_key.algorithm(),
            Signer::Subkey(at) => self.certificate.secret_subkeys[at].key.algorithm(),
        }
    }

    /// Since when key and bindings hold, in seconds since 1970; an expiry that is extended later
    /// does not move it.
    fn valid_from(&self) -> u64 {
        let primary = &self.certificate.primary_key;
        let first = |signatures: &mut dyn Iterator<Item = &Signature>| {
            signatures.filter_map(Signature::created).map(|time| u64::from(time.as_secs())).min()
        };
        let own = first(&mut own_signatures(&self.certificate));
        let subkey = match self.signer {
            Signer::Primary => None,
            Signer::Subkey(at) => {
                let subkey = &self.certificate.secret_subkeys[at];
                let bound = first(&mut subkey.signatures.iter());
                bound.max(Some(subkey.key.created_at().as_secs().into()))
            }
        };
        own.max(subkey).max(Some(primary.created_at().as_secs().into())).unwrap_or_default()
    }

    /// A version 4 signature. The same key, time and text give the same bytes.
    pub fn sign(&self, typ: SignatureType, time: u64, text: &[u8]) -> pgp::errors::Result<Signature> {
        match self.signer {
            Signer::Primary => sign_with(&self.certificate.primary_key, &self.passphrase, typ, time, text),
            Signer::Subkey(at) => {
                let subkey = &self.certificate.secret_subkeys[at].key;
                sign_with(subkey, &self.passphrase, typ, time, text)
            }
        }
    }
}

fn sign_with(
    key: &impl SigningKey,
    passphrase: &Password,
    typ: SignatureType,
    time: u64,
    text: &[u8],
) -> pgp::errors::Result<Signature> {
    let mut config = SignatureConfig::v4(typ, key.algorithm(), HashAlgorithm::Sha512);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(timestamp(time)))?,
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    config.sign(key, passphrase, text)
}

/// OpenPGP counts seconds in 32 bits, until 2106.
pub(super) fn timestamp(seconds: u64) -> Timestamp {
    Timestamp::from_secs(u32::try_from(seconds).unwrap_or(u32::MAX))
}

impl SigningKeys {
    /// `text` with the signatures of all keys around it (RFC 9580, section 7), as apt wants
    /// `InRelease`. `time` is that of the signatures, in seconds since 1970.
    pub fn sign_cleartext(&self, text: &str, time: u64) -> Result<String, KeyError> {
        // The line end before the signatures is not signed, nor are spaces that end a line.
        let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches([' ', '\t'])).collect();
        let sign_all = |canonical: &str| {
            let sign = |key: &UsableKey| key.sign(SignatureType::Text, time, canonical.as_bytes());
            self.keys.iter().map(sign).collect()
        };
        CleartextSignedMessage::new_many(&lines.join("\n"), sign_all)
            .and_then(|message| message.to_armored_string(Default::default()))
            .map_err(openpgp("sign the Release file"))
    }

    /// The signatures of all keys over `bytes`, armored, as apt wants `Release.gpg`.
    pub fn sign_detached(&self, bytes: &[u8], time: u64) -> Result<String, KeyError> {
        let sign = |key: &UsableKey| key.sign(SignatureType::Binary, time, bytes);
        let signatures = self.keys.iter().map(sign).collect::<Result<Vec<_>, _>>();
        signatures
            .and_then(|signatures| armored(&Signatures(signatures), BlockType::Signature))
            .map_err(openpgp("sign the Release file"))
    }

    /// The first key's signature over `bytes`, as a packet of OpenPGP, as the header of an rpm wants
    /// it. Its time is `time`, in seconds since 1970, or that from which the key is valid: what
    /// is signed may be older than its key, but no signature is.
    pub fn sign_packet(&self, bytes: &[u8], time: u64) -> Result<PacketSignature, KeyError> {
        let key = self.keys.first().ok_or(KeyError::None)?;
        let signature = key
            .sign(SignatureType::Binary, time.max(key.valid_from()), bytes)
            .map_err(openpgp("sign the package"))?;
        let mut packet = Vec::with_capacity(signature.write_len_with_header());
        signature.to_writer_with_header(&mut packet).map_err(openpgp("sign the package"))?;
        let is_rsa = matches!(key.algorithm(), PublicKeyAlgorithm::RSA | PublicKeyAlgorithm::RSASign);
        Ok(PacketSignature { is_rsa, bytes: packet })
    }

    /// The public keys, armored, as `signed-by=` takes them from an `.asc` file.
    pub fn public_armored(&self) -> Result<String, KeyError> {
        armored(&self.public(), BlockType::PublicKey).map_err(openpgp("export the public key"))
    }

    /// The public keys as a binary keyring, as gpgv and `signed-by=` take them from a `.gpg` file.
    pub fn public_binary(&self) -> Result<Vec<u8>, KeyError> {
        self.public().to_bytes().map_err(openpgp("export the public key"))
    }

    fn public(&self) -> PublicKeys {
        PublicKeys(self.keys.iter().map(|key| key.certificate.to_public_key()).collect())
    }
}

pub(super) fn openpgp(doing: &'static str) -> impl FnOnce(pgp::errors::Error) -> KeyError {
    move |error| KeyError::OpenPgp { doing, reason: error.to_string() }
}

fn armored(source: &impl Serialize, kind: BlockType) -> pgp::errors::Result<String> {
    let mut bytes = Vec::new();
    armor::write(source, kind, &mut bytes, None, true)?;
    bytes.flush()?;
    Ok(String::from_utf8(bytes).map_err(io::Error::other)?)
}

struct Signatures(Vec<Signature>);

impl Serialize for Signatures {
    fn to_writer<W: Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
        self.0.iter().try_for_each(|one| one.to_writer_with_header(writer))
    }

    fn write_len(&self) -> usize {
        self.0.iter().map(PacketTrait::write_len_with_header).sum()
    }
}

struct PublicKeys(Vec<SignedPublicKey>);

impl Serialize for PublicKeys {
    fn to_writer<W: Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
        self.0.iter().try_for_each(|one| one.to_writer(writer))
    }

    fn write_len(&self) -> usize {
        self.0.iter().map(Serialize::write_len).sum()
    }
}
