//! Real commands in a real root, on both runners.

mod abandoned;
mod dockerfile;
mod engine;
mod environment;
mod hostile;
mod limits;
mod outputs;
mod support;
