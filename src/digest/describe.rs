use std::cell::Cell;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Digest;

/// Something whose key is the digest of its description: of its fields, each with its whole path. A group
/// therefore never has the name of a field beside it.
pub trait Describe {
    /// Tells every field that may change the outputs, always in the same order.
    fn describe(&self, visitor: &mut dyn Visitor);
}

/// Takes a description field by field.
pub trait Visitor {
    /// One named value.
    fn field(&mut self, name: &str, value: &str);
    /// The fields up to the matching [`Visitor::leave`] belong to `name`.
    fn enter(&mut self, name: &str);
    /// Ends the group that was entered last.
    fn leave(&mut self);
}

/// The key: the digest of the description.
pub fn key_of(subject: &dyn Describe) -> Digest {
    let (mut encoding, path) = LAST.take();
    let take = |path: &str, value: &str| encoding.add(path, value);
    let mut each = EachField { path, take };
    subject.describe(&mut each);
    let EachField { path, .. } = each;
    let digest = encoding.digest();
    if encoding.0.capacity() <= KEPT {
        encoding.0.clear();
        LAST.set((encoding, path));
    }
    digest
}

/// Bytes of the longest encoding whose memory is kept for the next one.
const KEPT: usize = 64 << 10;

thread_local! {
    /// What the last key was made with: there may be many.
    static LAST: Cell<(Encoding, Path)> = Cell::default();
}

/// The key of what is described by `fields`: whoever has a description can tell whose it is.
pub fn key_of_fields(fields: &[Field]) -> Digest {
    let mut encoding = Encoding::default();
    fields.iter().for_each(|field| encoding.add(&field.path, &field.value));
    encoding.digest()
}

/// The description as a list, each field with its full path (`env.LANG`).
pub fn fields_of(subject: &dyn Describe) -> Vec<Field> {
    let mut fields = Vec::new();
    let take =
        |path: &str, value: &str| fields.push(Field { path: path.to_owned(), value: value.to_owned() });
    subject.describe(&mut EachField { path: Path::default(), take });
    fields
}

/// What is hashed of a description. Lengths go before texts, so that no two descriptions share an encoding: seven bits in each
/// byte, the lowest first, as most texts are short, and what is hashed is little.
struct Encoding(Vec<u8>);

impl Default for Encoding {
    fn default() -> Self {
        // Most descriptions fit.
        Self(Vec::with_capacity(1024))
    }
}

impl Encoding {
    fn add(&mut self, path: &str, value: &str) {
        for text in [path, value] {
            let mut length = text.len();
            while length >= 0x80 {
                self.0.push(length as u8 | 0x80);
                length >>= 7;
            }
            self.0.push(length as u8);
            self.0.extend_from_slice(text.as_bytes());
        }
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

/// One field of a description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Group names and field name, joined by dots.
    pub path: String,
    /// The value as it was hashed.
    pub value: String,
}

/// A field that differs between two descriptions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The field's path.
    pub field: String,
    /// The value in the earlier description; none if the field is new.
    pub before: Option<String>,
    /// The value in the later description; none if the field is gone.
    pub after: Option<String>,
    /// Where both values are trees: the paths in which these differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

/// What differs between two descriptions, in the order of the fields' paths.
pub fn changes(before: &[Field], after: &[Field]) -> Vec<Change> {
    let index = |fields: &[Field]| -> BTreeMap<String, String> {
        fields.iter().map(|field| (field.path.clone(), field.value.clone())).collect()
    };
    let (old, new) = (index(before), index(after));
    let mut paths: Vec<&String> = old.keys().chain(new.keys()).collect();
    paths.sort();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
        .map(|path| Change {
            field: path.clone(),
            before: old.get(path).cloned(),
            after: new.get(path).cloned(),
            paths: Vec::new(),
        })
        .collect()
}

/// Gives every field with its full path.
struct EachField<F> {
    path: Path,
    take: F,
}

/// The names of the groups that were entered, joined by dots.
struct Path {
    text: String,
    /// How long it was before each was entered.
    lengths: Vec<usize>,
}

impl Default for Path {
    fn default() -> Self {
        // Most paths fit.
        Self { text: String::with_capacity(64), lengths: Vec::new() }
    }
}

impl<F: FnMut(&str, &str)> Visitor for EachField<F> {
    fn field(&mut self, name: &str, value: &str) {
        let length = self.path.text.len();
        if length == 0 {
            return (self.take)(name, value);
        }
        self.path.text.push('.');
        self.path.text.push_str(name);
        (self.take)(&self.path.text, value);
        self.path.text.truncate(length);
    }

