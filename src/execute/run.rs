use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
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
use crate::graph::{Graph, Input, Node, NodeId, Work};
use crate::plan::{Cause, Plan, Planner, Step, Verdict, input_digests};
use crate::store::{LocalStore, Outputs, RemoteStore, RemoteTraffic, Said};

/// What is told when the first signal comes; the second ends the process.
const STOPPING: &str = "stopping: what is done is kept; once more to stop at once";

/// How long results go up after the last node before that is told, and before an interrupt ends it.
const UNTOLD: Duration = Duration::from_secs(2);

/// How often it is told what comes from the shared cache and goes there.
const TRAFFIC_TOLD: Duration = Duration::from_millis(250);

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
    /// Where they go from there, and where objects come from that are not here.
    pub remote: Option<&'a RemoteStore>,
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
    /// What came from a remote store and went there, if there is one.
    pub remote: Option<RemoteTraffic>,
}

/// What becomes of a node, and of what it takes of the machine.
type Running<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = (NodeId, Ended)> + 'a>>>;

impl Executor<'_> {
    /// Runs `plan`; `listen` hears every event, in order.
    pub async fn run(&self, plan: &Plan, mut listen: impl FnMut(&Event)) -> RunReport {
        let started = Instant::now();
        let (events, mut heard) = mpsc::unbounded_channel();
        let (over, mut heard_over) = mpsc::unbounded_channel();
        let mut run = Run::new(self, plan, events, over);
        run.remember_all_undone(plan);
        run.announce(plan);
        let mut running = Running::new();
        let mut cancel = self.cancel.clone();
        let mut traffic_told = tokio::time::interval(TRAFFIC_TOLD);
        loop {
            while let Some(node) = run.next_fetch() {
                running.push(Box::pin(run.fetch(node)));
            }
            while let Some(node) = run.next() {
                running.push(Box::pin(run.node(node)));
            }
            run.tell_said();
            if running.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                Some(event) = heard.recv() => listen(&event),
                Some((node, ended)) = running.next() => run.ended(node, ended),
                Some(node) = heard_over.recv() => run.over(node),
                // Nothing new is started from here on.
                Ok(()) = cancel.changed() => run.tell(Event::Notice { text: STOPPING.to_owned() }),
                _ = traffic_told.tick(), if self.remote.is_some() => run.tell_traffic(),
            }
        }
        drop(running);
        let traffic = {
            let mut sending = std::pin::pin!(run.finish_sending());
            loop {
                tokio::select! {
                    biased;
                    Some(event) = heard.recv() => listen(&event),
                    traffic = &mut sending => break traffic,
                    _ = traffic_told.tick(), if self.remote.is_some() => run.tell_traffic(),
                }
            }
        };
        run.report.remote = traffic;
        run.report.interrupted = *self.cancel.borrow();
        run.close(started.elapsed());
        // Builtin work that was interrupted may have something to tell for a long time; nobody waits for it.
        while let Ok(event) = heard.try_recv() {
            listen(&event);
        }
        run.report
    }
}

/// Nodes whose objects are needed here, as far as the plan tells.
fn needed(plan: &Plan) -> HashSet<NodeId> {
    let is_gone = |step: &&Step| step.verdict == Verdict::Run(Cause::ObjectsGone);
    let gone = plan.steps.iter().filter(is_gone).map(|step| step.node);
    plan.goals.iter().copied().chain(gone).collect()
}

/// One run of a plan.
struct Run<'a> {
    executor: &'a Executor<'a>,
    graph: &'a Graph,
    goals: Vec<NodeId>,
    estimates: Estimates,
    states: States,
    schedule: Schedule,
    known: Vec<Option<Outputs>>,
    keys: Vec<Option<Digest>>,
    /// Nodes whose result is known, and whose objects have to come.
    to_fetch: Vec<NodeId>,
    /// Nodes whose objects are needed here; of all others, the result is enough.
    needed: HashSet<NodeId>,
    /// Whether a node was started.
    has_begun: bool,
    /// How many faults of the infrastructure each node had that is to be started again.
    faults: HashMap<NodeId, u32>,
    events: mpsc::UnboundedSender<Event>,
    /// Hears of each node whose work is over, before what it made is stored.
    over: mpsc::UnboundedSender<NodeId>,
    /// What was told last of what came from the remote store and went there.
    told_traffic: Cell<(u64, u64, usize)>,
    report: RunReport,
}

