//! Whether everything that is named is there: axes, attributes, targets, outputs; and whether
//! the targets use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use super::*;

/// Attributes that every version has.
const VERSION_ATTRIBUTES: [&str; 2] = ["major", "minor"];
/// Words that stand in scripts and are no axes.
const SCRIPT_WORDS: [&str; 1] = ["jobs"];

pub fn resolve(buildfile: &Buildfile, report: &mut Report) {
    report_duplicates("target", buildfile.targets.iter().map(|t| (&t.name, &t.span)), report);
    report_duplicates("axis", buildfile.axes.iter().map(|a| (&a.name, &a.span)), report);
    report_duplicates("upstream", buildfile.upstreams.iter().map(|u| (&u.name, &u.span)), report);
    let mut resolver = Resolver { buildfile, report };
    for axis in &buildfile.axes {
        resolver.axis(axis);
    }
    for rule in &buildfile.rules {
        resolver.predicates(&rule.predicates, &rule.span);
    }
    for (predicate, span) in &buildfile.choice {
        resolver.predicates(std::slice::from_ref(predicate), span);
    }
    for target in &buildfile.targets {
        resolver.target(target);
    }
    resolver.cycles();
}

fn report_duplicates<'a>(
    kind: &str,
    names: impl Iterator<Item = (&'a String, &'a Span)>,
    report: &mut Report,
) {
    let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
    for (name, span) in names {
        if let Some(first) = seen.get(name.as_str()) {
            let message = format!("{kind} '{name}' is declared twice");
            let diagnostic = Diagnostic::error(span, message, "the second");
            report.push(diagnostic.help(format!("the first is at {}", first.location())));
        } else {
            seen.insert(name, span);
        }
    }
}

struct Resolver<'a> {
    buildfile: &'a Buildfile,
    report: &'a mut Report,
}

