use std::cell::RefCell;
use std::path::PathBuf;

use kdl::KdlNode;

use super::parse::ParsedFile;
use super::reader::{Context, Reader};
use super::{Diagnostic, Report, Source};

/// A declaration and the file it stands in.
pub struct Located<'a> {
    pub node: &'a KdlNode,
    pub source: &'a Source,
}

/// The declarations that count, one profile applied.
pub struct Selected<'a> {
    pub declarations: Vec<Located<'a>>,
    pub choices: Vec<(&'a KdlNode, &'a Source)>,
    pub lock: PathBuf,
    pub profiles: Vec<String>,
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
        .flat_map(|file| file.document.nodes().iter().map(|node| Located { node, source: &file.source }))
        .filter(|located| !is_include_of_files(located.node))
        .partition(|located| located.node.name().value() == "profile");
    let mut selected = Selected {
        declarations: Vec::new(),
        choices: Vec::new(),
        lock: PathBuf::from("forge.lock"),
        profiles: profiles.iter().filter_map(|profile| first_argument(profile.node)).collect(),
    };
    let mut found = wanted.is_none();
    for profile in profiles {
        let mut reader = Reader::new(profile.node, Context { source: profile.source, report });
        let name = reader.required("a name");
        let lock = reader.property("lock");
        if name.is_some_and(|name| wanted == Some(&name.value)) {
            found = true;
            selected.lock = lock.map_or(selected.lock, |lock| PathBuf::from(lock.value));
            apply(&profile, &mut declarations, &mut selected.choices);
        }
        reader.children();
        reader.finish();
    }
    if let (false, Some(wanted)) = (found, wanted) {
        let message = format!("there is no profile '{wanted}'");
        let known = selected.profiles.iter().map(String::as_str);
        report.borrow_mut().push(Diagnostic::placeless(message).suggest(wanted, known));
    }
    selected.declarations = declarations;
    selected
}

fn apply<'a>(
    profile: &Located<'a>,
    declarations: &mut Vec<Located<'a>>,
    choices: &mut Vec<(&'a KdlNode, &'a Source)>,
) {
    for node in profile.node.iter_children() {
        if node.name().value() == "choose" {
            choices.push((node, profile.source));
            continue;
        }
        let located = Located { node, source: profile.source };
        let replaced = declarations.iter().position(|declaration| is_same(declaration.node, node));
        match replaced {
            Some(at) => declarations[at] = located,
            None => declarations.push(located),
        }
    }
}

/// Of the same kind and name. Rules have no name; a profile adds to them.
fn is_same(a: &KdlNode, b: &KdlNode) -> bool {
    let name = first_argument(a);
    a.name().value() == b.name().value() && name.is_some() && name == first_argument(b)
}

fn first_argument(node: &KdlNode) -> Option<String> {
    let entry = node.entries().iter().find(|entry| entry.name().is_none())?;
    entry.value().as_string().map(str::to_owned)
}

fn is_include_of_files(node: &KdlNode) -> bool {
    node.name().value() == "include" && first_argument(node).is_some()
}
