//! What a file of KDL says, without how it is laid out.

use kdl::{KdlDocument, KdlEntry, KdlError, KdlIdentifier, KdlNode, KdlValue};
use miette::SourceSpan;
use serde::{Deserialize, Serialize};

use super::syntax::syntax_faults;
use super::{Diagnostic, Source, Span};
use crate::digest::Digest;
use crate::store::LocalStore;

/// The kind of what is remembered of a text. Raised whenever something else is kept of it.
const KIND: &str = "kdl 2";

/// From how many bytes on a text is remembered by what it says: a smaller one is as soon parsed again.
const LARGE: usize = 64 << 10;

/// How many blocks may be inside one another: the parser of KDL calls itself for each.
const DEEPEST: usize = 64;

/// The nodes of a file.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub nodes: Vec<Node>,
}

/// `name argument property=value { … }`
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub name: Word,
    /// Arguments and properties, in their order.
    pub entries: Vec<Entry>,
    /// What is in its block, if it has one.
    pub block: Option<Vec<Node>>,
}

/// An argument, or a property.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Of a property.
    pub name: Option<Word>,
    pub value: Value,
    /// Where the value is written, without a property's name.
    pub place: Place,
}

/// A name.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    pub text: String,
    pub place: Place,
}

/// An offset and a length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place(usize, usize);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Text(String),
    /// As it is written: `1.10` is a version, and not the number 1.1.
    Number(String),
    Flag(bool),
    Null,
}

impl From<Place> for SourceSpan {
    fn from(Place(offset, length): Place) -> Self {
        (offset, length).into()
    }
}

impl From<SourceSpan> for Place {
    fn from(span: SourceSpan) -> Self {
        Self(span.offset(), span.len())
    }
}

impl Document {
    /// Parses a text. Of a large one `memory` knows what it says if it was parsed before, which takes many times as long.
    pub fn parse(source: &Source, memory: Option<&LocalStore>) -> Result<Self, Vec<Diagnostic>> {
        let text = source.inner();
        if let Some(at) = too_deep(text) {
            let span = Span { source: source.clone(), range: (at, 1).into() };
            let message = format!("blocks are inside one another more than {DEEPEST} times");
            let help = "close the blocks before it: those of a Buildfile are hardly ever five deep";
            return Err(vec![Diagnostic::error(&span, message, "one more is opened here").help(help)]);
        }
        let parsed = match memory.filter(|_| text.len() >= LARGE) {
            Some(store) => Self::remembered(text, store),
            None => Self::of(text),
        };
        parsed.map_err(|error| syntax_faults(source, error))
    }

    fn remembered(text: &str, store: &LocalStore) -> Result<Self, KdlError> {
        let digest = Digest::of(text.as_bytes());
        let known = store.piece(KIND, digest).and_then(|bytes| postcard::from_bytes(&bytes).ok());
        if let Some(known) = known {
            return Ok(known);
        }
        let document = Self::of(text)?;
        // Without it, it is parsed once more.
        let _ = postcard::to_allocvec(&document).map(|bytes| store.put_piece(KIND, digest, &bytes));
        Ok(document)
    }

    fn of(text: &str) -> Result<Self, KdlError> {
        let document = KdlDocument::parse_v2(text)?;
        Ok(Self { nodes: nodes(&document, text) })
    }
}

impl Node {
    /// The first argument, if it is a text.
    pub fn first_argument(&self) -> Option<&str> {
        self.entries.iter().find(|entry| entry.name.is_none())?.value.text()
    }

    /// What is in its block.
    pub fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// Whether a node of this name is in its block.
    pub fn has_child(&self, name: &str) -> bool {
        self.children().iter().any(|child| child.name.text == name)
    }

    /// Whether it has this property.
    pub fn has_property(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.is_called(name))
    }
}

impl Entry {
    /// Whether it is the property of this name.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.as_ref().is_some_and(|own| own.text == name)
    }
}

impl Value {
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn flag(&self) -> Option<bool> {
        match self {
            Self::Flag(flag) => Some(*flag),
            _ => None,
        }
    }
}

/// Where a block is opened inside of too many, as far as braces tell: those in texts come in pairs, too.
fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    text.bytes().position(|byte| {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEEPEST
    })
}

fn nodes(document: &KdlDocument, text: &str) -> Vec<Node> {
    let node = |node: &KdlNode| Node {
        name: word(node.name()),
        entries: node.entries().iter().map(|one| entry(one, text)).collect(),
        block: node.children().map(|block| nodes(block, text)),
    };
    document.nodes().iter().map(node).collect()
}

fn word(name: &KdlIdentifier) -> Word {
    Word { text: name.value().to_owned(), place: name.span().into() }
}

fn entry(entry: &KdlEntry, text: &str) -> Entry {
    let place = place_of_value(entry, text);
    let value = match entry.value() {
        KdlValue::String(text) => Value::Text(text.clone()),
        KdlValue::Integer(_) | KdlValue::Float(_) => {
            Value::Number(text.get(place.0..place.0 + place.1).unwrap_or_default().to_owned())
        }
        KdlValue::Bool(flag) => Value::Flag(*flag),
        KdlValue::Null => Value::Null,
    };
    Entry { name: entry.name().map(word), value, place }
}

fn place_of_value(entry: &KdlEntry, text: &str) -> Place {
    let whole = Place::from(entry.span());
    let written = entry.format().map(|format| format.value_repr.trim());
    let found = written.and_then(|written| {
        let at = text.get(whole.0..whole.0 + whole.1)?.rfind(written)?;
        Some(Place(whole.0 + at, written.len()))
    });
    found.unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use miette::NamedSource;

    use super::*;

    fn source(text: &str) -> Source {
        Arc::new(NamedSource::new("Buildfile.kdl", text.to_owned()))
    }

    #[test]
    fn what_is_remembered_of_a_text_is_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let node = "// a comment\naxis \"a\" 1.10 #true x=#null y=\"\\n\\u{e9}\" { value \"é\" #\"\"raw\"\"#; empty { } }\n";
        let text = node.repeat(LARGE / node.len() + 1);
        let of = |text: &str| Document::parse(&source(text), Some(&store)).unwrap();
        let parsed = of(&text);
        assert_eq!(parsed, Document::of(&text).unwrap());
        assert!(store.piece(KIND, Digest::of(text.as_bytes())).is_some(), "it is remembered");
        assert_eq!(of(&text), parsed);
        of(node);
        assert!(store.piece(KIND, Digest::of(node.as_bytes())).is_none(), "it is small");
    }

    #[test]
    fn what_is_no_kdl_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let text = format!("{}axis \"a\" {{", "axis \"a\"\n".repeat(LARGE));
        for _ in 0..2 {
            assert!(Document::parse(&source(&text), Some(&store)).is_err());
        }
    }

    #[test]
    fn blocks_are_parsed_as_deep_as_they_may_be_and_no_deeper() {
        let nested = |depth| source(&format!("{}{}\n", "a { ".repeat(depth), "}".repeat(depth)));
        Document::parse(&nested(DEEPEST), None).unwrap();
        for depth in [DEEPEST + 1, 100_000] {
            let faults = Document::parse(&nested(depth), None).unwrap_err();
            assert!(faults[0].to_string().contains("64 times"), "{faults:?}");
        }
    }
}
