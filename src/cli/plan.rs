use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::mem::ManuallyDrop;
use std::path::PathBuf;

use super::question::Question;
use super::words::Words;
use super::workspace::Workspace;
use super::{CommandError, Global, error, exit};
use crate::execute::{Estimates, unrunnable};
use crate::plan::{LocalTrees, SavedPlan, StepsOf, effects};
use crate::store::StatCache;
use crate::ui;

/// Show what would be built, what would change in the repositories, and why.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Targets, nodes, and selections such as otp=27 or distro!=rocky-9.
    words: Vec<String>,
    /// Print the plan as JSON (docs/plan-json.md).
    #[arg(long)]
    json: bool,
    /// Write the plan, for `forge run --plan`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Plan with the lock as `forge update` would leave it; nothing is written.
    #[arg(long, conflicts_with = "out")]
    update: bool,
    /// End with 2 if there is something to do, with 0 if not.
    #[arg(long)]
    exit_code: bool,
}

pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CommandError> {
    let words = Words::parse(&arguments.words)?;
    let question = (!arguments.update).then(|| Question::new(global, &words)).transpose()?;
    let is_short = !arguments.json && arguments.out.is_none();
    if let Some(nodes) = question.as_ref().filter(|_| is_short).and_then(Question::idle) {
        print!("{}", ui::idle_summary(nodes, None));
        return Ok(exit::OK);
    }
    let workspace = match arguments.update {
        true => Workspace::open_updated(global, &words)?,
        false => Workspace::open(global, &words)?,
    };
    let goals = words.nodes(&workspace.graph)?;
    workspace.require_locked(&goals)?;
    let stats = StatCache::of(&workspace.store);
    // Nobody waits for these to be taken apart.
    let mut files = ManuallyDrop::new(LocalTrees::new(&stats));
    let planner = workspace.planner(&files);
    let baseline = question.as_ref().and_then(Question::baseline);
    let plan = ManuallyDrop::new(planner.plan_from(&goals, baseline)?);
    workspace.tell_said();
    let effects = effects(&workspace.graph, &plan)?;
    // It may be meant for another machine.
    for fault in unrunnable(&workspace.graph, &plan, &workspace.store, |_| false)? {
        error::print(&fault.warn());
    }
    if !arguments.json {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let estimates = Estimates::new(&workspace.graph, &plan, &workspace.store, jobs);
        print!("{}", ui::plan_summary(&workspace.graph, &plan, &effects, &estimates));
    }
    if arguments.json || arguments.out.is_some() {
        let profile = global.profile.as_deref();
        let saved = SavedPlan::new(&plan, &workspace.graph, profile, &words.selection_text, effects);
        if let Some(path) = &arguments.out {
            write(&saved, File::create(path)?)?;
        }
        if arguments.json {
            write(&saved, io::stdout().lock())?;
        }
    }
    let is_idle = plan.is_idle();
    if let Some(question) = question {
        question.keep(&workspace, &mut files, &plan);
    }
    workspace.remember(stats);
    Ok(if arguments.exit_code && !is_idle { exit::SOMETHING_TO_DO } else { exit::OK })
}

/// As JSON, which is never in memory as a whole.
fn write(plan: &SavedPlan<StepsOf<'_>>, to: impl Write) -> Result<(), CommandError> {
    let mut to = BufWriter::new(to);
    serde_json::to_writer_pretty(&mut to, plan).map_err(CommandError::new)?;
    to.write_all(b"\n")?;
    Ok(to.flush()?)
}
