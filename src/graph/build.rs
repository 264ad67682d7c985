use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::fault;
use super::fill::Filler;
use super::*;
use crate::buildfile::{
    Body, Buildfile, Command, Diagnostic, Dimension, Faults, InputSource, Place, Reference, Report, Span,
    Target,
};
use crate::matrix::{Axes, Cell, Expander, Join};
use crate::upstream::Lock;

/// Expands every target over its cells and joins them by the join rule. Gives warnings beside it.
pub fn build(buildfile: &Buildfile, axes: &Axes, lock: &Lock) -> Result<(Graph, Vec<Diagnostic>), Faults> {
    let expander = Expander::new(axes, &buildfile.rules);
    let (graph, report) = (Graph::default(), Report::default());
    let missing = Rc::default();
    let lacks = Vec::new();
    let mut builder = Builder { buildfile, axes, lock, expander, graph, report, missing, lacks };
    for (place, axis) in buildfile.axes.iter().enumerate() {
        builder.axis_has_versions(axis);
        builder.lineage(place, axis);
    }
    for upstream in &buildfile.upstreams {
        builder.upstream(upstream);
    }
    for target in in_order(buildfile) {
        builder.target(target);
    }
    let Builder { graph, mut report, expander, missing, lacks, .. } = builder;
    for Lack { span, node, more, used } in lacks {
        report.push(fault::no_cell(&span, &node, more, &used));
    }
    missing.borrow_mut().drain(..).for_each(|fault| report.push_new(fault));
    expander.idle_rules().into_iter().for_each(|warning| report.push(warning));
    report.finish(graph)
}

/// Targets so that each comes after those it uses; there is no circle in a resolved Buildfile.
fn in_order(buildfile: &Buildfile) -> Vec<&Target> {
    fn visit<'a>(target: &'a Target, buildfile: &'a Buildfile, order: &mut Vec<&'a Target>) {
        if order.iter().any(|known| known.name == target.name) {
            return;
        }
        for name in target.body.references() {
            if let Some(used) = buildfile.target(name) {
                visit(used, buildfile, order);
            }
        }
        order.push(target);
    }
    let mut order = Vec::new();
    buildfile.targets.iter().for_each(|target| visit(target, buildfile, &mut order));
    order
}

pub(super) struct Builder<'a> {
    pub buildfile: &'a Buildfile,
    pub axes: &'a Axes,
    pub lock: &'a Lock,
    pub(super) expander: Expander<'a>,
    pub graph: Graph,
    pub report: Report,
    /// Holes of templates that a cell has no value for.
    missing: Rc<RefCell<Vec<Diagnostic>>>,
    lacks: Vec<Lack>,
}

/// A target that is used and has no cell that agrees: in `node`, and in so many others.
struct Lack {
    span: Span,
    node: String,
    used: String,
    more: usize,
}

/// The joins of one target with those it uses, made once for all of its cells.
pub(super) struct Joins<'a> {
    by_name: HashMap<String, Join<'a, NodeId>>,
}

impl<'a> Builder<'a> {
    fn target(&mut self, target: &'a Target) {
        if matches!(&target.body, Body::Package(package) if package.copyright.is_none()) {
            self.report.push(fault::no_copyright(&target.span, &target.name));
        }
        let joins = Joins::new(self, target);
        for cell in self.expander.cells(target) {
            let name = node_name(&target.name, &cell);
            match &target.body {
                Body::Image(image) => self.image(target, image, name, cell),
                Body::Command(command) => self.command(target, command, name, cell, &joins),
                Body::Package(package) => self.package(target, package, name, cell, &joins),
                Body::Index(index) => self.index(target, index, name, cell, &joins),
                Body::Publish(publish) => self.publish(target, publish, name, cell, &joins),
            }
        }
    }

