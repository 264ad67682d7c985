use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::buildfile::{
    Axis, AxisValues, Buildfile, Diagnostic, Faults, Origin, Predicate, Report, Selection, Version,
};
use crate::upstream::Lock;

/// All axes with their values, and which of these are selected.
#[derive(Clone, Debug)]
pub struct Axes {
    axes: Vec<ResolvedAxis>,
}

/// An axis with its values.
#[derive(Clone, Debug)]
pub struct ResolvedAxis {
    /// Its name.
    pub name: String,
    /// All its values: versions oldest first, others as declared.
    pub points: Vec<Point>,
    /// Whether the value at each place is selected.
    pub selected: Vec<bool>,
    /// Whether the values are versions.
    pub is_version: bool,
}

/// A value on an axis.
#[derive(Clone, Debug)]
pub struct Point {
    /// The value.
    pub name: Arc<str>,
    /// What is known of it.
    pub attributes: Arc<BTreeMap<String, String>>,
}

impl Point {
    /// Whether it meets a condition on its axis.
    pub fn meets(&self, predicate: &Predicate) -> bool {
        self.get(predicate.attribute.as_deref()).is_some_and(|value| predicate.condition.holds(value))
    }

    /// The value itself, or one of its attributes.
    pub fn get(&self, attribute: Option<&str>) -> Option<&str> {
        match attribute {
            None => Some(&self.name),
            Some(attribute) => self.attributes.get(attribute).map(String::as_str),
        }
    }
}

impl ResolvedAxis {
    /// The places of the values that are right, in order.
    pub fn places(&self, is_right: impl Fn(&Point) -> bool) -> Vec<usize> {
        (0..self.points.len()).filter(|at| is_right(&self.points[*at])).collect()
    }

    /// The places of the selected values, in order.
    pub fn selected_places(&self) -> Vec<usize> {
        (0..self.points.len()).filter(|at| self.selected[*at]).collect()
    }
}

impl Axes {
    /// The axes of `buildfile`, with the selection set to what `selection` (the command line's) and the
    /// profile's choices leave. A selection on an axis stands for the profile's choice on it.
    ///
    /// # Errors
    /// Axes, attributes and values that a selection names and that are not there, and axes of
    /// which nothing is left.
    pub fn resolve(buildfile: &Buildfile, lock: &Lock, selection: &[Predicate]) -> Result<Self, Faults> {
        let mut report = Report::default();
        let mut axes = Vec::new();
        for axis in &buildfile.axes {
            let own = selection_on(&axis.name, buildfile, selection);
            let all = all_points(axis, buildfile, lock, &own);
            report_unknown_values(axis, &all, &own.0, &mut report);
            let selected = selected(axis, buildfile, &all, &own);
            let is_version = matches!(axis.values, AxisValues::Upstream(_));
            axes.push(ResolvedAxis { name: axis.name.clone(), points: all, selected, is_version });
        }
        for predicate in selection {
            report_unknown_axis(predicate, buildfile, &mut report);
        }
        report.finish(Self { axes }).map(|(axes, _)| axes)
    }

    /// The axis called `name`.
    pub fn get(&self, name: &str) -> Option<(usize, &ResolvedAxis)> {
        self.axes.iter().enumerate().find(|(_, axis)| axis.name == name)
    }

    /// The axis at a place of the declared order.
    pub fn at(&self, index: usize) -> &ResolvedAxis {
        &self.axes[index]
    }
}

/// What is selected on an axis: by `selection` (the command line's), or else by the profile.
pub fn selection_on<'a>(axis: &str, buildfile: &'a Buildfile, selection: &'a [Predicate]) -> Selection<'a> {
    let own: Vec<&Predicate> = selection.iter().filter(|predicate| predicate.axis == axis).collect();
    let chosen = buildfile.choice.iter().map(|(predicate, _)| predicate);
    Selection(match own.is_empty() {
        true => chosen.filter(|predicate| predicate.axis == axis).collect(),
        false => own,
    })
}

fn all_points(axis: &Axis, buildfile: &Buildfile, lock: &Lock, selection: &Selection<'_>) -> Vec<Point> {
    match &axis.values {
        AxisValues::Given(values) => values
            .iter()
            .map(|value| Point { name: value.name.clone(), attributes: value.attributes.clone() })
            .collect(),
        AxisValues::Upstream(upstream) => {
            let mut versions = versions_of(upstream, buildfile, lock, selection);
            versions.sort();
            versions.iter().map(version_point).collect()
        }
    }
}

