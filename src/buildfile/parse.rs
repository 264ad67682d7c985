mod command;
mod matrix;
mod package;
mod repository;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use kdl::KdlDocument;

use super::profile::{Located, select_profile};
use super::reader::{Context, Reader, Text};
use super::resolve::resolve;
use super::source::syntax_faults;
use super::*;

/// The nodes a Buildfile may have at its top.
const TOP: [&str; 11] = [
    "axis", "exclude", "image", "include", "index", "package", "profile", "publish", "target", "test",
    "upstream",
];

/// Reads the Buildfile at `path` and all it includes, with the profile of that name applied.
/// Gives the warnings beside it; every fault that can be found is told.
pub fn load(path: &Path, profile: Option<&str>) -> Result<(Buildfile, Vec<Diagnostic>), Faults> {
    let dir = dir_of(path);
    let report = RefCell::new(Report::default());
    let files = read_all(path, dir, &report)?;
    if report.borrow().has_errors() {
        return report.into_inner().finish(empty(dir));
    }
    let nodes = select_profile(&files, profile, &report);
    let mut buildfile = Buildfile { lock: nodes.lock, profiles: nodes.profiles, ..empty(dir) };
    for Located { node, source } in nodes.declarations {
        declare(&mut buildfile, Reader::new(node, Context { source, report: &report }));
    }
    for (choice, source) in nodes.choices {
        let reader = Reader::new(choice, Context { source, report: &report });
        buildfile.choice.extend(matrix::choice(reader));
    }
    resolve(&buildfile, &mut report.borrow_mut());
    report.into_inner().finish(buildfile)
}

/// The Buildfile at `path` and the files it includes.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, Faults> {
    let report = RefCell::new(Report::default());
    let main = read(path, dir_of(path), &report)?;
    let included = included_paths(&main, dir_of(path), &report);
    let files = std::iter::once(path.to_owned()).chain(included).collect();
    report.into_inner().finish(files).map(|(files, _)| files)
}

/// The directory that a Buildfile's paths start from.
fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn empty(dir: &Path) -> Buildfile {
    Buildfile {
        dir: dir.to_owned(),
        lock: PathBuf::from("forge.lock"),
        upstreams: Vec::new(),
        axes: Vec::new(),
        rules: Vec::new(),
        targets: Vec::new(),
        choice: Vec::new(),
        profiles: Vec::new(),
    }
}

/// A parsed file and its text.
pub(super) struct ParsedFile {
    pub source: Source,
    pub document: KdlDocument,
}

fn read_all(path: &Path, dir: &Path, report: &RefCell<Report>) -> Result<Vec<ParsedFile>, Faults> {
    let main = read(path, dir, report)?;
    let included = included_paths(&main, dir, report);
    let mut files = vec![main];
    for path in included {
        files.push(read(&path, dir, report)?);
    }
    Ok(files)
}

/// Messages call the file by its path from `dir`.
fn read(path: &Path, dir: &Path, report: &RefCell<Report>) -> Result<ParsedFile, Faults> {
    let name = path.strip_prefix(dir).unwrap_or(path).display().to_string();
    let source = read_source(path, name)?;
    let document = KdlDocument::parse_v2(source.inner()).unwrap_or_else(|error| {
        syntax_faults(&source, error).into_iter().for_each(|fault| report.borrow_mut().push(fault));
        KdlDocument::new()
    });
    Ok(ParsedFile { source, document })
}

/// The files that `include "glob"` names, sorted. Included files include no others: the one
/// place to see what belongs to a build is its Buildfile.
fn included_paths(main: &ParsedFile, dir: &Path, report: &RefCell<Report>) -> Vec<PathBuf> {
    let context = Context { source: &main.source, report };
    let mut paths = Vec::new();
    for node in main.document.nodes().iter().filter(|node| is_file_include(node)) {
        let mut reader = Reader::new(node, context);
        for glob in reader.arguments("a glob such as \"targets/*.kdl\"") {
            let found = matching_files(dir, &glob, &context);
            if found.is_empty() {
                let message = format!("'{}' matches no file", glob.value);
                context.push(Diagnostic::error(&glob.span, message, "looked beside the Buildfile"));
            }
            paths.extend(found);
        }
        reader.finish();
    }
    paths.sort();
    paths.dedup();
    paths
}

fn is_file_include(node: &kdl::KdlNode) -> bool {
    node.name().value() == "include" && node.entries().iter().any(|entry| entry.name().is_none())
}

fn matching_files(dir: &Path, glob: &Text, context: &Context<'_>) -> Vec<PathBuf> {
    let matcher = match globset::GlobBuilder::new(&glob.value).literal_separator(true).build() {
        Ok(glob) => glob.compile_matcher(),
        Err(error) => {
            context.push(Diagnostic::error(&glob.span, error.to_string(), "not a glob"));
            return Vec::new();
        }
    };
    // Only as deep as the glob: a Buildfile may stand above a store with millions of files.
    let depth = match glob.value.contains("**") {
        true => usize::MAX,
        false => glob.value.split('/').count(),
    };
    walkdir::WalkDir::new(dir)
        .max_depth(depth)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .filter(|entry| entry.path().strip_prefix(dir).is_ok_and(|path| matcher.is_match(path)))
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// Turns a node into a declaration.
fn declare(buildfile: &mut Buildfile, reader: Reader<'_>) {
    match reader.name() {
        "upstream" => buildfile.upstreams.extend(matrix::upstream(reader)),
        "axis" => buildfile.axes.extend(matrix::axis(reader)),
        "exclude" | "include" => buildfile.rules.extend(matrix::rule(reader)),
        "image" => buildfile.targets.extend(command::image(reader)),
        "target" | "test" => buildfile.targets.extend(command::command(reader)),
        "package" => buildfile.targets.extend(package::package(reader)),
        "index" => buildfile.targets.extend(repository::index(reader)),
        "publish" => buildfile.targets.extend(repository::publish(reader)),
        _ => reader.unknown(&TOP),
    }
}

/// `over="otp.major distro"`.
fn over(reader: &mut Reader<'_>) -> Vec<Dimension> {
    let text = reader.property("over").map(|text| text.value).unwrap_or_default();
    text.split_whitespace()
        .map(|word| match word.split_once('.') {
            Some((axis, attribute)) => Dimension { axis: axis.into(), attribute: Some(attribute.into()) },
            None => Dimension { axis: word.into(), attribute: None },
        })
        .collect()
}

/// `where distro.format="deb"`.
fn filter(mut reader: Reader<'_>) -> Vec<Predicate> {
    let predicates = matrix::predicates(&mut reader);
    reader.finish();
    predicates
}

fn references(mut reader: Reader<'_>, what: &str) -> Vec<Reference> {
    let names = reader.arguments(what);
    reader.finish();
    names.into_iter().map(reference).collect()
}

fn reference(text: Text) -> Reference {
    Reference { name: text.value, span: text.span }
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
