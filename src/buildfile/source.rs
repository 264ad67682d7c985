use std::sync::Arc;

use miette::{NamedSource, SourceSpan};

/// A file of the language, as it was read.
pub type Source = Arc<NamedSource<String>>;

/// A place in a source.
#[derive(Clone, Debug)]
pub struct Span {
    /// The file.
    pub source: Source,
    /// The bytes in it.
    pub range: SourceSpan,
}

impl Span {
    /// The place as `file:line`, for a terminal to jump to.
    pub fn location(&self) -> String {
        let before = self.source.inner().get(..self.range.offset()).unwrap_or_default();
        format!("{}:{}", self.source.name(), before.matches('\n').count() + 1)
    }
}

/// Two places are alike to a comparison of declarations: a moved line changes nothing.
impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