fn versions_of(
    upstream: &str,
    buildfile: &Buildfile,
    lock: &Lock,
    selection: &Selection<'_>,
) -> Vec<Version> {
    match buildfile.upstream(upstream).map(|upstream| &upstream.origin) {
        Some(Origin::List(listed)) => listed.iter().map(|v| Version::new(v.version.as_str())).collect(),
        Some(Origin::Path(_)) => vec![Version::new("local")],
        _ => lock.selectable(upstream, selection),
    }
}

/// Whether the value at each place is selected; of versions also whether they are to stand there.
fn selected(axis: &Axis, buildfile: &Buildfile, all: &[Point], selection: &Selection<'_>) -> Vec<bool> {
    let upstream = match &axis.values {
        AxisValues::Given(_) => None,
        AxisValues::Upstream(upstream) => buildfile.upstream(upstream),
    };
    let Some(upstream) = upstream else {
        return all.iter().map(|point| selection.0.iter().all(|predicate| point.meets(predicate))).collect();
    };
    let versions: Vec<Version> = all.iter().map(|point| Version::new(&*point.name)).collect();
    let chosen = match selection.is_empty() {
        true => upstream.policy.standing(&versions),
        false => upstream.policy.selected(&versions, selection),
    };
    versions.iter().map(|version| chosen.contains(version)).collect()
}

fn version_point(version: &Version) -> Point {
    let attributes = [("major".to_owned(), version.major()), ("minor".to_owned(), version.minor())];
    Point { name: version.to_string().into(), attributes: Arc::new(attributes.into()) }
}

fn report_unknown_axis(predicate: &Predicate, buildfile: &Buildfile, report: &mut Report) {
    if buildfile.axis(&predicate.axis).is_none() {
        let message = format!("there is no axis '{}'", predicate.axis);
        let known = buildfile.axes.iter().map(|axis| axis.name.as_str());
        let diagnostic = Diagnostic::placeless(message);
        report.push(match buildfile.axes.is_empty() {
            true => diagnostic.help("the Buildfile declares no axis"),
            false => diagnostic.suggest(&predicate.axis, known),
        });
    }
}

/// A value that is named and not there is a slip, where `!` or a comparison is not.
fn report_unknown_values(axis: &Axis, all: &[Point], predicates: &[&Predicate], report: &mut Report) {
    // An empty version axis is told once, by whoever needs it.
    if all.is_empty() {
        return;
    }
    let faults: Vec<Diagnostic> =
        predicates.iter().flat_map(|predicate| unknown_names(axis, all, predicate)).collect();
    let is_sound = faults.is_empty();
    faults.into_iter().for_each(|fault| report.push(fault));
    if is_sound && !all.iter().any(|point| predicates.iter().all(|predicate| point.meets(predicate))) {
        report.push(nothing_left(axis, predicates));
    }
}

/// What a predicate names and no value has.
fn unknown_names(axis: &Axis, all: &[Point], predicate: &Predicate) -> Vec<Diagnostic> {
    let values: BTreeSet<&str> =
        all.iter().filter_map(|point| point.get(predicate.attribute.as_deref())).collect();
    if let (true, Some(attribute)) = (values.is_empty(), &predicate.attribute) {
        let known: BTreeSet<&str> =
            all.iter().flat_map(|point| point.attributes.keys()).map(String::as_str).collect();
        let message = format!("no value of axis '{}' has an attribute '{attribute}'", axis.name);
        let span = predicate.place_of(attribute);
        let diagnostic = Diagnostic::maybe_at(span.as_ref(), message, "unknown attribute");
        return vec![diagnostic.suggest(attribute, known)];
    }
    let is_known = |operand: &str| {
        values.iter().any(|value| *value == operand || Version::new(*value).has_prefix(operand))
    };
    let unknown = predicate.condition.operands().filter(|operand| !is_known(operand));
    unknown
        .map(|operand| {
            let message = format!("{} has no value '{operand}'", predicate.name());
            let span = predicate.place_of(operand);
            let diagnostic = Diagnostic::maybe_at(span.as_ref(), message, "unknown value");
            diagnostic.suggest(operand, values.iter().copied())
        })
        .collect()
}

fn nothing_left(axis: &Axis, predicates: &[&Predicate]) -> Diagnostic {
    let texts: Vec<String> =
        predicates.iter().map(|p| format!("{}={}", p.name(), p.condition.as_str())).collect();
    let message = format!("nothing is left on axis '{}' by {}", axis.name, texts.join(" "));
    let span = predicates.iter().find_map(|predicate| predicate.span.as_ref());
    Diagnostic::maybe_at(span, message, "chosen here").help("drop or change one of the conditions")
}