impl Resolver<'_> {
    fn axis(&mut self, axis: &Axis) {
        match &axis.values {
            AxisValues::Upstream(upstream) if self.buildfile.upstream(upstream).is_none() => {
                let message = format!("there is no upstream '{upstream}'");
                let known: Vec<&str> = self.buildfile.upstreams.iter().map(|u| u.name.as_str()).collect();
                let diagnostic = Diagnostic::error(&axis.span, message, "has its values from there");
                self.report.push(diagnostic.suggest(upstream, known));
            }
            AxisValues::Given(values) => {
                report_duplicates("value", values.iter().map(|v| (&v.name, &v.span)), self.report);
            }
            AxisValues::Upstream(_) => {}
        }
    }

    fn predicates(&mut self, predicates: &[Predicate], span: &Span) {
        for predicate in predicates {
            let dimension =
                Dimension { axis: predicate.axis.clone(), attribute: predicate.attribute.clone() };
            self.dimension(&dimension, span);
        }
    }

    /// Whether the axis is there, and has the attribute.
    fn dimension(&mut self, dimension: &Dimension, span: &Span) -> bool {
        let Some(axis) = self.buildfile.axis(&dimension.axis) else {
            let message = format!("there is no axis '{}'", dimension.axis);
            let known: Vec<&str> = self.buildfile.axes.iter().map(|axis| axis.name.as_str()).collect();
            let diagnostic = Diagnostic::error(span, message, "unknown axis");
            self.report.push(diagnostic.suggest(&dimension.axis, known));
            return false;
        };
        let Some(attribute) = &dimension.attribute else { return true };
        let known = attributes(axis);
        let is_known = known.contains(attribute.as_str());
        if !is_known {
            let message = format!("the values of axis '{}' have no attribute '{attribute}'", axis.name);
            let diagnostic = Diagnostic::error(span, message, "unknown attribute");
            self.report.push(diagnostic.suggest(attribute, known));
        }
        is_known
    }

    fn target(&mut self, target: &Target) {
        for dimension in &target.over {
            self.dimension(dimension, &target.span);
        }
        self.predicates(&target.filter, &target.span);
        match &target.body {
            Body::Image(image) => self.templates(image.templates(), &target.over, &[]),
            Body::Command(command) => self.command(command, &target.over),
            Body::Package(package) => self.package(package, &target.over),
            Body::Index(index) => self.index(index, &target.over),
            Body::Publish(publish) => self.publish(publish),
        }
    }

    fn command(&mut self, command: &Command, over: &[Dimension]) {
        if let Root::Image(name) = &command.root {
            let reference = Reference { name: name.clone(), span: command.script.span.clone() };
            self.reference(&reference, "image", |body| matches!(body, Body::Image(_)));
        }
        for input in &command.inputs {
            self.input(&input.from);
        }
        self.tests(&command.requires);
        self.templates([&command.script], over, &SCRIPT_WORDS);
        self.templates(command.templates(), over, &[]);
    }

    fn package(&mut self, package: &Package, over: &[Dimension]) {
        for content in &package.contents {
            self.input(&content.from);
        }
        if let Some(image) = &package.image {
            self.reference(image, "image", |body| matches!(body, Body::Image(_)));
        }
        self.tests(&package.requires);
        self.templates(package.templates(), over, &[]);
    }

    fn index(&mut self, index: &Index, over: &[Dimension]) {
        for reference in &index.packages {
            self.reference(reference, "package", |body| matches!(body, Body::Package(_)));
            // The suite is a matter of each package's own cell.
            if let Some(package) = self.buildfile.target(&reference.name) {
                self.templates([&index.suite], &package.over, &[]);
            }
        }
        self.templates([&index.origin, &index.label, &index.description], over, &[]);
    }

    fn publish(&mut self, publish: &Publish) {
        for (reference, at) in &publish.repositories {
            self.reference(reference, "index", |body| matches!(body, Body::Index(_)));
            if let Some(index) = self.buildfile.target(&reference.name) {
                self.templates([at], &index.over, &[]);
            }
        }
        self.tests(&publish.requires);
    }

    fn tests(&mut self, references: &[Reference]) {
        for reference in references {
            self.reference(
                reference,
                "test",
                |body| matches!(body, Body::Command(command) if command.is_test),
            );
        }
    }

    fn input(&mut self, input: &InputSource) {
        match input {
            InputSource::Files(_) => {}
            InputSource::Upstream(reference) => {
                if self.buildfile.upstream(&reference.name).is_none() {
                    let message = format!("there is no upstream '{}'", reference.name);
                    let known: Vec<&str> = self.buildfile.upstreams.iter().map(|u| u.name.as_str()).collect();
                    let diagnostic = Diagnostic::error(&reference.span, message, "unknown upstream");
                    self.report.push(diagnostic.suggest(&reference.name, known));
                }
            }
            InputSource::Target { target, output } => {
                let has_outputs = |body: &Body| !matches!(body, Body::Publish(_));
                if self.reference(target, "target", has_outputs) {
                    self.output(target, output.as_deref());
                }
            }
        }
    }

    /// Whether the target has that output, or a single one if none is named.
    fn output(&mut self, reference: &Reference, output: Option<&str>) {
        let Some(target) = self.buildfile.target(&reference.name) else { return };
        let outputs = target.body.outputs();
        match output {
            Some(output) if !outputs.contains(&output) => {
                let message = format!("'{}' has no output '{output}'", target.name);
                let diagnostic = Diagnostic::error(&reference.span, message, "used here");
                self.report.push(diagnostic.suggest(output, outputs));
            }
            None if outputs.len() != 1 => {
                let message = format!("'{}' has {} outputs: say which", target.name, outputs.len());
                let help = format!("output=\"…\", one of: {}", outputs.join(", "));
                self.report.push(Diagnostic::error(&reference.span, message, "used here").help(help));
            }
            _ => {}
        }
    }

    fn reference(&mut self, reference: &Reference, kind: &str, fits: impl Fn(&Body) -> bool) -> bool {
        let found = self.buildfile.target(&reference.name);
        if let Some(target) = found.filter(|target| !fits(&target.body)) {
            let message = format!("'{}' is no {kind}", reference.name);
            let label = format!("declared as '{}' at {}", target.body.keyword(), target.span.location());
            self.report.push(Diagnostic::error(&reference.span, message, label));
            return false;
        }
        if found.is_none() {
            let message = format!("there is no {kind} '{}'", reference.name);
            let known = self.buildfile.targets.iter().filter(|target| fits(&target.body));
            let known: Vec<&str> = known.map(|target| target.name.as_str()).collect();
            let diagnostic = Diagnostic::error(&reference.span, message, format!("unknown {kind}"));
            self.report.push(diagnostic.suggest(&reference.name, known));
        }
        found.is_some()
    }

    fn templates<'t>(
        &mut self,
        templates: impl IntoIterator<Item = &'t Template>,
        over: &[Dimension],
        words: &[&str],
    ) {
        for template in templates {
            for hole in template.holes().filter(|hole| !words.contains(&hole.name.as_str())) {
                self.hole(hole, &template.span, over);
            }
        }
    }

    fn hole(&mut self, hole: &Hole, span: &Span, over: &[Dimension]) {
        let dimension = Dimension { axis: hole.name.clone(), attribute: hole.attribute.clone() };
        let whole = Dimension { axis: hole.name.clone(), attribute: None };
        if over.contains(&dimension) || over.contains(&whole) {
            self.dimension(&dimension, span);
            return;
        }
        let known: Vec<String> = over.iter().map(Dimension::text).collect();
        let message = format!("'{{{}}}' has no value here", hole.text());
        let label = match known.as_slice() {
            [] => "this spans no axis".to_owned(),
            known => format!("this spans {}", known.join(", ")),
        };
        let diagnostic = Diagnostic::error(span, message, label);
        self.report.push(match nearest(&hole.text(), known.iter().map(String::as_str)) {
            Some(name) => diagnostic.help(format!("did you mean '{{{name}}}'?")),
            None => diagnostic
                .help(format!("add '{}' to over, or write {{{{{0}}}}} for the text itself", hole.text())),
        });
    }

    fn cycles(&mut self) {
        let mut graph = DiGraphMap::<&str, ()>::new();
        for target in &self.buildfile.targets {
            for reference in target.body.references() {
                graph.add_edge(target.name.as_str(), reference, ());
            }
        }
        for component in tarjan_scc(&graph) {
            let Some(start) = component.iter().min() else { continue };
            if let Some(path) = circle(&graph, start, &component)
                && let Some(target) = self.buildfile.target(start)
            {
                let message = "targets use each other in a circle".to_owned();
                let diagnostic = Diagnostic::error(&target.span, message, "starts here");
                self.report.push(diagnostic.help(path.join(" → ")));
            }
        }
    }
}

