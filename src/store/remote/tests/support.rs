use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::super::health::Said;
use super::super::push::{SendError, Sent};
use super::super::record::Name;
use super::super::{Access, RemoteStore};
use crate::digest::{Digest, Field, key_of_fields};
use crate::s3::testing::{ACCESS_KEY, BUCKET, SECRET_KEY, s3_server};
use crate::s3::{self, Body, Bucket, Condition, Location, Put, Service};
use crate::store::{ActionResult, Ingest, LocalStore};

pub const ALL: Access = Access { read: true, write: true };

/// A machine with a local store, and the store in the bucket as it sees it.
pub struct Machine {
    dir: tempfile::TempDir,
    pub local: Arc<LocalStore>,
    pub remote: RemoteStore,
}

/// A machine that shares what is at `place`.
pub fn machine(place: &str) -> Machine {
    machine_by(&s3_server().endpoint, place, ACCESS_KEY, SECRET_KEY, None)
}

pub fn machine_by(
    endpoint: &str,
    place: &str,
    access: &str,
    secret: &str,
    expires: Option<Duration>,
) -> Machine {
    let dir = tempfile::tempdir().unwrap();
    let local = Arc::new(LocalStore::open(dir.path().join("cache")).unwrap());
    let service = Service { endpoint: Some(endpoint.to_owned()), path_style: true, ..Service::default() };
    let location = Location { bucket: BUCKET.to_owned(), prefix: place.to_owned(), service };
    let (access, secret) = (access.to_owned(), secret.to_owned());
    let bucket = s3::wait(async move { Bucket::open_as(location, &access, &secret).await }).unwrap();
    let remote = RemoteStore::with_bucket(bucket, ALL, expires, local.clone());
    Machine { dir, local, remote }
}

impl Machine {
    /// Stores a result of the node `name` with one output `o` of these files.
    pub fn build(&self, name: &str, files: &[(&str, Vec<u8>)]) -> Digest {
        let out = self.dir.path().join(format!("out-{name}"));
        for (path, bytes) in files {
            let path = out.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let tree = self.local.ingest(&out, Ingest::Copy).unwrap();
        let action = vec![Field { path: "run".to_owned(), value: format!("make {name}") }];
        let key = key_of_fields(&action);
        let result = ActionResult {
            node: name.to_owned(),
            action,
            outputs: [("o".to_owned(), self.local.put_tree(&tree).unwrap())].into(),
            log: Some(self.local.put(format!("log of {name}").as_bytes()).unwrap()),
            duration_ms: 1234,
            runner: "sandbox".to_owned(),
        };
        self.local.put_result(key, &result).unwrap();
        key
    }

    pub fn send(&self, key: Digest) -> Result<Sent, SendError> {
        let remote = self.remote.clone();
        s3::wait(async move { remote.send(key).await })
    }

    /// Whether the result under `key` is known now.
    pub fn finds(&self, key: Digest) -> bool {
        let remote = self.remote.clone();
        s3::wait(async move { remote.look_up(vec![key]).await });
        self.local.result(key).is_some()
    }

    pub fn outputs(&self, key: Digest) -> BTreeMap<String, Digest> {
        self.local.result(key).unwrap().outputs
    }

    pub fn bring(&self, key: Digest) -> Result<(), String> {
        let (remote, outputs) = (self.remote.clone(), self.outputs(key));
        s3::wait(async move { remote.bring(key, outputs.into()).await })
    }

    /// Nothing is here whose name and content differ, and no result that names what nobody can give.
    pub fn assert_sound(&self) {
        let report = self.local.verify().unwrap();
        assert_eq!((report.damaged, report.incomplete), (Vec::new(), 0));
    }

    pub fn notices(&self) -> Vec<String> {
        let said = self.remote.take_said().into_iter();
        said.filter_map(|said| if let Said::Notice(text) = said { Some(text) } else { None }).collect()
    }

    pub fn bucket(&self) -> Bucket {
        self.remote.0.bucket.clone()
    }

    /// The names of everything in the bucket.
    pub fn names(&self) -> Vec<Name> {
        let bucket = self.bucket();
        let listed = s3::wait(async move { bucket.list("").await }).unwrap();
        listed.iter().map(|listed| Name::parse(&listed.name).unwrap()).collect()
    }

    pub fn read(&self, name: Name) -> Vec<u8> {
        let bucket = self.bucket();
        s3::wait(async move { bucket.get(&name.to_string()).await }).unwrap().unwrap().bytes
    }

    /// As somebody would who may write and means harm.
    pub fn write(&self, name: Name, bytes: Vec<u8>) {
        let bucket = self.bucket();
        let put = Put {
            name: name.to_string(),
            body: Body::Bytes(bytes),
            content_type: "text/plain",
            cache_control: None,
            condition: Condition::Always,
        };
        s3::wait(async move { bucket.put(put).await }).unwrap();
    }

    pub fn delete(&self, name: Name) {
        let bucket = self.bucket();
        s3::wait(async move { bucket.delete(&[name.to_string()]).await }).unwrap();
    }
}

/// Bytes that do not compress.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Small files, a large one that compresses and a large one that does not.
pub fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty", Vec::new()),
        ("small", b"small".to_vec()),
        ("sub/same", b"small".to_vec()),
        // More than goes into a record.
        ("many", noise(20_000, 3)),
        ("text", "all work and no play ".repeat(50_000).into_bytes()),
        ("noise", noise(700_000, 1)),
    ]
}
