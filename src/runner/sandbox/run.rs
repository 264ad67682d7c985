use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout};
use tokio::sync::watch;

use super::super::log::Log;
use super::super::stage::{OVERLAY_DIRS, SCRIPT, Stage, Stages, Stop, blocking, stopped};
use super::super::{Command, Exit, Outcome, Root, RunError};
use super::arguments::Arguments;
use super::limits::Limits;
use super::prologue::{IdMaps, Overlay, Prologue, inherited};
use crate::store::LocalStore;

/// Runs commands with bubblewrap.
///
/// [`Runner::run`](crate::runner::Runner::run) must be awaited on a thread that lives as long as
/// the process, as the main thread with a current-thread runtime: the kernel binds "die with the
/// parent" to the thread that made the child, and would end the command with that thread.
#[derive(Clone, Debug)]
pub struct Sandbox {
    bwrap: PathBuf,
    version: String,
    inherited: Vec<i32>,
    stages: Stages,
}

/// One line of what bubblewrap tells of the command.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    child_pid: Option<i32>,
    /// Only there if the command was started.
    exit_code: Option<i32>,
}

impl Sandbox {
    /// Finds bubblewrap and tries whether it may make namespaces here.
    pub async fn open() -> Result<Self, RunError> {
        let bwrap = find_bwrap().ok_or_else(|| {
            RunError::Setup("bubblewrap is not installed; `apt-get install bubblewrap` (or your distribution's package of that name), or use the docker runner".into())
        })?;
        let output = async |arguments: &[&str]| {
            let mut command = tokio::process::Command::new(&bwrap);
            command
                .args(arguments)
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output()
                .await
                .map_err(|error| RunError::Setup(format!("cannot start {}: {error}", bwrap.display())))
        };
        let version = String::from_utf8_lossy(&output(&["--version"]).await?.stdout).trim().to_owned();
        let probe = output(&[
            "--ro-bind",
            "/",
            "/",
            "--unshare-pid",
            "--unshare-net",
            "--as-pid-1",
            "/bin/sh",
            "-c",
            "exit 0",
        ])
        .await?;
        if !probe.status.success() {
            let said = String::from_utf8_lossy(&probe.stderr).trim().to_owned();
            return Err(RunError::Setup(format!(
                "bubblewrap may not make namespaces here: {said}; {ALLOW_NAMESPACES}"
            )));
        }
        Ok(Self { bwrap, version, inherited: inherited(), stages: Stages::default() })
    }

    /// What is used, and what of a command's limits it can enforce, in one line.
    pub fn describe(&self) -> String {
        let limits = match Limits::available() {
            true => "memory and cpu limits by control groups",
            false => "memory and cpu limits are not enforced: no control group may be made here",
        };
        format!("{}, {limits}", self.version)
    }

    /// Removes control groups that killed forges left, and ends what is still in them.
    pub fn sweep(&self) {
        Limits::sweep();
    }

