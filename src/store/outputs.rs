use std::collections::BTreeMap;
use std::sync::Arc;

use super::sighting::{Note, Reader, write_text};
use crate::digest::Digest;

/// The trees of a result by the names of its outputs. There are as many as nodes: it is small, and a clone shares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs(
    /// Each name after its length, and its tree, as an index of results has them.
    Arc<[u8]>,
);

impl Outputs {
    /// The tree of the output `name`.
    pub fn get(&self, name: &str) -> Option<Digest> {
        self.iter().find(|(own, _)| *own == name).map(|(_, tree)| tree)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Digest)> {
        let mut reader = Reader::new(&self.0);
        std::iter::from_fn(move || {
            Some((std::str::from_utf8(reader.text()?).ok()?, Digest::read(&mut reader)?))
        })
    }

    /// The trees alone.
    pub fn trees(&self) -> impl Iterator<Item = Digest> {
        self.iter().map(|(_, tree)| tree)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What [`Outputs::as_bytes`] gave.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl<N: AsRef<str>> FromIterator<(N, Digest)> for Outputs {
    fn from_iter<I: IntoIterator<Item = (N, Digest)>>(outputs: I) -> Self {
        let mut bytes = Vec::new();
        for (name, tree) in outputs {
            write_text(name.as_ref().as_bytes(), &mut bytes);
            tree.write(&mut bytes);
        }
        Self(bytes.into())
    }
}

impl From<BTreeMap<String, Digest>> for Outputs {
    fn from(outputs: BTreeMap<String, Digest>) -> Self {
        outputs.into_iter().collect()
    }
}
