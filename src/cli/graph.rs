use clap::ValueEnum;

use super::words::Words;
use super::workspace::Workspace;
use super::{CommandError, Global, exit};
use crate::graph::{to_dot, to_json};

/// Print the nodes and what they need.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Targets, nodes, and selections such as otp=27.
    words: Vec<String>,
    /// In which form.
    #[arg(long, value_enum, default_value = "dot")]
    format: Format,
    /// The same as --format json.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For Graphviz.
    Dot,
    /// Names, targets, cells with their attributes, and needs.
    Json,
}

pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CommandError> {
    let words = Words::parse(&arguments.words)?;
    let workspace = Workspace::open(global, &words)?;
    let nodes = workspace.graph.closure(&words.nodes(&workspace.graph)?);
    if arguments.json || arguments.format == Format::Json {
        let json = to_json(&workspace.graph, &nodes);
        println!("{}", serde_json::to_string_pretty(&json).map_err(CommandError::new)?);
    } else {
        print!("{}", to_dot(&workspace.graph, &nodes));
    }
    Ok(exit::OK)
}
