use std::collections::BTreeSet;

use super::{Condition, Predicate, Span, Version};

/// Which versions of an upstream are taken and stand on its axis, where nothing is selected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VersionPolicy {
    /// How many of those that the rest leaves; all of them if this is not said.
    pub keep: Option<Keep>,
    /// All of these must hold.
    pub ranges: Vec<Condition>,
    /// Whether pre-releases are taken.
    pub pre_releases: bool,
    /// Versions that stand there whatever the rest says.
    pub pins: Vec<NamedVersion>,
    /// Versions that are never taken.
    pub holds: Vec<NamedVersion>,
}

/// How many versions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The newest version of each of so many newest majors.
    Majors(usize),
    /// So many newest versions.
    Newest(usize),
}

/// A version that is pinned or held, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedVersion {
    /// The version.
    pub version: String,
    /// Why, for people.
    pub reason: String,
    /// Where the version is written.
    pub span: Span,
}

impl Keep {
    /// As it is written in the Buildfile.
    pub fn written(self) -> String {
        match self {
            Self::Majors(count) => format!("keep majors={count}"),
            Self::Newest(count) => format!("keep newest={count}"),
        }
    }
}

impl VersionPolicy {
    /// The versions out of `versions` that stand on the axis where nothing is selected; oldest first.
    pub fn standing(&self, versions: &[Version]) -> Vec<Version> {
        let admitted = sorted(versions.iter().filter(|version| self.admits(version)));
        let kept = match self.keep {
            None => admitted,
            Some(Keep::Newest(count)) => admitted.into_iter().rev().take(count).collect(),
            Some(Keep::Majors(count)) => newest_of_majors(admitted, count),
        };
        let pinned = versions.iter().filter(|version| is_named(&self.pins, version)).cloned();
        sorted(kept.iter().chain(&pinned.collect::<Vec<_>>()))
    }

    fn admits(&self, version: &Version) -> bool {
        !is_named(&self.holds, version)
            && (self.pre_releases || !version.is_pre_release())
            && self.ranges.iter().all(|range| range.holds(version.as_str()))
    }

    /// The held versions that would stand there if they were not held.
    pub fn held_back(&self, versions: &[Version]) -> Vec<&NamedVersion> {
        let free = Self { holds: Vec::new(), ..self.clone() }.standing(versions);
        self.holds.iter().filter(|held| free.iter().any(|free| free.as_str() == held.version)).collect()
    }

    /// Why a version is never taken, if it is held.
    pub fn held(&self, version: &str) -> Option<&NamedVersion> {
        self.holds.iter().find(|held| held.version == version)
    }

