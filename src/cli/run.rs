use std::io::{self, IsTerminal};
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::question::Question;
use super::words::Words;
use super::workspace::Workspace;
use super::{CommandError, Global, exit};
use crate::buildfile::Faults;
use crate::execute::{Event, Executor, LastRun, Performer, RunReport, Settings, Supplies, unrunnable};
use crate::graph::{NodeId, Work};
use crate::plan::{
    Cause, Destination, LocalTrees, Plan, Planner, SavedPlan, Verdict, effects, input_digests,
};
use crate::runner::{Bare, PlatformEngine, RunnerKind, Runners};
use crate::store::{RemoteStore, RemoteTraffic, StatCache};
use crate::ui::{self, EventsFile, Listener, Live, Plain};

/// Build what is missing, and publish all of it or nothing.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Targets, nodes, and selections such as otp=27 or distro!=rocky-9.
    words: Vec<String>,
    /// Cores that may be used at the same time; all of them by default.
    #[arg(long, short, value_name = "N")]
    jobs: Option<usize>,
    /// Go on with what a failure does not touch.
    #[arg(long, short)]
    keep_going: bool,
    /// Run what failed, or was not run, last time.
    #[arg(long, conflicts_with_all = ["words", "plan"])]
    failed: bool,
    /// Apply this plan exactly, or refuse if the world has moved since.
    #[arg(long, value_name = "FILE", conflicts_with = "words")]
    plan: Option<PathBuf>,
    /// Write every event as a line of JSON (docs/events.md).
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Where scripts run: sandbox or docker; the first that works by default.
    #[arg(long, value_name = "RUNNER", env = "FORGE_RUNNER")]
    runner: Option<RunnerKind>,
    /// A Docker Engine for everything of one platform, as linux/arm64=ssh://builder or
    /// linux/arm64=tcp://builder:2376. May be given for several platforms.
    #[arg(long = "engine", value_name = "PLATFORM=ADDRESS", env = "FORGE_ENGINES", value_parser = engines)]
    engines: Vec<Vec<PlatformEngine>>,
    /// How often a publish that lost to another one is tried again, from what is live then.
    #[arg(long, value_name = "N", default_value_t = 0)]
    publish_retries: u32,
    /// Print every request that publishing would make of an S3 service, and write nothing. What is to be
    /// published has to be built.
    #[arg(long, conflicts_with_all = ["plan", "failed", "events"])]
    dry_run: bool,
    /// A directory with archives that were fetched by other means.
    #[arg(long, value_name = "DIR")]
    distdir: Option<PathBuf>,
}

pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CommandError> {
    let saved = arguments.plan.as_deref().map(SavedPlan::load).transpose()?;
    let words = match &saved {
        None => Words::parse(&arguments.words)?,
        Some(saved) => Words::parse(&[saved.selection.clone(), saved.goals.clone()].concat())?,
    };
    let profile = saved.as_ref().map_or(global.profile.clone(), |saved| saved.profile.clone());
    let global = &Global { profile, ..global.clone() };
    let question = is_plain(arguments).then(|| Question::new(global, &words)).transpose()?;
    if let Some(nodes) = question.as_ref().and_then(Question::idle) {
        tell_idle(arguments, nodes, None)?;
        eprint!("{}", ui::idle_summary(nodes, None));
        return Ok(exit::OK);
    }
    let workspace = Workspace::open(global, &words)?;
    let goals = goals(&workspace, arguments, &words)?;
    workspace.require_locked(&goals)?;
    if !arguments.dry_run {
        workspace.keep_additions()?;
    }
    let stats = StatCache::of(&workspace.store);
    // Nobody waits for these to be taken apart.
    let mut files = ManuallyDrop::new(LocalTrees::new(&stats));
    let planner = workspace.planner(&files);
    let baseline = question.as_ref().and_then(Question::baseline);
    let mut plan = ManuallyDrop::new(planner.plan_from(&goals, baseline)?);
    if let Some(saved) = saved {
        let effects = effects(&workspace.graph, &plan)?;
        let profile = global.profile.as_deref();
        let now = SavedPlan::new(&plan, &workspace.graph, profile, &words.selection_text, effects);
        saved.check(&now)?;
    }
    if plan.is_idle() && !planner.bring_goals(&plan) {
        // What was known cannot be had.
        plan = ManuallyDrop::new(planner.plan(&goals)?);
    }
    workspace.tell_said();
    if arguments.dry_run {
        return rehearse(&planner, &plan);
    }
    let code = match plan.is_idle() {
        true => {
            let traffic = workspace.remote.as_ref().map(RemoteStore::traffic);
            tell_idle(arguments, plan.steps.len(), traffic.as_ref())?;
            eprint!("{}", ui::idle_summary(plan.steps.len(), traffic.as_ref()));
            exit::OK
        }
        false => execute(&workspace, arguments, &planner, &plan)?,
    };
    if let Some(question) = question {
        question.keep(&workspace, &mut files, &plan);
    }
    workspace.remember(stats);
    Ok(code)
}

