use crate::buildfile::{Template, is_auto};
use crate::matrix::{Axes, Cell};

/// Fills templates from one cell.
#[derive(Clone, Copy)]
pub struct Filler<'a> {
    /// All axes.
    pub axes: &'a Axes,
    /// The cell.
    pub cell: &'a Cell,
}

impl Filler<'_> {
    /// The text of a template. Every hole was checked when the Buildfile was resolved; one that a
    /// single value of an axis has no attribute for is left empty.
    pub fn text(&self, template: &Template) -> String {
        let filled = template.fill(|hole| {
            let value = self.cell.get(self.axes, &hole.name, hole.attribute.as_deref());
            Some(value.unwrap_or_default().to_owned())
        });
        filled.unwrap_or_default()
    }

    /// A script, in which `{jobs}` is told at run time: it must not be in the key.
    pub fn script(&self, template: &Template) -> String {
        let filled = template.fill(|hole| match hole.name.as_str() {
            "jobs" => Some("$FORGE_JOBS".to_owned()),
            _ => Some(self.cell.get(self.axes, &hole.name, hole.attribute.as_deref())?.to_owned()),
        });
        filled.unwrap_or_default()
    }

    /// The texts of several templates.
    pub fn texts(&self, templates: &[Template]) -> Vec<String> {
        templates.iter().map(|template| self.text(template)).collect()
    }

    /// Relations, the generated ones by the variable that dpkg-shlibdeps sets.
    pub fn relations(&self, templates: &[Template]) -> Vec<String> {
        let generated = "${shlibs:Depends}".to_owned();
        let text =
            |template: &Template| if is_auto(template) { generated.clone() } else { self.text(template) };
        templates.iter().map(text).collect()
    }
}
