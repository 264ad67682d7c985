use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use super::dates::Dates;
use super::fault;
use super::fill::Filler;
use super::joins::{Joins, Lack};
use super::text::is_jobs;
use super::*;
use crate::buildfile::{
    Body, Buildfile, Command, Diagnostic, Faults, InputSource, Place, Reference, Report, Target, Template,
};
use crate::matrix::{Axes, Cell, Expander};
use crate::upstream::Lock;

/// Expands every target over its cells and joins them by the join rule. Gives warnings beside it.
pub fn build(buildfile: &Buildfile, axes: &Axes, lock: &Lock) -> Result<(Graph, Vec<Diagnostic>), Faults> {
    let mut builder = Builder {
        buildfile,
        axes,
        lock,
        expander: Expander::new(axes, &buildfile.rules),
        graph: Graph::default(),
        report: Report::default(),
        missing: Rc::default(),
        joins: HashMap::new(),
        lacks: Vec::new(),
        declared: HashMap::new(),
        last_script: None,
        refused: BTreeSet::new(),
        is_beyond: false,
    };
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
    pub expander: Expander<'a>,
    pub graph: Graph,
    pub report: Report,
    /// Holes of templates that a cell has no value for.
    missing: Rc<RefCell<Vec<Diagnostic>>>,
    /// By the names of targets.
    pub joins: HashMap<String, Rc<Joins<'a>>>,
    pub lacks: Vec<Lack>,
    /// By the names of targets.
    declared: HashMap<Arc<str>, Arc<Declared>>,
    /// The script of the last command, with its target.
    last_script: Option<(Arc<str>, Arc<Script>)>,
    /// Targets of which a cell could not be made into a node, which is told by itself.
    pub refused: BTreeSet<String>,
    /// Whether nodes are made beyond the selection, for the sake of one that needs them.
    pub is_beyond: bool,
}

impl<'a> Builder<'a> {
    fn target(&mut self, target: &'a Target) {
        let joins = self.joins_of(target);
        let cells = self.expander.cells(target);
        self.graph.reserve(cells.len());
        cells.into_iter().for_each(|cell| self.node(target, cell, &joins));
    }

    /// The node of a target in one cell.
    pub fn node(&mut self, target: &'a Target, cell: Cell, joins: &Joins<'a>) {
        match &target.body {
            Body::Image(image) => self.image(target, image, cell),
            Body::Command(command) => self.command(target, command, cell, joins),
            Body::Package(package) => self.package(target, package, cell, joins),
            Body::Index(index) => self.index(target, index, cell, joins),
            Body::Publish(publish) => self.publish(target, publish, cell, joins),
            Body::Key(key) => self.key(target, key, cell),
        }
    }

    /// What all nodes of a target have in common.
    pub fn declared(&mut self, target: &Target) -> Arc<Declared> {
        // Most often it is that of the node before.
        let last = self.graph.last().map(|node| &node.declared);
        if let Some(last) = last.filter(|last| Arc::ptr_eq(&last.target, &target.name)) {
            return last.clone();
        }
        let known = self.declared.entry(target.name.clone());
        known.or_insert_with(|| Arc::new(Declared::of(target))).clone()
    }

    /// Puts a node into the graph.
    pub fn add(&mut self, node: Node) -> NodeId {
        match self.is_beyond {
            true => self.graph.add_beyond(node),
            false => self.graph.add(node),
        }
    }

    fn command(&mut self, target: &Target, command: &Command, cell: Cell, joins: &Joins<'a>) {
        let filler = self.filler(&cell);
        let places = command.inputs.iter().map(|input| input.place.path());
        let values = command.env.iter().map(|(_, value)| &**value);
        places.chain(values).for_each(|template| filler.check(template, |_| false));
        filler.check(&command.script, is_jobs);
        let has_image = matches!(command.root, crate::buildfile::Root::Image(_));
        let mut inputs = Vec::with_capacity(command.inputs.len() + usize::from(has_image));
        let mut dates = Dates::default();
        let root = match &command.root {
            crate::buildfile::Root::Host => Root::Host,
            crate::buildfile::Root::Bare => Root::Bare,
            crate::buildfile::Root::Image(images) => match self.one(images, &cell, joins) {
                Some(node) => {
                    inputs.push(Input::Node { node, output: "root".to_owned() });
                    Root::Input(0)
                }
                None => return self.lacks(images, &target.name, &cell),
            },
        };
        let mut placements = Vec::with_capacity(command.inputs.len());
        for input in &command.inputs {
            let Some(found) = self.input(&input.from, target, &cell, joins) else { continue };
            dates.add(&input.from, self.date_of_input(&found));
            placements
                .push(placement(&input.place, inputs.len(), |path| Text::declared(path.clone(), &cell)));
            inputs.push(found);
        }
        for gather in &command.gathers {
            let nodes = self.gathered(std::slice::from_ref(&gather.target), &cell, joins);
            if nodes.is_empty() {
                self.lacks(std::slice::from_ref(&gather.target), &target.name, &cell);
            }
            for node in nodes {
                let Some(output) = self.output(node, gather.output.as_ref()) else { continue };
                dates.add_used(self.date_of_node(node));
                // Filled from a cell that is not the node's own.
                let filled = |path: &Arc<Template>| self.filler(&self.graph.node(node).cell).text(path);
                placements.push(placement(&gather.place, inputs.len(), |path| Text::Written(filled(path))));
                inputs.push(Input::Node { node, output });
            }
        }
        let platform = self.platform(inputs.first().filter(|_| matches!(root, Root::Input(_))));
        let script = self.script(target, command, &cell, root, placements, (dates.date(), platform));
        let requires = self.gathered(&command.requires, &cell, joins);
        let node = Node::new(self.declared(target), cell, Work::Script(script));
        self.add(node.taking(inputs).on(Terms { requires, ..Terms::default() }));
    }

