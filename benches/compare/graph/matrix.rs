//! A matrix that is expanded, keyed and looked up.

use std::cell::Cell;
use std::fs;

use crate::pairs::{Pairs, compare};
use crate::plot;
use crate::report::Section;
use crate::side::{FORGE, Place, mib, ms, nothing};

const NOTE: &str = "A matrix is expanded, keyed and looked up again each time, as the Buildfile is another one by a comment. ninja, which loads what \
     was written out for it, hashes nothing and looks nothing up.";

/// The group `matrix`.
pub fn measure() -> Section {
    let mut section = Section::new("A matrix", "matrix");
    section.peer(&["ninja", "--version"]);
    looked_up(&mut section);
    growth(&mut section);
    section.note(NOTE);
    section
}

/// Ten values on each of so many axes.
fn buildfile(axes: usize) -> String {
    let names: Vec<char> = ('a'..).take(axes).collect();
    let mut text = String::new();
    for name in &names {
        let values: Vec<String> = (0..10).map(|digit| format!("\"{name}{digit}\"")).collect();
        text.push_str(&format!("axis \"{name}\" {{ value {} }}\n", values.join(" ")));
    }
    let over: Vec<String> = names.iter().map(char::to_string).collect();
    let words: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
    text.push_str(&format!(
        "\ntarget \"cell\" over=\"{}\" image=\"bare\" {{\n    run \"echo {} > $OUT/cell\"\n    output \"cell\"\n}}\n",
        over.join(" "),
        words.join(" "),
    ));
    text
}

/// The same written out, with a file for each cell.
fn ninja(axes: usize) -> String {
    let mut text = String::from("rule cell\n  command = echo $words > $out\n");
    for cell in 0..10usize.pow(axes as u32) {
        let digit = |axis: usize| cell / 10usize.pow((axes - 1 - axis) as u32) % 10;
        let values: Vec<String> =
            ('a'..).take(axes).enumerate().map(|(axis, name)| format!("{name}{}", digit(axis))).collect();
        text.push_str(&format!("build cell/{}: cell\n  words = {}\n", values.join("/"), values.join(" ")));
    }
    text
}

/// A matrix in a place, that both sides load anew each time.
struct Matrix {
    place: Place,
    text: String,
    count: Cell<usize>,
}

impl Matrix {
    fn new(axes: usize) -> Self {
        let matrix = Self { place: Place::new(), text: buildfile(axes), count: Cell::new(0) };
        matrix.renew();
        fs::write(matrix.place.path("build.ninja"), ninja(axes)).unwrap();
        matrix
    }

    /// The next Buildfile is another one.
    fn renew(&self) {
        self.count.set(self.count.get() + 1);
        let text = format!("{}// {}\n", self.text, self.count.get());
        fs::write(self.place.path("Buildfile.kdl"), text).unwrap();
    }

    /// Against ninja, which loads and checks all of it for a list of its targets, and looks at no file.
    fn compare(&self, said: &str) -> Pairs {
        compare(
            || self.renew(),
            |()| self.place.forge(&["plan"], said),
            nothing,
            |()| self.place.tool(LOAD, "cell"),
        )
    }
}

const LOAD: &[&str] = &["ninja", "-t", "targets", "depth", "1"];

/// All of it was built.
fn looked_up(section: &mut Section) {
    let matrix = Matrix::new(5);
    matrix.place.forge(&["run"], "");
    let pairs = matrix.compare("nothing to do: 100000");
    let work = "expand, key and look up a matrix of 100000 nodes";
    section.compared(work, "ninja, loading the graph written out", &pairs, 0.3);
}

/// How time and memory grow with the matrix, nothing of which was built.
fn growth(section: &mut Section) {
    let mut table = String::from(
        "| nodes, nothing built | plan | for each node | memory | ninja, loading | memory |\n| --- | --- | --- | --- | --- | --- |",
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for axes in 3..=6 {
        let (matrix, nodes) = (Matrix::new(axes), 10u32.pow(axes as u32));
        let pairs = matrix.compare(&format!("{nodes} to run"));
        ours.push((f64::from(nodes), pairs.ours().as_secs_f64() * 1e3));
        theirs.push((f64::from(nodes), pairs.theirs().as_secs_f64() * 1e3));
        table.push_str(&format!(
            "\n| {nodes} | {} | {:.1} µs | {} | {} | {} |",
            ms(pairs.ours()),
            pairs.ours().as_secs_f64() * 1e6 / f64::from(nodes),
            mib(matrix.place.memory(&[FORGE, "plan"])),
            ms(pairs.theirs()),
            mib(matrix.place.memory(LOAD))
        ));
    }
    section.note(&table);
    plot::write(
        "growth",
        &[("forge plan, nothing built", ours), ("ninja, loading what was written out", theirs)],
    );
    section.note("![time by nodes](growth.svg)");
}
