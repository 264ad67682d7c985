//! Nodes that publish what others gather.

use std::collections::BTreeSet;
use std::time::Duration;

use super::build::{Builder, node_name};
use super::joins::Joins;
use super::*;
use crate::buildfile::{self, Diagnostic, Target};
use crate::matrix::Cell;

impl<'a> Builder<'a> {
    pub(super) fn publish(
        &mut self,
        target: &Target,
        publish: &buildfile::Publish,
        cell: Cell,
        joins: &Joins<'a>,
    ) {
        let mut inputs = Vec::new();
        let mut repositories = Vec::new();
        for (index, at) in &publish.repositories {
            for node in self.gathered(std::slice::from_ref(index), &cell, joins) {
                repositories.extend(self.publication(&index.name, node, at, publish.url.as_deref()));
                inputs.push(Input::Node { node, output: "catalog".to_owned() });
            }
        }
        if let Some(twice) = first_double(repositories.iter().map(|one| &one.prefix)) {
            let name = node_name(&target.name, &cell);
            let message = format!("{name}: two repositories would be published below '{twice}'");
            let help = "at=\"…\" must tell them apart, for example by {otp.major}";
            self.report.push(Diagnostic::error(&target.span, message, "declared here").help(help));
        }
        let requires = self.gathered(&publish.requires, &cell, joins);
        let retention = Duration::from_secs(publish.retention_days * 86_400);
        let work = Work::Publish(Box::new(PublishWork {
            target: crate::publish::Target::new(&publish.to.below(&self.buildfile.dir), retention),
            repositories,
            keys: self.keys_of(&publish.keys),
        }));
        let may_lack = self.optional(&inputs);
        let node = Node::new(self.declared(target), cell, work);
        let terms = Terms { requires, may_lack, fault: None };
        self.add(node.taking(inputs).on(terms));
    }
}

fn first_double<'a>(mut names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = BTreeSet::new();
    names.find(|name| !seen.insert(*name))
}
