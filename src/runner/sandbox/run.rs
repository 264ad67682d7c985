use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::mount::MountFlags;
use rustix::process::PidfdFlags;
use rustix::thread::{CapabilitySet, UnshareFlags};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

use super::super::command::{CAPABILITIES, HOSTNAME, SHELL, process_one};
use super::super::log::Log;
use super::super::stage::{OVERLAY_DIRS, SCRIPT, Stage, Stages, Stop, blocking, stopped};
use super::super::{Command, Exit, Outcome, Root, RunError, Told};
use super::launch::{Launch, Process, Refused};
use super::limits::Limits;
use super::refusal::{lost, no_limits, not_started, refusal};
use super::step::{IdMaps, Step};
use super::view::View;
use crate::store::LocalStore;

/// Runs commands in namespaces of their own.
///
/// [`Runner::run`](crate::runner::Runner::run) must be awaited on a thread that lives as long as
/// the process, as the main thread with a current-thread runtime: the kernel binds "die with the
/// parent" to the thread that made the child, and would end the command with that thread.
#[derive(Clone, Debug)]
pub struct Sandbox {
    stages: Stages,
}

impl Sandbox {
    /// Tries whether namespaces may be made here.
    pub async fn open() -> Result<Self, RunError> {
        // In many containers this alone is refused.
        let proc = Step::Mount {
            kind: c"proc",
            at: c"/proc".to_owned(),
            flags: MountFlags::empty(),
            options: CString::default(),
        };
        // And this by older kernels.
        let seal = Step::Seal(c"/proc".to_owned());
        let steps = [become_root(), Step::Unshare(namespaces(false)), Step::KeepMounts, proc, seal];
        let mut running = Running::start(steps, [SHELL, "-c", "exit 0"].map(str::to_owned), [])?;
        running.begun().await?;
        running.process.end().await.map_err(lost)?;
        Ok(Self { stages: Stages::default() })
    }

    /// What is used, and what of a command's limits it can enforce, in one line.
    pub fn describe(&self) -> String {
        let system = rustix::system::uname();
        let limits = match Limits::available() {
            true => "memory and cpu limits by control groups",
            false => "memory and cpu limits are not enforced: no control group may be made here",
        };
        format!("namespaces of Linux {}, {limits}", system.release().to_string_lossy())
    }

    /// Removes control groups that killed forges left, and ends what is still in them.
    pub fn sweep(&self) {
        Limits::sweep();
    }

