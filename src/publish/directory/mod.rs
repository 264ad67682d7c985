//! A directory: generations lie beside each other, and one rename of a link makes the next one live.

mod files;
mod layout;
mod room;
mod target;

pub use target::DirectoryTarget;
