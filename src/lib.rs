//! forge: a declarative build-graph engine for teams that build packages over a matrix of
//! versions, distributions and architectures, and publish them.
//!
//! The flow goes one way, and so do the imports: `buildfile` → `matrix` → `graph` → `plan` →
//! `execute`; `digest`, `http`, `s3`, `store`, `keys`, `upstream` and `runner` serve them; `package`, `index` and
//! `publish` are what the last nodes do. `ui` listens, `cli` calls. See `docs/design.md`.

pub mod buildfile;
pub mod cli;
pub mod digest;
pub mod execute;
pub mod graph;
mod http;
pub mod index;
pub mod keys;
pub mod matrix;
pub mod package;
pub mod plan;
pub mod publish;
pub mod runner;
pub mod s3;
pub mod store;
pub mod ui;
pub mod upstream;