    /// The script of a command: that of the cell before, if it is the same.
    fn script(
        &mut self,
        target: &Target,
        command: &Command,
        cell: &Cell,
        root: Root,
        placements: Vec<Placement>,
        (date, platform): (u64, Cow<'static, str>),
    ) -> Arc<Script> {
        if let Some((of, last)) = &self.last_script
            && Arc::ptr_eq(of, &target.name)
            && command.gathers.is_empty()
            && (last.root, last.date, &*last.platform) == (root, date, &*platform)
        {
            return last.clone();
        }
        let declared = |template: &Arc<Template>| Text::declared(template.clone(), cell);
        let env = command.env.iter().map(|(name, value)| (name.clone(), declared(value)));
        let script = Arc::new(Script {
            text: declared(&command.script),
            root,
            env: env.collect(),
            placements,
            outputs: command.outputs.clone(),
            network: command.network,
            date,
            platform: platform.into(),
        });
        self.last_script = Some((target.name.clone(), script.clone()));
        script
    }

    /// The node or files that stand for an input in this cell; that there is none is noted.
    pub fn input(
        &mut self,
        from: &InputSource,
        target: &Target,
        cell: &Cell,
        joins: &Joins<'a>,
    ) -> Option<Input> {
        let (used, node, output) = match from {
            InputSource::Files(globs) => {
                globs.iter().for_each(|glob| self.filler(cell).check(glob, |_| false));
                return Some(self.files(Globs::Declared { templates: globs.clone(), cell: cell.clone() }));
            }
            InputSource::Upstream(upstream) => {
                (std::slice::from_ref(upstream), self.source(&upstream.name, cell, joins), None)
            }
            InputSource::Target { targets, output } => {
                (targets.as_slice(), self.one(targets, cell, joins), output.as_ref())
            }
        };
        let Some(node) = node else {
            self.lacks(used, &target.name, cell);
            return None;
        };
        Some(Input::Node { node, output: self.output(node, output)? })
    }

    /// Files beside the Buildfile.
    pub fn files(&self, globs: Globs) -> Input {
        Input::Files(LocalFiles { base: self.buildfile.dir.clone(), globs })
    }

    /// The output of a node that is meant: the one that is named, or its only one.
    fn output(&self, node: NodeId, named: Option<&Reference>) -> Option<String> {
        let only = || self.graph.node(node).work.outputs().first().map(|output| (*output).to_owned());
        named.map(|output| output.name.clone()).or_else(only)
    }

    /// The date that an input carries: that of the newest source behind it.
    pub fn date_of_input(&self, input: &Input) -> Option<u64> {
        let Input::Node { node, .. } = input else { return None };
        self.date_of_node(*node)
    }

    /// The date of a node: that of its newest source, or of the newest behind it.
    pub fn date_of_node(&self, id: NodeId) -> Option<u64> {
        let node = self.graph.node(id);
        match &node.work {
            Work::Archive(_) | Work::Commit(_) => {
                let upstream = node.declared.target.trim_end_matches(".source");
                let version = node.cell.coordinates().next().map(|c| c.value.to_string());
                let version = version.or_else(|| self.single_version(self.buildfile.upstream(upstream)?))?;
                Some(self.date_of(upstream, &version))
            }
            Work::Script(script) => Some(script.date),
            Work::Package(package) => Some(package.package.source_date_epoch()),
            Work::Index(index) => Some(index.date()),
            Work::Accept => self.date_of_input(node.inputs.first()?),
            Work::Key(key) => key.certificate.as_ref().map(|certificate| certificate.date),
            _ => None,
        }
    }

    /// The platform of an image, or this machine's.
    pub fn platform(&self, image: Option<&Input>) -> Cow<'static, str> {
        match image.and_then(Input::node) {
            Some(node) => self.graph.node(node).work.platform().unwrap_or_default().into(),
            None => machine_platform().into(),
        }
    }

    pub fn filler<'c>(&self, cell: &'c Cell) -> Filler<'c>
    where
        'a: 'c,
    {
        Filler { cell, missing: self.missing.clone() }
    }
}

fn placement(place: &Place, input: usize, text: impl Fn(&Arc<Template>) -> Text) -> Placement {
    match place {
        Place::Into(path) => Placement::Into { input, path: text(path) },
        Place::At(path) => Placement::At { input, path: text(path) },
    }
}

/// `target[axis=value,…]`, or the target alone where it spans no axis.
pub(super) fn node_name(target: &str, cell: &Cell) -> String {
    match cell.coordinates().len() {
        0 => target.to_owned(),
        _ => {
            let words = || [target, "["].into_iter().chain(cell.words()).chain(["]"]);
            // There are many, and most of them would grow several times.
            let mut name = String::with_capacity(words().map(str::len).sum());
            name.extend(words());
            name
        }
    }
}
