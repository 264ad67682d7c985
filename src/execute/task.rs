use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::done::{Done, Failure};
use super::perform::Job;
use super::run::Executor;
use super::{Event, Outcome};
use crate::digest::{Digest, key_of};
use crate::graph::{Action, Node, NodeId, Work};
use crate::store::{ActionResult, LocalStore, Outputs, StoreError};

/// How many faults of the infrastructure are borne before the node counts as failed.
const FAULTS_BORNE: u32 = 2;
/// How often to ask whether another forge is done with a node.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// How one node ended.
pub(super) enum Ended {
    Well {
        key: Digest,
        outputs: Outputs,
        outcome: Outcome,
    },
    /// Its result is known and needed here, and its objects are not here.
    Away {
        key: Digest,
        outputs: Outputs,
    },
    /// Its objects came.
    Brought,
    /// Its objects are not to be had; why, where there was somebody to ask.
    Gone(Option<String>),
    /// Objects of these nodes, which are done, are needed to run it, and are not here.
    Lacks(Vec<NodeId>),
    /// The infrastructure was at fault, which may be different the next time.
    Faulty,
    Badly(String),
    Interrupted,
}

/// One node being run.
pub(super) struct Task<'a> {
    pub executor: &'a Executor<'a>,
    /// The node, without what it does without.
    pub node: Cow<'a, Node>,
    pub cores: usize,
    pub estimate: Option<u64>,
    /// How many faults of the infrastructure ended it before.
    pub faults: u32,
    /// Whether its objects are needed here.
    pub is_needed: bool,
    /// The trees that have to be here before it is run, and which nodes gave them.
    pub trees: Vec<(NodeId, Digest)>,
    pub events: mpsc::UnboundedSender<Event>,
    pub id: NodeId,
    /// Hears that the node's work is over, before what it made is stored.
    pub over: mpsc::UnboundedSender<NodeId>,
}

