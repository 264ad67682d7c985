use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::manifest::{Manifest, STATE, State, bundle_name};
use super::remote::Remote;
use crate::digest::Digest;
use crate::publish::{Generation, PublishError};
use crate::s3::{Etag, Found};
use crate::store::{LocalStore, StoreError};

/// For how long what was read is taken for what is there. A plan asks, its run asks again, and so does the
/// publish, all within moments; whoever published meanwhile is noticed by the write that decides.
const RECENT: Duration = Duration::from_secs(5);

/// What this process last read of repositories, by the URL of their state object, and when.
pub(super) type LastRead = HashMap<String, (Instant, Option<Live>)>;

/// What a repository's part of a bucket holds: all that a publish starts from.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub state: State,
    /// By what the state object is replaced.
    pub etag: Etag,
    pub manifest: Manifest,
}

impl Live {
    /// Reads the state object and the generation that it names; `None` where nothing was ever published. What `memory`
    /// knows of the last generation is only whom to ask for beside: that it still is live is what the state object says.
    pub fn read(remote: &Remote, memory: Option<&LocalStore>) -> Result<Option<Self>, PublishError> {
        let place = remote.url(STATE);
        let last = remote.last_read().get(&place).and_then(|(_, live)| live.clone());
        let guess = memory.filter(|_| last.is_none()).and_then(|memory| memory.last_seen(&place));
        let (state, guessed) = read_with(remote, guess)?;
        let known = last.map(|last| last.manifest).or(guessed);
        let live = state.map(|(state, etag)| Self::of_state(remote, state, etag, known)).transpose()?;
        if let (Some(live), Some(memory)) = (&live, memory) {
            remote.remember(memory, STATE, &live.state.generation);
        }
        remote.last_read().insert(place, (Instant::now(), live.clone()));
        Ok(live)
    }

    /// The same, as of the last few moments.
    pub fn recent(remote: &Remote, memory: Option<&LocalStore>) -> Result<Option<Self>, PublishError> {
        let last = remote.last_read().get(&remote.url(STATE)).cloned();
        match last.filter(|(read, _)| read.elapsed() < RECENT) {
            Some((_, live)) => Ok(live),
            None => Self::read(remote, memory),
        }
    }

    /// The next one who asks is to see what was written.
    pub fn forget(remote: &Remote) {
        remote.last_read().remove(&remote.url(STATE));
    }

    /// A generation never changes: whoever has its manifest need not read it.
    fn of_state(
        remote: &Remote,
        state: State,
        etag: Etag,
        known: Option<Manifest>,
    ) -> Result<Self, PublishError> {
        let name = Manifest::name(&state.generation);
        let gone = || fault(remote, &name, "it is not there".to_owned());
        let read = || read_manifest(remote, &state.generation)?.ok_or_else(gone);
        let known = known.filter(|manifest| manifest.generation.id == state.generation);
        let mut manifest = known.map_or_else(read, Ok)?;
        if let Some(until) = state.previous_until {
            manifest.generation.prolong_previous(until);
        }
        Ok(Self { state, etag, manifest })
    }

    pub fn generation(&self) -> &Generation {
        &self.manifest.generation
    }
}

/// What a state object says, and by what it is replaced.
type Stated = (State, Etag);

pub(super) fn read_state(remote: &Remote) -> Result<Option<Stated>, PublishError> {
    let found = remote.ask(|remote| async move { remote.get(STATE).await })?;
    found.map(|found| state_of(remote, found)).transpose()
}

fn state_of(remote: &Remote, found: Found) -> Result<Stated, PublishError> {
    let state = State::from_json(&found.bytes).map_err(|reason| fault(remote, STATE, reason))?;
    Ok((state, found.etag))
}

/// The state object, and beside it the manifest of the generation that it is thought to name, if that can be read.
fn read_with(
    remote: &Remote,
    guess: Option<String>,
) -> Result<(Option<Stated>, Option<Manifest>), PublishError> {
    let name = guess.map(|id| Manifest::name(&id));
    let (state, manifest) = remote.ask(|remote| async move {
        let manifest = async {
            match &name {
                Some(name) => remote.get(name).await.ok().flatten(),
                None => None,
            }
        };
        tokio::join!(remote.get(STATE), manifest)
    });
    let state = state?.map(|found| state_of(remote, found)).transpose()?;
    Ok((state, manifest.and_then(|found| Manifest::from_bytes(&found.bytes).ok())))
}

/// The manifest of a generation; `None` if it is not there any more.
pub(super) fn read_manifest(remote: &Remote, id: &str) -> Result<Option<Manifest>, PublishError> {
    let name = Manifest::name(id);
    let asked = name.clone();
    let Some(found) = remote.ask(|remote| async move { remote.get(&asked).await })? else { return Ok(None) };
    Manifest::from_bytes(&found.bytes).map(Some).map_err(|reason| fault(remote, &name, reason))
}

/// Those of several generations that are still there, in the order of their dates.
pub(super) fn read_manifests(remote: &Remote, ids: Vec<String>) -> Result<Vec<Manifest>, PublishError> {
    let mut manifests = Vec::new();
    let mut faults = Vec::new();
    remote.for_each(
        ids,
        |remote, id| async move {
            let name = Manifest::name(&id);
            Ok::<_, PublishError>(remote.get(&name).await?.map(|found| (name, found)))
        },
        |found| match found.map(|(name, found)| (name, Manifest::from_bytes(&found.bytes))) {
            Some((_, Ok(manifest))) => manifests.push(manifest),
            Some((name, Err(reason))) => faults.push(fault(remote, &name, reason)),
            None => {}
        },
    )?;
    manifests.sort_by_key(|manifest| manifest.generation.date);
    faults.pop().map_or(Ok(manifests), Err)
}

/// Puts the bundles that a generation is made from into the store, as far as they are missing there.
pub(super) fn fetch_bundles(
    remote: &Remote,
    manifest: &Manifest,
    store: &LocalStore,
) -> Result<(), PublishError> {
    let missing = manifest.records.iter().filter(|bundle| !store.contains(**bundle)).copied().collect();
    read_bundles(remote, missing)?.iter().try_for_each(|bytes| Ok(store.put(bytes).map(drop)?))
}

/// The bytes of these bundles.
pub(super) fn read_bundles(remote: &Remote, bundles: Vec<Digest>) -> Result<Vec<Vec<u8>>, PublishError> {
    let mut read = Vec::new();
    remote.for_each(
        bundles,
        |remote, bundle| async move {
            Ok::<_, PublishError>((bundle, remote.get(&bundle_name(bundle)).await?))
        },
        |bundle| read.push(bundle),
    )?;
    let whole = |(bundle, found): (Digest, Option<Found>)| {
        let name = bundle_name(bundle);
        let found = found.ok_or_else(|| fault(remote, &name, "it is not there".to_owned()))?;
        match Digest::of(&found.bytes) == bundle {
            true => Ok(found.bytes),
            false => Err(StoreError::Damaged(bundle).into()),
        }
    };
    read.into_iter().map(whole).collect()
}

fn fault(remote: &Remote, name: &str, reason: String) -> PublishError {
    PublishError::State { path: remote.url(name), reason }
}
