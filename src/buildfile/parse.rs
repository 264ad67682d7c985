mod bucket;
mod cache;
mod command;
mod files;
mod index;
mod key;
mod matrix;
pub(super) mod names;
mod package;
mod reference;
mod repository;
mod upstream;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::known::KnownValues;
use super::profile::{Located, profile_names, select_profile};
use super::reader::{Context, Reader, Text};
use super::resolve::resolve;
use super::*;
use crate::store::LocalStore;

pub use files::files;
pub(super) use files::{ParsedFile, is_file_include};

/// The nodes a Buildfile may have at its top.
const TOP: [&str; 14] = [
    "axis", "cache", "exclude", "image", "include", "index", "key", "optional", "package", "profile",
    "publish", "target", "test", "upstream",
];

/// Reads the Buildfile at `path` and all it includes, with the profile of that name applied.
/// Gives the warnings beside it; every fault that can be found is told, also those that arise
/// only with another profile. `memory` is asked what large files say, if there is one.
pub fn load(
    path: &Path,
    profile: Option<&str>,
    memory: Option<&LocalStore>,
) -> Result<(Buildfile, Vec<Diagnostic>), Faults> {
    let dir = files::dir_of(path);
    // An environment variable that is set to nothing selects nothing.
    let profile = profile.filter(|name| !name.is_empty());
    let report = RefCell::new(Report::default());
    let files = files::read_all(path, memory, &report)?;
    let mut report = report.into_inner();
    if report.has_errors() {
        return report.finish(empty(dir));
    }
    files::report_nested_includes(&files, &mut report);
    report_empty(&files, &mut report);
    let known = KnownValues::of(&files);
    let (mut buildfile, own) = declared(&files, dir, profile, &known);
    buildfile.looked_at = files::looked_at(&files, dir);
    report.absorb(own, None);
    let others = profile_names(&files).into_iter().map(Some);
    for other in std::iter::once(None).chain(others).filter(|other| other.as_deref() != profile) {
        let (_, faults) = declared(&files, dir, other.as_deref(), &known);
        report.absorb(faults, other.as_deref());
    }
    report.sort();
    report.finish(buildfile)
}

/// What the files declare with one profile applied, and what is wrong with it.
fn declared(
    files: &[ParsedFile],
    dir: &Path,
    profile: Option<&str>,
    known: &KnownValues,
) -> (Buildfile, Report) {
    let report = RefCell::new(Report::default());
    let nodes = select_profile(files, profile, &report);
    let mut buildfile = Buildfile { lock: nodes.lock, profiles: nodes.profiles, ..empty(dir) };
    let mut broken = BTreeSet::new();
    for Located { node, source } in nodes.declarations {
        if !declare(&mut buildfile, Reader::new(node, Context { source, report: &report })) {
            broken.extend(node.first_argument().map(str::to_owned));
        }
    }
    for choices in nodes.choices {
        let read = choices.into_iter().flat_map(|Located { node, source }| {
            matrix::choice(Reader::new(node, Context { source, report: &report }))
        });
        let read: Vec<_> = read.collect();
        // What a profile says of an axis stands for what its base says of it.
        buildfile.choice.retain(|(old, _)| !read.iter().any(|(new, _)| new.axis == old.axis));
        buildfile.choice.extend(read);
    }
    resolve(&buildfile, &broken, known, &mut report.borrow_mut());
    (buildfile, report.into_inner())
}

fn report_empty(files: &[ParsedFile], report: &mut Report) {
    if files.iter().all(|file| file.document.nodes.is_empty()) {
        let message = format!("{} declares nothing", files[0].source.name());
        let help = format!("declare for example a target; a Buildfile is made of: {}", TOP.join(", "));
        report.push(Diagnostic::placeless(message).help(help));
    }
}

fn empty(dir: &Path) -> Buildfile {
    Buildfile {
        dir: dir.into(),
        lock: PathBuf::from("forge.lock"),
        upstreams: Vec::new(),
        axes: Vec::new(),
        rules: Vec::new(),
        targets: Vec::new(),
        cache: None,
        choice: Vec::new(),
        profiles: Vec::new(),
        looked_at: Vec::new(),
    }
}

/// Turns a node into a declaration; false if it is too faulty to be one.
fn declare(buildfile: &mut Buildfile, reader: Reader<'_>) -> bool {
    fn add<T>(all: &mut Vec<T>, new: Option<T>) -> bool {
        let is_sound = new.is_some();
        all.extend(new);
        is_sound
    }
    match reader.name() {
        "upstream" => add(&mut buildfile.upstreams, upstream::upstream(reader)),
        "axis" => add(&mut buildfile.axes, matrix::axis(reader)),
        "exclude" => add(&mut buildfile.rules, matrix::rule(reader, RuleKind::Exclude)),
        "include" => add(&mut buildfile.rules, matrix::rule(reader, RuleKind::Include)),
        "optional" => add(&mut buildfile.rules, matrix::rule(reader, RuleKind::Optional)),
        "image" => add(&mut buildfile.targets, command::image(reader)),
        "target" | "test" => add(&mut buildfile.targets, command::command(reader)),
        "package" => add(&mut buildfile.targets, package::package(reader)),
        "index" => add(&mut buildfile.targets, index::index(reader)),
        "publish" => add(&mut buildfile.targets, repository::publish(reader)),
        "key" => add(&mut buildfile.targets, key::key(reader)),
        "cache" if buildfile.cache.is_some() => {
            second(reader);
            true
        }
        "cache" => {
            buildfile.cache = cache::cache(reader);
            true
        }
        _ => {
            reader.unknown(&TOP);
            false
        }
    }
}

/// `over="otp.major distro"`, and where it is written.
fn over(reader: &mut Reader<'_>) -> (Vec<Dimension>, Span) {
    let Some(text) = reader.property("over") else { return (Vec::new(), reader.span()) };
    (text.value.split_whitespace().map(dimension).collect(), text.span)
}

/// `otp`, or `otp.major`.
fn dimension(word: &str) -> Dimension {
    match word.split_once('.') {
        Some((axis, attribute)) => Dimension { axis: axis.into(), attribute: Some(attribute.into()) },
        None => Dimension { axis: word.into(), attribute: None },
    }
}

/// A target with its place, which is its name's.
fn target(
    name: Text,
    (over, over_span): (Vec<Dimension>, Span),
    filter: Vec<Predicate>,
    body: Body,
) -> Option<Target> {
    Some(Target { name: name.value.into(), span: name.span, over, over_span, filter, body })
}

/// A node that has a meaning once, and was there.
fn second(reader: Reader<'_>) {
    let message = format!("'{}' is given twice", reader.name());
    reader.push(Diagnostic::error(&reader.span(), message, "the second").help("keep one of them"));
}

/// `where distro.format="deb"`.
fn filter(mut reader: Reader<'_>) -> Vec<Predicate> {
    let predicates = matrix::predicates(&mut reader);
    reader.finish();
    predicates
}

fn strings(mut reader: Reader<'_>, what: &str) -> Vec<String> {
    let texts = reader.arguments(what);
    reader.finish();
    texts.into_iter().map(|text| text.value).collect()
}

fn templates(mut reader: Reader<'_>, what: &str) -> Vec<Template> {
    let texts = reader.arguments(what);
    reader.finish();
    texts.into_iter().map(|text| text.template()).collect()
}

fn single(mut reader: Reader<'_>, what: &str) -> Option<Text> {
    let text = reader.required(what);
    reader.finish();
    text
}

fn constant(text: &str, reader: &Reader<'_>) -> Template {
    Template::parse(text, reader.span())
}