    fn enter(&mut self, name: &str) {
        let Path { text, lengths } = &mut self.path;
        let length = text.len();
        if !lengths.is_empty() {
            text.push('.');
        }
        text.push_str(name);
        lengths.push(length);
    }

    fn leave(&mut self) {
        let length = self.path.lengths.pop().unwrap_or(0);
        self.path.text.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Env<'a>(Vec<(&'static str, &'a str)>);

    impl Describe for Env<'_> {
        fn describe(&self, visitor: &mut dyn Visitor) {
            visitor.field("kind", "run");
            visitor.enter("env");
            for (name, value) in &self.0 {
                visitor.field(name, value);
            }
            visitor.leave();
        }
    }

    #[test]
    fn where_a_text_ends_is_part_of_the_key() {
        assert_ne!(key_of(&Env(vec![("ab", "c")])), key_of(&Env(vec![("a", "bc")])));
        assert_ne!(key_of(&Env(vec![("a", "b")])), key_of(&Env(vec![("a", "b"), ("c", "")])));
        // Also where its length takes more than one byte.
        let encoded = |texts: &[&str]| {
            let mut encoding = Encoding::default();
            texts.iter().for_each(|text| encoding.add(text, ""));
            encoding.0
        };
        let long = "x".repeat(300);
        let all: std::collections::BTreeSet<_> =
            (0..300).map(|at| encoded(&[&long[..at], &long[at..]])).collect();
        assert_eq!(all.len(), 300);
        assert_eq!(encoded(&[&long])[..2], [300_u16 as u8 | 0x80, 2]);
    }

    #[test]
    fn a_key_does_not_depend_on_the_one_before() {
        let subject = Env(vec![("LANG", "C")]);
        let first = key_of(&subject);
        key_of(&Env(vec![("A", &"long ".repeat(KEPT))]));
        assert_eq!(key_of(&subject), first);
        assert_eq!(key_of(&subject), key_of_fields(&fields_of(&subject)));
    }

    #[test]
    fn whoever_has_the_fields_has_the_key() {
        struct Nested;
        impl Describe for Nested {
            fn describe(&self, v: &mut dyn Visitor) {
                v.enter("");
                v.field("a", "1");
                v.enter("b");
                v.field("c", "2");
                v.leave();
                v.leave();
                v.field("d", "3");
            }
        }
        let fields = fields_of(&Nested);
        let paths: Vec<_> = fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["a", ".b.c", "d"]);
        assert_eq!(key_of(&Nested), key_of_fields(&fields));
    }

    #[test]
    fn a_change_names_the_field_and_both_values() {
        let before = fields_of(&Env(vec![("LANG", "C"), ("A", "1")]));
        let after = fields_of(&Env(vec![("LANG", "C.UTF-8")]));
        let change = |field: &str, before: Option<&str>, after: Option<&str>| Change {
            field: field.into(),
            before: before.map(Into::into),
            after: after.map(Into::into),
            paths: Vec::new(),
        };
        assert_eq!(
            changes(&before, &after),
            [change("env.A", Some("1"), None), change("env.LANG", Some("C"), Some("C.UTF-8")),]
        );
    }
}
