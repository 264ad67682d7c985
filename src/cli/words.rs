use super::CommandError;
use crate::buildfile::{Diagnostic, Predicate};
use crate::graph::{Graph, NodeId};

/// The words after a command: targets or nodes, and selections such as `otp=27`.
#[derive(Debug, Default)]
pub struct Words {
    /// Names of targets and nodes.
    pub goals: Vec<String>,
    /// Selections.
    pub selection: Vec<Predicate>,
    /// Selections as they were written.
    pub selection_text: Vec<String>,
}

impl Words {
    /// Tells goals from selections: a node's name has its `=` in brackets.
    pub fn parse(words: &[String]) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        for word in words {
            let is_selection = word.split('[').next().is_some_and(|head| head.contains('='));
            if is_selection {
                parsed.selection.push(Predicate::parse(word).map_err(CommandError::new)?);
                parsed.selection_text.push(word.clone());
            } else {
                parsed.goals.push(word.clone());
            }
        }
        Ok(parsed)
    }

    /// The nodes that are meant; everything that nothing else needs, if none is named.
    pub fn nodes(&self, graph: &Graph) -> Result<Vec<NodeId>, CommandError> {
        if self.goals.is_empty() {
            // A source that no target uses is nothing to be made.
            let is_goal = |id: &NodeId| {
                graph.users(*id).next().is_none() && graph.node(*id).declared.keyword != "source"
            };
            let nodes: Vec<NodeId> = graph.ids().filter(is_goal).collect();
            if nodes.is_empty() {
                let message = "the selection leaves nothing to do: no target has a cell";
                let help = "drop a condition, or look at the exclude rules";
                return Err(Diagnostic::placeless(message).help(help).into());
            }
            return Ok(nodes);
        }
        let mut nodes = Vec::new();
        for goal in &self.goals {
            nodes.extend(nodes_called(goal, graph)?);
        }
        nodes.sort();
        nodes.dedup();
        Ok(nodes)
    }

    /// The one node that is meant.
    pub fn one_node(&self, graph: &Graph) -> Result<NodeId, CommandError> {
        let [name] = self.goals.as_slice() else {
            return Err(CommandError::new(format!("name one node, not {}", self.goals.len())));
        };
        match nodes_called(name, graph)?.as_slice() {
            [node] => Ok(*node),
            nodes => {
                let names: Vec<String> = nodes.iter().map(|id| graph.node(*id).name()).collect();
                let message = format!("'{name}' has {} nodes: name one", nodes.len());
                Err(Diagnostic::placeless(message).suggest("", names.iter().map(String::as_str)).into())
            }
        }
    }
}

/// All nodes of a target, or the one node of that name.
fn nodes_called(name: &str, graph: &Graph) -> Result<Vec<NodeId>, CommandError> {
    if let Some(node) = graph.by_name(name) {
        return Ok(vec![node]);
    }
    match graph.of_target(name) {
        [] if name.contains('[') => Err(unknown_node(name, graph)),
        [] => {
            let message = format!("there is no target '{name}' with a cell in this selection");
            Err(Diagnostic::placeless(message).suggest(name, graph.targets()).into())
        }
        nodes => Ok(nodes.to_vec()),
    }
}

fn unknown_node(name: &str, graph: &Graph) -> CommandError {
    let names: Vec<String> = graph.ids().map(|id| graph.node(id).name()).collect();
    let message = format!("there is no node '{name}' in this selection");
    Diagnostic::placeless(message).suggest(name, names.iter().map(String::as_str)).into()
}
