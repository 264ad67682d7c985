//! forge as a person has it: the real binary, in a directory of its own, with real sandboxes.
//!
//! Actions run in this machine's own tree (targets without an image), so that all these tests
//! need is bubblewrap; `first_light` needs all that `tests/run` installs.

mod disk;
mod events;
mod failures;
mod first_light;
mod interrupt;
mod keys;
mod killed;
mod language;
mod live;
mod matrix;
mod plan;
mod repository;
mod schedule;
mod scratch;
mod shared_store;
mod upstream_git;
mod upstream_tags;
mod why;
