use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;

/// The trees of a result by the names of its outputs. There are as many as nodes: it is small, and a clone shares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs(Arc<[(Box<str>, Digest)]>);

impl Outputs {
    /// The tree of the output `name`.
    pub fn get(&self, name: &str) -> Option<Digest> {
        self.iter().find(|(own, _)| *own == name).map(|(_, tree)| tree)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Digest)> {
        self.0.iter().map(|(name, tree)| (&**name, *tree))
    }

    /// The trees alone.
    pub fn trees(&self) -> impl Iterator<Item = Digest> {
        self.iter().map(|(_, tree)| tree)
    }
}

impl FromIterator<(Box<str>, Digest)> for Outputs {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Digest)>>(outputs: I) -> Self {
        Self(outputs.into_iter().collect())
    }
}

impl From<BTreeMap<String, Digest>> for Outputs {
    fn from(outputs: BTreeMap<String, Digest>) -> Self {
        outputs.into_iter().map(|(name, tree)| (name.into(), tree)).collect()
    }
}
