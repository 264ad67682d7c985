use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use walkdir::WalkDir;

use super::files::remove_tree;
use super::ingest::hash_file;
use super::{ActionResult, Kind, LocalStore, StoreError};
use crate::digest::Digest;

/// What is in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreStats {
    /// Objects, and their bytes.
    pub objects: u64,
    /// Bytes of all objects.
    pub object_bytes: u64,
    /// Results of actions.
    pub results: u64,
    /// Checked-out trees.
    pub trees: u64,
    /// Bytes of all checked-out trees.
    pub tree_bytes: u64,
}

/// What `verify` found and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Objects that were read and hashed.
    pub checked: u64,
    /// Objects whose bytes were not those their names promise; removed.
    pub damaged: Vec<Digest>,
    /// Checked-out trees that are not what their names promise; removed.
    pub damaged_checkouts: u64,
    /// Results that name an object the store has not; removed.
    pub incomplete: u64,
}

/// What `gc` removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GcReport {
    /// Results that were not used lately.
    pub results: u64,
    /// Objects that no remaining result names.
    pub objects: u64,
    /// Bytes of those objects and of removed checkouts.
    pub bytes: u64,
}

impl LocalStore {
    /// Counts what is in the store.
    pub fn stats(&self) -> StoreStats {
        let mut stats = StoreStats::default();
        for (_, metadata) in self.records("objects") {
            stats.objects += 1;
            stats.object_bytes += metadata.len();
        }
        for (_, size) in self.small_objects().flat_map(|(_, written)| written.whole) {
            stats.objects += 1;
            stats.object_bytes += size;
        }
        stats.results = self.records("results").count() as u64;
        let trees = self.root().join("trees");
        stats.trees = fs::read_dir(&trees).map_or(0, |entries| entries.count() as u64);
        stats.tree_bytes = bytes_below(&trees);
        stats
    }

