//! The matrix: which values stand on each axis, which cells a target has, and which cells of
//! two targets belong together.

mod axes;
mod cell;
mod expand;
mod join;

pub use axes::{Axes, Point, ResolvedAxis, selection_on};
pub use cell::{Cell, Coordinate, Place};
pub use expand::Expander;
pub use join::{Join, best};

#[cfg(test)]
mod tests;
