//! The sandbox: a process in namespaces of its own, which sees a command's root and nothing else.

mod launch;
mod limits;
mod refusal;
mod run;
mod step;
mod view;

pub use run::Sandbox;
