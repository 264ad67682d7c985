use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Axes, Cell, Coordinate, Point, ResolvedAxis};
use crate::buildfile::{Diagnostic, Dimension, Predicate, Rule, RuleKind, Target};

/// Finds the cells of targets.
pub struct Expander<'a> {
    axes: &'a Axes,
    rules: &'a [Rule],
    /// The tests of each rule.
    tests: Vec<Vec<Test>>,
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
        let tests = |rule: &Rule| rule.predicates.iter().filter_map(|p| Test::new(axes, p)).collect();
        Self { axes, rules, tests: rules.iter().map(tests).collect(), effect: vec![0; rules.len()] }
    }

    /// The cells of `target`, in the order of the axes' values.
    pub fn cells(&mut self, target: &Target) -> Vec<Cell> {
        self.cells_over(&target.over, &target.filter)
    }

    /// The selected cells of whatever spans `over` and is limited to `filter`.
    pub fn cells_over(&mut self, over: &[Dimension], filter: &[Predicate]) -> Vec<Cell> {
        self.cells_at(over, filter, |_, axis| axis.selected_places())
    }

    /// The cells that agree, also beyond the selection: on each axis the selected values that
    /// agree, or all that agree where none of those is selected.
    pub fn cells_beyond(
        &mut self,
        over: &[Dimension],
        filter: &[Predicate],
        agrees: impl Fn(usize, &Point) -> bool,
    ) -> Vec<Cell> {
        self.cells_at(over, filter, |at, axis| {
            let agreeing = axis.places(|point| agrees(at, point));
            let selected: Vec<usize> = agreeing.iter().copied().filter(|at| axis.selected[*at]).collect();
            if selected.is_empty() { agreeing } else { selected }
        })
    }

    /// The cells on the given places of each axis.
    fn cells_at(
        &mut self,
        over: &[Dimension],
        filter: &[Predicate],
        places: impl Fn(usize, &ResolvedAxis) -> Vec<usize>,
    ) -> Vec<Cell> {
        let dimensions = self.dimensions(over);
        let mut axes: Vec<usize> = dimensions.iter().map(|(axis, _)| *axis).collect();
        axes.dedup();
        let filter: Vec<Test> = filter.iter().filter_map(|p| Test::new(self.axes, p)).collect();
        let rules = self.applicable_rules(&axes);
        let places: Vec<Vec<usize>> = axes.iter().map(|axis| places(*axis, self.axes.at(*axis))).collect();
        let mut cells = BTreeSet::new();
        for turn in Product::new(places.iter().map(Vec::len).collect()) {
            let points: Vec<usize> = turn.iter().zip(&places).map(|(at, places)| places[*at]).collect();
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
    fn is_included(&mut self, rules: &[usize], met: impl Fn(&[Test]) -> bool) -> bool {
        let last = rules.iter().rev().find(|rule| met(&self.tests[**rule]));
        match last {
            Some(rule) if self.rules[*rule].kind == RuleKind::Exclude => {
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
    fn applicable_rules(&self, axes: &[usize]) -> Vec<usize> {
        let is_met = |at: &usize| {
            let is_rule = self.rules[*at].kind != RuleKind::Optional;
            is_rule && self.tests[*at].iter().all(|test| axes.contains(&test.axis))
        };
        (0..self.rules.len()).filter(is_met).collect()
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

impl Test {
    /// None if there is no such axis.
    fn new(axes: &Axes, predicate: &Predicate) -> Option<Self> {
        let (axis, resolved) = axes.get(&predicate.axis)?;
        Some(Self { axis, meets: resolved.points.iter().map(|point| point.meets(predicate)).collect() })
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
