//! Nodes that gather packages and publish them.

use std::collections::BTreeSet;

use super::build::{Builder, node_name};
use super::joins::Joins;
use super::*;
use crate::buildfile::{self, Diagnostic, Resources, Target};
use crate::index::{AptIndex, Holds, IndexCompression, PoolLayout, Suite};
use crate::matrix::Cell;
use crate::package::Package;

impl<'a> Builder<'a> {
    pub(super) fn index(
        &mut self,
        target: &Target,
        index: &'a buildfile::Index,
        name: String,
        cell: Cell,
        joins: &Joins<'a>,
    ) {
        let filler = self.filler(&cell);
        let mut inputs = Vec::new();
        let mut suites = Vec::new();
        let mut date = 1;
        let mut packages = self.gathered(&index.packages, &cell, joins);
        packages.retain(|node| self.is_debian(*node));
        for node in self.accepted(target, index, packages) {
            suites.push(self.filler(&self.graph.node(node).cell).text(&index.suite));
            date = date.max(self.date_of_node(node).unwrap_or(1));
            inputs.push(Input::Node { node, output: "package".to_owned() });
        }
        if inputs.is_empty() {
            return self.lacks(&index.packages, &name);
        }
        let settings = AptIndex {
            origin: filler.text(&index.origin),
            label: filler.text(&index.label),
            description: filler.text(&index.description),
            suites: suite_list(index, &suites),
            compressions: index.compressions.iter().filter_map(|name| index_compression(name)).collect(),
            contents: index.contents,
            // One version is built for several suites, each time with other bytes.
            pool: PoolLayout::PerSuite,
        };
        let work = Work::Index(Box::new(IndexWork { index: settings, suites, date }));
        let may_lack = self.optional(&inputs);
        self.add(Node { inputs, may_lack, ..plain_node(target, name, cell, work) });
    }

    /// The packages as this index takes them: each once the tests of its cell have succeeded.
    fn accepted(
        &mut self,
        index: &Target,
        settings: &'a buildfile::Index,
        packages: Vec<NodeId>,
    ) -> Vec<NodeId> {
        if settings.requires.is_empty() {
            return packages;
        }
        packages.into_iter().map(|package| self.accept(index, settings, package)).collect()
    }

    /// The step that stands between a package and the index: `package.for-index`.
    fn accept(&mut self, index: &Target, settings: &'a buildfile::Index, package: NodeId) -> NodeId {
        let Node { target: used, cell, .. } = self.graph.node(package).clone();
        let Some(used) = self.buildfile.target(&used) else { return package };
        let step = format!("{}.for-{}", used.name, index.name);
        let name = node_name(&step, &cell);
        if let Some(step) = self.graph.by_name(&name) {
            return step;
        }
        let mut requires = Vec::new();
        for test in &settings.requires {
            let join = self.join(test, used);
            requires.extend(self.all(&test.name, &cell, &join));
        }
        let inputs = vec![Input::Node { node: package, output: "package".to_owned() }];
        let node = plain_node(index, name, cell, Work::Accept);
        self.add(Node { target: step, keyword: "package", inputs, requires, ..node })
    }

    /// The nodes among the inputs that the Buildfile lets go on without.
    fn optional(&self, inputs: &[Input]) -> Vec<NodeId> {
        let nodes = inputs.iter().filter_map(Input::node);
        nodes.filter(|node| self.expander.is_optional(&self.graph.node(*node).cell)).collect()
    }

    /// The packages that an apt repository is of.
    fn is_debian(&self, node: NodeId) -> bool {
        let work = &self.graph.node(node).work;
        matches!(work, Work::Package(package) if matches!(package.package, Package::Deb(_)))
    }

    pub(super) fn publish(
        &mut self,
        target: &Target,
        publish: &buildfile::Publish,
        name: String,
        cell: Cell,
        joins: &Joins<'a>,
    ) {
        let mut inputs = Vec::new();
        let mut prefixes = Vec::new();
        for (index, at) in &publish.repositories {
            for node in self.gathered(std::slice::from_ref(index), &cell, joins) {
                prefixes.push(self.filler(&self.graph.node(node).cell).text(at));
                inputs.push(Input::Node { node, output: "repository".to_owned() });
            }
        }
        if let Some(twice) = first_double(&prefixes) {
            let message = format!("{name}: two repositories would be published below '{twice}'");
            let help = "at=\"…\" must tell them apart, for example by {otp.major}";
            self.report.push(Diagnostic::error(&target.span, message, "declared here").help(help));
        }
        let requires = self.gathered(&publish.requires, &cell, joins);
        let work = Work::Publish(Box::new(PublishWork {
            to: self.buildfile.dir.join(&publish.to),
            prefixes,
            keys: publish.keys.iter().map(|key| key.below(&self.buildfile.dir)).collect(),
            retention_days: publish.retention_days,
        }));
        let may_lack = self.optional(&inputs);
        self.add(Node { inputs, requires, may_lack, ..plain_node(target, name, cell, work) });
    }
}

pub(super) fn plain_node(target: &Target, name: String, cell: Cell, work: Work) -> Node {
    Node {
        name,
        target: target.name.clone(),
        keyword: target.body.keyword(),
        cell,
        work,
        inputs: Vec::new(),
        requires: Vec::new(),
        may_lack: Vec::new(),
        resources: Resources { cpu: 1, memory: None },
        timeout: None,
        span: target.span.clone(),
        fault: None,
    }
}

/// The suites that packages are in, and the aliases of those.
fn suite_list(index: &buildfile::Index, suites: &[String]) -> Vec<Suite> {
    let names: BTreeSet<&String> = suites.iter().collect();
    let own = names.iter().map(|name| {
        let holds = Holds::Packages { component: index.component.clone(), architectures: Vec::new() };
        Suite { codename: (*name).clone(), suite: None, version: None, holds }
    });
    let aliases = index.aliases.iter().filter(|(_, of)| names.contains(of)).map(|(alias, of)| {
        let holds = Holds::AliasOf(of.clone());
        Suite { codename: alias.clone(), suite: None, version: None, holds }
    });
    own.chain(aliases).collect()
}

fn index_compression(name: &str) -> Option<IndexCompression> {
    match name {
        "xz" => Some(IndexCompression::Xz),
        "gz" => Some(IndexCompression::Gz),
        "zst" => Some(IndexCompression::Zst),
        _ => None,
    }
}

fn first_double(names: &[String]) -> Option<&String> {
    let mut seen = BTreeSet::new();
    names.iter().find(|name| !seen.insert(*name))
}
