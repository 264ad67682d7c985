//! The graph: what to do is found out, done, and found to be done, beside ninja and make.

pub mod cold;
pub mod hash;
pub mod idle;
pub mod matrix;
pub mod restore;
pub mod shape;
mod tree;
