use std::collections::{BTreeMap, BTreeSet};

use kdl::KdlNode;

use super::parse::ParsedFile;
use super::profile::first_argument;
use super::{Predicate, Version};

/// The values that axes have anywhere, in the Buildfile or in one of its profiles: a condition
/// that names another one is a slip, and one that a profile leaves without effect is not.
#[derive(Debug, Default)]
pub struct KnownValues {
    /// By axis and attribute.
    values: BTreeMap<(String, Option<String>), BTreeSet<String>>,
    /// Axes whose values the lock tells.
    open: BTreeSet<String>,
}

impl KnownValues {
    /// Of every axis in the files.
    pub fn of(files: &[ParsedFile]) -> Self {
        let mut known = Self::default();
        let top = files.iter().flat_map(|file| file.document.nodes());
        let inside =
            top.clone().filter(|node| node.name().value() == "profile").flat_map(KdlNode::iter_children);
        for axis in top.chain(inside).filter(|node| node.name().value() == "axis") {
            known.add(axis);
        }
        known
    }

    fn add(&mut self, axis: &KdlNode) {
        let Some(name) = first_argument(axis) else { return };
        if axis.get("from").is_some() {
            self.open.insert(name.clone());
        }
        for value in axis.iter_children() {
            for entry in value.entries() {
                let written = entry.format().map(|format| format.value_repr.trim());
                let Some(text) = entry.value().as_string().or(written) else { continue };
                let attribute = entry.name().map(|name| name.value().to_owned());
                self.values.entry((name.clone(), attribute)).or_default().insert(text.to_owned());
            }
        }
    }

    /// The values that a condition names and no value of the axis meets, with those there are.
    pub fn unknown<'a>(&'a self, predicate: &'a Predicate) -> Option<(&'a str, Vec<&'a str>)> {
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
