//! The http room: how whatever is no Docker Engine and no bucket is asked by HTTP.

mod agent;
mod dns;

pub use agent::agent;
