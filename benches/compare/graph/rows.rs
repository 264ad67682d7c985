use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use forge::digest::Digest;
use forge::store::{Ingest, LocalStore};
use rayon::prelude::*;

use super::shape::Shape;
use super::side::{FORGE, Place, written_after};
use crate::pairs::{Pairs, compare};
use crate::report::Section;

const LARGE: usize = 100_000;
const COLD: usize = 10_000;
/// A sandbox takes its time, on both sides.
const SANDBOXED: usize = 1_000;
const HASHED_FILES: usize = 5_000;
const HASHED_BYTES: usize = 2 << 30;

pub fn measure() -> Section {
    let mut section = Section::new("The graph", "graph");
    section.peer(&["ninja", "--version"]);
    section.peer(&["make", "--version"]);
    section.peer(&["bwrap", "--version"]);
    section.peer(&["b3sum", "--version"]);
    let place = large(&mut section);
    growth(&mut section, &place);
    matrix(&mut section);
    cold(&mut section);
    sandboxed(&mut section);
    restored(&mut section);
    hashed(&mut section);
    NOTES.iter().for_each(|note| section.note(note));
    section
}

/// How it was made the same work.
const NOTES: &[&str] = &[
    "The graph is one action for each source file, and one for every hundred of them that gathers their outputs. For forge it is an \
     axis that lists the units, `value \"u0\" … pack=\"p0\"`, with targets that are `bare`; for ninja and make it is written out. \
     What forge and ninja run is the same command by `/bin/sh`.",
    "Nothing to do is answered by a look at everything that decided it (docs/design.md, 'The short answer'), and by no other file: \
     no Buildfile is read, no node made. The second question after a change is the first that is answered so.",
    "A matrix is expanded, keyed and looked up again each time, as the Buildfile is another one by a comment. ninja, which loads what \
     was written out for it, hashes nothing and looks nothing up.",
];

fn nothing() {}

/// All nodes of a shape are built, by every side.
fn built(shape: Shape, with_make: bool) -> Place {
    let place = Place::new();
    shape.write_sources(place.root());
    shape.write_buildfile(place.root());
    shape.write_ninja(place.root(), str::to_owned);
    place.forge(&["run"], "");
    place.tool(&["ninja"], "");
    if with_make {
        shape.write_makefile(place.root());
        // What ninja made is newer than its sources for make, too.
        place.tool(&["make", "-s"], "");
    }
    // The first plan with nothing to do learns what it is by.
    place.forge(&["run"], "nothing to do");
    place
}

/// Gives what it built: it takes its time.
fn large(section: &mut Section) -> Place {
    let shape = Shape { units: LARGE, is_closed: false };
    let place = built(shape, true);
    let work = format!("nothing to do: {LARGE} actions and sources, {} that gather", shape.packs());
    let idle = |place: &Place| place.forge(&["run"], "nothing to do");
    let pairs = compare(nothing, |()| idle(&place), nothing, |()| place.tool(&["ninja"], "no work to do"));
    section.compared(&work, "ninja", &pairs, 0.4);
    let pairs = compare(nothing, |()| idle(&place), nothing, |()| place.tool(&["make", "-s"], ""));
    section.compared(&work, "make", &pairs, 0.4);
    let sources = sources(&place, shape);
    let pairs = compare(nothing, |()| idle(&place), nothing, |()| look_at_all(&sources));
    section.compared(&work, "one parallel stat of every source", &pairs, 1.5);

    let ours = place.memory(&[FORGE, "plan", "--json"]);
    let theirs = place.memory(&["ninja", "-n"]);
    let ratio = ours as f64 / theirs as f64;
    section.row(
        &format!("peak memory, {} nodes, all of the plan", shape.nodes()),
        "ninja",
        &mib(ours),
        &mib(theirs),
        ratio,
        2.0,
    );

    changed(section, &place);
    place
}

