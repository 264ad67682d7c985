use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use futures_util::{StreamExt, stream};

use super::cdn::Cdn;
use super::live::LastRead;
use super::manifest::PROBE;
use crate::digest::{Digest, Hasher};
use crate::publish::PublishError;
use crate::s3::{
    Bucket, Condition, Etag, Fitness, Found, Listed, Location, Put, S3Error, Written, spawn, wait,
};
use crate::store::LocalStore;

/// How many requests are on their way at a time.
const BESIDE: usize = 16;

/// A part of a bucket. All requests of a publish go through here: so a rehearsal is the publish itself,
/// with its writes noted down in place of being made.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    bucket: Bucket,
    last_read: Arc<Mutex<LastRead>>,
    cdn: Option<Cdn>,
    rehearsal: Option<Rehearsal>,
    #[cfg(test)]
    fuse: Option<Fuse>,
}

/// The requests that were not made.
pub(super) type Rehearsal = Arc<Mutex<Vec<Request>>>;

/// A request of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, `PUT`, `DELETE` or `LIST`; `POST` for an invalidation.
    pub method: &'static str,
    /// `s3://bucket/key`, or what has an invalidation.
    pub object: String,
    /// What is particular to it: length, condition, headers, paths.
    pub details: Vec<String>,
}

/// `PUT s3://bucket/key (12 bytes; if absent; Cache-Control: private, no-store)`
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.object)?;
        match self.details.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.details.join("; ")),
        }
    }
}

impl Remote {
    pub fn new(bucket: Bucket, last_read: Arc<Mutex<LastRead>>, rehearsal: Option<Rehearsal>) -> Self {
        Self {
            bucket,
            last_read,
            cdn: None,
            rehearsal,
            #[cfg(test)]
            fuse: None,
        }
    }

    /// The part of it below `name`.
    pub fn below(&self, name: &str) -> Self {
        Self { bucket: self.bucket.below(name), ..self.clone() }
    }

    /// The same behind a CDN.
    pub fn behind(self, cdn: Option<Cdn>) -> Self {
        Self { cdn, ..self }
    }

    /// Which part of which bucket it is.
    pub fn location(&self) -> &Location {
        self.bucket.location()
    }

    /// `s3://bucket/prefix`
    pub fn place(&self) -> String {
        self.location().to_string()
    }

    /// `s3://bucket/prefix/name`
    pub fn url(&self, name: &str) -> String {
        self.location().below(name).to_string()
    }

