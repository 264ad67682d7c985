use std::borrow::Cow;
use std::sync::Arc;

use crate::buildfile::{Hole, Template};
use crate::matrix::Cell;

/// A text of a node. What a target declares is filled from the node's cell when it is read: there are many nodes, and most of
/// them are known and never run.
#[derive(Clone, Debug)]
pub enum Text {
    /// As it is.
    Written(String),
    /// With holes, each of which has a value in the node's cell.
    Declared(Arc<Template>),
}

impl Text {
    /// The text in its node's cell.
    pub fn of<'t>(&'t self, cell: &Cell) -> Cow<'t, str> {
        match self {
            Self::Written(text) => Cow::Borrowed(text),
            Self::Declared(template) => Cow::Owned(filled(template, |hole| value(hole, cell))),
        }
    }

    /// The same of a script, in which `{jobs}` is told at run time: it must not be in the key.
    pub fn of_script<'t>(&'t self, cell: &Cell) -> Cow<'t, str> {
        match self {
            Self::Written(text) => Cow::Borrowed(text),
            Self::Declared(template) => Cow::Owned(filled(template, |hole| match is_jobs(hole) {
                true => Some("$FORGE_JOBS"),
                false => value(hole, cell),
            })),
        }
    }
}

/// The texts of templates in a cell.
pub(super) fn texts(templates: &[Template], cell: &Cell) -> Vec<String> {
    templates.iter().map(|template| filled(template, |hole| value(hole, cell))).collect()
}

/// Whether a hole is that of a script which is filled at run time.
pub(super) fn is_jobs(hole: &Hole) -> bool {
    hole.is("jobs")
}

pub(super) fn value<'c>(hole: &Hole, cell: &'c Cell) -> Option<&'c str> {
    cell.get(&hole.name, hole.attribute.as_deref())
}

fn filled<'v>(template: &Template, value: impl Fn(&Hole) -> Option<&'v str>) -> String {
    // What lacks a value was told when the graph was built.
    template.fill(|hole| Some(value(hole).unwrap_or_default())).unwrap_or_default()
}
