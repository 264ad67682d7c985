//! Upstreams that are git repositories: their tags, and the trees of these.
//!
//! The program `git` is called, not a library: it reaches a repository as its user does, with the
//! credentials, proxies, keys and `insteadOf` rules of that user's configuration.

mod objects;
mod program;

pub use program::{Git, GitError, GitSource, Tag};