/// Whether it is asked for no more than that everything is done.
fn is_plain(arguments: &Arguments) -> bool {
    !arguments.failed && !arguments.dry_run && arguments.plan.is_none()
}

/// Tells what publishing would ask of services. It is the publish itself, with its writes noted down.
fn rehearse(planner: &Planner<'_>, plan: &Plan) -> Result<u8, CommandError> {
    let mut code = exit::OK;
    for step in &plan.steps {
        let node = planner.graph.node(step.node);
        let Work::Publish(work) = &node.work else { continue };
        match &step.verdict {
            Verdict::Hit => eprintln!("{}: nothing to do", node.name()),
            Verdict::Run(Cause::Destination(_)) => {
                let outputs = |id| plan.step(id).and_then(|step| step.outputs.as_ref());
                let inputs = input_digests(node, planner.files, outputs)?;
                match Destination::new(work).rehearse(&inputs, planner.store)? {
                    Some(requests) => requests.iter().for_each(|request| println!("{request}")),
                    None => eprintln!("{}: a directory is asked for nothing", node.name()),
                }
            }
            Verdict::Run(_) | Verdict::Unknown(_) | Verdict::FailedBefore(_) => {
                eprintln!(
                    "{}: what it publishes is not built yet; run the index that it publishes first",
                    node.name()
                );
                code = exit::ERROR;
            }
        }
    }
    Ok(code)
}

fn goals(workspace: &Workspace, arguments: &Arguments, words: &Words) -> Result<Vec<NodeId>, CommandError> {
    if !arguments.failed {
        return words.nodes(&workspace.graph);
    }
    let last = LastRun::load(&workspace.store).unwrap_or_default();
    let names = last.failed.iter().chain(&last.undone);
    let goals: Vec<NodeId> = names.filter_map(|name| workspace.graph.by_name(name)).collect();
    match goals.is_empty() {
        true => Err(CommandError::new("nothing failed last time, or it is not in this Buildfile any more")),
        false => Ok(goals),
    }
}

