//! What was measured, as a section of `docs/benchmarks.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::pairs::Pairs;

/// One group's comparisons.
pub struct Section {
    title: &'static str,
    group: &'static str,
    rows: String,
    peers: Vec<String>,
    notes: String,
}

impl Section {
    /// A section without rows. `group` is what `benches/run` is given to make it again.
    pub fn new(title: &'static str, group: &'static str) -> Self {
        Self { title, group, rows: String::new(), peers: Vec::new(), notes: String::new() }
    }

    /// A row for what was timed in pairs. `aim` is the highest ratio that is meant to be.
    pub fn compared(&mut self, work: &str, peer: &str, pairs: &Pairs, aim: f64) {
        let (ours, theirs) = (seconds(pairs.ours()), seconds(pairs.theirs()));
        self.row(work, peer, &ours, &theirs, pairs.ratio(), aim);
    }

    /// A row for any other quantity of which less is better, such as bytes or requests.
    pub fn row(&mut self, work: &str, peer: &str, ours: &str, theirs: &str, ratio: f64, aim: f64) {
        let mark = if ratio <= aim { "" } else { " **missed**" };
        eprintln!("{work}: {ours}, {peer} {theirs}: {ratio:.2} (aim {aim}){mark}");
        let _ = writeln!(self.rows, "| {work} | {peer} | {ours} | {theirs} | {ratio:.2} | {aim}{mark} |");
    }

    /// The version of a peer, by the first line that `command` prints.
    pub fn peer(&mut self, command: &[&str]) {
        let output = Command::new(command[0]).args(&command[1..]).output();
        let output =
            output.unwrap_or_else(|error| panic!("{} is needed, see benches/run: {error}", command[0]));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned();
        self.peers.push(format!("{}: {said}", command[0]));
    }

    /// A paragraph below the table: how it was made the same work, or why an aim is missed.
    pub fn note(&mut self, text: &str) {
        let _ = write!(self.notes, "\n{text}\n");
    }

    fn text(&self) -> String {
        format!(
            "## {}\n\n`benches/run {}`, {}\n\n| work | peer | forge | peer | ratio | aim |\n| --- | --- | --- | --- | --- | --- |\n{}\n\
             Peers: {}.\n{}",
            self.title,
            self.group,
            machine(),
            self.rows,
            self.peers.join("; "),
            self.notes
        )
    }
}

/// Puts a section in the place of the one with its title, or at the end.
pub fn write(section: &Section) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
    let old = fs::read_to_string(&path).expect("docs/benchmarks.md is there");
    let mut sections: Vec<String> = old.split("\n## ").map(|text| text.trim_end().to_owned()).collect();
    let text = section.text();
    let text = text.trim_end().trim_start_matches("## ").to_owned();
    match sections.iter_mut().skip(1).find(|old| old.lines().next() == Some(section.title)) {
        Some(place) => *place = text,
        None => sections.push(text),
    }
    fs::write(&path, sections.join("\n\n## ") + "\n").expect("docs/benchmarks.md can be written");
}

fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds:.2} s") }
}

fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| {
        line.strip_prefix("model name").map(|rest| rest.trim_start_matches([' ', '\t', ':']))
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores of {}, Linux {}, medians of pairs.",
        model.unwrap_or("an unnamed processor"),
        kernel.trim()
    )
}
