//! Whether everything that is named is there: axes, attributes, values, targets, outputs; and
//! whether the targets use each other in a circle.

mod circle;

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::RandomState;

use super::known::KnownValues;
use super::*;

/// Attributes that every version has.
const VERSION_ATTRIBUTES: [&str; 2] = ["major", "minor"];
/// Words that stand in scripts and are no axes.
const SCRIPT_WORDS: [&str; 1] = ["jobs"];

/// Reports every name that stands for nothing. Names in `broken` belong to declarations that were
/// found faulty before, and are not told once more.
pub fn resolve(buildfile: &Buildfile, broken: &BTreeSet<String>, known: &KnownValues, report: &mut Report) {
    report_duplicates("target", buildfile.targets.iter().map(|t| (&*t.name, &t.span)), report);
    report_duplicates("axis", buildfile.axes.iter().map(|a| (&*a.name, &a.span)), report);
    report_duplicates("upstream", buildfile.upstreams.iter().map(|u| (&*u.name, &u.span)), report);
    report_taken_names(buildfile, report);
    let mut resolver = Resolver { buildfile, broken, known, report };
    buildfile.upstreams.iter().for_each(|upstream| resolver.upstream(upstream));
    buildfile.axes.iter().for_each(|axis| resolver.axis(axis));
    buildfile.rules.iter().for_each(|rule| resolver.predicates(&rule.predicates));
    buildfile.choice.iter().for_each(|(choice, _)| resolver.choice(choice));
    buildfile.targets.iter().for_each(|target| resolver.target(target));
    circle::report(buildfile, report);
}

fn report_duplicates<'a>(kind: &str, names: impl Iterator<Item = (&'a str, &'a Span)>, report: &mut Report) {
    let mut seen = HashMap::<&str, &Span, RandomState>::default();
    for (name, span) in names {
        match seen.get(name) {
            Some(first) => report.push(Diagnostic::twice(kind, name, first, span)),
            None => drop(seen.insert(name, span)),
        }
    }
}

/// Forge adds steps of its own: `upstream.source`, `package.depends` and `package.for-index`.
fn report_taken_names(buildfile: &Buildfile, report: &mut Report) {
    for target in &buildfile.targets {
        let owner = match target.name.rsplit_once('.') {
            Some((owner, "source")) => buildfile.upstream(owner).map(|upstream| &upstream.span),
            Some((owner, "depends")) => buildfile.target(owner).map(|target| &target.span),
            Some((owner, step)) if step.starts_with("for-") => {
                buildfile.target(owner).map(|target| &target.span)
            }
            _ => None,
        };
        if let Some(owner) = owner {
            let message = format!("'{}' is the name of a step that forge adds", target.name);
            let diagnostic = Diagnostic::error(&target.span, message, "rename it");
            report.push(diagnostic.also(owner, "added for this"));
        }
    }
}

struct Resolver<'a> {
    buildfile: &'a Buildfile,
    broken: &'a BTreeSet<String>,
    known: &'a KnownValues<'a>,
    report: &'a mut Report,
}

