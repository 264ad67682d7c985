use std::collections::BTreeMap;

use super::plan_summary::write_line;
use super::words::counted;
use crate::plan::RepositoryEffect;
use crate::publish::SuiteEffect;

/// How many lines are shown of one repository, and how many suites and causes in one line.
const SHOWN_CHANGES: usize = 8;
const SHOWN_SUITES: usize = 4;

/// What a publish would change: a line for each repository and kind of change, however many suites
/// it is in. Repositories in which nothing changes share one line.
pub fn write_effects(text: &mut String, effects: &[RepositoryEffect]) {
    let (same, changed): (Vec<_>, Vec<_>) = effects.iter().partition(|one| one.effect.is_empty());
    changed.into_iter().for_each(|effect| write_effect(text, effect));
    match same.as_slice() {
        [] => {}
        [one] => {
            let [.., kept] = one.effect.counts();
            let packages = counted(kept, "package");
            write_line(text, &format!("{}: stays as it is, {packages}", one.repository));
        }
        several => {
            let packages = several.iter().map(|one| one.effect.counts()[3]).sum();
            let (repositories, packages) = (several.len(), counted(packages, "package"));
            write_line(text, &format!("{repositories} repositories stay as they are, {packages}"));
        }
    }
}

fn write_effect(text: &mut String, RepositoryEffect { repository, effect }: &RepositoryEffect) {
    let [added, replaced, dropped, kept] = effect.counts();
    write_line(
        text,
        &format!("{repository}: {added} added, {replaced} replaced, {dropped} dropped, {kept} kept"),
    );
    let mut changes: BTreeMap<(u8, String), Where> = BTreeMap::new();
    for suite in &effect.suites {
        for (key, cause) in lines(suite) {
            let place = changes.entry(key).or_default();
            place.suites.entry(&suite.suite).or_default().push(&suite.architecture);
            place.causes.extend(cause);
        }
    }
    for ((_, change), place) in changes.iter().take(SHOWN_CHANGES) {
        write_line(text, &format!("  {change}    {}", place.suites()));
        place.cause().iter().for_each(|cause| write_line(text, &format!("      {cause}")));
    }
    if let more @ 1.. = changes.len().saturating_sub(SHOWN_CHANGES) {
        write_line(text, &format!("  … and {more} more"));
    }
}

/// The changes of one suite, each with its place in the order of kinds, and its cause.
fn lines(suite: &SuiteEffect) -> impl Iterator<Item = ((u8, String), Option<&str>)> {
    let replaced = suite.replaced.iter().map(|one| {
        let line = format!("~ {} {} → {}", one.name, one.from, one.to);
        ((0, line), one.cause.as_deref())
    });
    let added =
        suite.added.iter().map(|one| ((1, format!("+ {} {}", one.name, one.version)), one.cause.as_deref()));
    let dropped = suite
        .dropped
        .iter()
        .map(|one| ((2, format!("- {} {}", one.name, one.version)), one.cause.as_deref()));
    replaced.chain(added).chain(dropped)
}

/// Where the same change happens, and why.
#[derive(Default)]
struct Where<'a> {
    /// Architectures by suite.
    suites: BTreeMap<&'a str, Vec<&'a str>>,
    causes: Vec<&'a str>,
}

impl Where<'_> {
    /// `bookworm trixie (amd64 arm64)`: suites of the same architectures together.
    fn suites(&self) -> String {
        let mut alike: BTreeMap<&[&str], Vec<&str>> = BTreeMap::new();
        for (suite, architectures) in &self.suites {
            alike.entry(architectures).or_default().push(suite);
        }
        let groups = alike.iter().map(|(architectures, suites)| {
            let more = match suites.len().saturating_sub(SHOWN_SUITES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let shown = &suites[..suites.len().min(SHOWN_SUITES)];
            match shown {
                // An rpm repository has no suites.
                [""] => architectures.join(" "),
                _ => format!("{}{more} ({})", shown.join(" "), architectures.join(" ")),
            }
        });
        groups.collect::<Vec<_>>().join(", ")
    }

    /// The first of the causes, and how many others there are.
    fn cause(&self) -> Option<String> {
        let first = self.causes.first()?;
        let mut others: Vec<&&str> = self.causes.iter().filter(|cause| *cause != first).collect();
        others.sort_unstable();
        others.dedup();
        Some(match others.len() {
            0 => (*first).to_owned(),
            more => format!("{first}; and {more} alike"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::{Changed, Effect, Replaced};

    fn suite(name: &str, architecture: &str, is_changed: bool) -> SuiteEffect {
        let cause = |of: &str| Some(format!("{of}[distro={name}]: never built"));
        let replaced =
            Replaced { name: "tool".into(), from: "1.2".into(), to: "1.3".into(), cause: cause("tool") };
        let dropped = Changed {
            name: "tool".into(),
            version: "1.0".into(),
            cause: Some("keep versions=2: 2 are newer".into()),
        };
        SuiteEffect {
            suite: name.into(),
            architecture: architecture.into(),
            added: Vec::new(),
            replaced: is_changed.then_some(replaced).into_iter().collect(),
            dropped: is_changed.then_some(dropped).into_iter().collect(),
            kept: 3,
        }
    }

    fn repository(number: usize) -> RepositoryEffect {
        let suites = ["bookworm", "focal", "jammy", "noble", "resolute", "trixie"];
        let of = |name| ["amd64", "arm64"].map(|architecture| suite(name, architecture, number < 2));
        let effect = Effect { suites: suites.into_iter().flat_map(of).collect() };
        RepositoryEffect { repository: format!("public/apt/{number}"), effect }
    }

    #[test]
    fn forty_repositories_are_told_in_a_few_lines() {
        let mut text = String::new();
        write_effects(&mut text, &(0..40).map(repository).collect::<Vec<_>>());
        let told = |number: usize| {
            format!(
                "public/apt/{number}: 0 added, 12 replaced, 12 dropped, 36 kept\n  \
                 ~ tool 1.2 → 1.3    bookworm focal jammy noble and 2 more (amd64 arm64)\n      \
                 tool[distro=bookworm]: never built; and 5 alike\n  \
                 - tool 1.0    bookworm focal jammy noble and 2 more (amd64 arm64)\n      \
                 keep versions=2: 2 are newer\n"
            )
        };
        assert_eq!(text, told(0) + &told(1) + "38 repositories stay as they are, 1368 packages\n");
    }
}