/// Runs the plan on this thread: runners tie what they start to the life of the thread that
/// started it.
fn execute(
    workspace: &Workspace,
    arguments: &Arguments,
    planner: &Planner<'_>,
    plan: &Plan,
) -> Result<u8, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut listeners = listeners(arguments)?;
    let started = Instant::now();
    let report = runtime.block_on(async {
        let engines = arguments.engines.concat();
        let (runners, mut said) = Runners::open(arguments.runner, &engines, workspace.store.clone()).await?;
        if plan.needs_runner(&workspace.graph) {
            said.insert(0, runners.ready().await?.to_owned());
        }
        for text in said {
            let notice = Event::Notice { text };
            listeners.iter_mut().for_each(|listener| listener.hear(&notice));
        }
        let is_elsewhere = |platform: &str| runners.is_elsewhere(platform);
        let errors = unrunnable(&workspace.graph, plan, &workspace.store, is_elsewhere)?;
        if !errors.is_empty() {
            return Err(Faults { errors }.into());
        }
        workspace.store.sweep()?;
        let _unflushed = workspace.store.flush_later()?;
        let supplies = Supplies {
            distdir: arguments.distdir.clone(),
            publish_retries: arguments.publish_retries,
            ..Supplies::default()
        };
        let performer = Performer {
            runners,
            bare: Bare::new(workspace.store.clone()),
            store: workspace.store.clone(),
            supplies: Arc::new(supplies),
        };
        let executor = Executor {
            planner,
            performer: &performer,
            store: &workspace.store,
            remote: workspace.remote.as_ref(),
            settings: settings(arguments),
            cancel: cancel_on_signals(),
        };
        let hear = |event: &Event| listeners.iter_mut().for_each(|listener| listener.hear(event));
        Ok::<_, CommandError>(executor.run(plan, hear).await)
    })?;
    // Builtin work that was interrupted ends with the process.
    runtime.shutdown_background();
    drop(listeners);
    let duration_ms = started.elapsed().as_millis() as u64;
    eprint!("{}", ui::run_summary(&workspace.graph, &report, duration_ms));
    Ok(code(&report))
}

/// One, several with commas between them, or none.
fn engines(text: &str) -> Result<Vec<PlatformEngine>, String> {
    text.split(',').filter(|engine| !engine.trim().is_empty()).map(str::parse).collect()
}

fn code(report: &RunReport) -> u8 {
    match report {
        RunReport { interrupted: true, .. } => exit::INTERRUPTED,
        RunReport { goal_lost: true, .. } => exit::FAILED,
        _ => exit::OK,
    }
}

fn settings(arguments: &Arguments) -> Settings {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = rustix::system::sysinfo();
    Settings {
        jobs: arguments.jobs.unwrap_or(cores).max(1),
        memory: info.totalram as u64 * u64::from(info.mem_unit),
        keep_going: arguments.keep_going,
    }
}

/// Nobody must take the events of an earlier run for those of this one.
fn tell_idle(arguments: &Arguments, hits: usize, remote: Option<&RemoteTraffic>) -> Result<(), CommandError> {
    let Some(mut file) = events_file(arguments)? else { return Ok(()) };
    file.hear(&Event::RunStarted { nodes: hits, hits, runner: None, estimate_ms: Some(0) });
    let (built, failed, skipped, interrupted) = (0, 0, 0, false);
    let remote = remote.cloned();
    file.hear(&Event::RunFinished { built, hits, failed, skipped, interrupted, remote, duration_ms: 0 });
    Ok(())
}

fn events_file(arguments: &Arguments) -> Result<Option<EventsFile>, CommandError> {
    let Some(path) = &arguments.events else { return Ok(None) };
    let refused = |error| CommandError::new(format!("cannot write {}: {error}", path.display()));
    EventsFile::create(path).map(Some).map_err(refused)
}

fn listeners(arguments: &Arguments) -> Result<Vec<Box<dyn Listener>>, CommandError> {
    let mut listeners: Vec<Box<dyn Listener>> = Vec::new();
    match io::stderr().is_terminal() {
        true => listeners.push(Box::new(Live::default())),
        false => listeners.push(Box::new(Plain::default())),
    }
    if let Some(file) = events_file(arguments)? {
        listeners.push(Box::new(file));
    }
    Ok(listeners)
}

/// True after the first SIGINT or SIGTERM; the second ends the process at once.
fn cancel_on_signals() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if *sender.borrow() {
                std::process::exit(i32::from(exit::INTERRUPTED));
            }
            let _ = sender.send(true);
        }
    });
    receiver
}
