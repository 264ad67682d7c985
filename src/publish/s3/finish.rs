//! Steps 2 to 5: the decision, and what follows from it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::collect::{removable, remove};
use super::headers::{PRIVATE, cache_control, content_type};
use super::live::{Live, read_bundles, read_manifest, read_state};
use super::manifest::{Known, Manifest, STATE, State};
use super::prepare::{Prepared, bytes_of};
use super::remote::Remote;
use crate::digest::Digest;
use crate::index::bundle;
use crate::publish::draft::{File, Listed};
use crate::publish::layout::Role;
use crate::publish::{Progress, PublishError};
use crate::s3::{Body, Condition, Etag, Put, Written};
use crate::store::{LocalStore, StoreError};

impl Prepared {
    /// Decides that this is the next generation, if the state is still that from which it was made.
    pub fn decide(&self) -> Result<Decided, PublishError> {
        let condition = match &self.live {
            Some(live) => Condition::Matches(live.etag.clone()),
            None => {
                self.check_nothing_foreign()?;
                Condition::Absent
            }
        };
        let previous = self.live.as_ref().map(|live| &live.state);
        let state = State::decided(&self.manifest.generation.id, previous);
        let etag = match put_state(&self.remote, &state, condition)? {
            Written::Done(etag) => etag,
            // The answer to the first request may have been lost.
            Written::Refused => match read_state(&self.remote)? {
                Some((found, etag)) if found.generation == state.generation => etag,
                found => return Err(self.superseded(found.map(|(state, _)| state.generation))),
            },
        };
        let previous = self.live.as_ref().map(|live| live.manifest.clone());
        let (remote, manifest) = (self.remote.clone(), self.manifest.clone());
        Ok(Decided { remote, prefix: self.prefix.clone(), state, etag, manifest, previous })
    }

    fn superseded(&self, found: Option<String>) -> PublishError {
        let expected = self.live.as_ref().map(|live| live.state.generation.clone());
        PublishError::Superseded { prefix: self.prefix.clone(), expected, found }
    }

    /// Where forge never published, what clients come by is not overwritten.
    fn check_nothing_foreign(&self) -> Result<(), PublishError> {
        let paths: Vec<String> = self.draft.with_role(Role::Commit).map(|file| file.path.clone()).collect();
        let mut foreign = None;
        self.remote.for_each(
            paths,
            |remote, path| async move { Ok::<_, PublishError>(remote.head(&path).await?.map(|_| path)) },
            |found| foreign = foreign.take().or(found),
        )?;
        match (foreign, read_state(&self.remote)?) {
            (_, Some((state, _))) => Err(self.superseded(Some(state.generation))),
            (Some(path), None) => {
                let (path, expected) =
                    (self.remote.url(&path), "nothing, where forge publishes for the first time");
                Err(PublishError::Foreign { path, expected })
            }
            (None, None) => Ok(()),
        }
    }

    /// The bytes of its files.
    pub fn bodies<'a>(
        &'a self,
        store: &'a LocalStore,
    ) -> impl Fn(&Listed) -> Result<Vec<u8>, PublishError> + 'a {
        let files: HashMap<&str, &File> =
            self.draft.files.iter().map(|file| (file.path.as_str(), file)).collect();
        move |listed: &Listed| match files.get(listed.path.as_str()) {
            Some(file) => Ok(bytes_of(file, store)?),
            None => Err(StoreError::Missing(listed.object).into()),
        }
    }
}

/// A generation that is decided, and perhaps not seen by all clients yet.
pub(super) struct Decided {
    remote: Remote,
    prefix: String,
    state: State,
    etag: Etag,
    manifest: Manifest,
    previous: Option<Manifest>,
}

/// What became of a file that was to be written over.
enum Replaced {
    Known(Known),
    /// Somebody else finished the generation, and perhaps published another one since.
    Overtaken,
}

impl Decided {
    /// Goes on at `now` where another publisher stopped: everything is in the bucket.
    pub fn take_over(remote: &Remote, prefix: &str, live: Live, now: u64) -> Result<Self, PublishError> {
        let previous = live.state.previous.as_deref();
        let previous = previous.map(|id| read_manifest(remote, id)).transpose()?.flatten();
        let Live { mut state, etag, manifest } = live;
        if !state.finished {
            state.previous_until = Some(now);
        }
        Ok(Self { remote: remote.clone(), prefix: prefix.to_owned(), state, etag, manifest, previous })
    }

