//! What was built comes out of the store again.

use forge::store::{Ingest, LocalStore, Tree};
use rayon::prelude::*;

use super::shape::Shape;
use super::tree::write_tree;
use crate::pairs::compare;
use crate::report::Section;
use crate::side::Place;

const SMALL: usize = 10_000;
const FILES: usize = 5_000;
const BYTES: usize = 100 << 20;

/// The group `restore`.
pub fn measure() -> Section {
    let mut section = Section::new("Restoring from the local store", "restore");
    section.peer(&["ninja", "--version"]);
    section.peer(&["cp", "--version"]);
    small(&mut section);
    large(&mut section);
    section
}

fn small(section: &mut Section) {
    let shape = Shape { units: SMALL, is_closed: false };
    let place = Place::built(shape);
    let store = LocalStore::open(place.path("cache")).unwrap();
    let trees: Vec<_> = (0..SMALL)
        .into_par_iter()
        .map(|unit| {
            let tree = store.ingest(&place.path(&format!("src/p{}", unit / 100)), Ingest::Copy).unwrap();
            let name = format!("u{unit}.c");
            let entry = tree.get(&name).unwrap().clone();
            (format!("out/{unit}"), Tree::new(vec![entry]))
        })
        .collect();
    let pairs = compare(
        || place.set_aside("out"),
        |()| {
            trees.par_iter().for_each(|(to, tree)| store.materialize(tree, &place.path(to), 1).unwrap());
        },
        || ["obj", "pack"].iter().for_each(|path| place.set_aside(path)),
        |()| place.tool(&["ninja", "-j2"], ""),
    );
    section.compared(
        &format!("{SMALL} small outputs, deleted and restored from the store"),
        "ninja, which runs the actions again",
        &pairs,
        0.2,
    );
}

fn large(section: &mut Section) {
    let place = Place::new();
    let store = LocalStore::open(place.path("cache")).unwrap();
    let tree_dir = place.path("tree");
    write_tree(&tree_dir, FILES, BYTES);
    let tree = store.ingest(&tree_dir, Ingest::Copy).unwrap();
    let pairs = compare(
        || place.set_aside("restored"),
        |()| store.materialize(&tree, &place.path("restored"), 1).unwrap(),
        || place.set_aside("copied"),
        |()| place.tool(&["cp", "-a", "tree", "copied"], ""),
    );
    section.compared(&format!("a tree of {FILES} files restored from the store"), "cp -a", &pairs, 1.0);
}
