//! Actions that were never run.

use super::shape::Shape;
use crate::pairs::{Pairs, compare};
use crate::report::Section;
use crate::side::Place;

const BARE: usize = 10_000;
/// A sandbox takes its time, on both sides.
const SANDBOXED: usize = 1_000;

const NOTE: &str = "The graph is that of `benches/run graph`, smaller. What is run are small programs, on both sides the same: for ninja by \
     `/bin/sh`; forge starts a [simple command](runners.md#simple-commands) without one, or with one less in its sandbox, and one action in a \
     hundred is none. What was built before is set aside and not removed: filesystems are slower for a while where much was removed.";

/// The group `cold`.
pub fn measure() -> Section {
    let mut section = Section::new("Actions that were never run", "cold");
    section.peer(&["ninja", "--version"]);
    section.peer(&["bwrap", "--version"]);
    bare(&mut section);
    sandboxed(&mut section);
    section.note(NOTE);
    section
}

fn bare(section: &mut Section) {
    let shape = Shape { units: BARE, is_closed: false };
    let pairs = against_ninja(&Place::of(shape, str::to_owned));
    section.compared(
        &format!("cold: {BARE} actions without a sandbox, every output hashed and stored"),
        "ninja -j2",
        &pairs,
        1.2,
    );
}

fn sandboxed(section: &mut Section) {
    let shape = Shape { units: SANDBOXED, is_closed: true };
    let wrap = |command: &str| {
        format!(
            "bwrap --unshare-all --die-with-parent --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp \
             --bind . /mnt --chdir /mnt /bin/sh -c '{command}'"
        )
    };
    let pairs = against_ninja(&Place::of(shape, wrap));
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
