//! What a remote store knows of results and of nodes.

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};

use super::RemoteStore;
use super::health::Way;
use super::pack;
use super::record::{LONGEST, Name, Places, Record, RemoteHistory};
use crate::digest::Digest;
use crate::s3::{self, S3Fault};
use crate::store::staging::Staging;
use crate::store::{LocalStore, StoreError};

/// How many requests are on their way at a time.
const BESIDE: usize = 32;
/// What records are of one batch; more are taken into the local store in several.
const BATCH: usize = 256;

/// Where the objects of a result are, and in which bucket.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Located {
    pub location: String,
    pub places: Places,
}

impl RemoteStore {
    /// Asks for the results under `keys`. What is found comes into the local store, its objects on
    /// demand. Any runtime may await it.
    pub async fn look_up(&self, keys: Vec<Digest>) {
        let store = self.clone();
        self.note_asked(&keys);
        run(async move {
            let keys: Vec<Digest> = keys.into_iter().filter(|key| !store.is_lost(*key)).collect();
            for batch in keys.chunks(BATCH) {
                let found = store.each(batch.to_vec(), |store, key| store.record(key).boxed()).await;
                store.take_in(found).await;
            }
        })
        .await;
    }

    /// Asks for the latest results of nodes, so that a miss can be explained.
    pub async fn recall(&self, nodes: Vec<String>) {
        let store = self.clone();
        run(async move {
            let told = store.each(nodes, |store, node| store.history(node).boxed()).await;
            let local = store.0.local.clone();
            let remember =
                move || told.iter().try_for_each(|(node, history)| local.put_earlier(node, &history.entries));
            store.locally(remember).await;
        })
        .await;
    }

    /// Asks for many beside each other. The first goes alone until one was answered: a service that does
    /// not answer is found out by one request.
    async fn each<'s, Q, A>(
        &'s self,
        mut questions: Vec<Q>,
        ask: impl Fn(&'s Self, Q) -> BoxFuture<'s, Option<A>>,
    ) -> Vec<A> {
        let mut answers = Vec::new();
        while !self.0.health.is_proven(Way::Read) && self.is_read() {
            let Some(question) = questions.pop() else { break };
            answers.extend(ask(self, question).await);
        }
        let asked: Vec<_> = questions.into_iter().map(|question| ask(self, question)).collect();
        let mut asked = stream::iter(asked).buffer_unordered(BESIDE);
        while let Some(answer) = asked.next().await {
            answers.extend(answer);
        }
        answers
    }

    pub(super) async fn record(&self, key: Digest) -> Option<(Digest, Record)> {
        let name = Name::Result(key);
        let (bytes, modified) = self.small(name).await?;
        let record = match Record::read(&bytes, key) {
            Ok(record) => record,
            Err(reason) => {
                self.disbelieve(name, &reason);
                return None;
            }
        };
        if self.is_aging(modified) && !self.touch_all(name, &record.places).await {
            return None;
        }
        Some((key, record))
    }

    /// What a node's history tells; empty where there is none.
    async fn history(&self, node: String) -> Option<(String, RemoteHistory)> {
        let name = Name::history(&node);
        let (bytes, _) = self.small(name).await?;
        match RemoteHistory::read(&bytes, &node) {
            Ok(history) => Some((node, history)),
            Err(reason) => {
                self.disbelieve(name, &reason);
                None
            }
        }
    }

    /// A short object, if it is there.
    async fn small(&self, name: Name) -> Option<(Vec<u8>, Option<std::time::SystemTime>)> {
        // Asking may have become of no use meanwhile.
        if !self.is_read() {
            return None;
        }
        let read = || async {
            let Some(download) = self.0.bucket.download(&name.to_string()).await? else { return Ok(None) };
            let modified = download.modified();
            Ok(Some((download.whole(LONGEST).await?, modified)))
        };
        self.attempt(Way::Read, read).await.ok().flatten()
    }