    /// Reads and hashes every object and every checkout, and removes what is damaged and the
    /// results that named it.
    pub fn verify(&self) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        for (digest, _) in self.records("objects").collect::<Vec<_>>() {
            let path = self.object_path(digest);
            report.checked += 1;
            if hash_file(&path)? != digest {
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
                report.damaged.push(digest);
            }
        }
        self.verify_small(&mut report)?;
        report.damaged_checkouts = self.drop_damaged_checkouts()?;
        for (key, _) in self.records("results").collect::<Vec<_>>() {
            let whole = |result| self.is_complete(&result) || self.is_elsewhere(key);
            if !self.result(key).is_some_and(whole) {
                let path = self.result_path(key);
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
                report.incomplete += 1;
            }
        }
        Ok(report)
    }

    /// Small ones that are damaged are seen by nobody; they go away where nobody adds others meanwhile.
    fn verify_small(&self, report: &mut VerifyReport) -> Result<(), StoreError> {
        self.forget_small();
        let alone = self.try_own()?;
        for (first, written) in self.small_objects() {
            report.checked += (written.whole.len() + written.torn.len()) as u64;
            if alone.is_some() && !written.torn.is_empty() {
                self.retain_small(first, |_| true)?;
            }
            report.damaged.extend(written.torn);
        }
        Ok(())
    }

    /// A checkout is a copy: damage of it shows in no object.
    fn drop_damaged_checkouts(&self) -> Result<u64, StoreError> {
        let room = self.root().join("trees");
        let entries = fs::read_dir(&room).map_err(StoreError::io("list", &room))?;
        let mut dropped = 0;
        for entry in entries.flatten() {
            if !self.is_checkout_whole(&entry.path()) {
                remove_tree(&entry.path())?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    pub(super) fn is_checkout_whole(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Ok(tree) = name.parse().map_err(drop).and_then(|digest| self.tree(digest).map_err(drop)) else {
            return false;
        };
        tree.entries().iter().all(|entry| {
            let path = path.join(&entry.path);
            match &entry.kind {
                Kind::File { object, .. } => hash_file(&path).is_ok_and(|digest| digest == *object),
                Kind::Symlink { target } => fs::read_link(&path).is_ok_and(|link| link == Path::new(target)),
                Kind::Dir => path.is_dir(),
            }
        })
    }

    /// Notes that a result was used now.
    pub fn touch_result(&self, key: Digest) {
        // Losing this costs a rebuild after the next gc, never a wrong result.
        if let Ok(file) = fs::File::options().write(true).open(self.result_path(key)) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// Removes results that were not used for `age`, checkouts likewise, and the objects that
    /// no remaining result names. `None` while another process uses the store.
    pub fn gc(&self, age: Duration) -> Result<Option<GcReport>, StoreError> {
        let Some(_exclusive) = self.try_own()? else {
            return Ok(None);
        };
        let mut report = GcReport::default();
        let mut kept = self.drop_old_results(age, &mut report)?;
        for room in ["failures", "facts", "pieces", "places", "earlier", "answers", "seen"] {
            self.drop_old_records(room, age)?;
        }
        self.drop_old_history(age)?;
        let failures = self.records("failures").filter_map(|(key, _)| self.failure(key)?.log);
        kept.extend(failures);
        self.drop_old_checkouts(age, &mut report)?;
        self.drop_unnamed_objects(&kept, &mut report)?;
        self.drop_key_locks();
        Ok(Some(report))
    }

    fn drop_old_results(&self, age: Duration, report: &mut GcReport) -> Result<HashSet<Digest>, StoreError> {
        let mut kept = HashSet::new();
        for (key, metadata) in self.records("results").collect::<Vec<_>>() {
            match self.result(key) {
                Some(result) if !is_older(&metadata, age) => self.name_objects(&result, &mut kept),
                _ => {
                    let path = self.result_path(key);
                    fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
                    report.results += 1;
                }
            }
        }
        Ok(kept)
    }

    /// What a record tells is found out again where it is needed.
    fn drop_old_records(&self, room: &str, age: Duration) -> Result<(), StoreError> {
        for (name, metadata) in self.records(room) {
            if is_older(&metadata, age) {
                let path = self.sharded(room, name);
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn name_objects(&self, result: &ActionResult, named: &mut HashSet<Digest>) {
        named.extend(result.log);
        for &digest in result.outputs.values() {
            named.insert(digest);
            if let Ok(tree) = self.tree(digest) {
                named.extend(tree.files().map(|(object, _)| object));
            }
        }
    }

    fn drop_old_checkouts(&self, age: Duration, report: &mut GcReport) -> Result<(), StoreError> {
        let room = self.root().join("trees");
        let entries = fs::read_dir(&room).map_err(StoreError::io("list", &room))?;
        for entry in entries.flatten() {
            if entry.metadata().is_ok_and(|metadata| is_older(&metadata, age)) {
                report.bytes += bytes_below(&entry.path());
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    fn drop_unnamed_objects(&self, kept: &HashSet<Digest>, report: &mut GcReport) -> Result<(), StoreError> {
        for (digest, metadata) in self.records("objects").collect::<Vec<_>>() {
            if !kept.contains(&digest) {
                let path = self.object_path(digest);
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
                report.objects += 1;
                report.bytes += metadata.len();
            }
        }
        for (first, written) in self.small_objects() {
            let unnamed: Vec<_> = written.whole.iter().filter(|(digest, _)| !kept.contains(digest)).collect();
            if !unnamed.is_empty() || !written.torn.is_empty() {
                self.retain_small(first, |digest| kept.contains(&digest))?;
            }
            report.objects += unnamed.len() as u64;
            report.bytes += unnamed.iter().map(|(_, size)| size).sum::<u64>();
        }
        Ok(())
    }

    /// Nobody holds one while this process alone uses the store.
    fn drop_key_locks(&self) {
        let locks = WalkDir::new(self.root().join("locks")).min_depth(1).into_iter().flatten();
        for lock in locks.filter(|lock| lock.file_name() != "store") {
            // One that stays costs an inode.
            let _ = fs::remove_file(lock.path());
        }
    }

    /// Every file of a sharded room, by the digest that is its name.
    pub(super) fn records(&self, room: &str) -> impl Iterator<Item = (Digest, fs::Metadata)> + use<> {
        WalkDir::new(self.root().join(room)).min_depth(2).max_depth(2).into_iter().flatten().filter_map(
            |entry| {
                let shard = entry.path().parent()?.file_name()?.to_str()?.to_owned();
                let digest = format!("{shard}{}", entry.file_name().to_str()?).parse().ok()?;
                Some((digest, entry.metadata().ok()?))
            },
        )
    }
}

fn is_older(metadata: &fs::Metadata, age: Duration) -> bool {
    // The change time counts too: a fresh checkout has an old modification time.
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(metadata.ctime().max(0) as u64);
    let modified = metadata.modified().unwrap_or(changed);
    let used = changed.max(modified);
    used.elapsed().is_ok_and(|since| since >= age)
}

fn bytes_below(path: &Path) -> u64 {
    WalkDir::new(path)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::put_result;

    fn store_with_result(root: &Path) -> (LocalStore, Digest, Digest) {
        let store = LocalStore::open(root.join("cache")).unwrap();
        let (key, object) = put_result(&store, root);
        (store, key, object)
    }

    #[test]
    fn gc_keeps_what_a_young_result_names_and_takes_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let (store, key, object) = store_with_result(dir.path());
        let loose = store.put(b"loose").unwrap();
        store.gc(Duration::from_secs(3600)).unwrap().unwrap();
        assert!(store.contains(object) && store.result(key).is_some() && !store.contains(loose));
        let report = store.gc(Duration::ZERO).unwrap().unwrap();
        assert_eq!((report.results, report.objects), (1, 2));
    }

    #[test]
    fn gc_keeps_the_log_of_a_young_failure_and_takes_old_records() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _, object) = store_with_result(dir.path());
        let (key, log) = (Digest::of(b"failed"), store.put(b"log").unwrap());
        store.put_failure(key, "node", "exit 1", Some(log)).unwrap();
        store.put_fact("length", object, &5).unwrap();
        store.gc(Duration::from_secs(3600)).unwrap().unwrap();
        assert!(store.contains(log) && store.failure(key).is_some());
        assert_eq!(store.fact("length", object), Some(5));
        assert!(store.remembers("node"));
        store.gc(Duration::ZERO).unwrap().unwrap();
        assert!(!store.contains(log) && store.failure(key).is_none());
        assert_eq!(store.fact::<u64>("length", object), None);
        assert!(!store.remembers("node"));
    }

    #[test]
    fn gc_waits_for_nobody_and_takes_nothing_beside_another_process() {
        let dir = tempfile::tempdir().unwrap();
        let (store, ..) = store_with_result(dir.path());
        let _other = LocalStore::open(dir.path().join("cache")).unwrap();
        assert_eq!(store.gc(Duration::ZERO).unwrap(), None);
    }

    #[test]
    fn verify_removes_a_damaged_object_and_the_result_that_named_it() {
        let dir = tempfile::tempdir().unwrap();
        let (store, key, object) = store_with_result(dir.path());
        store.damage(object);
        let report = store.verify().unwrap();
        assert_eq!((report.damaged, report.incomplete), (vec![object], 1));
        assert!(store.result(key).is_none());
    }

    #[test]
    fn verify_removes_a_checkout_that_is_not_its_tree() {
        let dir = tempfile::tempdir().unwrap();
        let (store, key, _) = store_with_result(dir.path());
        let tree = store.result(key).unwrap().outputs["root"];
        let checkout = store.checkout(tree).unwrap();
        assert_eq!(store.verify().unwrap().damaged_checkouts, 0);
        fs::write(checkout.join("file"), "bytez").unwrap();
        assert_eq!(store.verify().unwrap().damaged_checkouts, 1);
        assert!(!checkout.exists() && store.result(key).is_some());
    }
}
