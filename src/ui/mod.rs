//! Listeners: what a person or a program is told of a plan and of a run.

mod change;
mod effect_summary;
mod events_file;
mod live;
mod plain;
mod plan_summary;
mod run_summary;
mod words;

pub use change::{change_summary, told};
pub use events_file::EventsFile;
pub use live::Live;
pub use plain::Plain;
pub use plan_summary::plan_summary;
pub use run_summary::{idle_summary, run_summary, traffic_line};
pub use words::human_bytes;

use crate::execute::Event;

/// Hears the events of a run.
pub trait Listener {
    /// Called once for each event, in order.
    fn hear(&mut self, event: &Event);
}
