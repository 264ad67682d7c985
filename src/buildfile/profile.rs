use std::cell::RefCell;
use std::path::PathBuf;

use super::document::Node;
use super::parse::{ParsedFile, is_file_include, names};
use super::reader::{Context, Reader, Text};
use super::{Diagnostic, Report, Source, Span};

/// A declaration and the file it stands in.
pub struct Located<'a> {
    pub node: &'a Node,
    pub source: &'a Source,
}

/// The declarations that count, one profile applied.
pub struct Selected<'a> {
    pub declarations: Vec<Located<'a>>,
    /// The `choose` nodes of each profile, those of the first base first.
    pub choices: Vec<Vec<Located<'a>>>,
    pub lock: PathBuf,
    pub profiles: Vec<String>,
}

/// The names of all profiles.
pub fn profile_names(files: &[ParsedFile]) -> Vec<String> {
    let nodes = files.iter().flat_map(|file| &file.document.nodes);
    let profiles = nodes.filter(|node| node.name.text == "profile");
    profiles.filter_map(|profile| profile.first_argument().map(str::to_owned)).collect()
}

/// Applies the profile called `wanted`: a profile is a set of choices, and of declarations that
/// stand for the ones of the same kind and name.
pub fn select_profile<'a>(
    files: &'a [ParsedFile],
    wanted: Option<&str>,
    report: &RefCell<Report>,
) -> Selected<'a> {
    let (profiles, mut declarations): (Vec<_>, Vec<_>) = files
        .iter()
        .flat_map(|file| file.document.nodes.iter().map(|node| Located { node, source: &file.source }))
        .filter(|located| !is_file_include(located.node))
        .partition(|located| located.node.name.text == "profile");
    let headers: Vec<Header> = profiles.iter().map(|profile| Header::read(profile, report)).collect();
    report_duplicates(&headers, report);
    report_bases(&headers, report);
    let mut lock = PathBuf::from("forge.lock");
    let mut choices = Vec::new();
    for at in lineage(&headers, wanted, report) {
        if let Some(own) = &headers[at].lock {
            lock = PathBuf::from(&own.value);
        }
        choices.push(apply(&profiles[at], &mut declarations));
    }
    Selected { declarations, choices, lock, profiles: profile_names(files) }
}

fn report_duplicates(headers: &[Header], report: &RefCell<Report>) {
    for (at, header) in headers.iter().enumerate() {
        let Some(name) = &header.name else { continue };
        let earlier = headers[..at].iter().filter_map(|header| header.name.as_ref());
        if let Some(first) = earlier.into_iter().find(|first| first.value == name.value) {
            report.borrow_mut().push(Diagnostic::twice("profile", &name.value, &first.span, &name.span));
        }
    }
}

/// What a profile says of itself.
struct Header {
    name: Option<Text>,
    base: Option<Text>,
    lock: Option<Text>,
}

impl Header {
    fn read(profile: &Located<'_>, report: &RefCell<Report>) -> Self {
        let mut reader = Reader::new(profile.node, Context { source: profile.source, report });
        let header = Self {
            name: names::name(&mut reader),
            base: reader.property("base"),
            lock: reader.property("lock"),
        };
        for child in reader.children(&[]).iter().filter(|child| is_misplaced(child.node())) {
            let message = format!("'{}' has no place inside a profile", child.name());
            let help = "write it at the top of the Buildfile; base=\"…\" builds one profile on another";
            child.push(Diagnostic::error(&child.span(), message, "only at the top").help(help));
        }
        reader.finish();
        header
    }
}

/// What stands at the top alone.
fn is_misplaced(node: &Node) -> bool {
    node.name.text == "profile" || is_file_include(node)
}

/// The wanted profile and those it is based on, the first base first.
fn lineage(headers: &[Header], wanted: Option<&str>, report: &RefCell<Report>) -> Vec<usize> {
    let mut lineage = Vec::new();
    let mut next = wanted.and_then(|name| {
        let at = position(headers, name);
        if at.is_none() {
            report.borrow_mut().push(unknown_profile(name, None, headers));
        }
        at
    });
    while let Some(at) = next.filter(|at| !lineage.contains(at)) {
        lineage.push(at);
        next = headers[at].base.as_ref().and_then(|base| position(headers, &base.value));
    }
    lineage.reverse();
    lineage
}

fn position(headers: &[Header], name: &str) -> Option<usize> {
    headers.iter().position(|header| header.name.as_ref().is_some_and(|own| own.value == name))
}

/// Bases that are not there, and profiles that are based on themselves, each circle once.
fn report_bases(headers: &[Header], report: &RefCell<Report>) {
    for (start, header) in headers.iter().enumerate() {
        let Some(base) = &header.base else { continue };
        if position(headers, &base.value).is_none() {
            report.borrow_mut().push(unknown_profile(&base.value, Some(&base.span), headers));
        }
        let circle = lineage_of(headers, start);
        let is_circle = circle.last() == Some(&start) && circle.iter().min() == Some(&start);
        if is_circle {
            let name = |at: &usize| headers[*at].name.as_ref().map_or("", |name| name.value.as_str());
            let names: Vec<&str> = std::iter::once(&start).chain(&circle).map(name).collect();
            let message = format!("profile '{}' is based on itself", name(&start));
            let diagnostic = Diagnostic::error(&base.span, message, "leads back");
            report.borrow_mut().push(diagnostic.help(format!("drop one base of: {}", names.join(" → "))));
        }
    }
}

/// The bases of a profile, until there is none or one comes again.
fn lineage_of(headers: &[Header], start: usize) -> Vec<usize> {
    let base = |at: &usize| position(headers, &headers[*at].base.as_ref()?.value);
    let mut bases = Vec::new();
    let mut next = base(&start);
    while let Some(at) = next.filter(|at| !bases.contains(at)) {
        bases.push(at);
        next = base(&at).filter(|_| at != start);
    }
    bases
}

fn unknown_profile(name: &str, span: Option<&Span>, headers: &[Header]) -> Diagnostic {
    let known: Vec<&str> =
        headers.iter().filter_map(|header| Some(header.name.as_ref()?.value.as_str())).collect();
    let message = format!("there is no profile '{name}'");
    let diagnostic = Diagnostic::maybe_at(span, message, "unknown profile");
    match known.is_empty() {
        true => diagnostic.help("the Buildfile declares no profile"),
        false => diagnostic.suggest(name, known),
    }
}

/// Puts a profile's declarations in their places, and gives its choices.
fn apply<'a>(profile: &Located<'a>, declarations: &mut Vec<Located<'a>>) -> Vec<Located<'a>> {
    let mut choices = Vec::new();
    let mut replaced = Vec::new();
    for node in profile.node.children().iter().filter(|node| !is_misplaced(node)) {
        let located = Located { node, source: profile.source };
        if node.name.text == "choose" {
            choices.push(located);
            continue;
        }
        let place = declarations.iter().position(|declaration| is_same(declaration.node, node));
        match place.filter(|at| !replaced.contains(at)) {
            Some(at) => {
                declarations[at] = located;
                replaced.push(at);
            }
            // Also a second one of the same name, which is told as such when names are resolved.
            None => {
                replaced.push(declarations.len());
                declarations.push(located);
            }
        }
    }
    choices
}

/// Of the same kind and name. Rules have no name; a profile adds to them. There is one cache, wherever it is.
fn is_same(a: &Node, b: &Node) -> bool {
    let (kind, name) = (&a.name.text, a.first_argument());
    let is_named_alike = kind == "cache" || name.is_some() && name == b.first_argument();
    *kind == b.name.text && is_named_alike
}
