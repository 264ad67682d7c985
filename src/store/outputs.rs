use std::collections::BTreeMap;
use std::sync::Arc;

use super::sighting::{Note, Reader, write_text};
use crate::digest::Digest;

/// The trees of a result by the names of its outputs: each name after its length, and its tree, as an index of results has them.
#[derive(Clone, Debug)]
pub struct Outputs(Bytes);

/// There are as many as nodes, and memory that each of them had to ask for would be had page by page. So the outputs of most stand here
/// themselves, and clones of others share them.
#[derive(Clone, Debug)]
enum Bytes {
    Few { length: u8, bytes: [u8; FEW] },
    Many(Arc<[u8]>),
}

/// One output with a name of ten letters.
const FEW: usize = 46;

impl Outputs {
    /// The tree of the output `name`.
    pub fn get(&self, name: &str) -> Option<Digest> {
        self.iter().find(|(own, _)| *own == name).map(|(_, tree)| tree)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Digest)> {
        let mut reader = Reader::new(self.as_bytes());
        std::iter::from_fn(move || {
            Some((std::str::from_utf8(reader.text()?).ok()?, Digest::read(&mut reader)?))
        })
    }

    /// The trees alone.
    pub fn trees(&self) -> impl Iterator<Item = Digest> {
        self.iter().map(|(_, tree)| tree)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Few { length, bytes } => &bytes[..usize::from(*length)],
            Bytes::Many(bytes) => bytes,
        }
    }

    /// What [`Outputs::as_bytes`] gave.
    pub(super) fn from_bytes(said: &[u8]) -> Self {
        let mut bytes = [0; FEW];
        match bytes.get_mut(..said.len()) {
            Some(few) => {
                few.copy_from_slice(said);
                Self(Bytes::Few { length: said.len() as u8, bytes })
            }
            None => Self(Bytes::Many(said.into())),
        }
    }
}

impl Default for Outputs {
    fn default() -> Self {
        Self::from_bytes(&[])
    }
}

impl PartialEq for Outputs {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Outputs {}

impl<N: AsRef<str>> FromIterator<(N, Digest)> for Outputs {
    fn from_iter<I: IntoIterator<Item = (N, Digest)>>(outputs: I) -> Self {
        let mut bytes = Vec::new();
        for (name, tree) in outputs {
            write_text(name.as_ref().as_bytes(), &mut bytes);
            tree.write(&mut bytes);
        }
        Self::from_bytes(&bytes)
    }
}

impl From<BTreeMap<String, Digest>> for Outputs {
    fn from(outputs: BTreeMap<String, Digest>) -> Self {
        outputs.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_are_told_as_they_are() {
        for count in 0..4 {
            for name in ["", "o", "out", "repository", "repository-"] {
                let named: BTreeMap<String, Digest> =
                    (0..count).map(|at| (format!("{name}{at}"), Digest::of(&[at]))).collect();
                let outputs = Outputs::from(named.clone());
                let told: BTreeMap<String, Digest> =
                    outputs.iter().map(|(name, tree)| (name.to_owned(), tree)).collect();
                assert_eq!(told, named);
                assert_eq!(Outputs::from_bytes(outputs.as_bytes()), outputs);
            }
        }
    }

    #[test]
    fn no_memory_is_asked_for_one_output() {
        let outputs = Outputs::from_iter([("repository", Digest::of(b"tree"))]);
        assert!(matches!(outputs.0, Bytes::Few { .. }));
        assert_eq!(size_of::<Option<Outputs>>(), 48);
    }
}
