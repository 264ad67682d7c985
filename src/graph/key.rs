//! Keys that sign, as far as they are public.

use super::build::Builder;
use super::*;
use crate::buildfile::{Body, Diagnostic, Key, Reference, Target};
use crate::keys::{KeySource, SigningKeys, signing_time};
use crate::matrix::Cell;

impl Builder<'_> {
    /// The key is read now: what is public of it keys its node. One that cannot sign is a fault of
    /// the node, told when something needs it.
    pub(super) fn key(&mut self, target: &Target, key: &Key, cell: Cell) {
        let key = key.below(&self.buildfile.dir);
        let keys = SigningKeys::load(&[KeySource::from(&key)], signing_time());
        let certificate = keys.and_then(|keys| keys.certificate());
        let fault = certificate.as_ref().err().map(|error| {
            let help = "`forge key new` makes one";
            Diagnostic::error(&target.span, error.to_string(), "declared here").help(help)
        });
        let work = KeyWork { name: target.name.to_string(), key, certificate: certificate.ok() };
        let work = Work::Key(Box::new(work));
        let node = Node::new(self.declared(target), cell, work);
        self.add(node.on(Terms { fault, ..Terms::default() }));
    }

    /// The keys of these names, with whole paths.
    pub(super) fn keys_of(&self, references: &[Reference]) -> Vec<Key> {
        let key = |reference: &Reference| match &self.buildfile.target(&reference.name)?.body {
            Body::Key(key) => Some(key.below(&self.buildfile.dir)),
            _ => None,
        };
        references.iter().filter_map(key).collect()
    }
}
