//! What is past its retention.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::live::{Live, read_manifests};
use super::manifest::{Manifest, PROBE, STATE, State, bundle_name};
use super::remote::Remote;
use crate::publish::PublishError;
use crate::s3::Etag;

/// What is younger than this may be of a publish that is still at work.
const AT_WORK: Duration = Duration::from_secs(86_400);

/// What `manifest`, which follows `previous`, has no use for any more. Names of files that go: those that
/// change and are in it no more, metadata past retention, and the generations that are.
pub(super) fn removable(
    remote: &Remote,
    state: &State,
    manifest: &Manifest,
    previous: Option<&Manifest>,
) -> Result<Vec<String>, PublishError> {
    let generation = &manifest.generation;
    let mutable: BTreeSet<&str> = manifest.mutable().map(|file| file.path.as_str()).collect();
    let gone = state.objects.keys().filter(|path| !mutable.contains(path.as_str()));
    let mut names: BTreeSet<String> = gone.cloned().collect();
    let Some(previous) = previous else { return Ok(names.into_iter().collect()) };
    let by_hash = previous.generation.by_hash.keys().filter(|path| !generation.by_hash.contains_key(*path));
    names.extend(by_hash.map(|path| format!("{}/{path}", generation.kind.metadata())));
    let is_past = |id: &&String| !generation.earlier.contains_key(*id) && **id != generation.id;
    let earlier = previous.generation.earlier.keys().chain([&previous.generation.id]);
    for past in read_manifests(remote, earlier.filter(is_past).cloned().collect())? {
        names.extend(own_files(&past));
    }
    Ok(names.into_iter().collect())
}

/// Deletes these, if the state still is the one by which they were found to be of no use.
pub(super) fn remove(remote: &Remote, names: Vec<String>, state: &Etag) -> Result<(), PublishError> {
    if names.is_empty() {
        return Ok(());
    }
    let found = remote.ask(|remote| async move { remote.get(STATE).await })?;
    match remote.is_rehearsal() || found.is_some_and(|found| found.etag == *state) {
        true => Ok(remote.ask(|remote| async move { remote.delete(names).await })?),
        false => Ok(()),
    }
}

/// What of a generation no other one has.
fn own_files(manifest: &Manifest) -> impl Iterator<Item = String> {
    let id = &manifest.generation.id;
    let below = format!("gen/{id}/");
    let files = manifest.files.iter().map(|file| &file.path);
    files
        .filter(move |path| path.starts_with(&below))
        .cloned()
        .chain([Manifest::name(id), bundle_name(manifest.bodies)])
}

/// What is in the bucket and no generation that is retained has it: leftovers of publishers that were
/// killed, and what is past its retention of so many seconds. Packages stay. Reads every retained generation first.
pub(super) fn leftovers(
    remote: &Remote,
    live: &Live,
    now: u64,
    retention: u64,
) -> Result<Vec<String>, PublishError> {
    let generation = live.generation();
    let lives_on = |until: u64| now.saturating_sub(until) <= retention;
    let earlier = generation.earlier.iter().filter(|(_, until)| lives_on(**until));
    let mut manifests = read_manifests(remote, earlier.map(|(id, _)| id.clone()).collect())?;
    manifests.push(live.manifest.clone());
    let mut needed: BTreeSet<String> = [STATE, PROBE].map(str::to_owned).into();
    needed.extend(live.manifest.files.iter().map(|file| file.path.clone()));
    let by_hash = generation.by_hash.iter().filter(|(_, until)| until.is_none_or(lives_on));
    needed.extend(by_hash.map(|(path, _)| format!("{}/{path}", generation.kind.metadata())));
    for manifest in &manifests {
        needed.extend(own_files(manifest));
        needed.extend(manifest.records.iter().map(|bundle| bundle_name(*bundle)));
    }
    let young = SystemTime::now().checked_sub(AT_WORK).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut found = Vec::new();
    for start in ["dists/", "repodata/", "gen/", ".forge/"] {
        let listed = remote.ask(|remote| async move { remote.list(start).await })?;
        // Another repository may be below this one's prefix: its names are not those asked for.
        let old = listed.into_iter().filter(|object| object.modified.is_some_and(|at| at < young));
        found.extend(old.map(|object| object.name).filter(|name| !needed.contains(name)));
    }
    Ok(found)
}
