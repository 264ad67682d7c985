//! Nodes that make images, gather packages and publish them.

use std::collections::BTreeSet;

use super::build::{Builder, Joins};
use super::fault;
use super::*;
use crate::buildfile::{self, Diagnostic, Resources, Target};
use crate::index::{AptIndex, Holds, IndexCompression, PoolLayout, Suite};
use crate::matrix::Cell;

impl Builder<'_> {
    pub(super) fn image(
        &mut self,
        target: &Target,
        image: &buildfile::ImageSource,
        name: String,
        cell: Cell,
    ) {
        let filler = self.filler(&cell);
        let (work, inputs, fault) = match image {
            buildfile::ImageSource::Bootstrap { suite, arch, packages } => {
                let (suite, arch) = (filler.text(suite), filler.text(arch));
                let mut wanted = filler.texts(packages);
                wanted.sort();
                wanted.dedup();
                let locked = self.lock.images.get(&name).filter(|locked| {
                    let closure = &locked.closure;
                    (&closure.suite, &closure.arch, &locked.wanted) == (&suite, &arch, &wanted)
                });
                let fault = locked.is_none().then(|| fault::image_not_locked(&target.span, &name));
                let image = BootstrapImage {
                    suite,
                    arch,
                    wanted,
                    locked: locked.map(|locked| locked.closure.clone()),
                };
                (Work::Bootstrap(Box::new(image)), Vec::new(), fault)
            }
            buildfile::ImageSource::Dockerfile { path, context, args, platform } => {
                let dockerfile = filler.text(path);
                let globs = context.iter().cloned().chain([dockerfile.clone()]).collect();
                let files = LocalFiles { base: self.buildfile.dir.clone(), globs };
                let args = args.iter().map(|(name, value)| (name.clone(), filler.text(value))).collect();
                let image = DockerImage { dockerfile, args, platform: filler.text(platform) };
                (Work::Dockerfile(image), vec![Input::Files(files)], None)
            }
        };
        self.graph.add(Node { inputs, fault, ..plain_node(target, name, cell, work) });
    }

    pub(super) fn index(
        &mut self,
        target: &Target,
        index: &buildfile::Index,
        name: String,
        cell: Cell,
        joins: &Joins<'_>,
    ) {
        let filler = self.filler(&cell);
        let mut inputs = Vec::new();
        let mut suites = Vec::new();
        let mut date = 1;
        for node in self.gathered(&index.packages, &cell, joins) {
            suites.push(self.filler(&self.graph.node(node).cell).text(&index.suite));
            date = date.max(self.date_of_node(node).unwrap_or(1));
            inputs.push(Input::Node { node, output: "package".to_owned() });
        }
        if inputs.is_empty() {
            let used = index.packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>();
            let span = index.packages.first().map_or(&target.span, |package| &package.span);
            return self.lacks(span, &name, &used.join("', '"));
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
        self.graph.add(Node { inputs, ..plain_node(target, name, cell, work) });
    }

    pub(super) fn publish(
        &mut self,
        target: &Target,
        publish: &buildfile::Publish,
        name: String,
        cell: Cell,
        joins: &Joins<'_>,
    ) {
        let mut inputs = Vec::new();
        let mut prefixes = Vec::new();
        for (index, at) in &publish.repositories {
            for node in joins.all(&index.name, &cell) {
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
        self.graph.add(Node { inputs, requires, ..plain_node(target, name, cell, work) });
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