    pub(in super::super) async fn run(
        &self,
        command: &Command,
        store: &Arc<LocalStore>,
        listener: impl FnMut(&str),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, RunError> {
        command.check()?;
        let (stage, root) = {
            let (command, store, stages) = (command.clone(), store.clone(), self.stages.clone());
            blocking(move || lay_out(&command, &store, &stages)).await?
        };
        match self.execute(command, &stage, &root, listener, cancel).await {
            Ok(failed) => {
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
        listener: impl FnMut(&str),
        cancel: watch::Receiver<bool>,
    ) -> Result<Option<Exit>, RunError> {
        let mut log = Log::create(&stage.path("log"), listener)?;
        let limits = Limits::make(command.cpus, command.memory).map_err(no_limits)?;
        let mut running = self.start(command, stage, root, &limits)?;
        running.await_pid().await.map_err(lost)?;

        let early = tokio::select! {
            drained = log.drain(&mut running.output) => drained.map(|()| None)?,
            stop = stopped(command.timeout, cancel) => Some(stop),
        };
        if early.is_some() {
            running.kill();
            log.drain(&mut running.output).await?;
        }
        log.finish();
        let code = running.end().await.map_err(lost)?;
        // Whatever the exit code: the same command makes something else where there is more.
        let ran_out = command.memory.filter(|_| limits.out_of_memory());
        match (early, ran_out, code) {
            (Some(Stop::Cancelled), ..) => Err(RunError::Cancelled),
            (Some(Stop::TimedOut(after)), ..) => Ok(Some(Exit::TimedOut(after))),
            (None, Some(bytes), _) => Ok(Some(Exit::OutOfMemory(bytes))),
            (None, None, Some(code)) => Ok(Exit::from_code(code)),
            (None, None, None) => Err(not_started(&stage.log_tail())),
        }
    }

    fn start(
        &self,
        command: &Command,
        stage: &Stage,
        root: &Path,
        limits: &Limits,
    ) -> Result<Running, RunError> {
        let store = stage.store().root();
        let (output, output_end) = io::pipe().map_err(lost)?;
        let (status, status_end) = io::pipe().map_err(lost)?;
        let mut prologue = Prologue {
            parent: rustix::process::getpid(),
            overlay: overlay(command, stage, root)?,
            id_maps: IdMaps::of_caller(),
            groups: limits.entrances().map_err(no_limits)?,
            status: status_end.into(),
            inherited: self.inherited.clone(),
        };
        let arguments = Arguments::build(command, stage, root, prologue.status_fd())?;

        let mut bwrap = std::process::Command::new(&self.bwrap);
        bwrap.args(arguments).env_clear().envs(command.environment()).current_dir(store);
        bwrap.stdin(Stdio::null()).stdout(output_end.try_clone().map_err(lost)?).stderr(output_end);
        // SAFETY: `Prologue::run` only makes system calls with what was made before the fork.
        unsafe { bwrap.pre_exec(move || prologue.run()) };
        let mut bwrap = tokio::process::Command::from(bwrap);
        let child = bwrap.kill_on_drop(true).spawn().map_err(|error| self.spawn_error(error, store))?;
        // This side's ends of both pipes live in `bwrap`; the pipes must not outlast the child.
        drop(bwrap);
        let (output, status) = (reader(output.into()).map_err(lost)?, reader(status.into()).map_err(lost)?);
        Ok(Running { child, output, status, said: Vec::new(), process_one: None })
    }

    fn spawn_error(&self, error: io::Error, store: &Path) -> RunError {
        match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::AGAIN | rustix::io::Errno::NOMEM | rustix::io::Errno::MFILE) => {
                lost(error)
            }
            Some(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => RunError::Setup(format!(
                "the sandbox may not make its namespaces: {error}; {ALLOW_NAMESPACES}"
            )),
            Some(rustix::io::Errno::INVAL | rustix::io::Errno::NODEV) => RunError::Setup(format!(
                "cannot lay a writable layer over the root: {error}; {} must be on a filesystem that can hold one (ext4, xfs, btrfs or tmpfs, not another overlay or NFS), or use the docker runner",
                store.display()
            )),
            _ => RunError::Setup(format!("cannot start {}: {error}", self.bwrap.display())),
        }
    }
}

const ALLOW_NAMESPACES: &str = "run as root, or allow unprivileged user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns), or use the docker runner";

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

fn overlay(command: &Command, stage: &Stage, root: &Path) -> Result<Option<Overlay>, RunError> {
    if command.root == Root::Host {
        return Ok(None);
    }
    let store = stage.store().root();
    let relative = |path: &Path| path.strip_prefix(store).unwrap_or(path).display().to_string();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}{}",
        relative(root),
        relative(&stage.path("upper")),
        relative(&stage.path("overlay")),
        // The only attributes an overlay may write in a user namespace.
        if rustix::process::geteuid().is_root() { "" } else { ",userxattr" },
    );
    let c_string = |text: String| CString::new(text).map_err(|error| RunError::Setup(error.to_string()));
    Ok(Some(Overlay { options: c_string(options)?, at: c_string(relative(&stage.path("root")))? }))
}

/// A command under way.
struct Running {
    /// Bubblewrap itself, outside of the namespaces; it ends after the last process inside.
    child: Child,
    output: ChildStdout,
    status: ChildStdout,
    said: Vec<u8>,
    /// Process 1 of the namespace: when it ends, the kernel ends all others before anybody
    /// learns of it.
    process_one: Option<OwnedFd>,
}

impl Running {
    /// Waits until bubblewrap has told the pid, or has given up.
    async fn await_pid(&mut self) -> io::Result<()> {
        while !self.said.contains(&b'\n') {
            if self.status.read_buf(&mut self.said).await? == 0 {
                return Ok(());
            }
        }
        let pid = self.statuses().find_map(|status| status.child_pid).and_then(Pid::from_raw);
        // No descriptor: it has ended already.
        self.process_one = pid.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        Ok(())
    }

    fn kill(&mut self) {
        let killed = self
            .process_one
            .as_ref()
            .is_some_and(|process| rustix::process::pidfd_send_signal(process, Signal::KILL).is_ok());
        if !killed {
            // It ends with bubblewrap, or has ended.
            let _ = self.child.start_kill();
        }
    }

    /// Reaps bubblewrap. Gives the command's exit code, or `None` if it was never started.
    async fn end(&mut self) -> io::Result<Option<i32>> {
        self.status.read_to_end(&mut self.said).await?;
        self.child.wait().await?;
        Ok(self.statuses().find_map(|status| status.exit_code))
    }

    fn statuses(&self) -> impl Iterator<Item = Status> + '_ {
        serde_json::Deserializer::from_slice(&self.said).into_iter().flatten()
    }
}

/// A pipe's end that the event loop can read.
fn reader(end: OwnedFd) -> io::Result<ChildStdout> {
    ChildStdout::from_std(std::process::ChildStdout::from(end))
}

fn find_bwrap() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("bwrap")).find(|file| file.is_file())
}

fn lost(error: io::Error) -> RunError {
    RunError::Infrastructure(format!("the sandbox lost its command: {error}"))
}

fn no_limits(error: io::Error) -> RunError {
    RunError::Infrastructure(format!("cannot make a control group for the command's limits: {error}"))
}

fn not_started(said: &str) -> RunError {
    RunError::Setup(format!("bubblewrap could not start the command: {said}"))
}
