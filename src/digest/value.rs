use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A BLAKE3 digest (32 bytes), written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// How many bytes one has.
    pub const LENGTH: usize = 32;

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The first twelve digits: enough for a person to tell two digests apart.
    pub fn short(&self) -> String {
        let mut hex = self.to_string();
        hex.truncate(12);
        hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a BLAKE3 digest of 64 hexadecimal digits")]
pub struct DigestParseError(String);

impl FromStr for Digest {
    type Err = DigestParseError;

    fn from_str(hex: &str) -> Result<Self, Self::Err> {
        decode_hex(hex).map(Self).ok_or_else(|| DigestParseError(hex.to_owned()))
    }
}

/// Half a byte for each character that is a hexadecimal digit, and more than that for the others. A state of 10,000 packages has
/// 20,000 digests, of which digit by digit would be a third of the time that it takes to read it.
const DIGITS: [u8; 256] = {
    let mut digits = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// The bytes of a digest of 64 hexadecimal digits.
pub(crate) fn decode_hex(hex: &str) -> Option<[u8; 32]> {
    let (pairs, []) = hex.as_bytes().as_chunks() else { return None };
    let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
    let mut seen = 0;
    let bytes = pairs.map(|pair| {
        let [high, low] = pair.map(|digit| DIGITS[usize::from(digit)]);
        seen |= high | low;
        (high << 4) | low
    });
    (seen < 16).then_some(bytes)
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;

        impl Visitor<'_> for Hex {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a BLAKE3 digest of 64 hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, hex: &str) -> Result<Digest, E> {
                hex.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Hex)
    }
}

/// Hashes what is written to it.
#[derive(Default)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// Takes bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was written so far.
    pub fn digest(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

/// Hashes what is written through it.
pub(crate) struct Hashed<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Hashed<W> {
    /// Nothing is written yet.
    pub fn new(out: W) -> Self {
        Self { out, hasher: Hasher::default() }
    }

    /// The digest of all that was written so far.
    pub fn digest(&self) -> Digest {
        self.hasher.digest()
    }

    /// The same, and where it went.
    pub fn finish(self) -> (Digest, W) {
        (self.digest(), self.out)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips() {
        let digest = Digest::of(b"forge");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        let hex = digest.to_string();
        assert_eq!(hex.to_uppercase().parse::<Digest>().unwrap(), digest);
        for wrong in
            ["abc".to_owned(), hex[..63].to_owned(), format!("{hex}0"), hex.replacen(&hex[..1], "g", 1)]
        {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
            assert!(serde_json::from_str::<Digest>(&format!("\"{wrong}\"")).is_err());
        }
        let json = serde_json::to_vec(&digest).unwrap();
        assert_eq!(serde_json::from_slice::<Digest>(&json).unwrap(), digest);
        assert_eq!(serde_json::from_reader::<_, Digest>(&json[..]).unwrap(), digest);
    }

    #[test]
    fn hasher_agrees_with_of() {
        let mut hasher = Hasher::default();
        hasher.write_all(b"for").unwrap();
        hasher.write_all(b"ge").unwrap();
        assert_eq!(hasher.digest(), Digest::of(b"forge"));
    }
}
