//! Files on this machine that nodes take.

mod dirs;
mod trees;

pub use trees::{LocalTree, LocalTrees};
