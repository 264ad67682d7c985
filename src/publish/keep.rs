use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::PublishedPackage;
use crate::buildfile::Retention;
use crate::index::{Label, VersionOrder};

const DAY: u64 = 86_400;

/// What of the live packages a retention rule drops, each with the rule in words. `wanted` is
/// what the publish brings: it stays, and only the suites and architectures that it is in are
/// looked at. What a publish is not about it does not touch.
pub(super) fn dropped(
    live: &[Arc<PublishedPackage>],
    wanted: &BTreeSet<Label>,
    keep: Option<Retention>,
    order: VersionOrder,
    now: u64,
) -> BTreeMap<Label, String> {
    let Some(keep) = keep else { return BTreeMap::new() };
    let touched: BTreeSet<_> = wanted.iter().map(|label| (&label.suite, &label.architecture)).collect();
    let earlier = live.iter().filter(|package| !wanted.contains(package.label()));
    let candidates = earlier.filter(|one| touched.contains(&(&one.label().suite, &one.label().architecture)));
    let of_all: BTreeSet<&Label> = live.iter().map(|package| package.label()).chain(wanted).collect();
    let mut groups: BTreeMap<_, Vec<&Label>> = BTreeMap::new();
    for label in of_all {
        groups.entry(group(label)).or_default().push(label);
    }
    groups.values_mut().for_each(|labels| {
        labels.sort_by(|a, b| order(&b.version, &a.version).then_with(|| a.cmp(b)));
    });
    let judge = |package: &Arc<PublishedPackage>| {
        let label = package.label();
        let newer = groups[&group(label)].iter().position(|one| *one == label)?;
        let age = now.saturating_sub(package.since);
        let stays = newer < keep.versions || age < keep.days.saturating_mul(DAY);
        (!stays).then(|| (label.clone(), rule(keep, newer, package.since)))
    };
    candidates.filter_map(judge).collect()
}

fn group(label: &Label) -> (&str, &str, &str) {
    (&label.suite, &label.architecture, &label.name)
}

/// The rule, and what it found; nothing in it changes from day to day.
fn rule(keep: Retention, newer: usize, since: u64) -> String {
    let Retention { versions, days } = keep;
    let newer = if newer == 1 { "1 is newer".to_owned() } else { format!("{newer} are newer") };
    match days {
        0 => format!("keep versions={versions}: {newer}"),
        _ => format!("keep versions={versions} days={days}: {newer}, first published on {}", day(since)),
    }
}

/// `2026-11-22`
fn day(seconds: u64) -> String {
    use time::OffsetDateTime;
    let time = i64::try_from(seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    time.map_or_else(|| seconds.to_string(), |time| time.date().to_string())
}
