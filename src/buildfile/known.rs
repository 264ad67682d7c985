use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::document::{Node, Value};
use super::parse::ParsedFile;
use super::{Predicate, Version};

/// The values that axes have anywhere, in the Buildfile or in one of its profiles: a condition
/// that names another one is a slip, and one that a profile leaves without effect is not.
pub struct KnownValues<'a> {
    files: &'a [ParsedFile],
    /// Found when a condition first asks: there may be many, and none that asks.
    found: OnceCell<Found>,
}

#[derive(Default)]
struct Found {
    /// By axis and attribute.
    values: BTreeMap<(String, Option<String>), BTreeSet<String>>,
    /// Axes whose values the lock tells.
    open: BTreeSet<String>,
}

impl<'a> KnownValues<'a> {
    /// Of every axis in the files.
    pub fn of(files: &'a [ParsedFile]) -> Self {
        Self { files, found: OnceCell::new() }
    }

    /// The values that a condition names and no value of the axis meets, with those there are.
    pub fn unknown<'p>(&'p self, predicate: &'p Predicate) -> Option<(&'p str, Vec<&'p str>)> {
        self.found.get_or_init(|| Found::of(self.files)).unknown(predicate)
    }
}

impl Found {
    fn of(files: &[ParsedFile]) -> Self {
        let mut known = Self::default();
        let top = files.iter().flat_map(|file| &file.document.nodes);
        let inside = top.clone().filter(|node| node.name.text == "profile").flat_map(Node::children);
        for axis in top.chain(inside).filter(|node| node.name.text == "axis") {
            known.add(axis);
        }
        known
    }

    fn add(&mut self, axis: &Node) {
        let Some(name) = axis.first_argument() else { return };
        if axis.has_property("from") {
            self.open.insert(name.to_owned());
        }
        for entry in axis.children().iter().flat_map(|value| &value.entries) {
            let (Value::Text(text) | Value::Number(text)) = &entry.value else { continue };
            let attribute = entry.name.as_ref().map(|name| name.text.clone());
            self.values.entry((name.to_owned(), attribute)).or_default().insert(text.clone());
        }
    }

    fn unknown<'a>(&'a self, predicate: &'a Predicate) -> Option<(&'a str, Vec<&'a str>)> {
        if self.open.contains(&predicate.axis) {
            return None;
        }
        let values = self.values.get(&(predicate.axis.clone(), predicate.attribute.clone()))?;
        let is_known = |operand: &str| {
            values.iter().any(|value| value == operand || Version::new(value.as_str()).has_prefix(operand))
        };
        let operand = predicate.condition.operands().find(|operand| !is_known(operand))?;
        Some((operand, values.iter().map(String::as_str).collect()))
    }
}
