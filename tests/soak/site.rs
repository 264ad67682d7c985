//! What is published, and who publishes it.

use std::path::PathBuf;

/// The packages of every repository.
pub const PACKAGES: [&str; 2] = ["tool", "tool-data"];

/// How many versions of each stay listed.
pub const KEEP: usize = 3;

/// The suites with packages of their own.
pub const OWN_SUITES: [&str; 2] = ["bookworm", "trixie"];
/// The suite that repeats another: which, and its name.
pub const ALIAS: (&str, &str) = ("trixie", "stable");
/// All suites.
pub const SUITES: [&str; 3] = [OWN_SUITES[0], OWN_SUITES[1], ALIAS.1];

/// Where clients find what is published.
pub struct Site {
    /// The apt repository.
    pub apt: String,
    /// Its public key, in a file.
    pub key: PathBuf,
    /// The rpm repository.
    pub rpm: Option<String>,
}

/// Who publishes.
pub trait Publisher {
    /// What the table calls it.
    fn name(&self) -> String;

    /// What is published first, and where clients find it.
    fn begin(&mut self) -> Site;

    /// Publishes something else than before, `at` of so many publishes being done. Gives how many it were.
    fn publish(&mut self, at: usize, of: usize) -> usize;

    /// The versions of [`PACKAGES`] that were published last.
    fn versions(&self) -> [String; PACKAGES.len()];
}

/// The versions of packages: one of them is raised for each publish.
#[derive(Clone, Copy, Debug, Default)]
pub struct Versions([usize; PACKAGES.len()]);

impl Versions {
    /// Raises that of a package.
    pub fn raise(&mut self, package: usize) {
        self.0[package] += 1;
    }

    /// As they are written.
    pub fn texts(self) -> [String; PACKAGES.len()] {
        self.0.map(|version| format!("1.{version}"))
    }
}
