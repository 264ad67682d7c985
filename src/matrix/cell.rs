use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::buildfile::{Dimension, Predicate};

use super::Axes;

/// One value on each of some dimensions, in the declared order of their axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// Cells beside each other share them.
    coordinates: Arc<[Arc<Coordinate>]>,
}

/// A value on one dimension.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Coordinate {
    /// Place of the axis in the declared order.
    pub axis: usize,
    /// The dimension.
    pub dimension: Arc<Dimension>,
    /// For a whole axis the place of the value on it; for an attribute that of the first value
    /// that has it.
    pub point: usize,
    /// The value.
    pub value: Arc<str>,
    /// What is known of the value on a whole axis.
    pub attributes: Option<Arc<BTreeMap<String, String>>>,
    /// `axis=`: what stands before the value in the names of nodes. The coordinates of a dimension share it.
    pub prefix: Arc<str>,
}

impl Cell {
    /// A cell of the given coordinates, in the declared order of their axes.
    pub fn new(coordinates: impl IntoIterator<Item = Arc<Coordinate>>) -> Self {
        Self { coordinates: coordinates.into_iter().collect() }
    }

    /// The coordinates.
    pub fn coordinates(&self) -> &[Arc<Coordinate>] {
        &self.coordinates
    }

    /// The same cell with another value at one place of its coordinates.
    pub fn with_value(&self, place: usize, value: &str) -> Self {
        let mut coordinates = self.coordinates.to_vec();
        Arc::make_mut(&mut coordinates[place]).value = value.into();
        Self::new(coordinates)
    }

    /// Whether it meets all conditions, where they are of axes that it has. A group of values
    /// meets one if one of its values does.
    pub fn meets(&self, axes: &Axes, predicates: &[Predicate]) -> bool {
        let meets = |coordinate: &Coordinate, predicate: &Predicate| match &coordinate.dimension.attribute {
            None => axes.at(coordinate.axis).points[coordinate.point].meets(predicate),
            own => {
                let axis = axes.at(coordinate.axis);
                let group = axis.places(|point| point.get(own.as_deref()) == Some(&coordinate.value));
                group.into_iter().any(|at| axis.selected[at] && axis.points[at].meets(predicate))
            }
        };
        predicates.iter().all(|predicate| {
            let mut on_axis = self.coordinates.iter().filter(|c| c.dimension.axis == predicate.axis);
            on_axis.all(|coordinate| meets(coordinate, predicate))
        })
    }

    /// The words that its text is made of.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let comma = |at| if at == 0 { "" } else { "," };
        self.coordinates
            .iter()
            .enumerate()
            .flat_map(move |(at, coordinate)| [comma(at), &*coordinate.prefix, &*coordinate.value])
    }

    /// What is known here of an axis or an attribute.
    pub fn get(&self, axis: &str, attribute: Option<&str>) -> Option<&str> {
        let mut on_axis = self.coordinates.iter().filter(|coordinate| coordinate.dimension.axis == axis);
        on_axis.find_map(|coordinate| match (attribute, &coordinate.attributes) {
            (Some(attribute), Some(known)) => known.get(attribute).map(String::as_str),
            (asked, _) if asked == coordinate.dimension.attribute.as_deref() => Some(&*coordinate.value),
            _ => None,
        })
    }
}

/// `axis=value,axis=value`.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words().try_for_each(|word| f.write_str(word))
    }
}
