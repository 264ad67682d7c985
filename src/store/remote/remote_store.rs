use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use super::health::{Health, RemoteTraffic, Said, Way};
use super::record::Name;
use super::uploads::Uploads;
use crate::digest::Digest;
use crate::s3::{self, Bucket, Location, S3Error};
use crate::store::LocalStore;

/// What may be done with a remote store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether results are looked up there.
    pub read: bool,
    /// Whether results are sent there.
    pub write: bool,
}

/// A store in a bucket, as seen from this machine: what it has comes into the local store, and the
/// results of the local store go there. Cheap to clone.
///
/// Nothing here fails a build. What went wrong is counted, and told by [`RemoteStore::take_said`].
#[derive(Clone)]
pub struct RemoteStore(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub bucket: Bucket,
    pub local: Arc<LocalStore>,
    pub access: Access,
    /// When the bucket's lifecycle takes what is not touched.
    pub expires: Option<Duration>,
    pub health: Health,
    pub uploads: Uploads,
    /// The bytes of memory that are left for what is on its way, in KiB.
    pub memory: Semaphore,
    /// Results that were found there.
    found: Mutex<HashSet<Digest>>,
    /// Results that it was asked for.
    asked: Mutex<HashSet<Digest>>,
    /// Results that it named, and whose objects it could not give.
    lost: Mutex<HashSet<Digest>>,
    /// What was there, and was not what it should be.
    bad: Mutex<HashSet<Name>>,
}

/// The bytes of memory that all traffic together takes at most, in KiB.
pub(super) const MEMORY_KIB: u32 = 128 << 10;

impl RemoteStore {
    /// Makes a client for `location`. Asks nobody yet. `expires` is the age at which the bucket's
    /// lifecycle removes an object; without it nothing is touched.
    pub fn open(
        location: Location,
        access: Access,
        expires: Option<Duration>,
        local: Arc<LocalStore>,
    ) -> Result<Self, S3Error> {
        Ok(Self::with_bucket(s3::wait(Bucket::open(location))?, access, expires, local))
    }

    pub(super) fn with_bucket(
        bucket: Bucket,
        access: Access,
        expires: Option<Duration>,
        local: Arc<LocalStore>,
    ) -> Self {
        let (found, asked) = (Mutex::default(), Mutex::default());
        let (lost, bad) = (Mutex::default(), Mutex::default());
        let memory = Semaphore::new(MEMORY_KIB as usize);
        let (health, uploads) = (Health::default(), Uploads::default());
        Self(Arc::new(Inner {
            bucket,
            local,
            access,
            expires,
            health,
            uploads,
            memory,
            found,
            asked,
            lost,
            bad,
        }))
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        self.0.bucket.location()
    }

    /// Whether it is of use to ask it for something.
    pub fn is_read(&self) -> bool {
        self.0.access.read && self.0.health.allows(Way::Read)
    }

    /// Whether it is of use to send it something.
    pub fn is_written(&self) -> bool {
        self.0.access.write && self.0.health.allows(Way::Write)
    }

    /// Whether it said that it has the objects of the result under `key`, and can still be believed.
    pub fn can_give(&self, key: Digest) -> bool {
        self.is_read() && self.0.local.is_elsewhere(key) && !lock(&self.0.lost).contains(&key)
    }

    /// Whether the result under `key` came from it, and whatever of its objects was asked for.
    pub fn gave(&self, key: Digest) -> bool {
        lock(&self.0.found).contains(&key) && !self.is_lost(key)
    }

    /// What happened so far.
    pub fn traffic(&self) -> RemoteTraffic {
        let traffic = self.0.bucket.traffic();
        let (faults, first_fault) = self.0.health.faults();
        RemoteTraffic {
            hits: lock(&self.0.found).len() as u64,
            objects_received: traffic.objects_received,
            received: traffic.received,
            results_sent: self.0.uploads.sent(),
            objects_sent: traffic.objects_sent,
            sent: traffic.sent,
            faults,
            first_fault,
        }
    }

    /// What is to be told since this was asked last.
    pub fn take_said(&self) -> Vec<Said> {
        self.0.health.take_said()
    }

    /// Whether it was asked for the result under `key`.
    pub fn was_asked(&self, key: Digest) -> bool {
        lock(&self.0.asked).contains(&key)
    }

    pub(super) fn note_asked(&self, keys: &[Digest]) {
        lock(&self.0.asked).extend(keys);
    }

    pub(super) fn note_found(&self, key: Digest) {
        lock(&self.0.found).insert(key);
    }

    pub(super) fn is_lost(&self, key: Digest) -> bool {
        lock(&self.0.lost).contains(&key)
    }

    /// Its objects are asked for no more.
    pub(super) fn note_lost(&self, key: Digest) {
        lock(&self.0.lost).insert(key);
        self.0.local.drop_places(key);
    }

    pub(super) fn is_bad(&self, name: &Name) -> bool {
        lock(&self.0.bad).contains(name)
    }

    /// What is bad is written anew by whoever has it and may write.
    pub(super) fn note_bad(&self, name: Name) {
        lock(&self.0.bad).insert(name);
    }

    pub(super) fn note_good(&self, name: &Name) {
        lock(&self.0.bad).remove(name);
    }

    /// Whether the lifecycle would take it before long.
    pub(super) fn is_aging(&self, modified: Option<SystemTime>) -> bool {
        self.0.expires.is_some_and(|expires| is_older(modified, expires / 2))
    }
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteStore({})", self.location())
    }
}

/// Whether something was written so long ago; false where nobody knows.
pub(super) fn is_older(modified: Option<SystemTime>, age: Duration) -> bool {
    modified.is_some_and(|time| time.elapsed().is_ok_and(|since| since > age))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Sets are sound whoever panicked beside them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
