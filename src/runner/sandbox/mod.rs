//! The sandbox: bubblewrap in namespaces that forge prepares.

mod arguments;
mod limits;
mod prologue;
mod run;

pub use run::Sandbox;
