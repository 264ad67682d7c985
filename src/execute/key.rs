//! The public part of keys.

use std::collections::BTreeMap;

use super::builtin::Builtin;
use super::done::Failure;
use crate::digest::Digest;
use crate::graph::KeyWork;
use crate::keys::{KeySource, SigningKeys, signing_time};
use crate::store::{Entry, Kind, Tree};

impl Builtin {
    /// `<name>.asc`, armored, and `<name>.gpg`, binary: both are what apt takes as a keyring.
    pub(super) fn key(&self, work: &KeyWork) -> Result<BTreeMap<String, Digest>, Failure> {
        let keys = SigningKeys::load(&[KeySource::from(&work.key)], signing_time());
        let keys = keys.map_err(Failure::action)?;
        let certificate = keys.certificate().map_err(Failure::action)?;
        if work.certificate.as_ref() != Some(&certificate) {
            return Err(Failure::action("the key is another one than when the plan was made; run it again"));
        }
        let armored = keys.public_armored().map_err(Failure::action)?;
        let binary = keys.public_binary().map_err(Failure::action)?;
        let file = |ending: &str, bytes: &[u8]| {
            let kind = Kind::File { object: self.store.put(bytes)?, size: bytes.len() as u64 };
            Ok::<_, Failure>(Entry { path: format!("{}.{ending}", work.name), mode: 0o644, kind })
        };
        let tree = Tree::new(vec![file("asc", armored.as_bytes())?, file("gpg", &binary)?]);
        Ok(self.output("public", self.store.put_tree(&tree)?))
    }
}
