use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::perform::Performer;
use super::schedule::Schedule;
use super::state::{Fallout, State, States};
use super::task::{Ended, Task};
use super::{Estimates, Event, LastRun, Outcome};
use crate::digest::Digest;
use crate::graph::{Graph, Node, NodeId};
use crate::plan::{Plan, Planner, Verdict, input_digests};
use crate::store::LocalStore;

/// What is told when the first signal comes; the second ends the process.
const STOPPING: &str = "stopping: what is done is kept; once more to stop at once";

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
    /// Nodes that others did without, as the Buildfile allows.
    pub lacking: Vec<NodeId>,
    /// Whether something that was asked for cannot be had, by a failure.
    pub goal_lost: bool,
    /// Whether somebody interrupted it.
    pub interrupted: bool,
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
    goals: Vec<NodeId>,
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
            goals: plan.goals.clone(),
            estimates: Estimates::new(graph, plan, executor.store, settings.jobs),
            states: States::new(graph, plan),
            schedule: Schedule::new(settings.jobs, settings.memory),
            known: vec![None; graph.len()],
            events,
            report: RunReport::default(),
        };
        for step in plan.steps.iter().filter(|step| step.verdict == Verdict::Hit) {
            run.known[step.node.index()].clone_from(&step.outputs);
        }
        let nodes = plan.steps.iter().map(|step| step.node);
        let ready = nodes.filter(|node| run.states.get(*node) == State::Ready).collect();
        run.ready(ready);
        run
    }

    /// Nodes of which all needs are settled. A hit of the plan is done at once, the rest is to be run.
    fn ready(&mut self, mut ready: Vec<NodeId>) {
        while let Some(node) = ready.pop() {
            let is_hit = self.known[node.index()].is_some();
            match self.without_lost(node) {
                Cow::Borrowed(_) if is_hit => {
                    self.states.start(node);
                    self.report.hits += 1;
                    ready.extend(self.states.finish(node, self.graph));
                }
                _ => self.schedule.add(node, &self.estimates),
            }
        }
    }

    fn announce(&self, plan: &Plan) {
        self.tell(Event::RunStarted {
            nodes: plan.steps.len(),
            hits: plan.count("hit"),
            runner: Some(self.executor.performer.runner_name().to_owned()),
            estimate_ms: self.estimates.total(),
        });
    }

    fn tell(&self, event: Event) {
        // The receiver lives as long as the run.
        let _ = self.events.send(event);
    }

    /// The next node to start, if there is one, room for it, and no reason to stop.
    fn next(&mut self) -> Option<NodeId> {
        let stops = self.report.goal_lost && !self.executor.settings.keep_going;
        if stops || *self.executor.cancel.borrow() {
            return None;
        }
        let node = self.schedule.take(self.graph)?;
        self.states.start(node);
        Some(node)
    }

    /// Everything that one node takes, as a future that borrows nothing of the run.
    fn node(&self, node: NodeId) -> impl Future<Output = (NodeId, Ended)> + use<'a> {
        let without_lost = self.without_lost(node);
        let known = |need: NodeId| self.known[need.index()].as_ref();
        let inputs = input_digests(&without_lost, self.executor.planner.files, known);
        let task = Task {
            executor: self.executor,
            cores: self.schedule.cores_of(&without_lost.resources),
            node: without_lost,
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

    /// The node, without the inputs that failed and that it may lack.
    fn without_lost(&self, id: NodeId) -> Cow<'a, Node> {
        let node = self.graph.node(id);
        match node.may_lack.iter().any(|need| self.states.is_lost(*need)) {
            true => Cow::Owned(node.without(|need| self.states.is_lost(need))),
            false => Cow::Borrowed(node),
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
                let ready = self.states.finish(node, self.graph);
                self.ready(ready);
            }
            Ended::Badly(error) => {
                self.report.failed.push((node, error));
                let fallout = self.states.fail(node, self.graph);
                self.fall_out(node, fallout);
            }
            Ended::Interrupted => self.states.abandon(node),
        }
    }

    fn fall_out(&mut self, node: NodeId, fallout: Fallout) {
        let lost = std::iter::once(node).chain(fallout.skipped.iter().copied());
        for lost in lost {
            self.report.goal_lost |= self.goals.contains(&lost);
            if self.graph.users(lost).any(|user| !self.states.is_lost(user) && self.is_planned(user)) {
                self.report.lacking.push(lost);
            }
        }
        fallout.skipped.iter().for_each(|skipped| self.skip(*skipped, node));
        self.ready(fallout.ready);
    }

    fn is_planned(&self, node: NodeId) -> bool {
        self.states.get(node) != State::Absent
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
        debug_assert!(self.states.open() == 0 || report.interrupted || report.goal_lost);
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
