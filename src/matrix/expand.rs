use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Axes, Cell, Coordinate};
use crate::buildfile::{Diagnostic, Dimension, Predicate, Rule, RuleKind, Target};

/// Finds the cells of targets.
pub struct Expander<'a> {
    axes: &'a Axes,
    rules: &'a [Rule],
    /// How many cells each rule took out.
    effect: Vec<usize>,
}

/// Which points of an axis meet a predicate.
struct Test {
    axis: usize,
    meets: Vec<bool>,
}

impl<'a> Expander<'a> {
    /// For the given axes and rules.
    pub fn new(axes: &'a Axes, rules: &'a [Rule]) -> Self {
        Self { axes, rules, effect: vec![0; rules.len()] }
    }

    /// The cells of `target`, in the order of the axes' values.
    pub fn cells(&mut self, target: &Target) -> Vec<Cell> {
        self.cells_over(&target.over, &target.filter)
    }

    /// The cells of whatever spans `over` and is limited to `filter`.
    pub fn cells_over(&mut self, over: &[Dimension], filter: &[Predicate]) -> Vec<Cell> {
        let dimensions = self.dimensions(over);
        let mut axes: Vec<usize> = dimensions.iter().map(|(axis, _)| *axis).collect();
        axes.dedup();
        let filter = self.tests(filter, &axes).unwrap_or_default();
        let rules = self.applicable_rules(&axes);
        let mut cells = BTreeSet::new();
        for points in Product::new(axes.iter().map(|axis| self.axes.at(*axis).points.len()).collect()) {
            let point_on = |axis: usize| axes.iter().position(|a| *a == axis).map(|at| points[at]);
            let met = |tests: &[Test]| tests.iter().all(|t| point_on(t.axis).is_some_and(|p| t.meets[p]));
            if met(&filter) && self.is_included(&rules, met) {
                cells.extend(self.cell(&dimensions, point_on));
            }
        }
        cells.into_iter().collect()
    }

    /// Rules that took nothing out of any target's cells.
    pub fn idle_rules(&self) -> Vec<Diagnostic> {
        let idle = self
            .rules
            .iter()
            .zip(&self.effect)
            .filter(|(rule, effect)| rule.kind == RuleKind::Exclude && **effect == 0);
        idle.map(|(rule, _)| {
            let message = "this rule excludes nothing";
            Diagnostic::warning(&rule.span, message, "no cell meets it")
                .help("drop it, or look at the selection and at the names in it")
        })
        .collect()
    }

    /// Whether the Buildfile lets go on without what is in this cell.
    pub fn is_optional(&self, cell: &Cell) -> bool {
        let meets = |predicate: &Predicate| {
            let value = cell.get(self.axes, &predicate.axis, predicate.attribute.as_deref());
            value.is_some_and(|value| predicate.condition.holds(value))
        };
        let optional = self.rules.iter().filter(|rule| rule.kind == RuleKind::Optional);
        optional.into_iter().any(|rule| rule.predicates.iter().all(meets))
    }

    /// Later rules win.
    fn is_included(&mut self, rules: &[(usize, Vec<Test>)], met: impl Fn(&[Test]) -> bool) -> bool {
        let last = rules.iter().rev().find(|(_, tests)| met(tests));
        match last {
            Some((rule, _)) if self.rules[*rule].kind == RuleKind::Exclude => {
                self.effect[*rule] += 1;
                false
            }
            _ => true,
        }
    }

    /// The dimensions with the places of their axes, in declared order.
    fn dimensions(&self, over: &[Dimension]) -> Vec<(usize, Arc<Dimension>)> {
        let mut dimensions: Vec<_> = over
            .iter()
            .filter_map(|dimension| Some((self.axes.get(&dimension.axis)?.0, Arc::new(dimension.clone()))))
            .collect();
        dimensions.sort();
        dimensions.dedup();
        dimensions
    }

    /// Rules all of whose axes the target spans; others do not touch it.
    fn applicable_rules(&self, axes: &[usize]) -> Vec<(usize, Vec<Test>)> {
        let rules = self.rules.iter().enumerate().filter(|(_, rule)| rule.kind != RuleKind::Optional);
        rules.filter_map(|(at, rule)| Some((at, self.tests(&rule.predicates, axes)?))).collect()
    }

    fn tests(&self, predicates: &[Predicate], axes: &[usize]) -> Option<Vec<Test>> {
        predicates.iter().map(|predicate| self.test(predicate, axes)).collect()
    }

    fn test(&self, predicate: &Predicate, axes: &[usize]) -> Option<Test> {
        let (axis, resolved) = self.axes.get(&predicate.axis)?;
        let meets = resolved
            .points
            .iter()
            .map(|point| point.get(predicate.attribute.as_deref()))
            .map(|value| value.is_some_and(|value| predicate.condition.holds(value)))
            .collect();
        axes.contains(&axis).then_some(Test { axis, meets })
    }

    /// None if a value has not the attribute that its axis is grouped by.
    fn cell(
        &self,
        dimensions: &[(usize, Arc<Dimension>)],
        point_on: impl Fn(usize) -> Option<usize>,
    ) -> Option<Cell> {
        let coordinates = dimensions.iter().map(|(axis, dimension)| {
            let resolved = self.axes.at(*axis);
            let point = point_on(*axis)?;
            let value = resolved.points[point].get(dimension.attribute.as_deref())?;
            let first = match &dimension.attribute {
                None => point,
                own => resolved.points.iter().position(|point| point.get(own.as_deref()) == Some(value))?,
            };
            Some(Coordinate { axis: *axis, dimension: dimension.clone(), point: first, value: value.into() })
        });
        Some(Cell::new(coordinates.collect::<Option<_>>()?))
    }
}

/// All combinations of `0..length` for each length, the last one turning fastest.
struct Product {
    lengths: Vec<usize>,
    next: Option<Vec<usize>>,
}

impl Product {
    fn new(lengths: Vec<usize>) -> Self {
        let next = (!lengths.contains(&0)).then(|| vec![0; lengths.len()]);
        Self { lengths, next }
    }
}

impl Iterator for Product {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let current = self.next.take()?;
        let mut following = current.clone();
        for at in (0..following.len()).rev() {
            following[at] += 1;
            if following[at] < self.lengths[at] {
                self.next = Some(following);
                break;
            }
            following[at] = 0;
        }
        Some(current)
    }
}
