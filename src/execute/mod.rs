//! Executes a plan: schedules, runs, stores, and cuts off early.

mod builtin;
mod done;
mod estimate;
mod event;
mod index;
mod key;
mod last_run;
mod perform;
mod platforms;
mod publish;
mod run;
mod schedule;
mod state;
mod task;

pub use builtin::Supplies;
pub use estimate::Estimates;
pub use event::{Event, Outcome};
pub use last_run::LastRun;
pub use perform::{Job, Performer};
pub use platforms::unrunnable;
pub use run::{Executor, RunReport, Settings};
