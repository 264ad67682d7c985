use std::collections::HashMap;
use std::sync::Arc;

use super::cell::Coordinates;
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
        let mut axes: Vec<usize> = dimensions.iter().map(|dimension| dimension.axis).collect();
        axes.dedup();
        let filter: Vec<Test> = filter.iter().filter_map(|p| Test::new(self.axes, p)).collect();
        let rules = self.applicable_rules(&axes);
        let has_all = |axis: usize, point: usize| {
            let mut on_axis = dimensions.iter().filter(|one| one.axis == axis);
            on_axis.all(|one| one.coordinates[point].is_some())
        };
        let places_on = |axis: &usize| {
            let mut places = places(*axis, self.axes.at(*axis));
            places.retain(|point| has_all(*axis, *point));
            places
        };
        let places: Vec<Vec<usize>> = axes.iter().map(places_on).collect();
        let place_of = |axis: usize| axes.iter().position(|own| *own == axis);
        let on_axes: Vec<usize> = dimensions.iter().filter_map(|one| place_of(one.axis)).collect();
        let mut coordinates = Coordinates::default();
        let known = dimensions.iter().map(|one| one.put_into(&mut coordinates.known)).collect::<Vec<_>>();
        let spanned: Vec<(Vec<u32>, usize)> = known.into_iter().zip(on_axes).collect();
        let turns: usize = places.iter().map(Vec::len).product();
        coordinates.of_cells.reserve((turns * spanned.len()).min(RESERVED));
        let mut count = 0;
        each_turn(&places, |points| {
            let point_on = |axis: usize| place_of(axis).map(|at| points[at]);
            let met = |tests: &[Test]| tests.iter().all(|t| point_on(t.axis).is_some_and(|p| t.meets[p]));
            if met(&filter) && self.is_included(&rules, met) {
                coordinates.of_cells.extend(spanned.iter().map(|(known, at)| known[points[*at]]));
                count += 1;
            }
        });
        let mut cells = Cell::all(coordinates, count);
        // Values on whole axes come in their order, and once.
        if dimensions.iter().any(|one| one.dimension.attribute.is_some()) {
            cells.sort_unstable();
            cells.dedup();
        }
        cells
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
            let value = cell.get(&predicate.axis, predicate.attribute.as_deref());
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

    /// The dimensions in the declared order of their axes.
    fn dimensions(&self, over: &[Dimension]) -> Vec<Spanned> {
        let found = |dimension: &Dimension| {
            let (axis, resolved) = self.axes.get(&dimension.axis)?;
            Some(Spanned::new(axis, resolved, dimension))
        };
        let mut dimensions: Vec<Spanned> = over.iter().filter_map(found).collect();
        dimensions.sort_by(|a, b| (a.axis, &a.dimension).cmp(&(b.axis, &b.dimension)));
        dimensions.dedup_by(|a, b| a.dimension == b.dimension);
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
}

/// Memory is asked for at once for no more coordinates than this: rules may leave few cells of many.
const RESERVED: usize = 1 << 20;

/// A dimension with the coordinate of each point of its axis, made once for all cells.
struct Spanned {
    axis: usize,
    dimension: Arc<Dimension>,
    /// None if a value has not the attribute that its axis is grouped by.
    coordinates: Vec<Option<Arc<Coordinate>>>,
}

impl Spanned {
    /// Adds the coordinates, and gives the place of each point's. A point that has none is in no cell.
    fn put_into(&self, known: &mut Vec<Arc<Coordinate>>) -> Vec<u32> {
        let put = |coordinate: &Option<Arc<Coordinate>>| {
            known.extend(coordinate.clone());
            known.len().saturating_sub(1) as u32
        };
        self.coordinates.iter().map(put).collect()
    }

    fn new<'p>(axis: usize, resolved: &'p ResolvedAxis, dimension: &Dimension) -> Self {
        let prefix: Arc<str> = format!("{}=", dimension.text()).into();
        let dimension = Arc::new(dimension.clone());
        let at = |point, value, attributes| {
            let (dimension, prefix) = (dimension.clone(), prefix.clone());
            Arc::new(Coordinate { axis, dimension, point, value, attributes, prefix })
        };
        let points = resolved.points.iter().enumerate();
        let coordinates = match &dimension.attribute {
            None => {
                let whole = |(place, point): (usize, &Point)| {
                    Some(at(place, point.name.clone(), Some(point.attributes.clone())))
                };
                points.map(whole).collect()
            }
            Some(attribute) => {
                // Points that have the same value share the coordinate of the first one.
                let mut firsts: HashMap<&'p str, Arc<Coordinate>> = HashMap::new();
                let mut shared = |place, value: &'p str| {
                    firsts.entry(value).or_insert_with(|| at(place, value.into(), None)).clone()
                };
                points.map(|(place, point)| Some(shared(place, point.get(Some(attribute))?))).collect()
            }
        };
        Self { axis, dimension, coordinates }
    }
}

impl Test {
    /// None if there is no such axis.
    fn new(axes: &Axes, predicate: &Predicate) -> Option<Self> {
        let (axis, resolved) = axes.get(&predicate.axis)?;
        Some(Self { axis, meets: resolved.points.iter().map(|point| point.meets(predicate)).collect() })
    }
}

/// Calls `visit` with every combination of one place on each axis, those on the last one turning fastest.
fn each_turn(places: &[Vec<usize>], mut visit: impl FnMut(&[usize])) {
    if places.iter().any(Vec::is_empty) {
        return;
    }
    let mut turn = vec![0; places.len()];
    let mut points: Vec<usize> = places.iter().map(|places| places[0]).collect();
    loop {
        visit(&points);
        let Some(at) = (0..places.len()).rev().find(|at| turn[*at] + 1 < places[*at].len()) else { return };
        turn[at] += 1;
        turn[at + 1..].fill(0);
        (at..places.len()).for_each(|at| points[at] = places[at][turn[at]]);
    }
}