    /// The versions out of `versions` that a selection leaves; oldest first. Those that stand there
    /// anyhow come first; where none of them fits a value that is named, it takes the newest of the
    /// version line from beyond the policy. A version beyond the policy that is named in full
    /// stands for itself alone, not for the line that begins with it.
    pub fn selected(&self, versions: &[Version], selection: &Selection<'_>) -> Vec<Version> {
        let standing = self.standing(versions);
        let is_beyond = |named: &Named<'_>| named.is_one_of(versions) && !named.is_one_of(&standing);
        let (exact, lines): (Vec<Named<'_>>, Vec<_>) = selection.named().partition(is_beyond);
        let fits = |all: &[Named<'_>], version: &Version| all.iter().any(|named| named.fits(version));
        let mut chosen: Vec<Version> = standing
            .into_iter()
            .filter(|version| selection.meets(version) && (!fits(&exact, version) || fits(&lines, version)))
            .collect();
        let is_lacking = |named: &&Named<'_>| !chosen.iter().any(|version| named.fits(version));
        let lacking: Vec<Named<'_>> = lines.iter().filter(is_lacking).copied().collect();
        chosen
            .extend(exact.iter().chain(&lacking).filter_map(|named| self.best(versions, selection, *named)));
        if chosen.is_empty() {
            let meeting: Vec<Version> = versions.iter().filter(|v| selection.meets(v)).cloned().collect();
            chosen = self.standing(&meeting);
        }
        sorted(&chosen)
    }

    /// Whether `known` has something for everything that a selection asks for.
    pub fn is_met(&self, known: &[Version], selection: &Selection<'_>) -> bool {
        selection.lacking(known).is_empty() && !self.selected(known, selection).is_empty()
    }

    /// What a selection asks for beyond `known`: nothing, if `known` meets it.
    pub fn missing(
        &self,
        versions: &[Version],
        known: &[Version],
        selection: &Selection<'_>,
    ) -> Vec<Version> {
        if self.is_met(known, selection) {
            return Vec::new();
        }
        let lacking = selection.lacking(known);
        if lacking.is_empty() {
            return self.selected(versions, selection);
        }
        sorted(&lacking.iter().filter_map(|named| self.best(versions, selection, *named)).collect::<Vec<_>>())
    }

    /// The version that is named, or else the newest one of the line that is.
    fn best(&self, versions: &[Version], selection: &Selection<'_>, named: Named<'_>) -> Option<Version> {
        let meeting = || versions.iter().filter(|version| selection.meets(version));
        let exact = meeting().find(|version| named.is_exactly(version));
        let line = || meeting().filter(|v| named.fits(v) && !is_named(&self.holds, v));
        let released = line().filter(|version| self.pre_releases || !version.is_pre_release()).max();
        exact.or(released).or_else(|| line().max()).cloned()
    }
}

fn is_named(all: &[NamedVersion], version: &Version) -> bool {
    all.iter().any(|named| named.version == version.as_str())
}

fn newest_of_majors(admitted: Vec<Version>, count: usize) -> Vec<Version> {
    let mut majors = BTreeSet::new();
    let newest = admitted.into_iter().rev().filter(|version| majors.insert(version.major()));
    newest.take(count).collect()
}

fn sorted<'a>(versions: impl IntoIterator<Item = &'a Version>) -> Vec<Version> {
    let versions: BTreeSet<&Version> = versions.into_iter().collect();
    versions.into_iter().cloned().collect()
}

/// What is selected on one axis of versions: all of these must hold.
#[derive(Clone, Debug, Default)]
pub struct Selection<'a>(pub Vec<&'a Predicate>);

/// A value that a selection names outright: `26.2.5.3`, or `26` for a version line.
#[derive(Clone, Copy, Debug)]
struct Named<'a> {
    attribute: Option<&'a str>,
    value: &'a str,
}

impl<'a> Selection<'a> {
    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As it was written.
    pub fn text(&self) -> String {
        let texts: Vec<String> =
            self.0.iter().map(|p| format!("{}={}", p.name(), p.condition.as_str())).collect();
        texts.join(" ")
    }

    /// Whether a version meets all of it.
    pub fn meets(&self, version: &Version) -> bool {
        self.0.iter().all(|predicate| {
            let value = version.get(predicate.attribute.as_deref());
            value.is_some_and(|value| predicate.condition.holds(&value))
        })
    }

    /// Whether the version is named in full.
    pub fn names(&self, version: &Version) -> bool {
        self.named().any(|named| named.is_exactly(version))
    }

    /// The values that are named outright and that no version of `known` fits.
    pub fn unknown(&self, known: &[Version]) -> Vec<&'a str> {
        self.lacking(known).into_iter().map(|named| named.value).collect()
    }

    fn lacking(&self, known: &[Version]) -> Vec<Named<'a>> {
        self.named().filter(|named| !known.iter().any(|version| named.fits(version))).collect()
    }

    fn named(&self) -> impl Iterator<Item = Named<'a>> + use<'a, '_> {
        self.0.iter().flat_map(|predicate| {
            let attribute = predicate.attribute.as_deref();
            predicate.condition.wanted().map(move |value| Named { attribute, value })
        })
    }
}

impl Named<'_> {
    fn is_exactly(&self, version: &Version) -> bool {
        self.attribute.is_none() && version.as_str() == self.value
    }

    fn is_one_of(&self, versions: &[Version]) -> bool {
        versions.iter().any(|version| self.is_exactly(version))
    }

    /// Whether the version is the named one, or of the line that is named.
    fn fits(&self, version: &Version) -> bool {
        let value = version.get(self.attribute);
        value.is_some_and(|value| Version::new(value).has_prefix(self.value))
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