impl<'a> Run<'a> {
    fn new(
        executor: &'a Executor<'a>,
        plan: &Plan,
        events: mpsc::UnboundedSender<Event>,
        over: mpsc::UnboundedSender<NodeId>,
    ) -> Self {
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
            keys: vec![None; graph.len()],
            to_fetch: Vec::new(),
            needed: needed(plan),
            has_begun: false,
            faults: HashMap::new(),
            events,
            over,
            told_traffic: Cell::default(),
            report: RunReport::default(),
        };
        for step in plan.steps.iter().filter(|step| step.verdict.is_hit()) {
            run.known[step.node.index()].clone_from(&step.outputs);
            run.keys[step.node.index()] = step.key();
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
                Cow::Borrowed(_) if is_hit && self.has_to_come(node) => {
                    self.report.hits += 1;
                    self.to_fetch.push(node);
                }
                Cow::Borrowed(_) if is_hit => {
                    self.states.start(node);
                    self.report.hits += 1;
                    ready.extend(self.states.finish(node, self.graph));
                }
                _ => self.schedule.add(node, &self.estimates),
            }
        }
    }

    /// Whether objects of a known result are needed here, and are not here. Without a remote store the plan made sure of them, and
    /// before anything ran that was a moment ago.
    fn has_to_come(&self, node: NodeId) -> bool {
        let is_here = |tree| self.executor.store.holds_tree(tree);
        let outputs = self.known[node.index()].as_ref();
        let is_sure = self.executor.remote.is_none() && !self.has_begun;
        !is_sure && self.needed.contains(&node) && !outputs.is_none_or(|outputs| outputs.trees().all(is_here))
    }

    /// The next node whose objects are to come.
    fn next_fetch(&mut self) -> Option<NodeId> {
        if *self.executor.cancel.borrow() {
            return None;
        }
        let node = self.to_fetch.pop()?;
        self.states.start(node);
        Some(node)
    }

    /// Brings the objects of a known result. It takes nothing of the machine that others wait for.
    fn fetch(&self, node: NodeId) -> impl Future<Output = (NodeId, Ended)> + use<'a> {
        let outputs = self.known[node.index()].clone().unwrap_or_default();
        let (key, remote) = (self.keys[node.index()], self.executor.remote);
        let mut cancel = self.executor.cancel.clone();
        async move {
            let (Some(key), Some(remote)) = (key, remote.filter(|remote| remote.is_read())) else {
                return (node, Ended::Gone(None));
            };
            let ended = tokio::select! {
                brought = remote.bring(key, outputs.clone()) => match brought {
                    Ok(()) => Ended::Brought,
                    Err(reason) => Ended::Gone(Some(reason)),
                },
                Ok(_) = cancel.wait_for(|&cancelled| cancelled) => Ended::Interrupted,
            };
            (node, ended)
        }
    }

    /// Tells what the remote store has to say.
    fn tell_said(&self) {
        for said in self.executor.remote.map(RemoteStore::take_said).unwrap_or_default() {
            self.tell(match said {
                Said::Notice(text) => Event::Notice { text },
                Said::Sent { node, key, bytes } => Event::ResultSent { node, key, bytes },
            });
        }
    }

    /// Tells what came from the remote store and went there, if anything did since that was told last.
    fn tell_traffic(&self) {
        let Some(remote) = self.executor.remote else { return };
        let (traffic, waiting) = (remote.traffic(), remote.waiting());
        let now = (traffic.sent, traffic.received, waiting);
        if self.told_traffic.replace(now) != now {
            self.tell(Event::CacheTraffic { traffic, waiting });
        }
    }

    /// The run ends when everything went up, or was told as failed. Gives what came and went in all.
    async fn finish_sending(&self) -> Option<RemoteTraffic> {
        let remote = self.executor.remote?;
        let mut cancel = self.executor.cancel.clone();
        let mut sending = std::pin::pin!(remote.finish_sending());
        tokio::select! {
            biased;
            () = &mut sending => {}
            () = tokio::time::sleep(UNTOLD) => {
                self.tell(Event::Notice { text: format!("sending {} results to the shared cache", remote.waiting()) });
                tokio::select! {
                    () = sending => {}
                    Ok(_) = cancel.wait_for(|&cancelled| cancelled) => {
                        let text = format!(
                            "{} results are not in the shared cache; `forge cache push` sends them",
                            remote.waiting()
                        );
                        self.tell(Event::Notice { text });
                    }
                }
            }
        }
        self.tell_said();
        Some(remote.traffic())
    }

    fn announce(&self, plan: &Plan) {
        self.tell(Event::RunStarted {
            nodes: plan.steps.len(),
            hits: plan.count("hit"),
            runner: self.executor.performer.runner_name().map(str::to_owned),
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
        self.has_begun = true;
        self.states.start(node);
        Some(node)
    }

    /// Everything that one node takes, as a future that borrows nothing of the run.
    fn node(&self, node: NodeId) -> impl Future<Output = (NodeId, Ended)> + use<'a> {
        let without_lost = self.without_lost(node);
        let known = |need: NodeId| self.known[need.index()].as_ref();
        let inputs = input_digests(&without_lost, self.executor.planner.files, known);
        let trees = self.trees_to_be_here(&without_lost);
        let task = Task {
            executor: self.executor,
            cores: self.schedule.cores_of(&without_lost.declared.resources),
            node: without_lost,
            estimate: self.estimates.of(node),
            faults: self.faults.get(&node).copied().unwrap_or_default(),
            is_needed: self.needed.contains(&node),
            trees,
            events: self.events.clone(),
            id: node,
            over: self.over.clone(),
        };
        async move {
            let ended = match inputs {
                Ok(inputs) => task.run(&inputs).await,
                Err(error) => Ended::Badly(error.to_string()),
            };
            (node, ended)
        }
    }

    /// The trees that have to be here before a node is run, and which nodes gave them. Publishing takes a
    /// catalog, and with it the packages that it names, which are in the repository beside it.
    fn trees_to_be_here(&self, node: &Node) -> Vec<(NodeId, Digest)> {
        let takes_all = matches!(node.work, Work::Publish(_));
        let of = |input: &Input| {
            let Input::Node { node, output } = input else { return Vec::new() };
            let given = self.known[node.index()].iter().flat_map(|outputs| outputs.iter());
            given.filter(|(name, _)| takes_all || name == output).map(|(_, tree)| (*node, tree)).collect()
        };
        node.inputs.iter().flat_map(of).collect()
    }

    /// The node, without the inputs that failed and that it may lack.
    fn without_lost(&self, id: NodeId) -> Cow<'a, Node> {
        let node = self.graph.node(id);
        match node.may_lack().iter().any(|need| self.states.is_lost(*need)) {
            true => Cow::Owned(node.without(|need| self.states.is_lost(need))),
            false => Cow::Borrowed(node),
        }
    }

    /// Others may have what the node took, unless a longer path is ready as soon as what it made is stored.
    fn over(&mut self, node: NodeId) {
        let next = self.states.waiting_only_for(node, self.graph);
        self.schedule.over(node, &next, &self.estimates);
    }

    fn ended(&mut self, node: NodeId, ended: Ended) {
        self.schedule.ended(node);
        match ended {
            Ended::Well { key, outputs, outcome } => {
                match outcome {
                    Outcome::Hit => self.report.hits += 1,
                    Outcome::Built | Outcome::Unchanged => self.report.built += 1,
                }
                (self.known[node.index()], self.keys[node.index()]) = (Some(outputs), Some(key));
                self.done(node);
            }
            Ended::Brought => self.done(node),
            Ended::Away { key, outputs } => {
                self.report.hits += 1;
                (self.known[node.index()], self.keys[node.index()]) = (Some(outputs), Some(key));
                self.states.put_back(node);
                self.to_fetch.push(node);
            }
            Ended::Gone(reason) => self.run_after_all(node, reason),
            Ended::Lacks(needs) => match needs.iter().find(|need| self.states.is_lost(**need)) {
                // It was run after all, and failed.
                Some(lost) => self.lose(node, *lost),
                None => {
                    self.needed.extend(&needs);
                    let recalled = self.states.recall(node, &needs);
                    self.to_fetch.extend(recalled);
                }
            },
            Ended::Faulty => {
                *self.faults.entry(node).or_default() += 1;
                self.start_again(node);
            }
            Ended::Badly(error) => {
                self.report.failed.push((node, error));
                let fallout = self.states.fail(node, self.graph);
                self.fall_out(node, fallout);
            }
            Ended::Interrupted => self.states.abandon(node),
        }
    }

    fn lose(&mut self, node: NodeId, because: NodeId) {
        self.skip(node, because);
        let fallout = self.states.fail(node, self.graph);
        self.fall_out(node, fallout);
    }

    fn done(&mut self, node: NodeId) {
        let ready = self.states.finish(node, self.graph);
        self.ready(ready);
    }

    /// A result was known, and its objects are not to be had: it is a miss.
    fn run_after_all(&mut self, node: NodeId, reason: Option<String>) {
        self.report.hits -= 1;
        if let Some(reason) = reason {
            let name = self.graph.node(node).name();
            self.tell(Event::Notice {
                text: format!("{name} is run, since its result cannot be had: {reason}"),
            });
        }
        self.start_again(node);
    }

    fn start_again(&mut self, node: NodeId) {
        self.states.put_back(node);
        self.schedule.add(node, &self.estimates);
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
        let name = |id| self.graph.node(id).name();
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
            remote: report.remote.clone(),
            duration_ms: elapsed.as_millis() as u64,
        });
    }

    /// So that a run that is killed leaves no other run's word on what is undone.
    fn remember_all_undone(&self, plan: &Plan) {
        let undone = plan.to_do.iter().map(|node| self.graph.node(*node).name()).collect();
        self.save(&LastRun { failed: Vec::new(), undone });
    }

    fn remember(&self) {
        let report = &self.report;
        let name = |id: &NodeId| self.graph.node(*id).name();
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
