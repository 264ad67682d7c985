use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use miette::{NamedSource, SourceSpan};

use super::Diagnostic;

/// A file of the language, as it was read.
pub type Source = Arc<NamedSource<String>>;

/// Reads the file at `path`, which messages call `name`.
pub fn read_source(path: &Path, name: String) -> Result<Source, Diagnostic> {
    let path = path.strip_prefix(".").unwrap_or(path);
    let refused = |reason: &str| Diagnostic::placeless(format!("cannot read {}: {reason}", path.display()));
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            let help = "forge reads Buildfile.kdl of the working directory; name another with --file";
            Diagnostic::placeless(format!("there is no {}", path.display())).help(help)
        }
        ErrorKind::IsADirectory => {
            refused("it is a directory").help("name the Buildfile in it, for example Buildfile.kdl")
        }
        _ => refused(&error.to_string()),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        refused(&format!("line {line} is not UTF-8")).help("save the file as UTF-8")
    })?;
    Ok(Arc::new(NamedSource::new(name, text)))
}

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

    /// What is written there.
    pub fn text(&self) -> &str {
        let start = self.range.offset();
        self.source.inner().get(start..start + self.range.len()).unwrap_or_default()
    }

    /// The place of `word` inside this one, or this one if it is not written there as such, for
    /// example because of an escape.
    pub fn of_word(&self, word: &str) -> Self {
        let text = self.text();
        let belongs = |c: char| c.is_alphanumeric() || "._-".contains(c);
        let is_whole = |at: &usize| {
            let before = text[..*at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            !word.is_empty() && ![before, after].into_iter().flatten().any(belongs)
        };
        let found = text.match_indices(word).map(|(at, _)| at).find(is_whole);
        self.inside(found, word.len())
    }

    /// The place of `piece` inside this one, or this one if it is not written there as such.
    pub fn of_piece(&self, piece: &str) -> Self {
        self.inside(self.text().find(piece), piece.len())
    }

    /// The last place of `piece` inside this one, or this one.
    pub fn of_last_piece(&self, piece: &str) -> Self {
        self.inside(self.text().rfind(piece), piece.len())
    }

    fn inside(&self, at: Option<usize>, length: usize) -> Self {
        let range = at.map_or(self.range, |at| (self.range.offset() + at, length).into());
        Self { source: self.source.clone(), range }
    }
}

/// Two places are alike to a comparison of declarations: a moved line changes nothing.
impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_pieces_are_found_whole() {
        let source = Arc::new(NamedSource::new("x", "over=\"otp.major otp\" \"{a} {b}\"".to_owned()));
        let span = Span { source, range: (0, 30).into() };
        assert_eq!(span.of_word("otp").range, (16, 3).into());
        assert_eq!(span.of_word("otp.major").range, (6, 9).into());
        assert_eq!(span.of_piece("{b}").range, (26, 3).into());
        assert_eq!(span.of_word("nothing").range, span.range);
    }
}
