use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OnceCell, watch};

use super::{
    Command, Docker, DockerfileBuild, Outcome, PlatformEngine, Root, RunError, Runner, RunnerKind, Told,
};
use crate::store::LocalStore;

/// Where everything runs: one runner, and engines for the platforms that have their own.
///
/// The one runner is opened when something is to run, so that packages can be published where none works.
pub struct Runners {
    wanted: Option<RunnerKind>,
    usual: OnceCell<(Runner, String)>,
    engines: BTreeMap<String, Docker>,
    store: Arc<LocalStore>,
}

impl Runners {
    /// Every engine, opened, and the wanted runner, or the first that will work here. What killed processes that used
    /// `store` left running is ended wherever something is opened. The texts say in a line each what that is.
    pub async fn open(
        wanted: Option<RunnerKind>,
        engines: &[PlatformEngine],
        store: Arc<LocalStore>,
    ) -> Result<(Self, Vec<String>), RunError> {
        let mut runners = Self { wanted, usual: OnceCell::new(), engines: BTreeMap::new(), store };
        let mut said = Vec::new();
        for PlatformEngine { platform, address } in engines {
            let engine = Docker::open_at(address.clone()).await?;
            engine.sweep(&runners.store).await?;
            said.push(format!("{platform}: as asked for; {}", engine.describe()));
            if runners.engines.insert(platform.clone(), engine).is_some() {
                return Err(RunError::Setup(format!("{platform} has two engines; name one")));
            }
        }
        Ok((runners, said))
    }

    /// Opens the runner of everything that has no engine of its own, where that was not done yet. The text says in one
    /// line what was chosen and why.
    pub async fn ready(&self) -> Result<&str, RunError> {
        self.opened().await.map(|(_, why)| why.as_str())
    }

    async fn opened(&self) -> Result<&(Runner, String), RunError> {
        self.usual
            .get_or_try_init(|| async {
                let (runner, why) = Runner::choose(self.wanted).await?;
                runner.sweep(&self.store).await?;
                Ok((runner, why))
            })
            .await
    }

    /// The runner of everything that has no engine of its own, if it is open.
    pub fn usual(&self) -> Option<RunnerKind> {
        self.usual.get().map(|(runner, _)| runner.kind())
    }

    /// Whether programs of `platform` run on another machine, or on an engine that was named for
    /// them: it is that engine's matter how.
    pub fn is_elsewhere(&self, platform: &str) -> bool {
        let is_usual_elsewhere =
            matches!(self.usual.get(), Some((Runner::Docker(engine), _)) if !engine.is_here());
        is_usual_elsewhere || self.engines.contains_key(platform)
    }

    /// Runs `command` where its platform belongs: see [`Runner::run`]. What runs in this machine's
    /// own root runs here. Gives which kind of runner it was.
    pub async fn run(
        &self,
        command: &Command,
        store: &Arc<LocalStore>,
        listener: impl FnMut(Told<'_>),
        cancel: watch::Receiver<bool>,
    ) -> Result<(Outcome, RunnerKind), RunError> {
        match self.engines.get(&command.platform).filter(|_| command.root != Root::Host) {
            Some(engine) => Ok((engine.run(command, store, listener, cancel).await?, RunnerKind::Docker)),
            None => {
                let (usual, _) = self.opened().await?;
                Ok((usual.run(command, store, listener, cancel).await?, usual.kind()))
            }
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
        let engine = match self.engines.get(&build.platform) {
            Some(engine) => engine,
            None => match self.opened().await? {
                (Runner::Docker(engine), _) => engine,
                (Runner::Sandbox(_), _) => {
                    opened = Docker::open().await?;
                    &opened
                }
            },
        };
        engine.build_dockerfile(build, store, listener, cancel).await
    }
}
