use std::fmt;

use crate::digest::Change;

/// How many changed fields a cause tells; an index of thousands may change in each.
const SHOWN: usize = 3;

/// Why a node is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No result of this node is remembered.
    New,
    /// No result of this node is remembered, and of the same node of an earlier version one is.
    Version(Box<NewVersion>),
    /// Fields of its action differ from the nearest earlier one's.
    Changed(Vec<Change>),
    /// Its result is known, but objects of it are gone from the store.
    ObjectsGone,
    /// It was known once, and its result is gone from the store.
    ResultGone,
    /// The repositories do not hold what they should.
    Destination(String),
}

/// A version that follows another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    /// The upstream.
    pub upstream: String,
    /// The earlier version.
    pub before: String,
    /// This node's version.
    pub after: String,
    /// Where versions are written: `forge.lock`.
    pub place: String,
}

/// One step of the way from a node back to what changed first.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Link {
    /// The node.
    pub node: String,
    /// What differs in its action.
    pub change: Change,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("never built"),
            Self::Version(version) => {
                let NewVersion { upstream, before, after, place } = &**version;
                write!(f, "{upstream} {before} → {after} in {place}")
            }
            Self::Changed(changes) => {
                for (at, change) in changes.iter().take(SHOWN).enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", brief(change))?;
                }
                match changes.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, ", and {more} more"),
                }
            }
            Self::ObjectsGone => f.write_str("objects of its result are gone from the store"),
            Self::ResultGone => f.write_str("its result is gone from the store"),
            Self::Destination(what) => f.write_str(what),
        }
    }
}

/// `field: before → after`; long values are told by where they differ.
pub fn brief(change: &Change) -> String {
    match (&change.before, &change.after) {
        (Some(_), Some(_)) if !change.paths.is_empty() => {
            format!("{}: {} changed", change.field, named(&change.paths))
        }
        (Some(before), Some(after)) => {
            let (before, after) = differing_part(before, after);
            format!("{}: {before} → {after}", change.field)
        }
        (None, Some(after)) => format!("{}: new, {}", change.field, shortened(after)),
        (Some(before), None) => format!("{}: gone, was {}", change.field, shortened(before)),
        (None, None) => change.field.clone(),
    }
}

/// The first paths, and how many more there are.
fn named(paths: &[String]) -> String {
    const SHOWN: usize = 3;
    match paths.len().saturating_sub(SHOWN) {
        0 => paths.join(", "),
        more => format!("{} and {more} more", paths[..SHOWN].join(", ")),
    }
}

/// The first line in which two texts differ, of both.
fn differing_part(before: &str, after: &str) -> (String, String) {
    let mut lines = before.lines().zip(after.lines());
    match lines.find(|(before, after)| before != after) {
        Some((before, after)) => (shortened(before), shortened(after)),
        None => (format!("{} lines", before.lines().count()), format!("{} lines", after.lines().count())),
    }
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let line = text.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(LONGEST) {
        _ if is_digest => text[..12].to_owned(),
        Some((end, _)) => format!("'{}…'", &line[..end]),
        None => format!("'{line}'"),
    }
}
