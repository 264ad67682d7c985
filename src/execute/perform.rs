use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::Event;
use super::builtin::{Builtin, Supplies};
use super::done::{Done, Failure};
use super::platforms::foreign_platform;
use crate::digest::Digest;
use crate::graph::{DockerImage, Input, Node, Placement, RegistryImage, Root, Script, Work};
use crate::plan::{LocalTrees, PlanError};
use crate::runner::{self, Bare, Command, DockerfileBuild, Mount, RunnerKind, Runners, Told, WorkCopy};
use crate::store::LocalStore;
use crate::upstream::PinnedImage;

/// Does the work of nodes: scripts by a runner, everything else in this process.
pub struct Performer {
    /// Where scripts run.
    pub runners: Runners,
    /// Where those run that need no sandbox.
    pub bare: Bare,
    /// Where inputs come from and outputs go.
    pub store: Arc<LocalStore>,
    /// What builtin work takes from outside.
    pub supplies: Arc<Supplies>,
}

/// The work of one node.
pub struct Job<'a> {
    /// Whose it is.
    pub node: &'a Node,
    /// The trees of its inputs.
    pub inputs: &'a [Digest],
    /// The files of those that are local.
    pub files: &'a LocalTrees<'a>,
    /// How many cores it gets.
    pub cores: usize,
    /// Hears what it prints.
    pub events: &'a mpsc::UnboundedSender<Event>,
    /// Called when it takes no core any longer, where that is before what it made is stored.
    pub over: &'a dyn Fn(),
    /// Becomes true when it has to end.
    pub cancel: watch::Receiver<bool>,
}

impl Performer {
    /// The name of the runner of most scripts; `None` if nothing was to run when the run began.
    pub fn runner_name(&self) -> Option<&'static str> {
        self.runners.usual().map(RunnerKind::name)
    }

    /// Whether the programs of a node are of another processor than this machine's, and run here.
    pub fn is_emulated(&self, node: &Node) -> bool {
        foreign_platform(node, |platform| self.runners.is_elsewhere(platform)).is_some()
    }

    /// Does the work of a node.
    pub async fn perform(&self, job: Job<'_>) -> Result<Done, Failure> {
        self.take_local_files(job.node, job.files).await?;
        let (node, inputs, cancel) = (job.node, job.inputs, job.cancel.clone());
        let tell_line = |line: &str| {
            let _ = job.events.send(Event::NodeLine { node: node.name(), line: line.to_owned() });
        };
        let tell = |told: Told<'_>| match told {
            Told::Line(line) => tell_line(line),
            Told::Over => (job.over)(),
        };
        match &node.work {
            Work::Script(script) => {
                let command = command(script, node, inputs, job.cores);
                if script.root == Root::Bare {
                    let outcome = self.bare.run(&command, tell, cancel).await?;
                    return Ok(done(outcome, "bare"));
                }
                let (outcome, kind) = self.runners.run(&command, &self.store, tell, cancel).await?;
                Ok(done(outcome, kind.name()))
            }
            Work::Dockerfile(image) => self.build(dockerfile(image, inputs)?, tell_line, cancel).await,
            Work::Registry(image) => self.pull(image, tell_line, cancel).await,
            _ => self.builtin(job).await,
        }
    }

    /// Nothing of the image runs: what fails is the registry, or the way to it.
    async fn pull(
        &self,
        image: &RegistryImage,
        listener: impl FnMut(&str),
        cancel: watch::Receiver<bool>,
    ) -> Result<Done, Failure> {
        let (image, platform) = (pinned(image)?, image.image.platform.clone());
        let build = DockerfileBuild::of_registry_image(image.clone(), platform, self.store.clone()).await?;
        match self.build(build, listener, cancel).await {
            Err(Failure::Action { log: Some(log), .. }) => {
                let said = self.store.get(log)?;
                let said = String::from_utf8_lossy(&said);
                let last = said.lines().next_back().unwrap_or_default();
                Err(Failure::Infrastructure(format!("{image} cannot be taken from its registry: {last}")))
            }
            other => other,
        }
    }

    /// Images are built by a Docker Engine, whatever runs scripts.
    async fn build(
        &self,
        build: DockerfileBuild,
        listener: impl FnMut(&str),
        cancel: watch::Receiver<bool>,
    ) -> Result<Done, Failure> {
        let outcome = self.runners.build(&build, &self.store, listener, cancel).await?;
        Ok(done(outcome, RunnerKind::Docker.name()))
    }

    /// Builtin work waits for disks and networks: it has a thread of its own. Nobody waits for
    /// that once the run is interrupted: builtin work may be killed at any instruction.
    async fn builtin(&self, job: Job<'_>) -> Result<Done, Failure> {
        let mut cancel = job.cancel.clone();
        let builtin = Builtin {
            node: job.node.clone(),
            inputs: job.inputs.to_vec(),
            cores: job.cores,
            store: self.store.clone(),
            supplies: self.supplies.clone(),
            events: job.events.clone(),
            cancel: job.cancel,
        };
        let work = tokio::task::spawn_blocking(move || builtin.run());
        tokio::select! {
            biased;
            done = work => done.unwrap_or_else(panicked),
            Ok(_) = cancel.wait_for(|&cancelled| cancelled) => Err(Failure::Cancelled),
        }
    }

    /// Local files become objects before anything sees them, if they still are what was planned with.
    async fn take_local_files(&self, node: &Node, files: &LocalTrees<'_>) -> Result<(), Failure> {
        let local = node.inputs.iter().filter_map(Input::files).map(|local| files.get(local));
        let local: Vec<_> = local.collect::<Result<_, _>>().map_err(unreadable)?;
        let (little, local): (Vec<_>, Vec<_>) = local.into_iter().partition(|tree| tree.is_little());
        little.iter().try_for_each(|tree| tree.store(&self.store).map(drop))?;
        if local.is_empty() {
            return Ok(());
        }
        let store = self.store.clone();
        let take = move || {
            let missing = local.iter().filter(|tree| !store.holds_tree(tree.digest));
            missing.into_iter().try_for_each(|tree| tree.store(&store).map(drop))
        };
        let taken = tokio::task::spawn_blocking(take).await.map_err(panicked::<()>);
        match taken {
            Ok(taken) => Ok(taken?),
            Err(panicked) => panicked,
        }
    }
}

