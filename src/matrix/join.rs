use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Axes, Cell, Point};
use crate::buildfile::{Dimension, Predicate, Version};

/// The join rule: target B uses target A, and the node of B in cell b depends on every node of A
/// whose cell agrees with b on the axes, or attributes, that both have. On an axis of which B
/// fixes what it uses, the cell of A has to meet that, whatever b is there.
pub struct Join<'a, T> {
    axes: &'a Axes,
    shared: Vec<Dimension>,
    fixed: &'a [Predicate],
    groups: HashMap<Vec<u8>, Vec<(Cell, T)>>,
}

impl<'a, T: Copy> Join<'a, T> {
    /// Groups what stands in the cells of A (spanning `used`) by what they share with B
    /// (spanning `user`), which fixes some coordinates.
    pub fn new(
        axes: &'a Axes,
        used: &[Dimension],
        user: &[Dimension],
        fixed: &'a [Predicate],
        items: Vec<(Cell, T)>,
    ) -> Self {
        let mut shared = shared_dimensions(used, user);
        shared.retain(|dimension| fixed.iter().all(|predicate| predicate.axis != dimension.axis));
        let mut groups: HashMap<_, Vec<(Cell, T)>> = HashMap::new();
        for (cell, item) in items.into_iter().filter(|(cell, _)| cell.meets(axes, fixed)) {
            groups.entry(values(&cell, &shared)).or_default().push((cell, item));
        }
        Self { axes, shared, fixed, groups }
    }

    /// Everything of A that agrees with `cell`.
    pub fn all(&self, cell: &Cell) -> Vec<T> {
        self.agreeing(cell).iter().map(|(_, item)| *item).collect()
    }

    /// The one that serves where a single one is needed: the newest version, the value declared
    /// first.
    pub fn best(&self, cell: &Cell) -> Option<T> {
        best(self.axes, self.agreeing(cell))
    }

    /// Whether a value on an axis of A agrees with `cell`, be it selected or not.
    pub fn agrees(&self, cell: &Cell, axis: usize, point: &Point) -> bool {
        let name = &self.axes.at(axis).name;
        let shared = self.shared.iter().filter(|dimension| dimension.axis == *name);
        let mut fixed = self.fixed.iter().filter(|predicate| predicate.axis == *name);
        fixed.all(|predicate| point.meets(predicate))
            && shared.into_iter().all(|dimension| {
                let attribute = dimension.attribute.as_deref();
                point.get(attribute) == cell.get(name, attribute)
            })
    }

    /// Whether anything is fixed.
    pub fn is_fixed(&self) -> bool {
        !self.fixed.is_empty()
    }

    fn agreeing(&self, cell: &Cell) -> &[(Cell, T)] {
        self.groups.get(&values(cell, &self.shared)).map_or(&[], Vec::as_slice)
    }
}

/// The one of several that serves where a single one is needed.
pub fn best<T: Copy>(axes: &Axes, items: &[(Cell, T)]) -> Option<T> {
    let best = items.iter().min_by(|(a, _), (b, _)| preference(axes, a, b));
    best.map(|(_, item)| *item)
}

fn preference(axes: &Axes, a: &Cell, b: &Cell) -> Ordering {
    let pairs = a.coordinates().zip(b.coordinates());
    pairs
        .map(|(a, b)| match axes.at(a.axis).is_version {
            true => Version::new(&*b.value).cmp(&Version::new(&*a.value)),
            false => a.point.cmp(&b.point),
        })
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// What both sides know: a whole axis tells all its attributes, an attribute only itself.
fn shared_dimensions(a: &[Dimension], b: &[Dimension]) -> Vec<Dimension> {
    let knows = |side: &[Dimension], dimension: &Dimension| {
        side.contains(dimension)
            || side.contains(&Dimension { axis: dimension.axis.clone(), attribute: None })
    };
    let mut shared: Vec<Dimension> =
        a.iter().chain(b).filter(|dimension| knows(a, dimension) && knows(b, dimension)).cloned().collect();
    shared.sort();
    shared.dedup();
    shared
}

/// The values of a cell on these dimensions, each after its length: an attribute may be any text.
fn values(cell: &Cell, shared: &[Dimension]) -> Vec<u8> {
    let mut values = Vec::new();
    for dimension in shared {
        let value = cell.get(&dimension.axis, dimension.attribute.as_deref()).unwrap_or_default();
        values.extend_from_slice(&value.len().to_le_bytes());
        values.extend_from_slice(value.as_bytes());
    }
    values
}