    /// Before the bucket's lifecycle takes what is used: first what the result names, then itself. False
    /// where something is gone already, which makes the result a miss.
    async fn touch_all(&self, name: Name, places: &Places) -> bool {
        let touches: Vec<_> = places.names().map(|name| self.touch(name).boxed()).collect();
        let mut touched = stream::iter(touches).buffer_unordered(BESIDE);
        while let Some(is_there) = touched.next().await {
            if !is_there {
                return false;
            }
        }
        self.touch(name).await
    }

    /// Gives false only where it is known to be gone. What cannot be touched may well be read.
    pub(super) async fn touch(&self, name: Name) -> bool {
        if !self.is_written() {
            return true;
        }
        let touched =
            self.attempt(Way::Write, || async { self.0.bucket.touch(&name.to_string(), BYTES).await });
        touched.await.unwrap_or(true)
    }

    /// Makes a request, again where something came to grief on its way. What fails for good is counted.
    pub(super) async fn attempt<T, F: Future<Output = Result<T, s3::S3Error>>>(
        &self,
        way: Way,
        request: impl Fn() -> F,
    ) -> Result<T, s3::S3Error> {
        const ATTEMPTS: u32 = 3;
        let mut attempt = 1;
        loop {
            match request().await {
                Ok(answer) => {
                    self.0.health.well(way);
                    return Ok(answer);
                }
                // The client has tried what was not answered at all several times.
                Err(error) if attempt < ATTEMPTS && error.is_passing() && self.0.health.is_proven(way) => {
                    tokio::time::sleep(std::time::Duration::from_millis(100 << attempt)).await;
                    attempt += 1;
                }
                Err(error) => {
                    self.0.health.fault(way, &error);
                    return Err(error);
                }
            }
        }
    }

    /// What lies there is not what it says.
    pub(super) fn disbelieve(&self, name: Name, reason: &str) {
        self.note_bad(name);
        self.0.health.trouble(format!("{}: {reason}; it is not believed", self.url(name)));
    }

    pub(super) fn url(&self, name: Name) -> String {
        let location = self.location();
        format!("s3://{}/{}", location.bucket, location.key(&name.to_string()))
    }

    /// Objects before the results that name them, and one flush for all.
    pub(super) async fn take_in(&self, found: Vec<(Digest, Record)>) {
        let keys: Vec<Digest> = found.iter().map(|(key, _)| *key).collect();
        let (local, location) = (self.0.local.clone(), self.location().to_string());
        if self.locally(move || take_in(&local, &location, found)).await {
            keys.into_iter().for_each(|key| self.note_found(key));
        }
    }

    /// Work on the local store, on a thread that may wait. Gives whether it was done.
    pub(super) async fn locally(
        &self,
        work: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
    ) -> bool {
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                self.0.health.trouble(format!("what the shared cache has cannot be kept here: {error}"));
                false
            }
            Err(panic) => {
                self.0.health.trouble(format!("forge itself failed: {panic}"));
                false
            }
        }
    }
}

/// What objects of the bucket are.
pub const BYTES: &str = "application/octet-stream";

fn take_in(local: &LocalStore, location: &str, found: Vec<(Digest, Record)>) -> Result<(), StoreError> {
    let staging = Staging::new(local)?;
    for (_, record) in &found {
        for manifest in &record.places.manifests {
            staging.add(Digest::of(manifest.as_bytes()), manifest.as_bytes())?;
        }
        if record.places.in_record {
            let objects = pack::read(&record.objects).map_err(StoreError::io("read", "a record"))?;
            objects.into_iter().try_for_each(|(digest, bytes)| staging.add(digest, bytes))?;
        }
    }
    staging.commit()?;
    for (key, record) in found {
        match record.is_whole() {
            true => local.drop_places(key),
            false => {
                local.put_places(key, &Located { location: location.to_owned(), places: record.places })?;
            }
        }
        local.take_result(key, &record.result)?;
    }
    Ok(())
}

/// On the runtime of the s3 room, whoever waits.
pub(super) async fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Option<T> {
    s3::spawn(future).await.ok()
}

/// Whether trouble is with the bytes and not with the service.
pub(super) fn is_damage(error: &s3::S3Error) -> bool {
    error.fault == S3Fault::Damaged
}