    pub(in super::super) async fn run(
        &self,
        command: &Command,
        store: &Arc<LocalStore>,
        mut listener: impl FnMut(Told<'_>),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, RunError> {
        command.check()?;
        let (stage, root) = {
            let (command, store, stages) = (command.clone(), store.clone(), self.stages.clone());
            blocking(move || lay_out(&command, &store, &stages)).await?
        };
        match self.execute(command, &stage, &root, &mut listener, cancel).await {
            Ok(failed) => {
                if failed.is_none() {
                    listener(Told::Over);
                }
                let (command, stages) = (command.clone(), self.stages.clone());
                blocking(move || {
                    let outcome = stage.collect(&command, failed);
                    stages.give_back(stage);
                    outcome
                })
                .await
            }
            Err(error) => {
                blocking(move || drop(stage)).await;
                Err(error)
            }
        }
    }

    async fn execute(
        &self,
        command: &Command,
        stage: &Stage,
        root: &Path,
        listener: &mut impl FnMut(Told<'_>),
        cancel: watch::Receiver<bool>,
    ) -> Result<Option<Exit>, RunError> {
        let mut log = Log::create(&stage.path("log"), |line: &str| listener(Told::Line(line)))?;
        let limits = Limits::make(command.cpus, command.memory).map_err(no_limits)?;
        let mut running = start(command, stage, root, &limits)?;
        running.begun().await?;

        let early = tokio::select! {
            drained = log.drain(&mut running.output) => drained.map(|()| None)?,
            stop = stopped(command.timeout, cancel) => Some(stop),
        };
        if early.is_some() {
            running.process.kill();
            log.drain(&mut running.output).await?;
        }
        log.finish();
        let code = running.process.end().await.map_err(lost)?;
        // Whatever the exit code: the same command makes something else where there is more.
        let ran_out = command.memory.filter(|_| limits.out_of_memory());
        match (early, ran_out) {
            (Some(Stop::Cancelled), _) => Err(RunError::Cancelled),
            (Some(Stop::TimedOut(after)), _) => Ok(Some(Exit::TimedOut(after))),
            (None, Some(bytes)) => Ok(Some(Exit::OutOfMemory(bytes))),
            (None, None) => Ok(Exit::from_code(code)),
        }
    }
}

/// Starts what becomes the command.
fn start(command: &Command, stage: &Stage, root: &Path, limits: &Limits) -> Result<Running, RunError> {
    let mut steps: Vec<Step> =
        limits.entrances().map_err(no_limits)?.into_iter().map(Step::EnterGroup).collect();
    steps.extend([become_root(), Step::Unshare(namespaces(command.network))]);
    if !command.network {
        steps.push(Step::Loopback);
    }
    steps.push(Step::Name(HOSTNAME.as_bytes()));
    steps.extend(View::steps(command, stage, root)?);
    steps.extend([Step::LeaveSession, Step::Keep(capabilities())]);
    let environment = command.environment().into_iter().map(|(name, value)| format!("{name}={value}"));
    Running::start(steps, process_one(command, "exit $?"), environment)
}

/// Root, and in no other group.
fn become_root() -> Step {
    IdMaps::of_caller().map_or(Step::LeaveGroups, Step::MapIds)
}

/// The namespaces that every command has, beside that of pids.
fn namespaces(network: bool) -> UnshareFlags {
    let always = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | UnshareFlags::NEWCGROUP;
    if network { always } else { always | UnshareFlags::NEWNET }
}

fn capabilities() -> CapabilitySet {
    let named = CAPABILITIES.iter().filter_map(|name| name.strip_prefix("CAP_"));
    named.filter_map(CapabilitySet::from_name).collect()
}

/// Makes everything the command sees. Blocks.
fn lay_out(
    command: &Command,
    store: &Arc<LocalStore>,
    stages: &Stages,
) -> Result<(Stage, PathBuf), RunError> {
    let root = match command.root {
        Root::Tree(tree) => store.checkout(tree)?,
        Root::Host => PathBuf::from("/"),
    };
    let mut stage = stages.closed(store)?;
    stage.mount(command)?;
    stage.write(SCRIPT, command.script.as_bytes())?;
    stage.write("etc/resolv.conf", &resolvers(command.network))?;
    stage.copy_in(command)?;
    if command.root != Root::Host {
        OVERLAY_DIRS.iter().try_for_each(|dir| stage.make_dir(dir))?;
    }
    Ok((stage, root))
}

fn resolvers(network: bool) -> Vec<u8> {
    match network {
        true => std::fs::read("/etc/resolv.conf").unwrap_or_default(),
        false => Vec::new(),
    }
}

/// A command under way.
struct Running {
    process: Process,
    output: Receiver,
    status: Receiver,
    /// What it does before it is the command; with this process's ends of what it is given, which must not outlast that.
    steps: Vec<Step>,
}

impl Running {
    fn start(
        steps: impl IntoIterator<Item = Step>,
        arguments: [String; 3],
        environment: impl IntoIterator<Item = String>,
    ) -> Result<Self, RunError> {
        let (output, output_end) = io::pipe().map_err(lost)?;
        let input = File::open("/dev/null").map_err(lost)?.into();
        let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
        let own = own.map_err(|error| lost(error.into()))?;
        let mut all = vec![Step::Streams { input, output: output_end.into() }];
        all.extend(steps);
        // Behind all that changes who it is: that is when the kernel forgets it.
        all.push(Step::DieWith(own));
        let launch = Launch {
            steps: &mut all,
            arguments: c_strings(arguments)?,
            environment: c_strings(environment)?,
        };
        let (process, status) = launch.start().map_err(not_started)?;
        let reader = |end: io::PipeReader| Receiver::from_owned_fd(end.into()).map_err(lost);
        Ok(Self { process, output: reader(output)?, status: reader(status)?, steps: all })
    }

    /// Waits until it is the command.
    async fn begun(&mut self) -> Result<(), RunError> {
        let mut said = Vec::new();
        self.status.read_to_end(&mut said).await.map_err(lost)?;
        let steps = std::mem::take(&mut self.steps);
        Refused::read(&said).map_or(Ok(()), |refused| Err(refusal(steps.get(refused.step), refused.errno)))
    }
}

fn c_strings(texts: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Result<Vec<CString>, RunError> {
    let texts = texts.into_iter().map(CString::new).collect::<Result<_, _>>();
    texts.map_err(|error| RunError::Setup(error.to_string()))
}
