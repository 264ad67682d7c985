//! The plan: every selected node with its verdict, and why.

mod cause;
mod destination;
mod effect;
mod error;
mod explain;
mod local;
mod planner;
mod saved;
mod standing;
mod verdict;

pub use cause::{Cause, Link, NewVersion, brief};
pub use destination::Destination;
pub use effect::{RepositoryEffect, effects};
pub use error::PlanError;
pub use explain::{Explanation, Wait, consequences, explain};
pub use local::{Changed, LocalTree, LocalTrees};
pub use planner::{Assessment, Planner, input_digests};
pub use saved::{PLAN_VERSION, SavedPlan, SavedStep, StepsOf};
pub use verdict::{Place, Plan, Step, Verdict};
