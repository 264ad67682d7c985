use std::cell::RefCell;
use std::path::PathBuf;

use kdl::KdlNode;

use super::parse::ParsedFile;
use super::reader::{Context, Reader, Text};
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
    let headers: Vec<Header> = profiles.iter().map(|profile| Header::read(profile, report)).collect();
    for at in lineage(&headers, wanted, report) {
        if let Some(lock) = &headers[at].lock {
            selected.lock = PathBuf::from(&lock.value);
        }
        apply(&profiles[at], &mut declarations, &mut selected.choices);
    }
    selected.declarations = declarations;
    selected
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
            name: reader.required("a name"),
            base: reader.property("base"),
            lock: reader.property("lock"),
        };
        reader.children();
        reader.finish();
        header
    }
}

/// The wanted profile and those it is based on, the first base first.
fn lineage(headers: &[Header], wanted: Option<&str>, report: &RefCell<Report>) -> Vec<usize> {
    let mut lineage = Vec::new();
    let mut wanted = wanted.map(str::to_owned);
    while let Some(name) = wanted {
        let position =
            headers.iter().position(|header| header.name.as_ref().is_some_and(|n| n.value == name));
        match position {
            Some(at) if !lineage.contains(&at) => {
                lineage.push(at);
                wanted = headers[at].base.as_ref().map(|base| base.value.clone());
            }
            Some(_) => {
                let message = format!("profile '{name}' is based on itself");
                report.borrow_mut().push(Diagnostic::placeless(message));
                break;
            }
            None => {
                let known = headers.iter().filter_map(|header| Some(header.name.as_ref()?.value.as_str()));
                let message = format!("there is no profile '{name}'");
                report.borrow_mut().push(Diagnostic::placeless(message).suggest(&name, known));
                break;
            }
        }
    }
    lineage.reverse();
    lineage
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
