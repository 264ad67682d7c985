//! forge as a person has it: the real binary, in a directory of its own, with real sandboxes.
//!
//! Actions run in this machine's own tree (targets without an image), so that all these tests
//! need is a kernel that lets them make namespaces; `real`, `engines` and `images` need all that `tests/run` installs.

mod apt;
mod arm64;
mod bare;
mod default_matrix;
#[path = "../../src/s3/delay_proxy.rs"]
mod delay_proxy;
mod disk;
mod dnf;
#[path = "../../src/runner/tests/engine.rs"]
mod engine;
mod engines;
mod events;
mod failures;
#[path = "../../src/s3/fault_proxy.rs"]
mod fault_proxy;
mod formats;
mod git_daemon;
mod idle;
mod images;
mod interrupt;
mod keys;
mod killed;
mod language;
mod latest;
mod live;
mod matrix;
mod optional;
mod plan;
mod product;
mod real;
mod registry;
mod repository;
mod rpm_repository;
mod s3_publish;
#[path = "../../src/s3/testing.rs"]
mod s3_server;
mod schedule;
mod scratch;
mod services;
mod shared_cache;
mod shared_store;
mod upstream_git;
mod upstream_tags;
mod why;
