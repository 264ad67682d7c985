use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Command, Docker, DockerfileBuild, Outcome, PlatformEngine, Root, RunError, Runner, RunnerKind};
use crate::store::LocalStore;

/// Where everything runs: one runner, and engines for the platforms that have their own.
pub struct Runners {
    usual: Runner,
    engines: BTreeMap<String, Docker>,
}

impl Runners {
    /// Opens the wanted runner, or the first that works here, and every engine. The texts say in
    /// a line each what was chosen and why.
    pub async fn open(
        wanted: Option<RunnerKind>,
        engines: &[PlatformEngine],
    ) -> Result<(Self, Vec<String>), RunError> {
        let (usual, why) = Runner::choose(wanted).await?;
        let mut runners = Self { usual, engines: BTreeMap::new() };
        let mut said = vec![why];
        for PlatformEngine { platform, address } in engines {
            let engine = Docker::open_at(address.clone()).await?;
            said.push(format!("{platform}: as asked for; {}", engine.describe()));
            if runners.engines.insert(platform.clone(), engine).is_some() {
                return Err(RunError::Setup(format!("{platform} has two engines; name one")));
            }
        }
        Ok((runners, said))
    }

    /// The runner of everything that has no engine of its own.
    pub fn usual(&self) -> RunnerKind {
        self.usual.kind()
    }

    /// Whether programs of `platform` run on another machine, or on an engine that was named for
    /// them: it is that engine's matter how.
    pub fn is_elsewhere(&self, platform: &str) -> bool {
        let is_usual_elsewhere = matches!(&self.usual, Runner::Docker(engine) if !engine.is_here());
        is_usual_elsewhere || self.engines.contains_key(platform)
    }

    /// Ends and removes what killed processes that used `store` left running. To be called before
    /// the store's own sweep.
    pub async fn sweep(&self, store: &LocalStore) -> Result<(), RunError> {
        self.usual.sweep(store).await?;
        for engine in self.engines.values() {
            engine.sweep(store).await?;
        }
        Ok(())
    }

    /// Runs `command` where its platform belongs: see [`Runner::run`]. What runs in this machine's
    /// own root runs here. Gives which kind of runner it was.
    pub async fn run(
        &self,
        command: &Command,
        store: &Arc<LocalStore>,
        listener: impl FnMut(&str),
        cancel: watch::Receiver<bool>,
    ) -> Result<(Outcome, RunnerKind), RunError> {
        match self.engines.get(&command.platform).filter(|_| command.root != Root::Host) {
            Some(engine) => Ok((engine.run(command, store, listener, cancel).await?, RunnerKind::Docker)),
            None => Ok((self.usual.run(command, store, listener, cancel).await?, self.usual.kind())),
        }
    }

    /// Builds an image where its platform belongs: see [`Docker::build_dockerfile`].
    pub async fn build(
        &self,
        build: &DockerfileBuild,
        store: &Arc<LocalStore>,
        listener: impl FnMut(&str),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, RunError> {
        let opened;
        let engine = match (self.engines.get(&build.platform), &self.usual) {
            (Some(engine), _) | (None, Runner::Docker(engine)) => engine,
            (None, Runner::Sandbox(_)) => {
                opened = Docker::open().await?;
                &opened
            }
        };
        engine.build_dockerfile(build, store, listener, cancel).await
    }
}
