use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::done::{Done, Failure};
use super::perform::Performer;
use super::schedule::Schedule;
use super::state::{State, States};
use super::{Estimates, Event, LastRun, Outcome};
use crate::digest::Digest;
use crate::graph::{Graph, NodeId};
use crate::plan::{Assessment, Plan, PlanError, Planner, Verdict, input_digests};
use crate::store::{ActionResult, LocalStore, StoreError};

/// How often a fault of the infrastructure is borne before the node counts as failed.
const ATTEMPTS: usize = 3;
/// What is told when the first signal comes; the second ends the process.
const STOPPING: &str = "stopping: what is done is kept; once more to stop at once";
/// How often to ask whether another forge is done with a node.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// How a plan is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Cores that nodes may take at the same time.
    pub jobs: usize,
    /// Bytes of memory that nodes may take at the same time.
    pub memory: u64,
    /// Whether other nodes go on when one failed.
    pub keep_going: bool,
}

/// Runs plans.
pub struct Executor<'a> {
    /// Keys nodes whose inputs become known during the run.
    pub planner: &'a Planner<'a>,
    /// Does the work.
    pub performer: &'a Performer,
    /// Where results go.
    pub store: &'a Arc<LocalStore>,
    /// How.
    pub settings: Settings,
    /// Set to true by whoever wants the run to end.
    pub cancel: watch::Receiver<bool>,
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct RunReport {
    /// Nodes run.
    pub built: usize,
    /// Nodes whose result was known.
    pub hits: usize,
    /// Nodes that failed, and why.
    pub failed: Vec<(NodeId, String)>,
    /// Nodes that were not run, since something they need failed.
    pub skipped: Vec<NodeId>,
    /// Whether somebody interrupted it.
    pub interrupted: bool,
}

/// How one node ended.
enum Ended {
    Well { outputs: BTreeMap<String, Digest>, outcome: Outcome },
    Badly(String),
    Interrupted,
}

impl Executor<'_> {
    /// Runs `plan`; `listen` hears every event, in order.
    pub async fn run(&self, plan: &Plan, mut listen: impl FnMut(&Event)) -> RunReport {
        let started = Instant::now();
        let (events, mut heard) = mpsc::unbounded_channel();
        let mut run = Run::new(self, plan, events);
        run.remember_all_undone(plan);
        run.announce(plan);
        let mut running = FuturesUnordered::new();
        let mut cancel = self.cancel.clone();
        loop {
            while let Some(node) = run.next() {
                running.push(run.node(node));
            }
            if running.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                Some(event) = heard.recv() => listen(&event),
                Some((node, ended)) = running.next() => run.ended(node, ended),
                // Nothing new is started from here on.
                Ok(()) = cancel.changed() => run.tell(Event::Notice { text: STOPPING.to_owned() }),
            }
        }
        drop(running);
        run.report.interrupted = *self.cancel.borrow();
        run.close(started.elapsed());
        let report = run.report;
        drop(run.events);
        while let Some(event) = heard.recv().await {
            listen(&event);
        }
        report
    }
}

/// One run of a plan.
struct Run<'a> {
    executor: &'a Executor<'a>,
    graph: &'a Graph,
    estimates: Estimates,
    states: States,
    schedule: Schedule,
    known: Vec<Option<BTreeMap<String, Digest>>>,
    events: mpsc::UnboundedSender<Event>,
    report: RunReport,
}

impl<'a> Run<'a> {
    fn new(executor: &'a Executor<'a>, plan: &Plan, events: mpsc::UnboundedSender<Event>) -> Self {
        let graph = executor.planner.graph;
        let settings = &executor.settings;
        let mut run = Self {
            executor,
            graph,
            estimates: Estimates::new(graph, plan, executor.store, settings.jobs),
            states: States::new(graph, plan),
            schedule: Schedule::new(settings.jobs, settings.memory),
            known: vec![None; graph.len()],
            events,
            report: RunReport::default(),
        };
        run.settle_hits(plan);
        for step in &plan.steps {
            if run.states.get(step.node) == State::Ready {
                run.schedule.add(step.node, &run.estimates);
            }
        }
        run
    }

    /// A hit of the plan is done as soon as all that it needs is; hits come before everything else.
    fn settle_hits(&mut self, plan: &Plan) {
        for step in &plan.steps {
            if step.verdict == Verdict::Hit {
                self.known[step.node.index()].clone_from(&step.outputs);
                if self.states.get(step.node) == State::Ready {
                    self.states.start(step.node);
                    self.states.finish(step.node, self.graph);
                    self.report.hits += 1;
                }
            }
        }
    }

