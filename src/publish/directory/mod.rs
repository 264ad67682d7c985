//! A directory: generations lie beside each other, and one rename of a link makes the next one live.

mod files;
mod incoming;
mod layout;
mod pool;
mod room;
mod state;
mod target;

pub use target::DirectoryTarget;
