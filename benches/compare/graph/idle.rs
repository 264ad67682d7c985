//! Nothing to do, and next to nothing, in a large graph.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use forge::digest::Digest;
use forge::store::LocalStore;
use rayon::prelude::*;

use super::shape::Shape;
use crate::pairs::{Pairs, compare};
use crate::report::Section;
use crate::side::{FORGE, Place, mib, ms, nothing, written_after};

const UNITS: usize = 100_000;

const NOTES: &[&str] = &[
    "The graph is one action for each source file, and one for every hundred of them that gathers their outputs. For forge it is an \
     axis that lists the units, `value \"u0\" … pack=\"p0\"`, with targets that are `bare`; for ninja and make it is written out. \
     What forge and ninja run is the same command; forge starts a [simple one](runners.md#simple-commands) without a shell.",
    "Nothing to do is answered by a look at everything that decided it (docs/design.md, 'Answers are kept'), and by no other file: \
     no Buildfile is read, no node made. The second question after a change is the first that is answered so. Where a source \
     changed, the graph is made, and only the nodes that it may concern are keyed and looked up. A whole plan is one of another \
     Buildfile, of which nothing is known yet.",
];

/// The group `graph`.
pub fn measure() -> Section {
    let mut section = Section::new("A large graph", "graph");
    section.peer(&["ninja", "--version"]);
    section.peer(&["make", "--version"]);
    let shape = Shape { units: UNITS, is_closed: false };
    let place = Place::built(shape);
    shape.write_makefile(place.root());
    // What ninja made is newer than its sources for make, too.
    place.tool(&["make", "-s"], "");
    unchanged(&mut section, &place, shape);
    growth(&mut section, &place);
    // After this the sides know of different edits.
    changed(&mut section, &place);
    NOTES.iter().for_each(|note| section.note(note));
    section
}

fn unchanged(section: &mut Section, place: &Place, shape: Shape) {
    let work = format!("nothing to do: {UNITS} actions and sources, {} that gather", shape.packs());
    let idle = || place.forge(&["run"], "nothing to do");
    let pairs = compare(nothing, |()| idle(), nothing, |()| place.tool(&["ninja"], "no work to do"));
    section.compared(&work, "ninja", &pairs, 0.4);
    let pairs = compare(nothing, |()| idle(), nothing, |()| place.tool(&["make", "-s"], ""));
    section.compared(&work, "make", &pairs, 0.4);
    let sources: Vec<PathBuf> =
        (0..UNITS).map(|unit| place.path(&format!("src/p{}/u{unit}.c", unit / 100))).collect();
    let pairs = compare(nothing, |()| idle(), nothing, |()| look_at_all(&sources));
    section.compared(&work, "one parallel stat of every source", &pairs, 1.5);

    let work = format!("peak memory, {} nodes, all of the plan", shape.nodes());
    memory(section, place, &work);
    renew(place, 0);
    memory(section, place, "the same of another Buildfile, by a comment: nothing stands");
}

fn memory(section: &mut Section, place: &Place, work: &str) {
    let ours = place.memory(&[FORGE, "plan", "--json"]);
    let theirs = place.memory(&["ninja", "-n"]);
    section.row(work, "ninja", &mib(ours), &mib(theirs), ours as f64 / theirs as f64, 2.0);
}

/// The next Buildfile is another one by a comment.
fn renew(place: &Place, count: usize) {
    let file = place.path("Buildfile.kdl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}// {count}\n")).unwrap();
}

fn look_at_all(paths: &[PathBuf]) {
    let found = paths.par_iter().filter(|path| fs::symlink_metadata(path).is_ok()).count();
    assert_eq!(found, paths.len());
}

/// One source changes before each run, to what it never was before.
fn changed(section: &mut Section, place: &Place) {
    let store = LocalStore::open(place.path("cache")).unwrap();
    let count = Cell::new(0);
    let edit = || {
        count.set(count.get() + 1);
        let text = format!("edit {}\n", count.get());
        fs::write(place.path("src/p7/u700.c"), &text).unwrap();
        (SystemTime::now(), text)
    };
    let (ours, theirs) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let pairs = compare(
        edit,
        |(started, text)| {
            place.forge(&["run"], "2 run");
            let output = store.object_path(Digest::of(text.to_uppercase().as_bytes()));
            ours.borrow_mut().push(written_after(&output, started));
        },
        edit,
        |(started, _)| {
            place.tool(&["ninja"], "");
            theirs.borrow_mut().push(written_after(&place.path("obj/u700.o"), started));
        },
    );
    let first = Pairs::of(ours.into_inner(), theirs.into_inner());
    section.compared(
        &format!("one source of {UNITS} changed: to the end of the first action"),
        "ninja",
        &first,
        0.5,
    );
    section.compared("the same: the whole run, two actions", "ninja", &pairs, 1.0);
}

/// How time grows with the graph.
fn growth(section: &mut Section, large: &Place) {
    let mut table = String::from(
        "| units | whole plan | nothing to do | ninja, nothing to do | memory of a plan |\n| --- | --- | --- | --- | --- |",
    );
    for units in [UNITS / 100, UNITS / 10, UNITS] {
        let built = (units < UNITS).then(|| Place::built(Shape { units, is_closed: false }));
        let place = built.as_ref().unwrap_or(large);
        let count = Cell::new(0);
        let renew = || {
            count.set(count.get() + 1);
            renew(place, count.get());
        };
        let whole = compare(renew, |()| place.forge(&["plan"], "nothing to do"), nothing, |()| ());
        let idle = compare(
            nothing,
            |()| place.forge(&["run"], "nothing to do"),
            nothing,
            |()| place.tool(&["ninja"], "no work to do"),
        );
        renew();
        let memory = place.memory(&[FORGE, "plan", "--json"]);
        table.push_str(&format!(
            "\n| {units} | {} | {} | {} | {} |",
            ms(whole.ours()),
            ms(idle.ours()),
            ms(idle.theirs()),
            mib(memory)
        ));
    }
    section.note(&table);
}