    fn announce(&self, plan: &Plan) {
        self.tell(Event::RunStarted {
            nodes: plan.steps.len(),
            hits: plan.count("hit"),
            runner: self.executor.performer.runner_name().to_owned(),
            estimate_ms: self.estimates.total(),
        });
    }

    fn tell(&self, event: Event) {
        // The receiver lives as long as the run.
        let _ = self.events.send(event);
    }

    /// The next node to start, if there is one, room for it, and no reason to stop.
    fn next(&mut self) -> Option<NodeId> {
        let stops = !self.report.failed.is_empty() && !self.executor.settings.keep_going;
        if stops || *self.executor.cancel.borrow() {
            return None;
        }
        let node = self.schedule.take(self.graph)?;
        self.states.start(node);
        Some(node)
    }

    /// Everything that one node takes, as a future that borrows nothing of the run.
    fn node(&self, node: NodeId) -> impl Future<Output = (NodeId, Ended)> + use<'a> {
        let inputs = input_digests(self.graph, node, self.executor.planner.files, |need| {
            self.known[need.index()].as_ref()
        });
        let task = Task {
            executor: self.executor,
            graph: self.graph,
            node,
            cores: self.schedule.cores_of(&self.graph.node(node).resources),
            estimate: self.estimates.of(node),
            events: self.events.clone(),
        };
        async move {
            let ended = match inputs {
                Ok(inputs) => task.run(&inputs).await,
                Err(error) => Ended::Badly(error.to_string()),
            };
            (node, ended)
        }
    }

    fn ended(&mut self, node: NodeId, ended: Ended) {
        self.schedule.give_back(node, self.graph);
        match ended {
            Ended::Well { outputs, outcome } => {
                match outcome {
                    Outcome::Hit => self.report.hits += 1,
                    Outcome::Built | Outcome::Unchanged => self.report.built += 1,
                }
                self.known[node.index()] = Some(outputs);
                for ready in self.states.finish(node, self.graph) {
                    self.schedule.add(ready, &self.estimates);
                }
            }
            Ended::Badly(error) => {
                for skipped in self.states.fail(node, self.graph) {
                    self.skip(skipped, node);
                }
                self.report.failed.push((node, error));
            }
            Ended::Interrupted => self.states.abandon(node),
        }
    }

    fn skip(&mut self, skipped: NodeId, because: NodeId) {
        self.report.skipped.push(skipped);
        let name = |id| self.graph.node(id).name.clone();
        self.tell(Event::NodeSkipped { node: name(skipped), because: name(because) });
    }

    /// Remembers what is undone, and tells the end.
    fn close(&self, elapsed: Duration) {
        let report = &self.report;
        self.remember();
        self.tell(Event::RunFinished {
            built: report.built,
            hits: report.hits,
            failed: report.failed.len(),
            skipped: report.skipped.len(),
            interrupted: report.interrupted,
            duration_ms: elapsed.as_millis() as u64,
        });
    }

    /// So that a run that is killed leaves no other run's word on what is undone.
    fn remember_all_undone(&self, plan: &Plan) {
        let to_do = plan.steps.iter().filter(|step| step.verdict != Verdict::Hit);
        let undone = to_do.map(|step| self.graph.node(step.node).name.clone()).collect();
        self.save(&LastRun { failed: Vec::new(), undone });
    }

    fn remember(&self) {
        let report = &self.report;
        let name = |id: &NodeId| self.graph.node(*id).name.clone();
        let undone = self
            .graph
            .ids()
            .filter(|id| matches!(self.states.get(*id), State::Waiting(_) | State::Ready | State::Skipped));
        let failed = report.failed.iter().map(|(id, _)| name(id)).collect();
        let undone = undone.map(|id| name(&id)).collect();
        debug_assert!(self.states.open() == 0 || report.interrupted || !report.failed.is_empty());
        self.save(&LastRun { failed, undone });
    }

    fn save(&self, last: &LastRun) {
        if let Err(error) = last.save(self.executor.store) {
            self.tell(Event::Notice {
                text: format!("`forge run --failed` will not know of this run: {error}"),
            });
        }
    }
}

/// One node being run.
struct Task<'a> {
    executor: &'a Executor<'a>,
    graph: &'a Graph,
    node: NodeId,
    cores: usize,
    estimate: Option<u64>,
    events: mpsc::UnboundedSender<Event>,
}

