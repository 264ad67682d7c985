//! The publish room: signs an index and commits it to where clients read it.
//!
//! What is live and what comes make a [`Repository`]'s content, and that makes a draft: every file of the
//! next generation, signed, with its role for clients. Targets differ in how they write a draft, make it
//! live and collect what is past its retention:
//!
//! **A directory** ([`DirectoryTarget`]). Below `<root>/<prefix>/`:
//!
//! | path | content |
//! | --- | --- |
//! | `pool/` | package files, created once and never changed |
//! | `dists` | symbolic link to `.generations/<id>/dists`; replacing it is the commit |
//! | `*.sources`, `*.repo` | what subscribes a machine to it, likewise |
//! | `key.asc`, `key.gpg` | the public keys, through `dists`, so they change with it |
//! | `.generations/<id>/` | one generation: `dists/`, the keys, `state.json`, `packages/`, lists of them that generations share, `files.json`, which lists all else, and `records/`, bundles of what indices are made from |
//! | `.generations/lock` | held by whoever publishes |
//!
//! An rpm repository has `packages/` for `pool/` and `repodata` for `dists`, which leads to
//! `.generations/<id>/plain`, the metadata for clients of the root. `mirrorlist` goes through
//! `repodata`, as the keys do, and names `gen/<id>/`; `gen` is another name of `.generations`.
//!
//! **A part of a bucket** ([`BucketTarget`]). Clients find the same files under the same names; what
//! forge itself reads is below `.forge/`:
//!
//! | object | content |
//! | --- | --- |
//! | `.forge/state.json` | which generation is live; the one object by which publishers race |
//! | `.forge/generations/<id>.json.zst` | one generation, its packages and its other files; never changed |
//! | `.forge/bundles/<digest>.tar.zst` | what indices are made from, and files that a generation signed; never changed |
//! | `.forge/probe` | shows whether the service heeds conditions |

mod content;
mod directory;
mod draft;
mod edition;
mod effect;
mod error;
mod generation;
mod keep;
mod layout;
mod records;
mod repository;
mod s3;
mod subscription;
mod target;
#[cfg(test)]
mod tests;

pub use directory::DirectoryTarget;
pub use edition::Edition;
pub use effect::{Changed, Effect, Replaced, SuiteEffect};
pub use error::PublishError;
pub use generation::{Generation, PublishedPackage};
pub use repository::{Checked, Outcome, Past, Progress, Repository};
pub use s3::{BucketTarget, Request};
pub use target::{RETENTION, Target};
