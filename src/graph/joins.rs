//! Which nodes another declaration's name stands for in a cell.

use std::collections::HashMap;
use std::rc::Rc;

use super::NodeId;
use super::build::{Builder, node_name};
use crate::buildfile::{Dimension, Reference, Span, Target, Upstream};
use crate::matrix::{Cell, Join, best};

/// The joins of one target with those it uses, made once for all of its cells.
pub(super) struct Joins<'a> {
    by_name: HashMap<String, Join<'a, NodeId>>,
}

/// A target that is used and has no cell that agrees: in `node`, and in so many others.
pub(super) struct Lack {
    pub span: Span,
    pub node: String,
    pub used: String,
    pub more: usize,
}

/// What has cells: a declared target, or an upstream with its sources.
#[derive(Clone, Copy)]
enum Used<'a> {
    Target(&'a Target),
    Source(&'a Upstream),
}

impl<'a> Builder<'a> {
    /// The joins of a target, once those it uses have their nodes.
    pub fn joins_of(&mut self, user: &'a Target) -> Rc<Joins<'a>> {
        if let Some(joins) = self.joins.get(&*user.name) {
            return joins.clone();
        }
        let references = user.body.uses().into_iter();
        let targets = references.map(|reference| (reference.text(), self.join(reference, user)));
        let sources = self.buildfile.upstreams.iter().map(|upstream| {
            let name = source_name(upstream);
            (name.clone(), self.join_of(&name, &self.source_over(upstream), user, &[]))
        });
        let joins = Rc::new(Joins { by_name: targets.chain(sources).collect() });
        self.joins.insert(user.name.to_string(), joins.clone());
        joins
    }

    /// The join of a target with one that it names.
    pub fn join(&self, reference: &'a Reference, user: &Target) -> Join<'a, NodeId> {
        let over = self.buildfile.target(&reference.name).map(|used| used.over.as_slice());
        self.join_of(&reference.name, over.unwrap_or_default(), user, &reference.fixed)
    }

    fn join_of(
        &self,
        used: &str,
        over: &[Dimension],
        user: &Target,
        fixed: &'a [crate::buildfile::Predicate],
    ) -> Join<'a, NodeId> {
        let nodes = self.graph.of_target(used).iter();
        let items = nodes.map(|id| (self.graph.node(*id).cell.clone(), *id)).collect();
        Join::new(self.axes, over, &user.over, fixed, items)
    }

    /// The one node that serves `cell` best: of the first alternative that has one that agrees.
    pub fn one(&mut self, alternatives: &[Reference], cell: &Cell, joins: &Joins<'a>) -> Option<NodeId> {
        alternatives
            .iter()
            .find_map(|reference| self.best(&reference.name, cell, joins.by_name.get(&reference.text())?))
    }

    /// The node that unpacks the source of an upstream in this cell.
    pub fn source(&mut self, upstream: &str, cell: &Cell, joins: &Joins<'a>) -> Option<NodeId> {
        let name = format!("{upstream}.source");
        self.best(&name, cell, joins.by_name.get(&name)?)
    }

    /// Every node of every named target that agrees with `cell`.
    pub fn gathered(&mut self, references: &[Reference], cell: &Cell, joins: &Joins<'a>) -> Vec<NodeId> {
        let join_of = |reference: &Reference| joins.by_name.get(&reference.text());
        let joins = references.iter().filter_map(|reference| Some((reference, join_of(reference)?)));
        joins.flat_map(|(reference, join)| self.all(&reference.name, cell, join)).collect()
    }

    /// Every node of `used` that agrees with `cell`.
    pub fn all(&mut self, used: &str, cell: &Cell, join: &Join<'a, NodeId>) -> Vec<NodeId> {
        let found = join.all(cell);
        match found.is_empty() {
            true => self.beyond(used, cell, join).into_iter().map(|(_, node)| node).collect(),
            false => found,
        }
    }

    fn best(&mut self, used: &str, cell: &Cell, join: &Join<'a, NodeId>) -> Option<NodeId> {
        join.best(cell).or_else(|| best(self.axes, &self.beyond(used, cell, join)))
    }

    /// What agrees with `cell` beyond the selection. A selection limits what is asked for, and not
    /// what that is made with: so a coordinate that is fixed, or that is that of a node beyond the
    /// selection, may lead there. The nodes are made when they are needed.
    fn beyond(&mut self, used: &str, cell: &Cell, join: &Join<'a, NodeId>) -> Vec<(Cell, NodeId)> {
        if !self.is_beyond && !join.is_fixed() {
            return Vec::new();
        }
        let Some(used) = self.used(used) else { return Vec::new() };
        let agrees = |axis: usize, point: &_| join.agrees(cell, axis, point);
        let cells = match used {
            Used::Target(target) => self.expander.cells_beyond(&target.over, &target.filter, agrees),
            Used::Source(upstream) => {
                let over = self.source_over(upstream);
                self.expander.cells_beyond(&over, &[], agrees)
            }
        };
        cells.into_iter().filter_map(|cell| Some((cell.clone(), self.made(used, cell)?))).collect()
    }

    fn used(&self, name: &str) -> Option<Used<'a>> {
        let source = || self.buildfile.upstreams.iter().find(|upstream| source_name(upstream) == name);
        self.buildfile.target(name).map(Used::Target).or_else(|| source().map(Used::Source))
    }

    /// The node in a cell beyond the selection.
    fn made(&mut self, used: Used<'a>, cell: Cell) -> Option<NodeId> {
        let name = match used {
            Used::Target(target) => node_name(&target.name, &cell),
            Used::Source(upstream) => node_name(&source_name(upstream), &cell),
        };
        if self.graph.by_name(&name).is_none() {
            let was = std::mem::replace(&mut self.is_beyond, true);
            match used {
                Used::Target(target) => {
                    let joins = self.joins_of(target);
                    self.node(target, cell, &joins);
                }
                Used::Source(upstream) => self.add_source(upstream, cell),
            }
            self.is_beyond = was;
        }
        self.graph.by_name(&name)
    }

    /// Notes that a node needs something of which no cell agrees with it.
    pub fn lacks(&mut self, alternatives: &[Reference], target: &str, cell: &Cell) {
        let Some(first) = alternatives.first() else { return };
        if alternatives.iter().any(|reference| self.refused.contains(&reference.name)) {
            // What was told of the one is why the other is not there, either.
            self.refused.insert(target.to_owned());
            return;
        }
        let used = alternatives.iter().map(Reference::text).collect::<Vec<_>>().join("' or '");
        let is_it = |lack: &&mut Lack| lack.span.range == first.span.range && lack.used == used;
        match self.lacks.iter_mut().find(is_it) {
            Some(lack) => lack.more += 1,
            None => {
                let (span, node) = (first.span.clone(), node_name(target, cell));
                self.lacks.push(Lack { span, node, used, more: 0 });
            }
        }
    }
}

/// The name of the nodes that unpack an upstream's archives.
pub(super) fn source_name(upstream: &Upstream) -> String {
    format!("{}.source", upstream.name)
}
