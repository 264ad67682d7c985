use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};

use super::{Digest, Hasher};

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
    key_of_fields(&fields_of(subject))
}

/// The key of what is described by `fields`: whoever has a description can tell whose it is. Lengths go
/// before texts, so that no two descriptions share an encoding.
pub fn key_of_fields(fields: &[Field]) -> Digest {
    let mut hasher = Hasher::default();
    for text in fields.iter().flat_map(|field| [&field.path, &field.value]) {
        for part in [&(text.len() as u64).to_le_bytes(), text.as_bytes()] {
            hasher.write_all(part).expect("a hasher takes every write");
        }
    }
    hasher.digest()
}

/// The description as a list, each field with its full path (`env.LANG`).
pub fn fields_of(subject: &dyn Describe) -> Vec<Field> {
    let mut visitor = FieldVisitor::default();
    subject.describe(&mut visitor);
    visitor.fields
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

#[derive(Default)]
struct FieldVisitor {
    groups: Vec<String>,
    fields: Vec<Field>,
}

impl Visitor for FieldVisitor {
    fn field(&mut self, name: &str, value: &str) {
        let mut path = self.groups.join(".");
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        self.fields.push(Field { path, value: value.to_owned() });
    }

    fn enter(&mut self, name: &str) {
        self.groups.push(name.to_owned());
    }

    fn leave(&mut self) {
        self.groups.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Env(Vec<(&'static str, &'static str)>);

    impl Describe for Env {
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