fn sources(place: &Place, shape: Shape) -> Vec<PathBuf> {
    (0..shape.units).map(|unit| place.path(&format!("src/p{}/u{unit}.c", unit / 100))).collect()
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
    let (ours, theirs) = (std::cell::RefCell::new(Vec::new()), std::cell::RefCell::new(Vec::new()));
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
        &format!("one source of {LARGE} changed: to the end of the first action"),
        "ninja",
        &first,
        0.5,
    );
    section.compared("the same: the whole run, two actions", "ninja", &pairs, 1.0);
}

/// Five axes of ten values.
const MATRIX: &str = r#"axis "a" { value "a0" "a1" "a2" "a3" "a4" "a5" "a6" "a7" "a8" "a9" }
axis "b" { value "b0" "b1" "b2" "b3" "b4" "b5" "b6" "b7" "b8" "b9" }
axis "c" { value "c0" "c1" "c2" "c3" "c4" "c5" "c6" "c7" "c8" "c9" }
axis "d" { value "d0" "d1" "d2" "d3" "d4" "d5" "d6" "d7" "d8" "d9" }
axis "e" { value "e0" "e1" "e2" "e3" "e4" "e5" "e6" "e7" "e8" "e9" }

target "cell" over="a b c d e" image="bare" {
    run "echo {a} {b} {c} {d} {e} > $OUT/cell"
    output "cell"
}
"#;

/// The whole matrix is expanded, keyed and looked up: the Buildfile is a new one each time.
fn matrix(section: &mut Section) {
    let place = Place::new();
    fs::write(place.path("Buildfile.kdl"), MATRIX).unwrap();
    let mut ninja = String::from("rule cell\n  command = echo $words > $out\n");
    for cell in 0..LARGE {
        let digits: Vec<usize> = (0..5).rev().map(|digit| cell / 10usize.pow(digit) % 10).collect();
        let [a, b, c, d, e] = digits[..] else { unreachable!("five digits") };
        ninja.push_str(&format!(
            "build cell/a{a}/b{b}/c{c}/d{d}/e{e}: cell\n  words = a{a} b{b} c{c} d{d} e{e}\n"
        ));
    }
    fs::write(place.path("build.ninja"), ninja).unwrap();
    place.forge(&["run"], "");
    place.forge(&["plan"], "nothing to do");
    let count = Cell::new(0);
    let renew = || {
        count.set(count.get() + 1);
        fs::write(place.path("Buildfile.kdl"), format!("{MATRIX}// {}\n", count.get())).unwrap();
    };
    // ninja loads and checks all of it for a list of its targets, and looks at no file.
    let pairs = compare(
        renew,
        |()| place.forge(&["plan"], "nothing to do: 100000"),
        nothing,
        |()| place.tool(&["ninja", "-t", "targets", "depth", "1"], "cell"),
    );
    section.compared(
        "expand, key and look up a matrix of 100000 nodes",
        "ninja, loading the graph written out",
        &pairs,
        0.3,
    );
}

fn cold(section: &mut Section) {
    let shape = Shape { units: COLD, is_closed: false };
    let place = Place::new();
    shape.write_sources(place.root());
    shape.write_buildfile(place.root());
    shape.write_ninja(place.root(), str::to_owned);
    let pairs = against_ninja(&place);
    section.compared(
        &format!("cold: {COLD} actions without a sandbox, every output hashed and stored"),
        "ninja -j2",
        &pairs,
        1.2,
    );
}

fn sandboxed(section: &mut Section) {
    let shape = Shape { units: SANDBOXED, is_closed: true };
    let place = Place::new();
    shape.write_sources(place.root());
    shape.write_buildfile(place.root());
    let wrap = |command: &str| {
        format!(
            "bwrap --unshare-all --die-with-parent --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp \
             --bind . /mnt --chdir /mnt /bin/sh -c '{command}'"
        )
    };
    shape.write_ninja(place.root(), wrap);
    let pairs = against_ninja(&place);
    section.compared(
        &format!("cold: {SANDBOXED} actions in the sandbox"),
        "ninja -j2 with bwrap",
        &pairs,
        1.0,
    );
}