/// A way from `start` back to it inside its component.
fn circle<'a>(
    graph: &DiGraphMap<&'a str, ()>,
    start: &'a str,
    component: &[&'a str],
) -> Option<Vec<&'a str>> {
    let members: BTreeSet<&str> = component.iter().copied().collect();
    let mut path = vec![start];
    let mut seen = BTreeSet::from([start]);
    loop {
        let last = *path.last()?;
        if graph.contains_edge(last, start) {
            path.push(start);
            return Some(path);
        }
        match graph.neighbors(last).find(|next| members.contains(next) && !seen.contains(next)) {
            Some(next) => {
                seen.insert(next);
                path.push(next);
            }
            None => {
                path.pop();
            }
        }
    }
}

fn attributes(axis: &Axis) -> BTreeSet<&str> {
    match &axis.values {
        AxisValues::Upstream(_) => VERSION_ATTRIBUTES.into(),
        AxisValues::Given(values) => {
            values.iter().flat_map(|value| value.attributes.keys()).map(String::as_str).collect()
        }
    }
}

impl Body {
    /// The outputs by name.
    pub fn outputs(&self) -> Vec<&str> {
        match self {
            Self::Image(_) => vec!["root"],
            Self::Command(command) => command.outputs.iter().map(String::as_str).collect(),
            Self::Package(_) => vec!["package"],
            Self::Index(_) => vec!["repository"],
            Self::Publish(_) => Vec::new(),
        }
    }

    /// The targets it names.
    pub fn references(&self) -> Vec<&str> {
        fn named(input: &InputSource) -> Option<&str> {
            match input {
                InputSource::Target { target, .. } => Some(&target.name),
                _ => None,
            }
        }
        fn names(references: &[Reference]) -> impl Iterator<Item = &str> {
            references.iter().map(|reference| reference.name.as_str())
        }
        match self {
            Self::Image(_) => Vec::new(),
            Self::Command(command) => {
                let image = match &command.root {
                    Root::Image(image) => Some(image.as_str()),
                    Root::Host => None,
                };
                let inputs = command.inputs.iter().filter_map(|input| named(&input.from));
                inputs.chain(image).chain(names(&command.requires)).collect()
            }
            Self::Package(package) => {
                let contents = package.contents.iter().filter_map(|content| named(&content.from));
                let image = package.image.iter().map(|image| image.name.as_str());
                contents.chain(image).chain(names(&package.requires)).collect()
            }
            Self::Index(index) => names(&index.packages).collect(),
            Self::Publish(publish) => {
                let indices = publish.repositories.iter().map(|(index, _)| index.name.as_str());
                indices.chain(names(&publish.requires)).collect()
            }
        }
    }
}

impl ImageSource {
    fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Bootstrap { suite, arch, packages } => [suite, arch].into_iter().chain(packages).collect(),
            Self::Dockerfile { path, args, platform, .. } => {
                [path, platform].into_iter().chain(args.iter().map(|(_, value)| value)).collect()
            }
        }
    }
}

impl Command {
    fn templates(&self) -> Vec<&Template> {
        let places = self.inputs.iter().map(|input| match &input.place {
            Place::Into(place) | Place::At(place) => place,
        });
        places.chain(self.env.iter().map(|(_, value)| value)).collect()
    }
}

impl Package {
    fn templates(&self) -> Vec<&Template> {
        let fixed = [
            &self.format,
            &self.name,
            &self.version,
            &self.architecture,
            &self.maintainer,
            &self.section,
            &self.priority,
            &self.summary,
            &self.description,
            &self.changelog,
        ];
        let contents = self.contents.iter().flat_map(|content| [&content.path, &content.to]);
        fixed
            .into_iter()
            .chain(&self.iteration)
            .chain(&self.homepage)
            .chain(self.relations.values().flatten())
            .chain(self.scripts.values())
            .chain(&self.conffiles)
            .chain(&self.lintian_overrides)
            .chain(contents)
            .collect()
    }
}