impl Task<'_> {
    async fn run(&self, inputs: &[Digest]) -> Ended {
        match self.try_run(inputs).await {
            Ok(ended) => ended,
            Err(error) => {
                self.tell_failure(&error, None, Duration::ZERO);
                Ended::Badly(error)
            }
        }
    }

    /// Looks the result up, or runs the node under the lock of its key.
    async fn try_run(&self, inputs: &[Digest]) -> Result<Ended, String> {
        let planner = self.executor.planner;
        let text = |error: PlanError| error.to_string();
        let assessment = planner.assess(self.node, inputs).map_err(text)?;
        let key = assessment.key;
        if let Some(hit) = self.hit(assessment) {
            return Ok(hit);
        }
        let Some(_lock) = self.lock(key).await.map_err(|error| error.to_string())? else {
            return Ok(Ended::Interrupted);
        };
        // Another forge may have built it while the lock was waited for.
        let assessment = planner.assess(self.node, inputs).map_err(text)?;
        if let Some(hit) = self.hit(assessment) {
            return Ok(hit);
        }
        self.build(key, inputs).await.map_err(|error| error.to_string())
    }

    fn hit(&self, assessment: Assessment) -> Option<Ended> {
        let outputs = assessment.outputs?;
        let complete = outputs.values().all(|tree| self.executor.store.holds_tree(*tree));
        (assessment.verdict == Verdict::Hit && complete).then(|| {
            self.tell(Event::NodeFinished {
                node: self.name().to_owned(),
                outcome: Outcome::Hit,
                key: assessment.key,
                duration_ms: 0,
            });
            Ended::Well { outputs, outcome: Outcome::Hit }
        })
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
                self.tell(Event::NodeWaits { node: self.name().to_owned() });
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    async fn build(&self, key: Digest, inputs: &[Digest]) -> Result<Ended, StoreError> {
        let started = Instant::now();
        self.tell(Event::NodeStarted { node: self.name().to_owned(), estimate_ms: self.estimate });
        let performed = self.perform_with_retries(inputs).await;
        let elapsed = started.elapsed();
        match performed {
            Ok(done) => self.store(key, inputs, done, elapsed),
            Err(Failure::Cancelled) => Ok(Ended::Interrupted),
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
        if let Err(fault) = self.executor.store.put_failure(key, self.name(), error, log) {
            let text = format!("the next plan will not know that {} failed: {fault}", self.name());
            self.tell(Event::Notice { text });
        }
    }

    async fn perform_with_retries(&self, inputs: &[Digest]) -> Result<Done, Failure> {
        let node = self.graph.node(self.node);
        let mut attempt = 1;
        loop {
            let performer = self.executor.performer;
            let mut cancel = self.executor.cancel.clone();
            let result = performer.perform(node, inputs, self.cores, &self.events, cancel.clone()).await;
            match result {
                Err(Failure::Infrastructure(error)) if attempt < ATTEMPTS => {
                    self.tell(Event::NodeRetried { node: self.name().to_owned(), error });
                    let pause = Duration::from_secs(1 << attempt);
                    let cancelled = cancel.wait_for(|&cancelled| cancelled);
                    if let Ok(Ok(_)) = tokio::time::timeout(pause, cancelled).await {
                        return Err(Failure::Cancelled);
                    }
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    fn store(
        &self,
        key: Digest,
        inputs: &[Digest],
        done: Done,
        elapsed: Duration,
    ) -> Result<Ended, StoreError> {
        let node = self.graph.node(self.node);
        let outcome = match self.gave_before(&done.outputs) {
            true => Outcome::Unchanged,
            false => Outcome::Built,
        };
        let duration_ms = elapsed.as_millis() as u64;
        if done.is_kept {
            let result = ActionResult {
                node: node.name.clone(),
                action: crate::digest::fields_of(&crate::graph::Action::new(node, inputs)),
                outputs: done.outputs.clone(),
                log: done.log,
                duration_ms,
                runner: done.runner.to_owned(),
            };
            self.executor.store.put_result(key, &result)?;
        }
        self.tell(Event::NodeFinished { node: node.name.clone(), outcome, key, duration_ms });
        Ok(Ended::Well { outputs: done.outputs, outcome })
    }

    /// Whether the last result of this node had the same outputs, under whatever key.
    fn gave_before(&self, outputs: &BTreeMap<String, Digest>) -> bool {
        let store = self.executor.store;
        let history = store.history(self.name());
        let last = history.entries.last().and_then(|entry| store.result(entry.key));
        !outputs.is_empty() && last.is_some_and(|last| last.outputs == *outputs)
    }

    fn name(&self) -> &str {
        &self.graph.node(self.node).name
    }

    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    fn tell_failure(&self, error: &str, log: Option<Digest>, elapsed: Duration) {
        self.tell(Event::NodeFailed {
            node: self.name().to_owned(),
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
    let bytes = store.get(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].iter().map(|line| (*line).to_owned()).collect()
}
