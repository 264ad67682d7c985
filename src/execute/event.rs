use serde::Serialize;

use crate::digest::Digest;
use crate::store::RemoteTraffic;

/// What happens during a run. The terminal, the plain lines and `--events` all listen to these.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The run begins.
    RunStarted {
        /// Nodes of the plan.
        nodes: usize,
        /// Of these, known already.
        hits: usize,
        /// Where scripts run; none where nothing needs it.
        runner: Option<String>,
        /// How long it will take, in milliseconds, if durations are remembered.
        estimate_ms: Option<u64>,
    },
    /// A node is run.
    NodeStarted {
        /// The node.
        node: String,
        /// How long it took last time, in milliseconds.
        estimate_ms: Option<u64>,
        /// Whether its programs are of another processor than this machine's, and are emulated.
        emulated: bool,
    },
    /// This action is being run already, for a node of the same key or by another forge; its result is waited for.
    NodeWaits {
        /// The node.
        node: String,
    },
    /// A line that a node printed.
    NodeLine {
        /// The node.
        node: String,
        /// Without its line feed.
        line: String,
    },
    /// How far a node is.
    NodeProgress {
        /// The node.
        node: String,
        /// In words, such as `12 of 340 packages`.
        text: String,
    },
    /// A fault of the infrastructure, not of the action; it is tried again.
    NodeRetried {
        /// The node.
        node: String,
        /// What went wrong.
        error: String,
    },
    /// A node ended well.
    NodeFinished {
        /// The node.
        node: String,
        /// How.
        outcome: Outcome,
        /// Its key.
        key: Digest,
        /// In milliseconds.
        duration_ms: u64,
    },
    /// A node failed.
    NodeFailed {
        /// The node.
        node: String,
        /// What went wrong.
        error: String,
        /// The object that holds its log.
        log: Option<Digest>,
        /// The last lines of the log.
        tail: Vec<String>,
        /// In milliseconds.
        duration_ms: u64,
    },
    /// A node was not run, since something it needs failed.
    NodeSkipped {
        /// The node.
        node: String,
        /// What failed.
        because: String,
    },
    /// The result of a node is in the shared cache now.
    ResultSent {
        /// The node.
        node: String,
        /// Its key.
        key: Digest,
        /// How many bytes went up; what is there already does not.
        bytes: u64,
    },
    /// What came from the shared cache and went there so far; told a few times in a second while that goes on.
    CacheTraffic {
        /// In all.
        traffic: RemoteTraffic,
        /// How many results still have to go up.
        waiting: usize,
    },
    /// Something a person should know.
    Notice {
        /// In a line.
        text: String,
    },
    /// The run ended.
    RunFinished {
        /// Nodes run.
        built: usize,
        /// Nodes whose result was known.
        hits: usize,
        /// Nodes that failed.
        failed: usize,
        /// Nodes that were not run for that.
        skipped: usize,
        /// Whether somebody interrupted it.
        interrupted: bool,
        /// What came from the shared cache and went there; none where there is none.
        remote: Option<RemoteTraffic>,
        /// In milliseconds.
        duration_ms: u64,
    },
}

/// How a node ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its result was known.
    Hit,
    /// It was run.
    Built,
    /// It was run and gave the bytes of an earlier result: nothing after it need be run.
    Unchanged,
}