    /// The bytes of its files that change, read from the bucket.
    pub fn bodies(&self) -> Result<impl Fn(&Listed) -> Result<Vec<u8>, PublishError> + '_, PublishError> {
        let mut bundled = HashMap::new();
        for bytes in read_bundles(&self.remote, vec![self.manifest.bodies])? {
            bundled.extend(bundle::unpack(&bytes)?);
        }
        Ok(move |file: &Listed| -> Result<Vec<u8>, PublishError> {
            if let Some(bytes) = bundled.get(&file.object) {
                return Ok(bytes.clone());
            }
            let twin = self.manifest.twin(file).map(|twin| twin.path.clone());
            let name = twin.ok_or(StoreError::Missing(file.object))?;
            let found = self.remote.ask(|remote| async move { remote.get(&name).await })?;
            match found.filter(|found| Digest::of(&found.bytes) == file.object) {
                Some(found) => Ok(found.bytes),
                None => Err(StoreError::Missing(file.object).into()),
            }
        })
    }

    /// Shows it to clients, removes what is past its retention and tells the CDN, then says that all is done.
    /// Does no harm where somebody else does the same.
    pub fn finish(
        &self,
        bodies: impl Fn(&Listed) -> Result<Vec<u8>, PublishError>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), PublishError> {
        let Some(objects) = self.write_over(bodies)? else { return Ok(()) };
        progress(Progress::Committed { prefix: &self.prefix, id: &self.manifest.generation.id });
        self.collect(progress);
        let stale = self.invalidate(&objects, progress);
        let state = self.state.finished(objects, stale);
        // Where it is refused, somebody else has finished it.
        put_state(&self.remote, &state, Condition::Matches(self.etag.clone()))?;
        Ok(())
    }

    /// Plain files, their signatures, and then what clients come by. `None` if overtaken.
    fn write_over(
        &self,
        bodies: impl Fn(&Listed) -> Result<Vec<u8>, PublishError>,
    ) -> Result<Option<BTreeMap<String, Known>>, PublishError> {
        let mut objects = BTreeMap::new();
        let mut turns: BTreeMap<u8, Vec<&Listed>> = BTreeMap::new();
        for file in self.manifest.mutable() {
            match self.state.objects.get(&file.path) {
                Some(known) if known.object == file.object => {
                    objects.insert(file.path.clone(), known.clone());
                }
                _ => turns.entry(self.manifest.generation.kind.turn(file.role)).or_default().push(file),
            }
        }
        for files in turns.into_values() {
            let mut writes = Vec::new();
            for file in files {
                writes.push((file.clone(), bodies(file)?, self.state.objects.get(&file.path).cloned()));
            }
            let mut overtaken = false;
            let etag = self.etag.clone();
            self.remote.for_each(
                writes,
                move |remote, (file, bytes, known)| {
                    let etag = etag.clone();
                    async move {
                        let replaced = replace(&remote, &file, bytes, known, &etag).await?;
                        Ok::<_, PublishError>((file.path, replaced))
                    }
                },
                |(path, replaced)| match replaced {
                    Replaced::Known(known) => drop(objects.insert(path, known)),
                    Replaced::Overtaken => overtaken = true,
                },
            )?;
            if overtaken {
                return Ok(None);
            }
        }
        Ok(Some(objects))
    }

    /// Tells the CDN before the bucket, if there is one, what changed. Gives what it could not be told: the next
    /// publisher does it.
    fn invalidate(
        &self,
        objects: &BTreeMap<String, Known>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> BTreeSet<String> {
        let before = &self.state.objects;
        let is_same = |path: &String| {
            before.get(path).map(|known| known.object) == objects.get(path).map(|known| known.object)
        };
        let changed = before.keys().chain(objects.keys()).filter(|path| !is_same(path)).cloned();
        let stale: BTreeSet<String> = changed.chain(self.state.stale.iter().cloned()).collect();
        let (id, files) = (self.manifest.generation.id.clone(), stale.clone());
        match self.remote.ask(|remote| async move { remote.invalidate(&id, &files).await }) {
            Ok(()) => BTreeSet::new(),
            Err(error) => {
                progress(Progress::Uninvalidated { error: &error });
                stale
            }
        }
    }

    /// Removes what is past retention. The commit stands, whatever happens here.
    fn collect(&self, progress: &mut dyn FnMut(Progress<'_>)) {
        let collected = removable(&self.remote, &self.state, &self.manifest, self.previous.as_ref())
            .and_then(|names| remove(&self.remote, names, &self.etag));
        if let Err(error) = collected {
            progress(Progress::Uncollected { path: self.remote.place().as_ref(), error: &error });
        }
    }
}

/// Writes a file over the one of the generation before. Where another one is, it is compared: it may be
/// one's own, and it may be of a later generation, which stays.
async fn replace(
    remote: &Remote,
    file: &Listed,
    bytes: Vec<u8>,
    known: Option<Known>,
    state: &Etag,
) -> Result<Replaced, PublishError> {
    let mut condition = known.map_or(Condition::Absent, |known| Condition::Matches(known.etag));
    loop {
        let put = Put {
            name: file.path.clone(),
            body: Body::Bytes(bytes.clone()),
            content_type: content_type(&file.path),
            cache_control: Some(cache_control(file.role)),
            condition,
        };
        if let Written::Done(etag) = remote.put(put, file.size).await? {
            return Ok(Replaced::Known(Known { etag, object: file.object }));
        }
        condition = match remote.get(&file.path).await? {
            Some(found) if Digest::of(&found.bytes) == file.object => {
                return Ok(Replaced::Known(Known { etag: found.etag, object: file.object }));
            }
            Some(found) => Condition::Matches(found.etag),
            None => Condition::Absent,
        };
        // Somebody's hand, or a publisher that is dead: as long as the decision stands, it counts.
        if remote.get(STATE).await?.is_none_or(|found| found.etag != *state) {
            return Ok(Replaced::Overtaken);
        }
    }
}

fn put_state(remote: &Remote, state: &State, condition: Condition) -> Result<Written, PublishError> {
    let bytes =
        serde_json::to_vec_pretty(state).map_err(|error| PublishError::io("encode", STATE)(error.into()))?;
    let length = bytes.len() as u64;
    let put = Put {
        name: STATE.to_owned(),
        body: Body::Bytes(bytes),
        content_type: "application/json",
        cache_control: Some(PRIVATE),
        condition,
    };
    let written = remote.ask(|remote| async move { remote.put(put, length).await });
    Live::forget(remote);
    Ok(written?)
}
