//! How one declaration names others: `tool`, or `tool[arch=amd64]`.

use super::super::reader::{Reader, Text};
use crate::buildfile::{Diagnostic, Predicate, Reference, Span};

/// A name in its place, without coordinates.
pub fn named(text: Text) -> Reference {
    Reference { name: text.value, span: text.span, fixed: Vec::new() }
}

/// A target, with coordinates that are fixed in brackets.
pub fn reference(text: &Text, reader: &Reader<'_>) -> Reference {
    parse(&text.value, &text.span, reader)
}

/// All arguments of a node, which must be such names; `what` says of what.
pub fn references(mut reader: Reader<'_>, what: &str) -> Vec<Reference> {
    let found = arguments(&mut reader, what);
    reader.finish();
    found
}

/// All arguments that are left, likewise.
pub fn arguments(reader: &mut Reader<'_>, what: &str) -> Vec<Reference> {
    let texts = reader.arguments(what);
    texts.iter().map(|text| reference(text, reader)).collect()
}

/// The words of a property's value: alternatives, the best first.
pub fn alternatives(text: &Text, reader: &Reader<'_>) -> Vec<Reference> {
    let span = |word: &str| if word == text.value { text.span.clone() } else { text.span.of_word(word) };
    let words = text.value.split_whitespace();
    let found: Vec<Reference> = words.map(|word| parse(word, &span(word), reader)).collect();
    if found.is_empty() {
        reader.push(Diagnostic::error(&text.span, "this is empty", "expected the name of a declaration"));
    }
    found
}

fn parse(text: &str, span: &Span, reader: &Reader<'_>) -> Reference {
    let (name, coordinates) = match text.split_once('[') {
        None => (text, None),
        Some((name, rest)) => (name, Some(rest)),
    };
    let fixed = coordinates.and_then(|rest| coordinates_of(rest, text, span, reader)).unwrap_or_default();
    Reference { name: name.to_owned(), span: span.clone(), fixed }
}

/// What stands after the opening bracket.
fn coordinates_of(rest: &str, text: &str, span: &Span, reader: &Reader<'_>) -> Option<Vec<Predicate>> {
    let fault = |message: String| {
        let help = "write for example \"tool[distro=debian-12,arch=amd64]\", without spaces";
        reader.push(Diagnostic::error(span, message, "not the name of a declaration").help(help));
    };
    let Some(list) = rest.strip_suffix(']') else {
        fault(format!("'{text}' has a '[' and does not end with ']'"));
        return None;
    };
    let mut fixed = Vec::new();
    for part in list.split(',') {
        match Predicate::parse(part) {
            Ok(predicate) => fixed.push(predicate.at(span.of_piece(part))),
            Err(error) => {
                fault(format!("'{text}': {error}"));
                return None;
            }
        }
    }
    Some(fixed)
}
