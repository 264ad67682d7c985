//! Runs a command on this machine as it is: without a sandbox, which is why it has to be asked for in the Buildfile.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::{oneshot, watch};

use super::command::SHELL;
use super::simple_command::SimpleCommand;
use super::stage::{LOG, Stage, Stages, Stop, blocking, stopped};
use super::{Command, Exit, Outcome, RunError, Told};
use crate::store::{LocalStore, StoreError};

/// The working directory, below a stage.
const WORK: &str = "forge/work";

/// Runs commands on this machine as it is.
pub struct Bare {
    store: Arc<LocalStore>,
    stages: Stages,
}

impl Bare {
    /// Its commands take from `store` and give to it.
    pub fn new(store: Arc<LocalStore>) -> Self {
        Self { store, stages: Stages::default() }
    }

    /// Runs `command` in directories of its own, with the environment that every action has, its places being those of
    /// this machine. What else is on the machine it sees and may write; its limits of memory and processors are not enforced.
    /// What it prints is told when it ends.
    pub async fn run(
        &self,
        command: &Command,
        mut listener: impl FnMut(Told<'_>),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, RunError> {
        command.check()?;
        let group = Group::default();
        let (over, mut told) = oneshot::channel();
        let work = {
            let (command, store) = (command.clone(), self.store.clone());
            let (stages, group) = (self.stages.clone(), group.clone());
            blocking(move || perform(&command, &store, &stages, &group, over))
        };
        let mut work = std::pin::pin!(work);
        let mut stop = std::pin::pin!(stopped(command.timeout, cancel));
        let stop = loop {
            tokio::select! {
                biased;
                done = &mut work => return tell(done, &mut listener),
                Ok(()) = &mut told, if !told.is_terminated() => listener(Told::Over),
                stop = &mut stop => break stop,
            }
        };
        group.end();
        match (stop, tell(work.await, &mut listener)) {
            (Stop::Cancelled, _) => Err(RunError::Cancelled),
            (Stop::TimedOut(after), Err(RunError::Failed { log, .. })) => {
                Err(RunError::Failed { exit: Exit::TimedOut(after), log })
            }
            // It was over before it could be ended.
            (Stop::TimedOut(_), done) => done,
        }
    }
}

/// What a command printed, and what came of it.
type Done = Result<(String, Result<Outcome, RunError>), RunError>;

fn tell(done: Done, listener: &mut impl FnMut(Told<'_>)) -> Result<Outcome, RunError> {
    let (said, outcome) = done?;
    said.lines().for_each(|line| listener(Told::Line(line)));
    outcome
}

/// The processes of a command, which can be ended from another thread.
#[derive(Clone, Default)]
struct Group(Arc<Mutex<Leader>>);

#[derive(Default)]
enum Leader {
    #[default]
    NotStarted,
    Alive(Pid),
    /// Nobody is left, or none shall be started.
    Over,
}

impl Group {
    fn leader(&self) -> std::sync::MutexGuard<'_, Leader> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the first process, unless the end came first.
    fn start(&self, command: &mut process::Command) -> io::Result<Child> {
        let mut leader = self.leader();
        if matches!(*leader, Leader::Over) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let child = command.process_group(0).spawn()?;
        *leader = Leader::Alive(Pid::from_child(&child));
        Ok(child)
    }

    /// Ends all that is left.
    fn end(&self) {
        let mut leader = self.leader();
        if let Leader::Alive(pid) = *leader {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        *leader = Leader::Over;
    }

    /// Waits for the first process. What it left behind ends with it: its number is not given to others before that.
    fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let first = WaitId::Pid(Pid::from_child(child));
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(first.clone(), options), Err(rustix::io::Errno::INTR)) {}
        self.end();
        child.wait()
    }
}

/// Takes a stage, and gives it back when all is over. Blocks. `over` hears when the command has ended well.
fn perform(
    command: &Command,
    store: &Arc<LocalStore>,
    stages: &Stages,
    group: &Group,
    over: oneshot::Sender<()>,
) -> Done {
    let stage = stages.open(store)?;
    let done = run_in(&stage, command, group, over);
    stages.give_back(stage);
    done
}

/// Lays out, runs and collects.
fn run_in(stage: &Stage, command: &Command, group: &Group, over: oneshot::Sender<()>) -> Done {
    stage.copy_in(command)?;
    let log = stage.path(LOG);
    let mut options = File::options();
    let output = options.read(true).write(true).create(true).truncate(true).open(&log);
    let mut output = output.map_err(StoreError::io("create", &log))?;
    let mut child = start(stage, command, &output, group).map_err(lost)?;
    let status = group.wait(&mut child).map_err(lost)?;
    let failed = match (status.code(), status.signal()) {
        (Some(code), _) => Exit::from_code(code),
        (None, signal) => Some(Exit::Signal(signal.unwrap_or_default())),
    };
    if failed.is_none() {
        // Nobody hears it of a command that was cancelled.
        let _ = over.send(());
    }
    // Nobody is left who writes to it.
    let mut said = Vec::new();
    let read = output.rewind().and_then(|()| output.read_to_end(&mut said));
    read.map_err(StoreError::io("read", &log))?;
    let log = stage.store().put(&said)?;
    Ok((String::from_utf8_lossy(&said).into_owned(), stage.collect_with(command, failed, log)))
}

/// Starts the script, without a shell where that makes no difference.
fn start(stage: &Stage, command: &Command, log: &File, group: &Group) -> io::Result<Child> {
    let (environment, work) = (environment(stage, command), stage.path(WORK));
    let surround = |process: &mut process::Command| -> io::Result<()> {
        process.env_clear().envs(&environment).current_dir(&work);
        process.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
        Ok(())
    };
    let simple = SimpleCommand::read(&command.script, &environment);
    if let (Some(simple), Some(path)) = (simple, environment.get("PATH"))
        && let Some(mut program) = simple.program(path)
    {
        let surrounded = surround(&mut program).and_then(|()| simple.redirect(&mut program, &work));
        if let Ok(child) = surrounded.and_then(|()| group.start(&mut program)) {
            return Ok(child);
        }
    }
    let mut shell = process::Command::new(SHELL);
    shell.args(["-eu", "-c", &format!("umask 022; {}", command.script)]);
    surround(&mut shell)?;
    group.start(&mut shell)
}

/// That of every action, its places being those of this machine.
fn environment(stage: &Stage, command: &Command) -> BTreeMap<String, OsString> {
    let places = [("OUT", "forge/out"), ("HOME", "forge/home"), ("PWD", WORK)];
    let places = places.map(|(name, place)| (name.to_owned(), stage.path(place).into()));
    let same = command.environment().into_iter().map(|(name, value)| (name, value.into()));
    same.chain(places).collect()
}

fn lost(error: io::Error) -> RunError {
    RunError::Infrastructure(format!("cannot run the command: {error}"))
}
