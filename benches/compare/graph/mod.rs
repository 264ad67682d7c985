//! The graph: what to do is found out, done, and found to be done, beside ninja and make.

mod rows;
mod shape;
mod side;

pub use rows::measure;
