use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::Event;
use super::builtin::{Builtin, Supplies};
use super::done::{Done, Failure};
use crate::digest::Digest;
use crate::graph::{DockerImage, Input, LocalFiles, Node, Placement, Root, Script, Work};
use crate::plan::{LocalTrees, PlanError};
use crate::runner::{self, Command, DockerfileBuild, Mount, Runner, WorkCopy};
use crate::store::{LocalStore, StatCache};

/// Does the work of nodes: scripts by a runner, everything else in this process.
pub struct Performer {
    /// Where scripts run.
    pub runner: Runner,
    /// Where inputs come from and outputs go.
    pub store: Arc<LocalStore>,
    /// What builtin work takes from outside.
    pub supplies: Arc<Supplies>,
}

impl Performer {
    /// The runner's name.
    pub fn runner_name(&self) -> &'static str {
        self.runner.name()
    }

    /// Does the work of `node`, whose inputs are the trees `inputs`, on `cores` cores.
    pub async fn perform(
        &self,
        node: &Node,
        inputs: &[Digest],
        cores: usize,
        events: &mpsc::UnboundedSender<Event>,
        cancel: watch::Receiver<bool>,
    ) -> Result<Done, Failure> {
        self.take_local_files(node, inputs).await?;
        let name = node.name.clone();
        let listener = move |line: &str| {
            let _ = events.send(Event::NodeLine { node: name.clone(), line: line.to_owned() });
        };
        match &node.work {
            Work::Script(script) => {
                let command = command(script, node, inputs, cores);
                let outcome = self.runner.run(&command, &self.store, listener, cancel).await?;
                Ok(self.done(outcome))
            }
            Work::Dockerfile(image) => {
                let outcome = self.dockerfile(image, inputs, listener, cancel).await?;
                Ok(self.done(outcome))
            }
            _ => self.builtin(node, inputs, cores, events, cancel).await,
        }
    }

    fn done(&self, outcome: runner::Outcome) -> Done {
        Done { outputs: outcome.outputs, log: Some(outcome.log), runner: self.runner.name(), is_kept: true }
    }

    async fn dockerfile(
        &self,
        image: &DockerImage,
        inputs: &[Digest],
        listener: impl FnMut(&str),
        cancel: watch::Receiver<bool>,
    ) -> Result<runner::Outcome, Failure> {
        let build = DockerfileBuild {
            context: inputs[0],
            dockerfile: image.dockerfile.clone(),
            args: image.args.clone(),
            platform: image.platform.clone(),
            source_date_epoch: 1,
        };
        let opened;
        let docker = match &self.runner {
            Runner::Docker(docker) => docker,
            Runner::Sandbox(_) => {
                opened = runner::Docker::open().await?;
                &opened
            }
        };
        Ok(docker.build_dockerfile(&build, &self.store, listener, cancel).await?)
    }

    /// Builtin work waits for disks and networks: it has a thread of its own. Nobody waits for
    /// that once the run is interrupted: builtin work may be killed at any instruction.
    async fn builtin(
        &self,
        node: &Node,
        inputs: &[Digest],
        cores: usize,
        events: &mpsc::UnboundedSender<Event>,
        mut cancel: watch::Receiver<bool>,
    ) -> Result<Done, Failure> {
        let builtin = Builtin {
            node: node.clone(),
            inputs: inputs.to_vec(),
            cores,
            store: self.store.clone(),
            supplies: self.supplies.clone(),
            events: events.clone(),
            cancel: cancel.clone(),
        };
        let work = tokio::task::spawn_blocking(move || builtin.run());
        tokio::select! {
            biased;
            done = work => done.unwrap_or_else(panicked),
            Ok(_) = cancel.wait_for(|&cancelled| cancelled) => Err(Failure::Cancelled),
        }
    }

    /// Local files become objects before anything sees them.
    async fn take_local_files(&self, node: &Node, inputs: &[Digest]) -> Result<(), Failure> {
        let pairs = node.inputs.iter().zip(inputs.iter().copied());
        let local: Vec<(LocalFiles, Digest)> = pairs
            .filter_map(|(input, digest)| match input {
                Input::Files(files) => Some((files.clone(), digest)),
                Input::Node { .. } => None,
            })
            .collect();
        if local.is_empty() {
            return Ok(());
        }
        let store = self.store.clone();
        let work = move || local.iter().try_for_each(|(files, planned)| take(&store, files, *planned));
        tokio::task::spawn_blocking(work).await.unwrap_or_else(panicked)
    }
}

/// Puts local files into the store, if they still are what was planned with.
fn take(store: &LocalStore, files: &LocalFiles, planned: Digest) -> Result<(), Failure> {
    if store.holds_tree(planned) {
        return Ok(());
    }
    let stats = StatCache::load(store);
    let tree = LocalTrees::new(&stats)
        .get(files)
        .map_err(|error: PlanError| Failure::Surroundings(error.to_string()))?;
    match tree.store(store)? == planned {
        true => Ok(()),
        false => Err(Failure::Surroundings(format!(
            "a file below {} was edited since the plan was made; run again",
            files.base.display()
        ))),
    }
}

fn panicked<T>(panic: tokio::task::JoinError) -> Result<T, Failure> {
    Err(Failure::action(format!("forge itself failed: {panic}")))
}

fn command(script: &Script, node: &Node, inputs: &[Digest], cores: usize) -> Command {
    let mut command = Command {
        root: match script.root {
            Root::Host => runner::Root::Host,
            Root::Input(input) => runner::Root::Tree(inputs[input]),
        },
        script: script.text.clone(),
        env: script.env.clone(),
        mounts: Vec::new(),
        copies: Vec::new(),
        outputs: script.outputs.clone(),
        network: script.network,
        source_date_epoch: script.date,
        jobs: cores,
        cpus: Some(cores as f64),
        memory: node.resources.memory,
        timeout: node.timeout,
        platform: script.platform.clone(),
    };
    for placement in &script.placements {
        match placement {
            Placement::Into { input, path } => {
                command.copies.push(WorkCopy { tree: inputs[*input], into: path.clone() });
            }
            Placement::At { input, path } => {
                command.mounts.push(Mount { tree: inputs[*input], at: path.clone() });
            }
        }
    }
    command
}