fn against_ninja(place: &Place) -> Pairs {
    compare(
        || place.set_aside("cache"),
        |()| place.forge(&["run", "--jobs", "2"], "ended"),
        || ["obj", "pack", ".ninja_log", ".ninja_deps"].iter().for_each(|path| place.set_aside(path)),
        |()| place.tool(&["ninja", "-j2"], ""),
    )
}

/// Everything that was built comes out of the store again.
fn restored(section: &mut Section) {
    let shape = Shape { units: COLD, is_closed: false };
    let place = built(shape, false);
    let store = LocalStore::open(place.path("cache")).unwrap();
    let trees: Vec<_> = (0..COLD)
        .into_par_iter()
        .map(|unit| {
            let tree = store.ingest(&place.path(&format!("src/p{}", unit / 100)), Ingest::Copy).unwrap();
            let name = format!("u{unit}.c");
            let entry = tree.get(&name).unwrap().clone();
            (format!("out/{unit}"), forge::store::Tree::new(vec![entry]))
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
        &format!("{COLD} small outputs, deleted and restored from the store"),
        "ninja, which runs the actions again",
        &pairs,
        0.2,
    );

    let tree_dir = place.path("tree");
    write_tree(&tree_dir, HASHED_FILES, 100 << 20);
    let tree = store.ingest(&tree_dir, Ingest::Copy).unwrap();
    let pairs = compare(
        || place.set_aside("restored"),
        |()| store.materialize(&tree, &place.path("restored"), 1).unwrap(),
        || place.set_aside("copied"),
        |()| place.tool(&["cp", "-a", "tree", "copied"], ""),
    );
    section.compared(
        &format!("a tree of {HASHED_FILES} files restored from the store"),
        "cp -a",
        &pairs,
        1.0,
    );
}

fn hashed(section: &mut Section) {
    let place = Place::new();
    write_tree(&place.path("tree"), HASHED_FILES, HASHED_BYTES);
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

/// Files of many sizes, of bytes that are all different.
fn write_tree(dir: &Path, files: usize, bytes: usize) {
    let mean = bytes / files;
    (0..files).into_par_iter().for_each(|at| {
        let dir = dir.join(format!("d{}", at / 50));
        fs::create_dir_all(&dir).unwrap();
        // From half to three halves of the mean.
        let length = mean / 2 + mean * (at % 101) / 100;
        let mut content = vec![0; length];
        let mut state = at as u64 + 1;
        for chunk in content.chunks_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let length = chunk.len();
            chunk.copy_from_slice(&state.to_le_bytes()[..length]);
        }
        fs::write(dir.join(format!("f{at}")), content).unwrap();
    });
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

/// How time grows with the graph.
fn growth(section: &mut Section, large: &Place) {
    let mut table = String::from(
        "| units | whole plan | nothing to do | ninja, nothing to do | memory of a plan |\n| --- | --- | --- | --- | --- |",
    );
    for units in [LARGE / 100, LARGE / 10, LARGE] {
        let built = (units < LARGE).then(|| built(Shape { units, is_closed: false }, false));
        let place = built.as_ref().unwrap_or(large);
        let count = Cell::new(0);
        let renew = || {
            count.set(count.get() + 1);
            let file = place.path("Buildfile.kdl");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, format!("{text}// {}\n", count.get())).unwrap();
        };
        let whole = compare(renew, |()| place.forge(&["plan"], "nothing to do"), nothing, |()| ());
        let idle = compare(
            nothing,
            |()| place.forge(&["run"], "nothing to do"),
            nothing,
            |()| place.tool(&["ninja"], "no work to do"),
        );
        let memory = place.memory(&[FORGE, "plan", "--json"]);
        let ms = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1000.0);
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

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
