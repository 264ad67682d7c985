//! The publish room: signs an index and commits it to where clients read it.
//!
//! A commit is one atomic step: before it every client sees the old generation whole, after it
//! the new one. Below `<root>/<prefix>/` of a [`DirectoryTarget`]:
//!
//! | path | content |
//! | --- | --- |
//! | `pool/` | package files, created once and never changed |
//! | `dists` | symbolic link to `.generations/<id>/dists`; replacing it is the commit |
//! | `*.sources`, `*.repo` | what subscribes a machine to it, likewise |
//! | `key.asc`, `key.gpg` | the public keys, through `dists`, so they change with it |
//! | `.generations/<id>/` | one generation: `dists/`, the keys, `state.json`, and `records/`, from which indices are made again |
//! | `.generations/lock` | held by whoever publishes |
//!
//! An rpm repository has `packages/` for `pool/` and `repodata` for `dists`, which leads to
//! `.generations/<id>/plain`, the metadata for clients of the root. `mirrorlist` goes through
//! `repodata`, as the keys do, and names `gen/<id>/`; `gen` is another name of `.generations`.

mod content;
mod directory;
mod effect;
mod error;
mod files;
mod generation;
mod keep;
mod layout;
mod prepare;
mod subscription;
#[cfg(test)]
mod tests;

pub use directory::{DirectoryTarget, Outcome, Progress, Repository};
pub use effect::{Changed, Effect, Replaced, SuiteEffect};
pub use error::PublishError;
pub use generation::{Generation, PublishedPackage};
