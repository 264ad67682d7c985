//! Nodes that gather packages into a repository.

use std::collections::BTreeSet;

use super::build::{Builder, node_name};
use super::fault;
use super::joins::Joins;
use super::whole::value_of;
use super::*;
use crate::buildfile::{self, AptSettings, Body, IndexFormat, RpmSettings, Target, Template};
use crate::index::{AptIndex, Holds, IndexCompression, PoolLayout, RpmIndex, Settings, Suite};
use crate::matrix::Cell;
use crate::package::Package;

impl<'a> Builder<'a> {
    pub(super) fn index(
        &mut self,
        target: &Target,
        index: &'a buildfile::Index,
        cell: Cell,
        joins: &Joins<'a>,
    ) {
        let agreeing = self.gathered(&index.packages, &cell, joins);
        if agreeing.is_empty() {
            return self.lacks(&index.packages, &target.name, &cell);
        }
        let agreeing = self.newest(target, index, agreeing, &cell);
        if agreeing.is_empty() {
            return;
        }
        if let IndexFormat::Apt(apt) = &index.format {
            self.check_aliases(index, apt);
        }
        let format = match index.format {
            IndexFormat::Apt(_) => "deb",
            IndexFormat::Rpm(_) => "rpm",
        };
        let fitting = agreeing.into_iter().filter(|node| self.format_of(*node) == Some(format)).collect();
        let packages: Vec<NodeId> = self.accepted(target, index, fitting);
        if packages.is_empty() {
            let name = node_name(&target.name, &cell);
            return self.report.push(fault::no_package_of_format(&target.span, &name, format));
        }
        let date = packages.iter().filter_map(|node| self.date_of_node(*node)).max().unwrap_or(1);
        let mut inputs: Vec<Input> =
            packages.iter().map(|node| Input::Node { node: *node, output: "package".to_owned() }).collect();
        let work = match &index.format {
            IndexFormat::Apt(apt) => IndexWork::Apt(self.apt_index(apt, &packages, &cell, date)),
            IndexFormat::Rpm(rpm) => IndexWork::Rpm(self.rpm_index(rpm, &mut inputs, &cell, date)),
        };
        let may_lack = self.optional(&inputs);
        let node = Node::new(self.declared(target), cell, Work::Index(Box::new(work)));
        self.add(node.taking(inputs).on(Terms { may_lack, ..Terms::default() }));
    }

    /// Of the packages, those in the newest value of the dimension that the index names, and those
    /// that do not span it; none where the selection leaves the newest out.
    fn newest(
        &self,
        target: &Target,
        index: &buildfile::Index,
        agreeing: Vec<NodeId>,
        cell: &Cell,
    ) -> Vec<NodeId> {
        let Some((dimension, _)) = &index.newest else { return agreeing };
        let value = |node: &NodeId| value_of(&self.graph.node(*node).cell, dimension);
        let selected: Vec<String> = agreeing.iter().filter_map(value).collect();
        let newest = self.newest_value(target, index, dimension, cell, &selected);
        if newest.as_ref().is_none_or(|newest| !selected.contains(newest)) {
            return Vec::new();
        }
        let fits = |node: &NodeId| value(node).is_none_or(|value| Some(value) == newest);
        agreeing.into_iter().filter(fits).collect()
    }

    /// An alias of a suite that no package could ever be in is a slip; one that is merely not
    /// selected is not.
    fn check_aliases(&mut self, index: &buildfile::Index, apt: &AptSettings) {
        for alias in &apt.aliases {
            if !self.may_have_suite(index, &apt.suite, &alias.of.name) {
                self.report.push_new(fault::no_suite(&alias.of));
            }
        }
    }

