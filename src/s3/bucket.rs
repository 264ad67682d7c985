use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use aws_sdk_s3::Client;
#[cfg(test)]
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{Delete, MetadataDirective, ObjectIdentifier};

use super::client::client;
use super::error::status;
use super::{Body, Download, Location, S3Error, S3Fault, multipart};

/// How many keys one request deletes at most (S3's own limit).
const DELETED_AT_ONCE: usize = 1000;
/// What is larger is sent in parts.
pub(super) const WHOLE: u64 = 16 << 20;

/// A part of a bucket. Cheap to clone.
///
/// Requests that fail by a fault of the network or the service are made again a few times, with growing
/// pauses, before their error is told.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub(super) client: Client,
    location: Arc<Location>,
    traffic: Arc<Counters>,
}

/// What an object's bytes are known by to the service; it differs whenever they do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Etag(pub(super) String);

/// What has to hold for an object to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing: whatever is there is replaced.
    Always,
    /// Nothing is there (`If-None-Match: *`).
    Absent,
    /// What is there has this tag (`If-Match`).
    Matches(Etag),
}

/// An object to be written.
#[derive(Clone, Debug)]
pub struct Put {
    /// Its name, below the location.
    pub name: String,
    /// Its bytes.
    pub body: Body,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Cache-Control`, where caches are to be told.
    pub cache_control: Option<&'static str>,
    /// What has to hold.
    pub condition: Condition,
}

/// What became of an object that was to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there now.
    Done(Etag),
    /// Its condition did not hold, and nothing was written. A request whose answer was lost is made
    /// again: it may be that very writing that stands in its own way, so compare what is there.
    Refused,
}

/// An object that was asked for.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its tag.
    pub etag: Etag,
    /// When it was written.
    pub modified: Option<SystemTime>,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, below the location.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Option<SystemTime>,
}

/// What went to and fro.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests, each counted once however often it had to be made.
    pub requests: u64,
    /// Objects sent.
    pub objects_sent: u64,
    /// Bytes of objects sent, of those that are not all there among them.
    pub sent: u64,
    /// Objects received.
    pub objects_received: u64,
    /// Bytes of objects received, of those that are not all here among them.
    pub received: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    objects_sent: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) objects_received: AtomicU64,
    pub(super) received: AtomicU64,
}

impl Bucket {
    /// Makes a client for it. Asks nobody yet: what is wrong with credentials or the bucket is told by
    /// the first request.
    pub async fn open(location: Location) -> Result<Self, S3Error> {
        let client = client(&location, None).await?;
        Ok(Self { client, location: Arc::new(location), traffic: Arc::default() })
    }

    /// The same with credentials that are given, for tests: the environment belongs to the whole process.
    #[cfg(test)]
    pub(crate) async fn open_as(location: Location, access: &str, secret: &str) -> Result<Self, S3Error> {
        let credentials = Credentials::new(access, secret, None, None, "test");
        let client = client(&location, Some(credentials)).await?;
        Ok(Self { client, location: Arc::new(location), traffic: Arc::default() })
    }

    /// The part of it below `name`, by the same client and with the same count of traffic.
    pub fn below(&self, name: &str) -> Self {
        Self { location: Arc::new(self.location.below(name)), ..self.clone() }
    }

    /// Which part of which bucket it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// What went to and fro since it was opened.
    pub fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { requests, objects_sent, sent, objects_received, received } = &*self.traffic;
        Traffic {
            requests: read(requests),
            objects_sent: read(objects_sent),
            sent: read(sent),
            objects_received: read(objects_received),
            received: read(received),
        }
    }

    /// The whole of an object; `None` if there is none.
    pub async fn get(&self, name: &str) -> Result<Option<Found>, S3Error> {
        self.count();
        let request = self.client.get_object().bucket(&self.location.bucket).key(self.location.key(name));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(S3Error::new("read", self.url(name), &error)),
        };
        let etag = Etag(answer.e_tag.unwrap_or_default());
        let modified = answer.last_modified.and_then(|time| SystemTime::try_from(time).ok());
        let promised = answer.content_length;
        let bytes = match answer.body.collect().await {
            Ok(bytes) => bytes.to_vec(),
            Err(error) => return Err(self.broken(name, error.to_string())),
        };
        if promised.is_some_and(|length| length != bytes.len() as i64) {
            return Err(self.broken(name, format!("{} bytes came of {promised:?}", bytes.len())));
        }
        self.traffic.objects_received.fetch_add(1, Ordering::Relaxed);
        self.traffic.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(Some(Found { bytes, etag, modified }))
    }

    /// The bytes of an object as they come; `None` if there is none.
    pub async fn download(&self, name: &str) -> Result<Option<Download>, S3Error> {
        self.count();
        let request = self.client.get_object().bucket(&self.location.bucket).key(self.location.key(name));
        match request.send().await {
            Ok(answer) => Ok(Some(Download {
                url: self.url(name),
                length: answer.content_length.and_then(|length| length.try_into().ok()),
                received: 0,
                modified: answer.last_modified.and_then(|time| SystemTime::try_from(time).ok()),
                traffic: self.traffic.clone(),
                body: answer.body,
            })),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(S3Error::new("read", self.url(name), &error)),
        }
    }

    /// What is known of an object without its bytes; `None` if there is none.
    pub async fn head(&self, name: &str) -> Result<Option<(Listed, Etag)>, S3Error> {
        self.count();
        let request = self.client.head_object().bucket(&self.location.bucket).key(self.location.key(name));
        match request.send().await {
            Ok(answer) => {
                let listed = Listed {
                    name: name.to_owned(),
                    size: answer.content_length.unwrap_or_default().unsigned_abs(),
                    modified: answer.last_modified.and_then(|time| SystemTime::try_from(time).ok()),
                };
                Ok(Some((listed, Etag(answer.e_tag.unwrap_or_default()))))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(S3Error::new("look at", self.url(name), &error)),
        }
    }

    /// Writes an object, if its condition holds.
    pub async fn put(&self, put: Put) -> Result<Written, S3Error> {
        let url = self.url(&put.name);
        let length = put.body.len(&url).await?;
        let written = match length > WHOLE {
            true => multipart::put(self, &put, length).await?,
            false => self.put_whole(&put, length).await?,
        };
        if let Written::Done(_) = written {
            self.traffic.objects_sent.fetch_add(1, Ordering::Relaxed);
        }
        Ok(written)
    }

    async fn put_whole(&self, put: &Put, length: u64) -> Result<Written, S3Error> {
        let url = self.url(&put.name);
        self.count();
        let (absent, matches) = put.condition.headers();
        let request = self
            .client
            .put_object()
            .bucket(&self.location.bucket)
            .key(self.location.key(&put.name))
            .content_type(put.content_type)
            .set_cache_control(put.cache_control.map(str::to_owned))
            .set_if_none_match(absent)
            .set_if_match(matches)
            .body(put.body.part(0, length, &url).await?);
        match request.send().await {
            Ok(answer) => {
                self.count_sent(length);
                Ok(Written::Done(Etag(answer.e_tag.unwrap_or_default())))
            }
            Err(error) if put.condition.is_refused_by(&error) => Ok(Written::Refused),
            Err(error) => Err(S3Error::new("write", url, &error)),
        }
    }

    /// Deletes objects; those that are not there are as good as deleted.
    pub async fn delete(&self, names: &[String]) -> Result<(), S3Error> {
        for names in names.chunks(DELETED_AT_ONCE) {
            self.count();
            let identifier = |name: &String| ObjectIdentifier::builder().key(self.location.key(name)).build();
            let objects = names.iter().map(identifier).collect::<Result<Vec<_>, _>>();
            let delete =
                objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build());
            let delete = delete.map_err(|error| self.broken("", error.to_string()))?;
            let request = self.client.delete_objects().bucket(&self.location.bucket).delete(delete);
            let answer = request.send().await;
            let answer = answer
                .map_err(|error| S3Error::new("delete objects of", self.location.to_string(), &error))?;
            if let Some(error) = answer.errors().first() {
                let name = error.key().unwrap_or_default();
                let message = error.message().unwrap_or_default().to_owned();
                let url = format!("s3://{}/{name}", self.location.bucket);
                return Err(S3Error { action: "delete", url, fault: S3Fault::Refused, message });
            }
        }
        Ok(())
    }

    /// All objects whose name begins with `start`, in the order of their names.
    pub async fn list(&self, start: &str) -> Result<Vec<Listed>, S3Error> {
        let own = self.location.key("");
        let skipped = if own.is_empty() { 0 } else { own.len() + 1 };
        let mut listed = Vec::new();
        let mut token = None;
        loop {
            self.count();
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.location.bucket)
                .prefix(if own.is_empty() { start.to_owned() } else { format!("{own}/{start}") })
                .set_continuation_token(token);
            let answer = request.send().await;
            let answer = answer.map_err(|error| S3Error::new("list", self.url(start), &error))?;
            listed.extend(answer.contents().iter().filter_map(|object| {
                Some(Listed {
                    name: object.key()?.get(skipped..)?.to_owned(),
                    size: object.size().unwrap_or_default().unsigned_abs(),
                    modified: object.last_modified().and_then(|time| SystemTime::try_from(*time).ok()),
                })
            }));
            match answer.next_continuation_token {
                Some(next) if answer.is_truncated == Some(true) => token = Some(next),
                _ => return Ok(listed),
            }
        }
    }

    /// Makes an object young again for the rules of the bucket's lifecycle, by copying it onto itself.
    /// Gives whether it is there.
    pub async fn touch(&self, name: &str, content_type: &'static str) -> Result<bool, S3Error> {
        self.count();
        let key = self.location.key(name);
        let source: String = key.split('/').map(encoded).collect::<Vec<_>>().join("/");
        let request = self
            .client
            .copy_object()
            .bucket(&self.location.bucket)
            .copy_source(format!("{}/{source}", self.location.bucket))
            .key(key)
            // Without a change of something, an object cannot be copied onto itself.
            .metadata_directive(MetadataDirective::Replace)
            .content_type(content_type);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(S3Error::new("touch", self.url(name), &error)),
        }
    }

    pub(super) fn count(&self) {
        self.traffic.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self, bytes: u64) {
        self.traffic.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn url(&self, name: &str) -> String {
        format!("s3://{}/{}", self.location.bucket, self.location.key(name))
    }

    fn broken(&self, name: &str, message: String) -> S3Error {
        S3Error { action: "read", url: self.url(name), fault: S3Fault::Unavailable, message }
    }
}

impl Etag {
    /// A tag as a service writes it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As the service writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Condition {
    /// The values of `If-None-Match` and `If-Match`.
    pub(super) fn headers(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::Always => (None, None),
            Self::Absent => (Some("*".to_owned()), None),
            Self::Matches(etag) => (None, Some(etag.0.clone())),
        }
    }

    /// Whether an error says that the condition does not hold. Where a tag was to match, nothing being
    /// there any more is the same.
    pub(super) fn is_refused_by<E: ProvideErrorMetadata>(
        &self,
        error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
    ) -> bool {
        match (self, status(error)) {
            (Self::Always, _) => false,
            (_, Some(412)) => true,
            (Self::Matches(_), Some(404)) => error.code() != Some("NoSuchBucket"),
            _ => false,
        }
    }
}

/// There is no such object. A `HEAD` has no body that says more than its status.
fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>) -> bool {
    status(error) == Some(404) && error.code() != Some("NoSuchBucket")
}

/// As in a URL; `touch` names its source in a header, where the SDK does not do it.
fn encoded(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    part.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
