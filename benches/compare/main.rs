//! forge against the tools it replaces, on the same work in the same run.
//!
//!     benches/run [GROUP…]
//!
//! installs the peers, measures every group or those named, and writes each one's section of `docs/benchmarks.md`.

mod apt;
mod clients;
mod container;
mod graph;
mod ours;
mod packages;
mod pairs;
mod plot;
mod pool;
mod report;
mod rpm;
mod s3;
mod side;
mod tool;

use report::Section;

/// What measures a group.
type Measure = fn() -> Section;

/// Every group: its name on the command line, and what measures it.
const GROUPS: &[(&str, Measure)] = &[
    ("graph", graph::idle::measure),
    ("matrix", graph::matrix::measure),
    ("cold", graph::cold::measure),
    ("restore", graph::restore::measure),
    ("hash", graph::hash::measure),
    ("container", container::measure),
    ("packages", packages::measure),
    ("apt", apt::measure),
    ("rpm", rpm::measure),
    ("clients", clients::measure),
    ("s3", s3::publishing),
    ("s3-cache", s3::restoring),
];

fn main() {
    let _leaving = side::Leaving;
    // `cargo bench` hands on flags of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for name in &wanted {
        assert!(GROUPS.iter().any(|(known, _)| known == name), "no group '{name}': {:?}", names());
    }
    for (name, measure) in GROUPS {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            eprintln!("{name}:");
            report::write(&measure());
        }
    }
}

fn names() -> Vec<&'static str> {
    GROUPS.iter().map(|(name, _)| *name).collect()
}
