//! The matrix without a selection: what else could be there.

use super::build::Builder;
use super::text::value;
use crate::buildfile::{Buildfile, Dimension, Index, Predicate, Reference, Target, Template, Version};
use crate::matrix::{Axes, Cell, Expander, Join};

impl Builder<'_> {
    /// The newest value of a dimension that a package has which agrees with the index's cell: of
    /// those that are selected, and of those that a run without a selection on the command line
    /// builds. So a run for an old version never passes for the newest.
    pub(super) fn newest_value(
        &self,
        target: &Target,
        index: &Index,
        dimension: &Dimension,
        cell: &Cell,
        selected: &[String],
    ) -> Option<String> {
        let whole = Axes::resolve(self.buildfile, self.lock, &[]).ok();
        let values = whole.map(|axes| self.values_in(&axes, target, index, dimension, cell));
        let all = values.into_iter().flatten().chain(selected.iter().cloned());
        all.max_by_key(|value| Version::new(value.as_str()))
    }

    /// The values of a dimension in the cells of an index's packages, with these axes.
    fn values_in(
        &self,
        axes: &Axes,
        target: &Target,
        index: &Index,
        dimension: &Dimension,
        cell: &Cell,
    ) -> Vec<String> {
        let mut expander = Expander::new(axes, &self.buildfile.rules);
        let name = cell.to_string();
        let Some(cell) = expander.cells(target).into_iter().find(|cell| cell.to_string() == name) else {
            return Vec::new();
        };
        let mut values = Vec::new();
        for reference in &index.packages {
            let Some(package) = self.buildfile.target(&reference.name) else { continue };
            let cells = expander.cells(package);
            let items = cells.iter().cloned().zip(&cells).collect();
            let join = Join::new(axes, &package.over, &target.over, &reference.fixed, items);
            let agreeing = join.all(&cell);
            let value = |cell: &Cell| value_of(cell, dimension);
            values.extend(agreeing.into_iter().filter_map(value));
        }
        values
    }

    /// Whether a package of the index is in that suite in any cell, selected or not, of this
    /// profile or not. Of a suite that is named by a version nobody knows.
    pub(super) fn may_have_suite(&self, index: &Index, suite: &Template, name: &str) -> bool {
        let axes_named = || suite.holes().filter_map(|hole| self.buildfile.axis(&hole.name));
        if axes_named().any(|axis| axis.is_open()) {
            return true;
        }
        let unlimited = Buildfile { choice: Vec::new(), ..self.buildfile.clone() };
        let Ok(axes) = Axes::resolve(&unlimited, self.lock, &[]) else { return true };
        let over: Vec<Dimension> =
            axes_named().map(|axis| Dimension { axis: axis.name.clone(), attribute: None }).collect();
        let is_spanned = |predicate: &&Predicate| over.iter().any(|one| one.axis == predicate.axis);
        packages(self.buildfile, index).any(|package| {
            let filter: Vec<Predicate> = package.filter.iter().filter(is_spanned).cloned().collect();
            let cells = Expander::new(&axes, &self.buildfile.rules).cells_over(&over, &filter);
            let filled = |cell: &Cell| suite.fill(|hole| value(hole, cell)).ok();
            cells.iter().any(|cell| filled(cell).as_deref() == Some(name))
        })
    }
}

fn packages<'b>(buildfile: &'b Buildfile, index: &'b Index) -> impl Iterator<Item = &'b Target> {
    index.packages.iter().filter_map(|Reference { name, .. }| buildfile.target(name))
}

/// The value of a dimension in a cell; none if the cell does not span it.
pub(super) fn value_of(cell: &Cell, dimension: &Dimension) -> Option<String> {
    cell.get(&dimension.axis, dimension.attribute.as_deref()).map(str::to_owned)
}
