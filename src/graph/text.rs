use std::borrow::Cow;
use std::sync::Arc;

use crate::buildfile::{Hole, Template};
use crate::matrix::{Cell, Place};

/// A text of a node. What a target declares is filled from the node's cell when it is read: there are many nodes, and most of
/// them are known and never run.
#[derive(Clone, Debug)]
pub enum Text {
    /// As it is.
    Written(String),
    /// With holes, each of which has a value in the node's cell.
    Declared {
        /// As the target declares it.
        template: Arc<Template>,
        /// Where each hole has its value in the cells of that target, if they have one.
        values: Box<[Option<Place>]>,
    },
}

impl Text {
    /// What a target declares, one of whose cells this is: all are of the same dimensions.
    pub fn declared(template: Arc<Template>, cell: &Cell) -> Self {
        let values = template.holes().map(|hole| cell.place(&hole.name, hole.attribute.as_deref())).collect();
        Self::Declared { template, values }
    }

    /// The text in its node's cell.
    pub fn of<'t>(&'t self, cell: &Cell) -> Cow<'t, str> {
        self.filled(cell, |_| None)
    }

    /// The same of a script, in which `{jobs}` is told at run time: it must not be in the key.
    pub fn of_script<'t>(&'t self, cell: &Cell) -> Cow<'t, str> {
        self.filled(cell, |hole| is_jobs(hole).then_some("$FORGE_JOBS"))
    }

    fn filled<'t>(&'t self, cell: &Cell, own: impl Fn(&Hole) -> Option<&'static str>) -> Cow<'t, str> {
        let (template, values) = match self {
            Self::Written(text) => return Cow::Borrowed(text),
            Self::Declared { template, values } => (template, values),
        };
        let mut values = values.iter();
        Cow::Owned(filled(template, |hole| {
            let place = values.next().copied().flatten();
            own(hole).or_else(|| cell.at(place?, hole.attribute.as_deref()))
        }))
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

fn filled<'v>(template: &Template, mut value: impl FnMut(&Hole) -> Option<&'v str>) -> String {
    // What lacks a value was told when the graph was built.
    template.fill(|hole| Some(value(hole).unwrap_or_default())).unwrap_or_default()
}