    /// Waits for what `request` gives.
    pub fn ask<T: Send + 'static, F>(&self, request: impl FnOnce(Self) -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        wait(request(self.clone()))
    }

    /// Does `request` for each of the items, several at a time, and gives to `each` what comes of them, as
    /// it comes. The first error ends it.
    pub fn for_each<I, T, F>(
        &self,
        items: Vec<I>,
        request: impl Fn(Self, I) -> F + Send + 'static,
        mut each: impl FnMut(T),
    ) -> Result<(), PublishError>
    where
        I: Send + 'static,
        T: Send + 'static,
        F: Future<Output = Result<T, PublishError>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel();
        let (remote, expected) = (self.clone(), items.len());
        spawn(async move {
            let requests = items.into_iter().map(move |item| request(remote.clone(), item));
            let mut answers = stream::iter(requests).buffer_unordered(BESIDE);
            while let Some(answer) = answers.next().await {
                // Nobody listens any more after an error.
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        let mut answered = 0;
        for answer in receiver {
            each(answer?);
            answered += 1;
        }
        assert_eq!(answered, expected, "every request answers, or panicked");
        Ok(())
    }

    pub async fn get(&self, name: &str) -> Result<Option<Found>, S3Error> {
        self.note("GET", name, Vec::new());
        self.made(self.bucket.get(name)).await
    }

    /// The digest of an object's bytes, which are not kept.
    pub async fn digest(&self, name: &str) -> Result<Option<Digest>, PublishError> {
        self.note("GET", name, Vec::new());
        let Some(mut download) = self.made(self.bucket.download(name)).await? else { return Ok(None) };
        let mut hasher = Hasher::default();
        while let Some(bytes) = download.chunk().await? {
            std::io::Write::write_all(&mut hasher, &bytes)
                .map_err(PublishError::io("hash", self.url(name)))?;
        }
        Ok(Some(hasher.digest()))
    }

    pub async fn head(&self, name: &str) -> Result<Option<Etag>, S3Error> {
        self.note("HEAD", name, Vec::new());
        Ok(self.made(self.bucket.head(name)).await?.map(|(_, etag)| etag))
    }

    /// In a rehearsal every write succeeds.
    pub async fn put(&self, put: Put, length: u64) -> Result<Written, S3Error> {
        if self.rehearsal.is_none() {
            return self.made(self.bucket.put(put)).await;
        }
        let condition = match put.condition {
            Condition::Always => None,
            Condition::Absent => Some("If-None-Match: *"),
            Condition::Matches(_) => Some("If-Match: what was read"),
        };
        let details = [format!("{length} bytes"), format!("Content-Type: {}", put.content_type)].into_iter();
        let details = details.chain(condition.map(str::to_owned));
        let details = details.chain(put.cache_control.map(|caches| format!("Cache-Control: {caches}")));
        self.note("PUT", &put.name, details.collect());
        Ok(Written::Done(Etag::new("to come")))
    }

    pub async fn delete(&self, names: Vec<String>) -> Result<(), S3Error> {
        match self.rehearsal.is_some() {
            true => names.iter().for_each(|name| self.note("DELETE", name, Vec::new())),
            false => self.made(self.bucket.delete(&names)).await?,
        }
        Ok(())
    }

    pub async fn list(&self, start: &str) -> Result<Vec<Listed>, S3Error> {
        self.note("LIST", start, Vec::new());
        self.made(self.bucket.list(start)).await
    }

    /// Has the CDN, if there is one, forget what it holds of these files, which a generation changed.
    pub async fn invalidate(&self, generation: &str, files: &BTreeSet<String>) -> Result<(), S3Error> {
        let Some(cdn) = self.cdn.as_ref().filter(|_| !files.is_empty()) else { return Ok(()) };
        match &self.rehearsal {
            Some(_) => self.note_request("POST", cdn.distribution.to_string(), cdn.paths(files)),
            None => self.made(cdn.invalidate(generation, files)).await?,
        }
        Ok(())
    }

    /// What was read before of repositories, whoever asked for it.
    pub fn last_read(&self) -> MutexGuard<'_, LastRead> {
        // A map is sound whoever panicked beside it.
        self.last_read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the service heeds conditions; the probe's object may be known by a tag.
    pub async fn fitness(&self, known: Option<Etag>) -> Result<Fitness, S3Error> {
        if self.rehearsal.is_some() {
            self.note("PUT", PROBE, vec!["several times, to see whether conditions are heeded".to_owned()]);
            return Ok(Fitness::Fit(Etag::new("to come")));
        }
        self.made(self.bucket.probe(PROBE, known)).await
    }

    /// What an object that changes says now, for the next process: it asks for that first.
    pub fn remember(&self, memory: &LocalStore, name: &str, seen: &str) {
        let url = self.url(name);
        if self.rehearsal.is_none() && memory.last_seen(&url).as_deref() != Some(seen) {
            // What is not remembered costs a request's time.
            let _ = memory.put_last_seen(&url, seen);
        }
    }

    pub fn is_rehearsal(&self) -> bool {
        self.rehearsal.is_some()
    }

    fn note(&self, method: &'static str, name: &str, details: Vec<String>) {
        self.note_request(method, self.url(name), details);
    }

    fn note_request(&self, method: &'static str, object: String, details: Vec<String>) {
        if let Some(rehearsal) = &self.rehearsal {
            let request = Request { method, object, details };
            rehearsal.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        }
    }

    #[cfg(not(test))]
    async fn made<T>(&self, request: impl Future<Output = Result<T, S3Error>>) -> Result<T, S3Error> {
        request.await
    }

    #[cfg(test)]
    async fn made<T>(&self, request: impl Future<Output = Result<T, S3Error>>) -> Result<T, S3Error> {
        match &self.fuse {
            Some(fuse) => fuse.made(request).await,
            None => request.await,
        }
    }

    #[cfg(test)]
    pub fn with_fuse(self, fuse: Option<Fuse>) -> Self {
        Self { fuse, ..self }
    }
}

/// Stands for a publisher that is killed at one of its requests: none after it is made. The last one may
/// have been done without its answer being heard.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) struct Fuse {
    left: Arc<std::sync::atomic::AtomicUsize>,
    last_is_done: bool,
}

#[cfg(test)]
impl Fuse {
    /// Burns at the request after `requests` of them.
    pub fn after(requests: usize, last_is_done: bool) -> Self {
        Self { left: Arc::new(requests.into()), last_is_done }
    }

    /// Whether there were not so many requests.
    pub fn is_whole(&self) -> bool {
        self.left.load(std::sync::atomic::Ordering::SeqCst) < usize::MAX / 2
    }

    async fn made<T>(&self, request: impl Future<Output = Result<T, S3Error>>) -> Result<T, S3Error> {
        use std::sync::atomic::Ordering::SeqCst;
        // After the last one it wraps around, far from zero.
        let left = self.left.fetch_sub(1, SeqCst);
        if left > usize::MAX / 2 || left == 0 {
            if left == 0 && self.last_is_done {
                let _ = request.await;
            }
            return Err(S3Error {
                action: "reach",
                url: "the bucket".to_owned(),
                fault: crate::s3::S3Fault::Unavailable,
                message: "the publisher is dead".to_owned(),
            });
        }
        request.await
    }
}
