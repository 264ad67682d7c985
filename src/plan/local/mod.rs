//! Files on this machine that nodes take.

mod changed;
mod dirs;
mod trees;

pub use changed::Changed;
pub use trees::{LocalTree, LocalTrees};
