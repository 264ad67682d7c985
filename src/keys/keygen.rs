use std::time::Duration;

use pgp::composed::{KeyType, SignedKeyDetails, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, PubKeyInner, PublicKey, SecretKey, SignatureConfig, SignatureType, Subpacket, SubpacketData,
    UserId,
};
use pgp::types::{KeyDetails, KeyVersion, Password, SignedUser, Tag};
use rand::rngs::OsRng;

use super::KeyError;
use super::sign::{openpgp, timestamp};

/// Makes an armored secret key that may sign and certify: version 4, Ed25519 (in the form that
/// GnuPG 2.1 and later read), without a passphrase. `created` is in seconds since 1970; the
/// key never expires unless a lifetime is given. Whoever writes it to a file keeps that
/// file to its owner (mode 0600).
pub fn generate_key(user_id: &str, created: u64, lifetime: Option<Duration>) -> Result<String, KeyError> {
    generate(user_id, created, lifetime)
        .and_then(|key| key.to_armored_string(Default::default()))
        .map_err(openpgp("make a key"))
}

fn generate(user_id: &str, created: u64, lifetime: Option<Duration>) -> pgp::errors::Result<SignedSecretKey> {
    let kind = KeyType::Ed25519Legacy;
    let (public, secret) = kind.generate(OsRng)?;
    let inner = PubKeyInner::new(KeyVersion::V4, kind.to_alg(), timestamp(created), None, public)?;
    let public = PublicKey::from_inner(inner)?;
    let key = SecretKey::new(public.clone(), secret)?;

    let mut flags = KeyFlags::default();
    flags.set_sign(true);
    flags.set_certify(true);
    let mut config = SignatureConfig::v4(SignatureType::CertPositive, key.algorithm(), HashAlgorithm::Sha512);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(timestamp(created)))?,
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
        Subpacket::regular(SubpacketData::KeyFlags(flags))?,
        Subpacket::regular(SubpacketData::IsPrimary(true))?,
    ];
    if let Some(lifetime) = lifetime {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        let lifetime = pgp::types::Duration::from_secs(seconds);
        config.hashed_subpackets.push(Subpacket::regular(SubpacketData::KeyExpirationTime(lifetime))?);
    }
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    let user = UserId::from_str(Default::default(), user_id)?;
    let signature = config.sign_certification(&key, &public, &Password::empty(), Tag::UserId, &user)?;
    let users = vec![SignedUser::new(user, vec![signature])];
    let details = SignedKeyDetails::new(Vec::new(), Vec::new(), users, Vec::new());
    Ok(SignedSecretKey::new(key, details, Vec::new(), Vec::new()))
}
