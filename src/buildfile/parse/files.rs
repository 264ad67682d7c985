//! Which files make a Buildfile.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::buildfile::document::{Document, Node};
use crate::buildfile::reader::{Context, Reader, Text};
use crate::buildfile::{Diagnostic, Faults, Report, Source, Span, nearest, read_source};
use crate::store::LocalStore;

/// What may stand for other characters in a glob.
const WILD: [char; 5] = ['*', '?', '[', '{', '\\'];

/// A parsed file and its text.
pub struct ParsedFile {
    pub path: PathBuf,
    pub source: Source,
    pub document: Document,
}

/// The Buildfile at `path` and the files it includes.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, Faults> {
    let report = RefCell::new(Report::default());
    let main = read(path, dir_of(path), None, &report)?;
    let included = included_paths(&main, path, &report);
    let files = std::iter::once(path.to_owned()).chain(included).collect();
    report.into_inner().finish(files).map(|(files, _)| files)
}

/// All files, parsed; faults go to `report`, so that those of every file are told.
pub fn read_all(
    path: &Path,
    memory: Option<&LocalStore>,
    report: &RefCell<Report>,
) -> Result<Vec<ParsedFile>, Faults> {
    let dir = dir_of(path);
    let main = read(path, dir, memory, report)?;
    let included = included_paths(&main, path, report);
    let mut files = vec![main];
    for file in included {
        match read(&file, dir, memory, report) {
            Ok(file) => files.push(file),
            Err(fault) => report.borrow_mut().push(fault),
        }
    }
    Ok(files)
}

/// The directory that a Buildfile's paths start from.
pub fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `include "glob"` names files; `include axis="…"` is a rule.
pub fn is_file_include(node: &Node) -> bool {
    node.name.text == "include" && node.entries.iter().any(|entry| entry.name.is_none())
}

/// Messages call the file by its path from `dir`.
fn read(
    path: &Path,
    dir: &Path,
    memory: Option<&LocalStore>,
    report: &RefCell<Report>,
) -> Result<ParsedFile, Diagnostic> {
    let name = path.strip_prefix(dir).unwrap_or(path).display().to_string();
    let source = read_source(path, name)?;
    let document = Document::parse(&source, memory).unwrap_or_else(|faults| {
        faults.into_iter().for_each(|fault| report.borrow_mut().push(fault));
        Document::default()
    });
    Ok(ParsedFile { path: path.to_owned(), source, document })
}

/// The files that `include "glob"` names, sorted, without the Buildfile itself.
fn included_paths(main: &ParsedFile, path: &Path, report: &RefCell<Report>) -> Vec<PathBuf> {
    let dir = dir_of(path);
    let context = Context { source: &main.source, report };
    let mut paths = Vec::new();
    for node in main.document.nodes.iter().filter(|node| is_file_include(node)) {
        let mut reader = Reader::new(node, context);
        for glob in reader.arguments("a glob such as \"targets/*.kdl\"") {
            paths.extend(matching_files(dir, path, &glob, &context));
        }
        reader.finish();
    }
    paths.sort();
    paths.dedup();
    paths
}

fn matching_files(dir: &Path, main: &Path, glob: &Text, context: &Context<'_>) -> Vec<PathBuf> {
    if Path::new(&glob.value).is_absolute() || glob.value.split('/').any(|part| part == "..") {
        let message = format!("'{}' leads out of the Buildfile's directory", glob.value);
        let help = "paths are relative to the Buildfile and stay below it";
        context.push(Diagnostic::error(&glob.span, message, "not below it").help(help));
        return Vec::new();
    }
    let matcher = match globset::GlobBuilder::new(&glob.value).literal_separator(true).build() {
        Ok(glob) => glob.compile_matcher(),
        Err(error) => {
            let message = format!("'{}' is not a glob: {}", glob.value, error.kind());
            context.push(Diagnostic::error(&glob.span, message, "cannot be read"));
            return Vec::new();
        }
    };
    let candidates = files_below(dir, &glob.value);
    let found: Vec<PathBuf> = candidates
        .iter()
        .filter(|file| file.strip_prefix(dir).is_ok_and(|file| matcher.is_match(file)))
        .filter(|file| *file != main && **file != dir.join(main))
        .cloned()
        .collect();
    if found.is_empty() {
        context.push(matches_nothing(dir, glob, &candidates));
    }
    found
}

fn files_below(dir: &Path, glob: &str) -> Vec<PathBuf> {
    let files = walk_below(dir, glob).filter(|entry| entry.file_type().is_file());
    files.map(walkdir::DirEntry::into_path).collect()
}

/// All files, and the directories in which a glob of an `include` could find another one.
pub fn looked_at(files: &[ParsedFile], dir: &Path) -> Vec<PathBuf> {
    let includes = files.iter().flat_map(|file| &file.document.nodes).filter(|node| is_file_include(node));
    let globs = includes.flat_map(|node| &node.entries).filter_map(|entry| entry.value.text());
    let wild = globs.filter(|glob| glob.contains(WILD));
    let walks = wild.flat_map(|glob| walk_below(dir, glob));
    let dirs = walks.filter(|entry| entry.file_type().is_dir()).map(walkdir::DirEntry::into_path);
    files.iter().map(|file| file.path.clone()).chain(dirs).collect()
}

/// Only as deep as the glob, and only where it leads: a Buildfile may stand above a store with
/// millions of files.
fn walk_below(dir: &Path, glob: &str) -> impl Iterator<Item = walkdir::DirEntry> + use<> {
    let is_plain = |part: &&str| !part.contains(WILD);
    let parts: Vec<&str> = glob.split('/').collect();
    let plain = parts[..parts.len() - 1].iter().take_while(|part| is_plain(part)).count();
    let depth = if glob.contains("**") { usize::MAX } else { parts.len() - plain };
    let walk = walkdir::WalkDir::new(dir.join(parts[..plain].join("/"))).max_depth(depth).follow_links(true);
    walk.into_iter().flatten()
}

fn matches_nothing(dir: &Path, glob: &Text, candidates: &[PathBuf]) -> Diagnostic {
    let names = candidates.iter().filter_map(|file| file.strip_prefix(dir).ok()?.to_str());
    let near = nearest(&glob.value, names);
    let (message, label) = match glob.value.contains(['*', '?', '[', '{']) {
        true => (format!("'{}' matches no file", glob.value), "no such file beside the Buildfile"),
        false => (format!("there is no file '{}'", glob.value), "not beside the Buildfile"),
    };
    let diagnostic = Diagnostic::error(&glob.span, message, label);
    match near {
        Some(name) => diagnostic.help(format!("did you mean '{name}'?")),
        None => diagnostic.help("drop the include, or create the file; paths are relative to the Buildfile"),
    }
}

/// The one place to see what belongs to a build is its Buildfile.
pub fn report_nested_includes(files: &[ParsedFile], report: &mut Report) {
    for file in &files[1..] {
        for node in file.document.nodes.iter().filter(|node| is_file_include(node)) {
            let span = Span { source: file.source.clone(), range: node.name.place.into() };
            let message = "an included file includes no others";
            let help =
                "name the files in the Buildfile itself, so that it shows all that belongs to the build";
            report.push(Diagnostic::error(&span, message, "has no effect here").help(help));
        }
    }
}
