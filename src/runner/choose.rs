use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Command, Docker, Outcome, RunError, Sandbox, Told};
use crate::store::LocalStore;

/// Which runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunnerKind {
    /// Namespaces on this machine.
    Sandbox,
    /// A Docker engine on this machine.
    Docker,
}

impl RunnerKind {
    /// Its name, as results record it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Docker => "docker",
        }
    }
}

impl fmt::Display for RunnerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for RunnerKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "sandbox" => Ok(Self::Sandbox),
            "docker" => Ok(Self::Docker),
            other => Err(format!("no runner is called '{other}'; there are 'sandbox' and 'docker'")),
        }
    }
}

/// Where commands run.
#[derive(Clone, Debug)]
pub enum Runner {
    /// Namespaces.
    Sandbox(Sandbox),
    /// A Docker engine.
    Docker(Docker),
}

impl Runner {
    /// The wanted runner, or the first that works here: the sandbox, then Docker. The text says
    /// in one line what was chosen and why.
    pub async fn choose(wanted: Option<RunnerKind>) -> Result<(Self, String), RunError> {
        match wanted {
            Some(kind) => {
                let runner = Self::open(kind).await?;
                let said = format!("runner {kind}: as asked for; {}", runner.describe());
                Ok((runner, said))
            }
            None => Self::first_that_works().await,
        }
    }

    async fn first_that_works() -> Result<(Self, String), RunError> {
        let no_sandbox = match Self::open(RunnerKind::Sandbox).await {
            Ok(runner) => {
                let said =
                    format!("runner sandbox: it works here and needs no daemon; {}", runner.describe());
                return Ok((runner, said));
            }
            Err(error) => error,
        };
        match Self::open(RunnerKind::Docker).await {
            Ok(runner) => {
                let said =
                    format!("runner docker: {}; the sandbox cannot be used: {no_sandbox}", runner.describe());
                Ok((runner, said))
            }
            Err(no_docker) => Err(RunError::Setup(format!(
                "no runner works here. sandbox: {no_sandbox}. docker: {no_docker}"
            ))),
        }
    }

    async fn open(kind: RunnerKind) -> Result<Self, RunError> {
        Ok(match kind {
            RunnerKind::Sandbox => Self::Sandbox(Sandbox::open().await?),
            RunnerKind::Docker => Self::Docker(Docker::open().await?),
        })
    }

    /// Which one it is.
    pub fn kind(&self) -> RunnerKind {
        match self {
            Self::Sandbox(_) => RunnerKind::Sandbox,
            Self::Docker(_) => RunnerKind::Docker,
        }
    }

    /// Its name, as results record it.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    fn describe(&self) -> String {
        match self {
            Self::Sandbox(sandbox) => sandbox.describe(),
            Self::Docker(docker) => docker.describe(),
        }
    }

    /// Ends and removes what killed processes that used `store` left running here. To be
    /// called before the store's own sweep.
    pub async fn sweep(&self, store: &LocalStore) -> Result<(), RunError> {
        match self {
            Self::Sandbox(sandbox) => {
                sandbox.sweep();
                Ok(())
            }
            Self::Docker(docker) => docker.sweep(store).await,
        }
    }

    /// Runs `command` and stores what it made. `listener` hears each line as it comes, and when
    /// the command is over. Once `cancel` is true the command is killed, with all it has started.
    /// Whatever the end, no process, mount, container or file of it is left. If the future is
    /// dropped before its end the command is killed too; what of its files is left goes with the
    /// next sweep.
    pub async fn run(
        &self,
        command: &Command,
        store: &Arc<LocalStore>,
        listener: impl FnMut(Told<'_>),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, RunError> {
        match self {
            Self::Sandbox(sandbox) => sandbox.run(command, store, listener, cancel).await,
            Self::Docker(docker) => docker.run(command, store, listener, cancel).await,
        }
    }
}
