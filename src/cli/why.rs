use super::words::Words;
use super::workspace::Workspace;
use super::{CommandError, Global, exit};
use crate::plan::{Explanation, LocalTrees, brief, explain};
use crate::store::StatCache;

/// Tell why a node is run, or what its key is made of.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The node, such as 'build[version=1.2,distro=debian-12]', and selections.
    #[arg(required = true)]
    words: Vec<String>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CommandError> {
    let words = Words::parse(&arguments.words)?;
    let workspace = Workspace::open(global, &words)?;
    let node = words.one_node(&workspace.graph)?;
    workspace.require_locked(&[node])?;
    let stats = StatCache::of(&workspace.store);
    let files = LocalTrees::new(&stats);
    let planner = workspace.planner(&files);
    let plan = planner.plan(&[node])?;
    workspace.tell_said();
    let explanation = explain(&workspace.graph, &plan, &workspace.store, &files, node)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&explanation).map_err(CommandError::new)?);
    } else {
        print!("{}", text(&explanation));
    }
    Ok(exit::OK)
}

fn text(explanation: &Explanation) -> String {
    let mut lines = vec![format!("{}: {}", explanation.node, explanation.verdict)];
    if let Some(key) = explanation.key {
        lines.push(format!("key {key}"));
    }
    if let Some(cause) = &explanation.cause {
        lines.push(format!("cause: {cause}"));
    }
    if let Some(earlier) = explanation.earlier {
        lines.push(format!("nearest earlier result: {earlier}"));
    }
    lines.extend(explanation.changes.iter().map(|change| format!("  {}", brief(change))));
    for link in &explanation.chain {
        lines.push(format!("  since {}: {}", link.node, brief(&link.change)));
    }
    for wait in &explanation.waits {
        lines.push(format!("  since {}: {}", wait.node, wait.cause));
    }
    if !explanation.action.is_empty() {
        lines.push("the action:".to_owned());
        for field in &explanation.action {
            let value = field.value.replace('\n', "\n      ");
            lines.push(format!("  {}: {}", field.path, value.trim_end()));
        }
    }
    if !explanation.needs.is_empty() {
        lines.push("needs:".to_owned());
        lines.extend(explanation.needs.iter().map(|need| format!("  {need}")));
    }
    lines.join("\n") + "\n"
}