fn unreadable(error: PlanError) -> Failure {
    Failure::Surroundings(error.to_string())
}

fn panicked<T>(panic: tokio::task::JoinError) -> Result<T, Failure> {
    Err(Failure::action(format!("forge itself failed: {panic}")))
}

fn done(outcome: runner::Outcome, runner: &'static str) -> Done {
    Done { outputs: outcome.outputs, log: Some(outcome.log), runner, is_kept: true }
}

fn dockerfile(image: &DockerImage, inputs: &[Digest]) -> Result<DockerfileBuild, Failure> {
    let bases = image.bases.iter().map(|(name, base)| Ok((name.clone(), pinned(base)?)));
    Ok(DockerfileBuild {
        context: inputs[0],
        dockerfile: image.dockerfile.clone(),
        args: image.args.clone(),
        bases: bases.collect::<Result<_, Failure>>()?,
        platform: image.platform.clone(),
        source_date_epoch: 1,
    })
}

/// A node with an image that is not in the lock has a fault, and is not planned.
fn pinned(image: &RegistryImage) -> Result<PinnedImage, Failure> {
    let reference = &image.image.reference;
    let missing = || Failure::action(format!("the lock has no digest of {reference}; run `forge update`"));
    image.locked.clone().ok_or_else(missing)
}

fn command(script: &Script, node: &Node, inputs: &[Digest], cores: usize) -> Command {
    let cell = &node.cell;
    let mut command = Command {
        root: match script.root {
            Root::Host | Root::Bare => runner::Root::Host,
            Root::Input(input) => runner::Root::Tree(inputs[input]),
        },
        script: script.text.of_script(cell).into_owned(),
        env: script.env.iter().map(|(name, value)| (name.clone(), value.of(cell).into_owned())).collect(),
        mounts: Vec::new(),
        copies: Vec::new(),
        outputs: script.outputs.to_vec(),
        network: script.network,
        source_date_epoch: script.date,
        jobs: cores,
        cpus: Some(cores as f64),
        memory: node.declared.resources.memory,
        timeout: node.declared.timeout,
        platform: script.platform.to_string(),
    };
    for placement in &script.placements {
        match placement {
            Placement::Into { input, path } => {
                command.copies.push(WorkCopy { tree: inputs[*input], into: path.of(cell).into_owned() });
            }
            Placement::At { input, path } => {
                command.mounts.push(Mount { tree: inputs[*input], at: path.of(cell).into_owned() });
            }
        }
    }
    command
}
