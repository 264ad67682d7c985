use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::index::{Label, VersionOrder};

/// What a publish changes for the clients of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Every suite and architecture that has packages, or had some; sorted.
    pub suites: Vec<SuiteEffect>,
}

/// What changes in one suite for one architecture of packages (`all` for itself).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteEffect {
    /// The suite's codename.
    pub suite: String,
    /// The packages' architecture.
    pub architecture: String,
    /// What comes: a name that was not there, or a version beside the newest one.
    pub added: Vec<Changed>,
    /// A newer version than the newest one there was: what clients get by an upgrade. The earlier
    /// one stays installable, unless it is dropped.
    pub replaced: Vec<Replaced>,
    /// What goes.
    pub dropped: Vec<Changed>,
    /// How many packages stay.
    pub kept: usize,
}

/// A package that comes or goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Changed {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Why it comes or goes, where that is known.
    pub cause: Option<String>,
}

/// A version that takes the place of another as the newest one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Replaced {
    /// The package's name.
    pub name: String,
    /// The version that was the newest.
    pub from: String,
    /// The version that is now.
    pub to: String,
    /// Why it comes, where that is known.
    pub cause: Option<String>,
}

impl Effect {
    /// What changes from `before` to `after`, with versions in this order; `cause` tells why a package goes.
    pub fn between<L: Borrow<Label> + Ord>(
        before: &BTreeSet<L>,
        after: &BTreeSet<L>,
        order: VersionOrder,
        cause: impl Fn(&Label) -> String,
    ) -> Self {
        let mut changed: BTreeMap<_, Versions<'_>> = BTreeMap::new();
        for label in before.symmetric_difference(after).map(L::borrow) {
            let versions = changed.entry(name_of(label)).or_default();
            match after.contains(label) {
                true => versions.come.push(label),
                false => versions.gone.push(label),
            }
        }
        let mut suites: BTreeMap<(&str, &str), SuiteEffect> = BTreeMap::new();
        // Those that stay are most, and of no interest but to their names.
        for label in after.iter().map(L::borrow) {
            match changed.get_mut(&name_of(label)) {
                Some(versions) if versions.come.contains(&label) => continue,
                Some(versions) => versions.stay.push(label),
                None => {}
            }
            suites.entry((&label.suite, &label.architecture)).or_default().kept += 1;
        }
        for ((suite, architecture, _), versions) in changed {
            suites.entry((suite, architecture)).or_default().add(&versions, order, &cause);
        }
        let named = |((suite, architecture), effect): ((&str, &str), SuiteEffect)| SuiteEffect {
            suite: suite.to_owned(),
            architecture: architecture.to_owned(),
            ..effect
        };
        Self { suites: suites.into_iter().map(named).collect() }
    }

    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.suites.iter().all(SuiteEffect::is_empty)
    }

    /// How many come, how many of these are newer than the newest one there was, how many go,
    /// and how many stay: in all suites together.
    pub fn counts(&self) -> [usize; 4] {
        let sum = |count: fn(&SuiteEffect) -> usize| self.suites.iter().map(count).sum();
        [
            sum(|suite| suite.added.len()),
            sum(|suite| suite.replaced.len()),
            sum(|suite| suite.dropped.len()),
            sum(|suite| suite.kept),
        ]
    }
}

impl SuiteEffect {
    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.replaced.is_empty() && self.dropped.is_empty()
    }

    fn add(&mut self, versions: &Versions<'_>, order: VersionOrder, cause: &impl Fn(&Label) -> String) {
        let Versions { gone, stay, come } = versions;
        let earlier = gone.iter().chain(stay).max_by(|a, b| order(&a.version, &b.version));
        let newest = come.iter().max_by(|a, b| order(&a.version, &b.version));
        let upgrade = earlier.zip(newest).filter(|(from, to)| order(&from.version, &to.version).is_lt());
        self.replaced.extend(upgrade.map(|(from, to)| Replaced {
            name: to.name.clone(),
            from: from.version.clone(),
            to: to.version.clone(),
            cause: None,
        }));
        let changed = |label: &Label, cause| Changed {
            name: label.name.clone(),
            version: label.version.clone(),
            cause,
        };
        let added = come.iter().filter(|label| upgrade.is_none_or(|(_, to)| to != *label));
        self.added.extend(added.map(|label| changed(label, None)));
        self.dropped.extend(gone.iter().map(|label| changed(label, Some(cause(label)))));
    }
}

/// The versions of one name in one suite for one architecture.
#[derive(Default)]
struct Versions<'a> {
    gone: Vec<&'a Label>,
    stay: Vec<&'a Label>,
    come: Vec<&'a Label>,
}

fn name_of(label: &Label) -> (&str, &str, &str) {
    (&label.suite, &label.architecture, &label.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::apt::compare_versions;

    fn labels(all: &[(&str, &str, &str)]) -> BTreeSet<Label> {
        let label = |(suite, name, version): &(&str, &str, &str)| Label {
            suite: (*suite).into(),
            name: (*name).into(),
            version: (*version).into(),
            architecture: "amd64".into(),
        };
        all.iter().map(label).collect()
    }

    #[test]
    fn each_change_is_told_once_per_suite() {
        let before = labels(&[
            ("x", "a", "27.2-1"),
            ("x", "a", "27.1-1"),
            ("x", "b", "1"),
            ("x", "c", "2"),
            ("y", "c", "1"),
        ]);
        let after = labels(&[
            ("x", "a", "27.2-1"),
            ("x", "a", "27.10-1"),
            ("x", "a", "27.3-1"),
            ("x", "c", "2"),
            ("x", "c", "1"),
            ("x", "d", "1"),
            ("y", "c", "1"),
        ]);
        let effect =
            Effect::between(&before, &after, compare_versions, |label| format!("{} is old", label.version));
        let changed = |name: &str, version: &str, cause: Option<&str>| Changed {
            name: name.into(),
            version: version.into(),
            cause: cause.map(Into::into),
        };
        let to = Replaced { name: "a".into(), from: "27.2-1".into(), to: "27.10-1".into(), cause: None };
        let x = SuiteEffect {
            suite: "x".into(),
            architecture: "amd64".into(),
            added: vec![changed("a", "27.3-1", None), changed("c", "1", None), changed("d", "1", None)],
            replaced: vec![to],
            dropped: vec![changed("a", "27.1-1", Some("27.1-1 is old")), changed("b", "1", Some("1 is old"))],
            kept: 2,
        };
        let y = SuiteEffect {
            suite: "y".into(),
            architecture: "amd64".into(),
            kept: 1,
            ..SuiteEffect::default()
        };
        assert_eq!(effect.suites, [x, y]);
        assert_eq!(effect.counts(), [3, 1, 2, 3]);
        assert!(!effect.is_empty());
        assert!(Effect::between(&after, &after, compare_versions, |_| String::new()).is_empty());
    }
}
