//! Digests, and the one description from which a key is both hashed and explained.

mod describe;
mod value;

pub use describe::{Change, Describe, Field, Visitor, changes, fields_of, key_of, key_of_fields};
pub use value::{Digest, DigestParseError, Hasher};
pub(crate) use value::{Hashed, decode_hex};
