use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use super::text::value;
use crate::buildfile::{Diagnostic, Hole, Template};
use crate::matrix::Cell;
use crate::package::packaged_version;

/// Fills templates from one cell.
#[derive(Clone)]
pub struct Filler<'a> {
    /// The cell.
    pub cell: &'a Cell,
    /// Where holes go that this cell has no value for.
    pub missing: Rc<RefCell<Vec<Diagnostic>>>,
}

impl Filler<'_> {
    /// The text of a template. Every axis and attribute was checked when the Buildfile was
    /// resolved; what a single value of an axis lacks is noted.
    pub fn text(&self, template: &Template) -> String {
        self.fill(template, |_| None)
    }

    /// Notes the holes that have no value here; `own` ones are filled elsewhere.
    pub fn check(&self, template: &Template, own: impl Fn(&Hole) -> bool) {
        // A value of an axis has its name; only attributes may lack.
        let asked = template.holes().filter(|hole| hole.attribute.is_some() && !own(hole));
        let lacking = asked.filter(|hole| self.value(hole).is_none());
        lacking.for_each(|hole| self.missing.borrow_mut().push(self.lacking(template, hole)));
    }

    /// The texts of several templates.
    pub fn texts(&self, templates: &[Template]) -> Vec<String> {
        templates.iter().map(|template| self.text(template)).collect()
    }

    /// A text in which versions stand as packages have them.
    pub fn packaged(&self, template: &Template) -> String {
        self.fill(template, |hole| self.value(hole).map(|version| packaged_version(version).into()))
    }

    fn value(&self, hole: &Hole) -> Option<&str> {
        value(hole, self.cell)
    }

    /// The same, if the cell has a value for every hole.
    pub fn filled(&self, template: &Template) -> Option<String> {
        let lacking = self.missing.borrow().len();
        let text = self.text(template);
        (self.missing.borrow().len() == lacking).then_some(text)
    }

    fn fill(&self, template: &Template, own: impl Fn(&Hole) -> Option<Cow<'static, str>>) -> String {
        let filled = template.fill(|hole| {
            let value = own(hole).or_else(|| self.value(hole).map(Cow::Borrowed));
            Some(value.unwrap_or_else(|| {
                self.missing.borrow_mut().push(self.lacking(template, hole));
                Cow::default()
            }))
        });
        filled.unwrap_or_default()
    }

    fn lacking(&self, template: &Template, hole: &Hole) -> Diagnostic {
        let value = self.cell.get(&hole.name, None).unwrap_or(&hole.name);
        let attribute = hole.attribute.as_deref().unwrap_or_default();
        let message = format!("{} '{value}' has no attribute '{attribute}'", hole.name);
        let span = template.span.of_piece(&hole.written());
        let help = format!("give it one, or leave '{value}' out by where or exclude");
        Diagnostic::error(&span, message, "needed here").help(help)
    }
}
