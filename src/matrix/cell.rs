use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::buildfile::{Dimension, Predicate};

use super::Axes;

/// One value on each of some dimensions, in the declared order of their axes.
#[derive(Clone)]
pub struct Cell {
    /// What all cells have that were made together: there may be many.
    all: Arc<Coordinates>,
    /// The place of its first coordinate.
    start: u32,
    /// How many it has.
    length: u32,
}

/// The coordinates of many cells.
#[derive(Debug, Default)]
pub(super) struct Coordinates {
    /// Those of each dimension, one behind the other.
    pub known: Vec<Arc<Coordinate>>,
    /// The places of those of each cell, in the declared order of their axes.
    pub of_cells: Vec<u32>,
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

/// Where a cell says something of an axis or an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Among its coordinates.
    coordinate: usize,
    /// Whether it is the value there, or an attribute of it.
    is_value: bool,
}

impl Cell {
    /// So many cells, all of as many dimensions.
    pub(super) fn all(coordinates: Coordinates, count: usize) -> Vec<Self> {
        let length = coordinates.of_cells.len() / count.max(1);
        let all = Arc::new(coordinates);
        let cell = |at| Self { all: all.clone(), start: (at * length) as u32, length: length as u32 };
        (0..count).map(cell).collect()
    }

    /// The coordinates.
    pub fn coordinates(&self) -> impl ExactSizeIterator<Item = &Coordinate> {
        self.places().iter().map(|place| &*self.all.known[*place as usize])
    }

    fn places(&self) -> &[u32] {
        let start = self.start as usize;
        &self.all.of_cells[start..start + self.length as usize]
    }

    /// The coordinate at a place among its own.
    fn coordinate(&self, at: usize) -> Option<&Coordinate> {
        Some(&*self.all.known[*self.places().get(at)? as usize])
    }

    /// The same cell with another value at one place of its coordinates.
    pub fn with_value(&self, place: usize, value: &str) -> Self {
        let mut known: Vec<_> = self.coordinates().cloned().collect();
        known[place].value = value.into();
        let of_cells = (0..self.length).collect();
        let known = known.into_iter().map(Arc::new).collect();
        Self { start: 0, length: self.length, all: Arc::new(Coordinates { known, of_cells }) }
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
            let mut on_axis = self.coordinates().filter(|c| c.dimension.axis == predicate.axis);
            on_axis.all(|coordinate| meets(coordinate, predicate))
        })
    }

    /// The words that its text is made of.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let comma = |at| if at == 0 { "" } else { "," };
        self.coordinates()
            .enumerate()
            .flat_map(move |(at, coordinate)| [comma(at), &*coordinate.prefix, &*coordinate.value])
    }

    /// What is known here of an axis or an attribute.
    pub fn get(&self, axis: &str, attribute: Option<&str>) -> Option<&str> {
        self.at(self.place(axis, attribute)?, attribute)
    }

    /// Where cells of these dimensions say something of an axis or an attribute. Its own dimension says what a value on the
    /// whole axis may lack.
    pub fn place(&self, axis: &str, attribute: Option<&str>) -> Option<Place> {
        let on_axis = || {
            let all = self.coordinates().enumerate();
            all.filter(|(_, coordinate)| coordinate.dimension.axis == axis)
        };
        let is_own = |(_, one): &(usize, &Coordinate)| one.dimension.attribute.as_deref() == attribute;
        let is_whole = |(_, one): &(usize, &Coordinate)| one.attributes.is_some();
        let own = || on_axis().find(is_own).map(|(coordinate, _)| Place { coordinate, is_value: true });
        own()
            .or_else(|| on_axis().find(is_whole).map(|(coordinate, _)| Place { coordinate, is_value: false }))
    }

    /// What is known at such a place of a cell of the same dimensions.
    pub fn at(&self, place: Place, attribute: Option<&str>) -> Option<&str> {
        let coordinate = self.coordinate(place.coordinate)?;
        match place.is_value {
            true => Some(&*coordinate.value),
            false => coordinate.attributes.as_ref()?.get(attribute?).map(String::as_str),
        }
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        self.coordinates().eq(other.coordinates())
    }
}

impl Eq for Cell {}

impl Hash for Cell {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.coordinates().for_each(|coordinate| coordinate.hash(state));
    }
}

impl PartialOrd for Cell {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cell {
    fn cmp(&self, other: &Self) -> Ordering {
        self.coordinates().cmp(other.coordinates())
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// `axis=value,axis=value`.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words().try_for_each(|word| f.write_str(word))
    }
}
