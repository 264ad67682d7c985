//! The language: reads a Buildfile and what it includes, and points at every fault it finds.

mod body;
mod diagnostic;
mod document;
mod format;
mod known;
mod model;
mod parse;
mod policy;
mod predicate;
mod profile;
mod reader;
mod reference;
mod resolve;
mod source;
mod syntax;
mod template;
mod version;

pub use diagnostic::{Diagnostic, Faults, Report, nearest};
pub use format::format;
pub use model::*;
pub use parse::{files, load};
pub use policy::{Keep, NamedVersion, Selection, VersionPolicy};
pub use predicate::{Condition, Predicate, PredicateError};
pub use reference::Reference;
pub use source::{Source, Span, read_source};
pub use template::{Hole, Part, Template};
pub use version::Version;