impl Resolver<'_> {
    fn upstream(&mut self, upstream: &Upstream) {
        let signature = upstream.signature.iter().map(|signature| &signature.url);
        for template in upstream.archives.iter().chain(&upstream.checksums).chain(signature) {
            for hole in template.holes().filter(|hole| hole.text() != "version") {
                let span = template.span.of_piece(&hole.written());
                let message = format!("'{}' has no value here", hole.written());
                let diagnostic = Diagnostic::error(&span, message, "not in an upstream's address");
                self.report.push(diagnostic.help("an upstream's address takes {version} alone"));
            }
        }
        if let Origin::Path(path) = &upstream.origin {
            self.templates([path], &[], &[]);
        }
    }

    fn axis(&mut self, axis: &Axis) {
        match &axis.values {
            AxisValues::Upstream(upstream) => {
                let span = axis.values_span.clone();
                let reference = Reference { name: upstream.clone(), span, fixed: Vec::new() };
                self.upstream_reference(&reference);
            }
            AxisValues::Given(values) => {
                report_duplicates("value", values.iter().map(|v| (&*v.name, &v.span)), self.report);
            }
        }
    }

    /// Conditions of rules and filters; they may name a value that only another profile has.
    fn predicates(&mut self, predicates: &[Predicate]) {
        for predicate in predicates {
            if self.axis_of(predicate)
                && let Some((operand, values)) = self.known.unknown(predicate)
            {
                self.report.push(unknown_value(predicate, operand, &values));
            }
        }
    }

    /// A choice must leave something of the axis as this profile has it.
    fn choice(&mut self, predicate: &Predicate) {
        if !self.axis_of(predicate) {
            return;
        }
        let Some(AxisValues::Given(given)) = self.buildfile.axis(&predicate.axis).map(|axis| &axis.values)
        else {
            return;
        };
        let values: Vec<&str> = match &predicate.attribute {
            None => given.iter().map(|value| &*value.name).collect(),
            Some(name) => given.iter().filter_map(|v| v.attributes.get(name)).map(String::as_str).collect(),
        };
        let is_known = |operand: &&str| {
            values.iter().any(|value| value == operand || Version::new(*value).has_prefix(operand))
        };
        if let Some(operand) = predicate.condition.operands().find(|operand| !is_known(operand)) {
            self.report.push(unknown_value(predicate, operand, &values));
        }
    }

    fn axis_of(&mut self, predicate: &Predicate) -> bool {
        let dimension = Dimension { axis: predicate.axis.clone(), attribute: predicate.attribute.clone() };
        match &predicate.span {
            Some(span) => self.dimension(&dimension, span),
            None => false,
        }
    }

    /// Whether the axis is there, and has the attribute; `span` is where both are named.
    fn dimension(&mut self, dimension: &Dimension, span: &Span) -> bool {
        let span = span.of_word(&dimension.text());
        let Some(axis) = self.buildfile.axis(&dimension.axis) else {
            if !self.broken.contains(&dimension.axis) {
                let message = format!("there is no axis '{}'", dimension.axis);
                let known: Vec<&str> = self.buildfile.axes.iter().map(|axis| axis.name.as_str()).collect();
                let diagnostic = Diagnostic::error(&span.of_piece(&dimension.axis), message, "unknown axis");
                self.report.push(match known.is_empty() {
                    true => diagnostic.help("declare it with an axis node"),
                    false => diagnostic.suggest(&dimension.axis, known),
                });
            }
            return false;
        };
        let Some(attribute) = &dimension.attribute else { return true };
        let is_known = has_attribute(axis, attribute);
        if !is_known {
            let known = attributes(axis);
            let message = format!("no value of axis '{}' has an attribute '{attribute}'", axis.name);
            let diagnostic = Diagnostic::error(&span.of_last_piece(attribute), message, "unknown attribute");
            self.report.push(match known.is_empty() {
                true => diagnostic.help(format!("give it to the values of axis '{}'", axis.name)),
                false => diagnostic.suggest(attribute, known),
            });
        }
        is_known
    }

    fn target(&mut self, target: &Target) {
        self.over(target);
        self.predicates(&target.filter);
        self.spanned_filters(target);
        match &target.body {
            Body::Image(image) => self.templates(image.templates(), &target.over, &[]),
            Body::Command(command) => self.command(command, &target.over),
            Body::Package(package) => self.package(package, &target.over),
            Body::Index(index) => self.index(index, &target.over),
            Body::Publish(publish) => self.publish(publish),
            Body::Key(_) => {}
        }
    }

    fn over(&mut self, target: &Target) {
        for (at, dimension) in target.over.iter().enumerate() {
            let whole = Dimension { axis: dimension.axis.clone(), attribute: None };
            let is_known = self.dimension(dimension, &target.over_span);
            let is_again = target.over[..at].contains(dimension);
            let is_part = dimension.attribute.is_some() && target.over.contains(&whole);
            if is_known && (is_again || is_part) {
                let span = target.over_span.of_word(&dimension.text());
                let message = format!("'{}' is spanned already", dimension.text());
                let label = if is_part { "told by the whole axis" } else { "named twice" };
                self.report.push(Diagnostic::error(&span, message, label).help("drop one of them"));
            }
        }
    }

    /// A filter on an axis that the target does not span would do nothing.
    fn spanned_filters(&mut self, target: &Target) {
        for predicate in &target.filter {
            let is_spanned = target.over.iter().any(|dimension| dimension.axis == predicate.axis);
            if !is_spanned
                && self.buildfile.axis(&predicate.axis).is_some()
                && let Some(span) = predicate.place_of(&predicate.name())
            {
                let message = format!("'{}' does not span axis '{}'", target.name, predicate.axis);
                let diagnostic = Diagnostic::error(&span, message, spans(&target.over));
                self.report
                    .push(diagnostic.help(format!("add '{}' to over=\"…\", or drop this", predicate.axis)));
            }
        }
    }

    fn command(&mut self, command: &Command, over: &[Dimension]) {
        if let Root::Image(images) = &command.root {
            self.images(images);
        }
        for input in &command.inputs {
            self.input(&input.from);
        }
        command.gathers.iter().for_each(|gather| self.gather(gather));
        self.tests(&command.requires);
        self.templates([&*command.script], over, &SCRIPT_WORDS);
        self.templates(command.templates(), over, &[]);
    }

    fn package(&mut self, package: &Package, over: &[Dimension]) {
        for content in &package.contents {
            self.input(&content.from);
        }
        self.images(&package.image);
        package.parts().into_iter().filter_map(|part| part.sign.as_ref()).for_each(|key| self.key(key));
        self.tests(&package.requires);
        self.templates(package.templates(), over, &[]);
    }

    fn index(&mut self, index: &Index, over: &[Dimension]) {
        for reference in &index.packages {
            self.reference(reference, "package", |body| matches!(body, Body::Package(_)));
            // The suite is a matter of each package's own cell.
            if let (IndexFormat::Apt(apt), Some(package)) =
                (&index.format, self.buildfile.target(&reference.name))
            {
                self.templates([&apt.suite], &package.over, &[]);
            }
        }
        self.tests(&index.requires);
        if let Some((dimension, span)) = &index.newest {
            self.newest(index, dimension, span, over);
        }
        match &index.format {
            IndexFormat::Apt(apt) => {
                self.templates([&apt.origin, &apt.label, &apt.description], over, &[]);
            }
            IndexFormat::Rpm(rpm) => self.templates(&rpm.updateinfo, over, &[]),
        }
    }

    /// Versions have a newest one, and some package must have a version to be judged by.
    fn newest(&mut self, index: &Index, dimension: &Dimension, span: &Span, over: &[Dimension]) {
        if !self.dimension(dimension, span) {
            return;
        }
        let packages = || index.packages.iter().filter_map(|one| self.buildfile.target(&one.name));
        let fault = if self.buildfile.axis(&dimension.axis).is_some_and(|axis| !axis.is_open()) {
            Some(("no axis of versions", "the values of an axis from=\"…\" have a newest one"))
        } else if dimension.is_told_by(over) {
            Some(("spanned by the index itself", "drop it from over=\"…\", or drop newest"))
        } else if packages().next().is_some() && !packages().any(|one| dimension.is_told_by(&one.over)) {
            Some(("spanned by none of the packages", "name a dimension that one of them spans"))
        } else {
            None
        };
        if let Some((reason, help)) = fault {
            let message = format!("'{}' is {reason}", dimension.text());
            self.report.push(Diagnostic::error(span, message, "the newest of what?").help(help));
        }
    }

    fn publish(&mut self, publish: &Publish) {
        for (reference, at) in &publish.repositories {
            self.reference(reference, "index", |body| matches!(body, Body::Index(_)));
            if let Some(index) = self.buildfile.target(&reference.name) {
                self.templates([at], &index.over, &[]);
                self.url(publish, reference, &index.body);
            }
        }
        publish.keys.iter().for_each(|key| self.key(key));
        self.tests(&publish.requires);
    }

    fn key(&mut self, key: &Reference) {
        self.reference(key, "key", |body| matches!(body, Body::Key(_)));
    }

    fn images(&mut self, references: &[Reference]) {
        for reference in references {
            self.reference(reference, "image", |body| matches!(body, Body::Image(_)));
        }
    }

    /// A list of mirrors names places by whole URLs.
    fn url(&mut self, publish: &Publish, reference: &Reference, body: &Body) {
        let is_rpm = matches!(body, Body::Index(index) if matches!(index.format, IndexFormat::Rpm(_)));
        if is_rpm && publish.url.is_none() {
            let message = "clients of an rpm repository are told its URL, and the publish node has none";
            let help = "say where clients find the directory: url \"https://packages.example.org\"";
            self.report.push(Diagnostic::error(&reference.span, message, "published here").help(help));
        }
    }

    fn tests(&mut self, references: &[Reference]) {
        let is_test = |body: &Body| matches!(body, Body::Command(command) if command.is_test);
        for reference in references {
            self.reference(reference, "test", is_test);
        }
    }

    fn input(&mut self, input: &InputSource) {
        match input {
            InputSource::Files(_) => {}
            InputSource::Upstream(reference) => self.upstream_reference(reference),
            InputSource::Target { targets, output } => {
                targets.iter().for_each(|target| self.output_of(target, output.as_ref()));
            }
        }
    }

    /// Each of what is gathered has its place by its own cell.
    fn gather(&mut self, gather: &Gather) {
        self.output_of(&gather.target, gather.output.as_ref());
        if let Some(target) = self.buildfile.target(&gather.target.name) {
            self.templates([gather.place.path()], &target.over, &[]);
        }
    }

    /// Whether there is a target of that name that gives that output.
    fn output_of(&mut self, target: &Reference, output: Option<&Reference>) {
        let has_outputs = |body: &Body| match body {
            Body::Publish(_) => false,
            Body::Command(command) => !command.is_test,
            _ => true,
        };
        if self.reference(target, "target", has_outputs) {
            self.output(target, output);
        }
    }

    fn upstream_reference(&mut self, reference: &Reference) {
        if self.buildfile.upstream(&reference.name).is_some() || self.broken.contains(&reference.name) {
            return;
        }
        let message = format!("there is no upstream '{}'", reference.name);
        let known: Vec<&str> = self.buildfile.upstreams.iter().map(|u| u.name.as_str()).collect();
        let diagnostic = Diagnostic::error(&reference.span, message, "unknown upstream");
        self.report.push(match known.is_empty() {
            true => diagnostic.help("declare it with an upstream node"),
            false => diagnostic.suggest(&reference.name, known),
        });
    }

    /// Whether the target has that output, or a single one if none is named.
    fn output(&mut self, reference: &Reference, output: Option<&Reference>) {
        let Some(target) = self.buildfile.target(&reference.name) else { return };
        let outputs = target.body.outputs();
        match output {
            Some(output) if !outputs.contains(&output.name.as_str()) => {
                let message = format!("'{}' has no output '{}'", target.name, output.name);
                let diagnostic = Diagnostic::error(&output.span, message, "unknown output");
                self.report.push(diagnostic.suggest(&output.name, outputs));
            }
            None if outputs.len() > 1 => {
                let message = format!("'{}' has {} outputs: say which", target.name, outputs.len());
                let help = format!("add output=\"…\", one of: {}", outputs.join(", "));
                self.report.push(Diagnostic::error(&reference.span, message, "used here").help(help));
            }
            _ => {}
        }
    }

    /// Coordinates in brackets are of axes that the named target spans.
    fn fixed(&mut self, reference: &Reference, target: &Target) {
        self.predicates(&reference.fixed);
        for predicate in &reference.fixed {
            let is_spanned = target.over.iter().any(|dimension| dimension.axis == predicate.axis);
            if !is_spanned && self.buildfile.axis(&predicate.axis).is_some() {
                let message = format!("'{}' does not span axis '{}'", target.name, predicate.axis);
                let span = predicate.place_of(&predicate.name());
                let diagnostic = Diagnostic::maybe_at(span.as_ref(), message, spans(&target.over));
                self.report.push(diagnostic.help("drop it: every cell agrees with it"));
            }
        }
    }

    /// Whether there is a target of that name and kind.
    fn reference(&mut self, reference: &Reference, kind: &str, fits: impl Fn(&Body) -> bool) -> bool {
        if let Some(target) = self.buildfile.target(&reference.name) {
            self.fixed(reference, target);
            let is_fit = fits(&target.body);
            if !is_fit {
                let own = target.body.keyword();
                let kind = if kind == "target" { "target with outputs" } else { kind };
                let message = format!(
                    "'{}' is {}, and {} is needed",
                    target.name,
                    with_article(own),
                    with_article(kind)
                );
                let diagnostic =
                    Diagnostic::error(&reference.span, message, format!("expected {}", with_article(kind)));
                self.report.push(diagnostic.also(&target.span, "declared here"));
            }
            return is_fit;
        }
        if !self.broken.contains(&reference.name) {
            let message = format!("there is no {kind} '{}'", reference.name);
            let known = self.buildfile.targets.iter().filter(|target| fits(&target.body));
            let known: Vec<&str> = known.map(|target| &*target.name).collect();
            let diagnostic = Diagnostic::error(&reference.span, message, format!("unknown {kind}"));
            self.report.push(match known.is_empty() {
                true => diagnostic.help(format!("declare it with {} node", with_article(kind))),
                false => diagnostic.suggest(&reference.name, known),
            });
        }
        false
    }

    fn templates<'t>(
        &mut self,
        templates: impl IntoIterator<Item = &'t Template>,
        over: &[Dimension],
        words: &[&str],
    ) {
        for template in templates {
            for hole in template.holes().filter(|hole| !words.contains(&hole.text().as_str())) {
                self.hole(hole, &template.span.of_piece(&hole.written()), over);
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
        // An axis that is not declared is told where it is spanned.
        if self.broken.contains(&hole.name) {
            return;
        }
        let known: Vec<String> = over.iter().map(Dimension::text).collect();
        let message = format!("'{}' has no value here", hole.written());
        let diagnostic = Diagnostic::error(span, message, spans(over));
        let near = nearest(&hole.text(), known.iter().map(String::as_str));
        let group = over.iter().find(|dimension| dimension.axis == hole.name);
        self.report.push(match (near, self.buildfile.axis(&hole.name)) {
            _ if hole.text() == SCRIPT_WORDS[0] => {
                diagnostic.help("{jobs} stands in the script of run alone")
            }
            (_, Some(_)) if let Some(group) = group => {
                diagnostic.help(format!("write {{{}}}, or span '{}' as a whole", group.text(), hole.name))
            }
            (_, Some(_)) => diagnostic.help(format!("add '{}' to over=\"…\"", hole.text())),
            (Some(name), None) => diagnostic.help(format!("did you mean '{{{name}}}'?")),
            (None, None) => diagnostic.help(format!(
                "there is no axis '{}'; write {{{}}} for the text itself",
                hole.name,
                hole.written()
            )),
        });
    }
}

fn unknown_value(predicate: &Predicate, operand: &str, values: &[&str]) -> Diagnostic {
    let message = format!("{} has no value '{operand}'", predicate.name());
    let span = predicate.place_of(operand);
    let diagnostic = Diagnostic::maybe_at(span.as_ref(), message, "unknown value");
    diagnostic.suggest(operand, values.iter().copied())
}

fn spans(over: &[Dimension]) -> String {
    let known: Vec<String> = over.iter().map(Dimension::text).collect();
    match known.is_empty() {
        true => "this spans no axis".to_owned(),
        false => format!("this spans {}", known.join(", ")),
    }
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

fn has_attribute(axis: &Axis, name: &str) -> bool {
    match &axis.values {
        AxisValues::Upstream(_) => VERSION_ATTRIBUTES.contains(&name),
        // There may be many values, and mostly the first has it.
        AxisValues::Given(values) => values.iter().any(|value| value.attributes.contains_key(name)),
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
