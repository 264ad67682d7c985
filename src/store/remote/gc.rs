//! Room is made: what was not used lately goes, and what nothing names any more.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use serde::Serialize;

use super::RemoteStore;
use super::contents::Lying;
use super::lookup::run;
use super::record::{HISTORY, LONGEST, Name, OBJECTS, PACKS, RESULTS, Record};
use super::remote_store::is_older;
use crate::s3::S3Error;

/// How old an object is at least that nothing names and that is removed. A result that is on its way up
/// names its objects at its end; it takes less than this.
const YOUNG: Duration = Duration::from_secs(24 * 3600);
/// How many requests are on their way at a time.
const BESIDE: usize = 32;

/// What a gc removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RemoteGc {
    /// Results that were not used lately.
    pub results: u64,
    /// Objects and packs that no remaining result names.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl RemoteStore {
    /// Removes results that were not used for `age`, and what no remaining one names. Safe beside builds:
    /// first the results go, and of objects only those that are older than a day, looked at again.
    pub async fn gc(&self, age: Duration) -> Result<RemoteGc, S3Error> {
        let store = self.clone();
        run(async move { store.gc_here(age, YOUNG).await }).await.unwrap_or_else(|| Ok(RemoteGc::default()))
    }

    pub(super) async fn gc_here(&self, age: Duration, young: Duration) -> Result<RemoteGc, S3Error> {
        let mut report = RemoteGc::default();
        let mut old = Vec::new();
        let mut kept = HashSet::new();
        let results = self.lying(RESULTS).await?;
        let (gone, results): (Vec<Lying>, Vec<Lying>) =
            results.into_iter().partition(|lying| is_older(lying.modified, age));
        old.extend(gone.into_iter().map(|lying| lying.name.to_string()));
        let read: Vec<_> = results.iter().map(|lying| self.names_of(lying.name).boxed()).collect();
        let mut read = stream::iter(read).buffer_unordered(BESIDE);
        while let Some(names) = read.next().await {
            match names? {
                Ok(names) => kept.extend(names),
                // It is a miss for everybody.
                Err(unreadable) => old.push(unreadable.to_string()),
            }
        }
        drop(read);
        report.results = old.len() as u64;
        let histories = self.lying(HISTORY).await?;
        let histories = histories.into_iter().filter(|lying| is_older(lying.modified, age));
        old.extend(histories.map(|lying| lying.name.to_string()));
        self.0.bucket.delete(&old).await?;
        for room in [PACKS, OBJECTS] {
            let lying = self.lying(room).await?;
            let unnamed = |lying: &Lying| !kept.contains(&lying.name) && is_older(lying.modified, young);
            let unnamed: Vec<Lying> = lying.into_iter().filter(unnamed).collect();
            for unnamed in unnamed.chunks(1000) {
                let unnamed = self.still_old(unnamed, young).await?;
                let names: Vec<String> = unnamed.iter().map(|(name, _)| name.to_string()).collect();
                self.0.bucket.delete(&names).await?;
                report.objects += names.len() as u64;
                report.bytes += unnamed.iter().map(|(_, size)| size).sum::<u64>();
            }
        }
        Ok(report)
    }

    /// A build may have begun to use one, and touched it.
    async fn still_old(&self, lying: &[Lying], young: Duration) -> Result<Vec<(Name, u64)>, S3Error> {
        let look = |lying: &Lying| {
            let (name, size, bucket) = (lying.name, lying.size, self.0.bucket.clone());
            async move { (name, size, bucket.head(&name.to_string()).await) }.boxed()
        };
        let looks: Vec<_> = lying.iter().map(look).collect();
        let mut looks = stream::iter(looks).buffer_unordered(BESIDE);
        let mut old = Vec::new();
        while let Some((name, size, found)) = looks.next().await {
            if found?.is_some_and(|(listed, _)| is_older(listed.modified, young)) {
                old.push((name, size));
            }
        }
        Ok(old)
    }

    /// What a result names; its own name where it cannot be believed.
    async fn names_of(&self, name: Name) -> Result<Result<Vec<Name>, Name>, S3Error> {
        let Name::Result(key) = name else { return Ok(Ok(Vec::new())) };
        let Some(download) = self.0.bucket.download(&name.to_string()).await? else {
            return Ok(Ok(Vec::new()));
        };
        let bytes = download.whole(LONGEST).await?;
        Ok(Record::read(&bytes, key).map(|record| record.places.names().collect()).map_err(|_| name))
    }
}