    fn join(&self, used: &str, over: &[Dimension], user: &Target) -> Join<'a, NodeId> {
        let nodes = self.graph.of_target(used).iter();
        let items = nodes.map(|id| (self.graph.node(*id).cell.clone(), *id)).collect();
        Join::new(self.axes, over, &user.over, items)
    }

    fn command(&mut self, target: &Target, command: &Command, name: String, cell: Cell, joins: &Joins<'_>) {
        let filler = self.filler(&cell);
        let mut inputs = Vec::new();
        let mut dates = Vec::new();
        let root = match &command.root {
            crate::buildfile::Root::Host => Root::Host,
            crate::buildfile::Root::Image(image) => match joins.best(&image.name, &cell) {
                Some(node) => {
                    inputs.push(Input::Node { node, output: "root".to_owned() });
                    Root::Input(0)
                }
                None => return self.lacks(&image.span, &name, &image.name),
            },
        };
        let mut placements = Vec::new();
        for input in &command.inputs {
            let Some(found) = self.input(target, &input.from, &name, &cell, joins) else { continue };
            dates.extend(self.date_of_input(&found));
            let at = inputs.len();
            inputs.push(found);
            placements.push(match &input.place {
                Place::Into(path) => Placement::Into { input: at, path: filler.text(path) },
                Place::At(path) => Placement::At { input: at, path: filler.text(path) },
            });
        }
        let platform = self.platform(inputs.first().filter(|_| root != Root::Host));
        let env = command.env.iter().map(|(name, value)| (name.clone(), filler.text(value))).collect();
        let script = Script {
            text: filler.script(&command.script),
            root,
            env,
            placements,
            outputs: command.outputs.clone(),
            network: command.network,
            date: dates.into_iter().max().unwrap_or(1),
            platform,
        };
        let requires = self.gathered(&command.requires, &cell, joins);
        self.graph.add(Node {
            name,
            target: target.name.clone(),
            keyword: target.body.keyword(),
            cell,
            work: Work::Script(Box::new(script)),
            inputs,
            requires,
            resources: command.resources,
            timeout: command.timeout,
            span: target.span.clone(),
            fault: None,
        });
    }

    /// The node or files that stand for an input in this cell; a fault is noted if there is none.
    pub fn input(
        &mut self,
        target: &Target,
        from: &InputSource,
        name: &str,
        cell: &Cell,
        joins: &Joins<'_>,
    ) -> Option<Input> {
        let (reference, used, output) = match from {
            InputSource::Files(globs) => {
                let base = self.buildfile.dir.clone();
                return Some(Input::Files(LocalFiles { base, globs: globs.clone() }));
            }
            InputSource::Upstream(upstream) => (upstream, format!("{}.source", upstream.name), None),
            InputSource::Target { target, output } => {
                (target, target.name.clone(), output.as_ref().map(|output| output.name.clone()))
            }
        };
        let Some(node) = joins.best(&used, cell) else {
            let span = if reference.name.is_empty() { &target.span } else { &reference.span };
            self.lacks(span, name, &reference.name);
            return None;
        };
        let output =
            output.or_else(|| self.graph.node(node).work.outputs().first().map(|o| (*o).to_owned()))?;
        Some(Input::Node { node, output })
    }

    /// Notes that a node needs something of which no cell agrees with it.
    pub fn lacks(&mut self, span: &Span, node: &str, used: &str) {
        let is_it = |lack: &&mut Lack| lack.span.range == span.range && lack.used == used;
        match self.lacks.iter_mut().find(is_it) {
            Some(lack) => lack.more += 1,
            None => {
                let (span, node, used) = (span.clone(), node.to_owned(), used.to_owned());
                self.lacks.push(Lack { span, node, used, more: 0 });
            }
        }
    }

    /// Every node of every named target that agrees with `cell`.
    pub fn gathered(&self, references: &[Reference], cell: &Cell, joins: &Joins<'_>) -> Vec<NodeId> {
        references.iter().flat_map(|reference| joins.all(&reference.name, cell)).collect()
    }

    /// The date that an input carries: that of the newest source behind it.
    pub fn date_of_input(&self, input: &Input) -> Option<u64> {
        let Input::Node { node, .. } = input else { return None };
        self.date_of_node(*node)
    }

    /// The date of a node: that of the newest source behind it.
    pub fn date_of_node(&self, id: NodeId) -> Option<u64> {
        let node = self.graph.node(id);
        match &node.work {
            Work::Archive(_) | Work::Commit(_) => {
                let upstream = node.target.trim_end_matches(".source");
                let version = node.cell.coordinates().first().map(|c| c.value.to_string());
                let version = version.or_else(|| self.single_version(self.buildfile.upstream(upstream)?))?;
                Some(self.date_of(upstream, &version))
            }
            Work::Script(script) => Some(script.date),
            Work::Package(package) => Some(package.deb.source_date_epoch),
            Work::Index(index) => Some(index.date),
            _ => None,
        }
    }

    /// The platform of an image, or this machine's.
    pub fn platform(&self, image: Option<&Input>) -> String {
        let Some(Input::Node { node, .. }) = image else {
            return format!("linux/{}", debian_architecture(std::env::consts::ARCH));
        };
        match &self.graph.node(*node).work {
            Work::Bootstrap(image) => format!("linux/{}", image.arch),
            Work::Dockerfile(image) => image.platform.clone(),
            _ => String::new(),
        }
    }

    pub fn filler<'c>(&self, cell: &'c Cell) -> Filler<'c>
    where
        'a: 'c,
    {
        Filler { axes: self.axes, cell, missing: self.missing.clone() }
    }
}

impl<'a> Joins<'a> {
    fn new(builder: &Builder<'a>, user: &Target) -> Self {
        let mut by_name = HashMap::new();
        for name in user.body.references() {
            if let Some(used) = builder.buildfile.target(name) {
                by_name.insert(name.to_owned(), builder.join(name, &used.over, user));
            }
        }
        for upstream in &builder.buildfile.upstreams {
            let target = format!("{}.source", upstream.name);
            let join = builder.join(&target, &builder.source_over(upstream), user);
            by_name.insert(target, join);
        }
        Self { by_name }
    }

    /// The one node of `name` that serves `cell` best.
    pub fn best(&self, name: &str, cell: &Cell) -> Option<NodeId> {
        self.by_name.get(name)?.best(cell)
    }

    /// All nodes of `name` that agree with `cell`.
    pub fn all(&self, name: &str, cell: &Cell) -> Vec<NodeId> {
        self.by_name.get(name).map(|join| join.all(cell)).unwrap_or_default()
    }
}

/// `target[axis=value,…]`, or the target alone where it spans no axis.
pub(super) fn node_name(target: &str, cell: &Cell) -> String {
    match cell.coordinates() {
        [] => target.to_owned(),
        _ => format!("{target}[{cell}]"),
    }
}

fn debian_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
