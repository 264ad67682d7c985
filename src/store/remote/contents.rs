//! What lies in the bucket.

use std::time::SystemTime;

use serde::Serialize;

use super::RemoteStore;
use super::lookup::run;
use super::record::{HISTORY, Name, OBJECTS, PACKS, RESULTS};
use crate::s3::S3Error;

/// What is in a remote store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RemoteStats {
    /// Results of actions.
    pub results: u64,
    /// Packs of small objects.
    pub packs: u64,
    /// Bytes of all packs, compressed.
    pub pack_bytes: u64,
    /// Objects that lie alone.
    pub objects: u64,
    /// Their bytes, as they lie there.
    pub object_bytes: u64,
    /// Nodes of which something is remembered.
    pub histories: u64,
}

/// Something in the bucket.
pub(super) struct Lying {
    pub name: Name,
    pub size: u64,
    pub modified: Option<SystemTime>,
}

impl RemoteStore {
    /// Counts what is there.
    pub async fn stats(&self) -> Result<RemoteStats, S3Error> {
        let mut stats = RemoteStats::default();
        for room in [RESULTS, PACKS, OBJECTS, HISTORY] {
            for Lying { name, size, .. } in self.lying(room).await? {
                match name {
                    Name::Result(_) => stats.results += 1,
                    Name::History(_) => stats.histories += 1,
                    Name::Pack(_) => {
                        (stats.packs, stats.pack_bytes) = (stats.packs + 1, stats.pack_bytes + size)
                    }
                    Name::Object(..) => {
                        (stats.objects, stats.object_bytes) = (stats.objects + 1, stats.object_bytes + size);
                    }
                }
            }
        }
        Ok(stats)
    }

    /// What is in one directory. What forge did not put there is passed over.
    pub(super) async fn lying(&self, room: &'static str) -> Result<Vec<Lying>, S3Error> {
        let bucket = self.0.bucket.clone();
        let listed = run(async move { bucket.list(&format!("{room}/")).await }).await;
        let listed = listed.unwrap_or_else(|| Ok(Vec::new()))?;
        let lying = listed.into_iter().filter_map(|listed| {
            Some(Lying { name: Name::parse(&listed.name)?, size: listed.size, modified: listed.modified })
        });
        Ok(lying.collect())
    }
}
