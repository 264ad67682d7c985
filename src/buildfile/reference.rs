use super::{Predicate, Span};

/// The name of another declaration, and where it is written. Where one node is needed, several
/// of these are alternatives: the first that has a cell that agrees.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// What is named.
    pub name: String,
    /// Where the name is written.
    pub span: Span,
    /// The coordinates in brackets: on these axes they stand for those of whoever names it.
    pub fixed: Vec<Predicate>,
}

impl Reference {
    /// As it is written: `tool[arch=amd64]`.
    pub fn text(&self) -> String {
        let fixed = self.fixed.iter().map(|p| format!("{}={}", p.name(), p.condition.as_str()));
        match self.fixed.is_empty() {
            true => self.name.clone(),
            false => format!("{}[{}]", self.name, fixed.collect::<Vec<_>>().join(",")),
        }
    }
}