    fn format_of(&self, node: NodeId) -> Option<&'static str> {
        match &self.graph.node(node).work {
            Work::Package(work) => match work.package {
                Package::Deb(_) => Some("deb"),
                Package::Rpm(_) => Some("rpm"),
            },
            _ => None,
        }
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
        let Node { declared, cell, .. } = self.graph.node(package).clone();
        let Some(used) = self.buildfile.target(&declared.target) else { return package };
        let step = format!("{}.for-{}", used.name, index.name);
        if let Some(step) = self.graph.by_name(&node_name(&step, &cell)) {
            return step;
        }
        let mut requires = Vec::new();
        for test in &settings.requires {
            let join = self.join(test, used);
            requires.extend(self.all(&test.name, &cell, &join));
        }
        let inputs = vec![Input::Node { node: package, output: "package".to_owned() }];
        let declared = Declared::step(step.into(), "package", index.span.clone());
        let node = Node::new(declared.into(), cell, Work::Accept);
        self.add(node.taking(inputs).on(Terms { requires, ..Terms::default() }))
    }

    /// The nodes among the inputs that the Buildfile lets go on without.
    pub(super) fn optional(&self, inputs: &[Input]) -> Vec<NodeId> {
        let nodes = inputs.iter().filter_map(Input::node);
        nodes.filter(|node| self.expander.is_optional(&self.graph.node(*node).cell)).collect()
    }

    fn apt_index(&self, apt: &AptSettings, packages: &[NodeId], cell: &Cell, date: u64) -> AptIndexWork {
        let filler = self.filler(cell);
        let suite = |node: &NodeId| self.filler(&self.graph.node(*node).cell).text(&apt.suite);
        let suites: Vec<String> = packages.iter().map(suite).collect();
        let index = AptIndex {
            origin: filler.text(&apt.origin),
            label: filler.text(&apt.label),
            description: filler.text(&apt.description),
            suites: suite_list(apt, &suites, |of| suites.iter().any(|suite| suite == of)),
            compressions: apt.compressions.iter().filter_map(|name| compression(name)).collect(),
            contents: apt.contents,
            // One version is built for several suites, each time with other bytes.
            pool: PoolLayout::PerSuite,
        };
        AptIndexWork { index, suites, date }
    }

    /// How the repository of an index is published.
    pub(super) fn publication(
        &self,
        index: &str,
        node: NodeId,
        at: &Template,
        url: Option<&str>,
    ) -> Option<Publication> {
        let Node { cell, work: Work::Index(work), .. } = self.graph.node(node) else { return None };
        let Body::Index(declared) = &self.buildfile.target(index)?.body else { return None };
        let index = match (&**work, &declared.format) {
            (IndexWork::Apt(work), IndexFormat::Apt(apt)) => {
                // What is published holds suites beside those of the selected packages.
                let suites = suite_list(apt, &work.suites, |_| true);
                Settings::Apt(AptIndex { suites, ..work.index.clone() })
            }
            (IndexWork::Rpm(work), _) => Settings::Rpm(work.index.clone()),
            _ => return None,
        };
        let prefix = self.filler(cell).text(at);
        let url = url.map(|url| format!("{url}/{prefix}").trim_end_matches('/').to_owned());
        Some(Publication { prefix, index, url, keep: declared.keep })
    }

    fn rpm_index(&self, rpm: &RpmSettings, inputs: &mut Vec<Input>, cell: &Cell, date: u64) -> RpmIndexWork {
        if let Some(path) = &rpm.updateinfo {
            let globs = vec![self.filler(cell).text(path)];
            inputs.push(self.files(Globs::Written(globs.into())));
        }
        let compression = compression(&rpm.compression).unwrap_or(IndexCompression::Zst);
        RpmIndexWork { index: RpmIndex { compression }, has_updateinfo: rpm.updateinfo.is_some(), date }
    }
}

/// The suites that packages are in, and the aliases of suites that are `there`.
fn suite_list(apt: &AptSettings, suites: &[String], there: impl Fn(&str) -> bool) -> Vec<Suite> {
    let names: BTreeSet<&String> = suites.iter().collect();
    let own = names.iter().map(|name| {
        let holds = Holds::Packages { component: apt.component.clone(), architectures: Vec::new() };
        Suite { codename: (*name).clone(), suite: None, version: None, holds }
    });
    let aliases = apt.aliases.iter().filter(|alias| there(&alias.of.name)).map(|alias| {
        let holds = Holds::AliasOf(alias.of.name.clone());
        Suite { codename: alias.name.clone(), suite: None, version: None, holds }
    });
    own.chain(aliases).collect()
}

fn compression(name: &str) -> Option<IndexCompression> {
    match name {
        "xz" => Some(IndexCompression::Xz),
        "gz" => Some(IndexCompression::Gz),
        "zst" | "zstd" => Some(IndexCompression::Zst),
        _ => None,
    }
}
