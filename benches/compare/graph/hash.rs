//! Bytes of which nothing is known.

use std::fs;

use super::tree::{files_of, write_tree};
use crate::pairs::compare;
use crate::report::Section;
use crate::side::{Place, nothing};

const FILES: usize = 5_000;
const BYTES: usize = 2 << 30;

/// The group `hash`.
pub fn measure() -> Section {
    let mut section = Section::new("Hashing", "hash");
    section.peer(&["b3sum", "--version"]);
    hashed(&mut section);
    section
}

fn hashed(section: &mut Section) {
    let place = Place::new();
    write_tree(&place.path("tree"), FILES, BYTES);
    fs::write(
        place.path("Buildfile.kdl"),
        "target \"all\" {\n    files \"tree/**\" into=\".\"\n    run \"true\"\n    output \"x\"\n}\n",
    )
    .unwrap();
    let list = place.path("list");
    let paths: Vec<String> =
        files_of(&place.path("tree")).iter().map(|path| path.display().to_string()).collect();
    fs::write(&list, paths.join("\n")).unwrap();
    let pairs = compare(
        || place.set_aside("cache"),
        |()| place.forge(&["plan"], "1 node"),
        nothing,
        |()| place.tool(&["sh", "-c", "tr '\\n' '\\0' < list | xargs -0 b3sum > sums"], ""),
    );
    section.compared("hash of a tree of 2 GiB, nothing known of it", "b3sum", &pairs, 1.05);
}
