//! The keys room: OpenPGP keys that sign repositories and packages, read when they are used.

mod certificate;
mod keygen;
mod sign;
mod signing_keys;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use certificate::Certificate;
pub use keygen::generate_key;
pub use sign::PacketSignature;
pub use signing_keys::{Fault, KeyError, KeySource, Secret, SigningKeys, signing_time};