impl Task<'_> {
    pub async fn run(&self, inputs: &[Digest]) -> Ended {
        match self.try_run(inputs).await {
            Ok(ended) => ended,
            Err(error) => {
                self.tell_failure(&error, None, Duration::ZERO);
                Ended::Badly(error)
            }
        }
    }

    /// Looks the result up under the lock of its key, and runs the node where there is none: another forge may build it at
    /// this moment.
    async fn try_run(&self, inputs: &[Digest]) -> Result<Ended, String> {
        // Whether to publish is found out from inputs.
        if let Some(lacks) = self.lacks().filter(|_| matches!(self.node.work, Work::Publish(_))) {
            return Ok(lacks);
        }
        let key = key_of(&Action::new(&self.node, inputs));
        self.look_up(key).await;
        let Some(_lock) = self.lock(key).await.map_err(|error| error.to_string())? else {
            return Ok(Ended::Interrupted);
        };
        let found = self.executor.planner.assess(&self.node, inputs).map_err(|error| error.to_string())?;
        if let Some(hit) = found.outputs.and_then(|outputs| self.hit(key, outputs)) {
            return Ok(hit);
        }
        if let Some(lacks) = self.lacks() {
            return Ok(lacks);
        }
        self.build(key, inputs).await.map_err(|error| error.to_string())
    }

    /// What another machine may have built comes into the store, before that is asked.
    async fn look_up(&self, key: Digest) {
        if let Some(remote) = self.executor.remote.filter(|remote| remote.is_read())
            && !matches!(self.node.work, Work::Publish(_))
            && !self.node.work.is_bare()
            && self.executor.store.result(key).is_none()
        {
            remote.look_up(vec![key]).await;
        }
    }

    /// The result is known; it is a miss if its objects are needed and not to be had.
    fn hit(&self, key: Digest, outputs: Outputs) -> Option<Ended> {
        let is_here = || outputs.trees().all(|tree| self.executor.store.holds_tree(tree));
        if self.is_needed && !is_here() {
            let can_come = self.executor.remote.is_some_and(|remote| remote.can_give(key));
            return can_come.then_some(Ended::Away { key, outputs });
        }
        self.tell(Event::NodeFinished { node: self.name(), outcome: Outcome::Hit, key, duration_ms: 0 });
        Some(Ended::Well { key, outputs, outcome: Outcome::Hit })
    }

    /// The nodes that gave it what is not all here.
    fn lacks(&self) -> Option<Ended> {
        let is_here = |tree: &Digest| self.executor.store.holds_tree(*tree);
        let lacking = self.trees.iter().filter(|(_, tree)| !is_here(tree));
        let mut needs: Vec<NodeId> = lacking.map(|(node, _)| *node).collect();
        needs.sort();
        needs.dedup();
        (!needs.is_empty()).then_some(Ended::Lacks(needs))
    }

    /// The lock of a key; `None` if the run was interrupted before it was had.
    async fn lock(&self, key: Digest) -> Result<Option<std::fs::File>, StoreError> {
        let mut told = false;
        loop {
            if let Some(lock) = self.executor.store.try_lock_key(key)? {
                return Ok(Some(lock));
            }
            if *self.executor.cancel.borrow() {
                return Ok(None);
            }
            if !std::mem::replace(&mut told, true) {
                self.tell(Event::NodeWaits { node: self.name() });
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    async fn build(&self, key: Digest, inputs: &[Digest]) -> Result<Ended, StoreError> {
        let started = Instant::now();
        if self.faults == 0 {
            let emulated = self.executor.performer.is_emulated(&self.node);
            let (node, estimate_ms) = (self.name(), self.estimate);
            self.tell(Event::NodeStarted { node, estimate_ms, emulated });
        }
        let performed = self.perform(inputs).await;
        let elapsed = started.elapsed();
        match performed {
            Ok(done) => self.store(key, inputs, done, elapsed),
            Err(Failure::Cancelled) => Ok(Ended::Interrupted),
            Err(Failure::Infrastructure(error)) if self.faults < FAULTS_BORNE => {
                self.tell(Event::NodeRetried { node: self.name(), error });
                Ok(self.pause().await)
            }
            Err(failure) => {
                let is_of_action = matches!(failure, Failure::Action { .. });
                let (error, log) = failure.into_parts();
                // A full disk or an unreachable engine says nothing about the action.
                if is_of_action {
                    self.remember_failure(key, &error, log);
                }
                self.tell_failure(&error, log, elapsed);
                Ok(Ended::Badly(error))
            }
        }
    }

    fn remember_failure(&self, key: Digest, error: &str, log: Option<Digest>) {
        if let Err(fault) = self.executor.store.put_failure(key, &self.name(), error, log) {
            let text = format!("the next plan will not know that {} failed: {fault}", self.name());
            self.tell(Event::Notice { text });
        }
    }

    async fn perform(&self, inputs: &[Digest]) -> Result<Done, Failure> {
        let over = || {
            let _ = self.over.send(self.id);
        };
        let job = Job {
            node: &self.node,
            inputs,
            files: self.executor.planner.files,
            cores: self.cores,
            events: &self.events,
            over: &over,
            cancel: self.executor.cancel.clone(),
        };
        self.executor.performer.perform(job).await
    }

    /// Gives what is at fault some time. Then the node is started as any other: what it took may have gone to others.
    async fn pause(&self) -> Ended {
        let mut cancel = self.executor.cancel.clone();
        let cancelled = cancel.wait_for(|&cancelled| cancelled);
        match tokio::time::timeout(Duration::from_secs(2 << self.faults), cancelled).await {
            Ok(Ok(_)) => Ended::Interrupted,
            _ => Ended::Faulty,
        }
    }

    fn store(
        &self,
        key: Digest,
        inputs: &[Digest],
        done: Done,
        elapsed: Duration,
    ) -> Result<Ended, StoreError> {
        let node = &*self.node;
        let outcome = match self.gave_before(&done.outputs) {
            true => Outcome::Unchanged,
            false => Outcome::Built,
        };
        let duration_ms = elapsed.as_millis() as u64;
        if done.is_kept {
            let result = ActionResult {
                node: node.name(),
                action: crate::digest::fields_of(&crate::graph::Action::new(node, inputs)),
                outputs: done.outputs.clone(),
                log: done.log,
                duration_ms,
                runner: done.runner.to_owned(),
            };
            self.executor.store.put_result(key, &result)?;
            let remote = self.executor.remote.filter(|_| !node.work.is_bare());
            remote.iter().for_each(|remote| remote.send_later(key));
        }
        self.tell(Event::NodeFinished { node: node.name(), outcome, key, duration_ms });
        Ok(Ended::Well { key, outputs: done.outputs.into(), outcome })
    }

    /// Whether the last result of this node had the same outputs, under whatever key.
    fn gave_before(&self, outputs: &BTreeMap<String, Digest>) -> bool {
        let store = self.executor.store;
        let last = store.earlier(&self.name()).next();
        !outputs.is_empty() && last.is_some_and(|last| last.result.outputs == *outputs)
    }

    fn name(&self) -> String {
        self.node.name()
    }

    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    fn tell_failure(&self, error: &str, log: Option<Digest>, elapsed: Duration) {
        self.tell(Event::NodeFailed {
            node: self.name(),
            error: error.to_owned(),
            log,
            tail: log.map(|log| tail(self.executor.store, log)).unwrap_or_default(),
            duration_ms: elapsed.as_millis() as u64,
        });
    }
}

/// The last lines of a log.
fn tail(store: &LocalStore, log: Digest) -> Vec<String> {
    const LINES: usize = 20;
    const BYTES: u64 = 64 << 10;
    let last = || -> Option<Vec<u8>> {
        let mut file = store.open_object(log).ok()?;
        let start = file.size().ok()?.saturating_sub(BYTES);
        file.seek(SeekFrom::Start(start)).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let bytes = last().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].iter().map(|line| (*line).to_owned()).collect()
}
