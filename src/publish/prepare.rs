use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::content::Content;
use super::directory::{Progress, Repository};
use super::files::{self, copy_object, link_or_copy, replace_link, write_file};
use super::subscription::subscriptions;
use super::{Generation, PublishError, PublishedPackage};
use crate::digest::Digest;
use crate::index::RepositoryKind;
use crate::keys::SigningKeys;
use crate::store::{Kind, LocalStore, StoreError, Tree};

/// Where a generation keeps the records of its packages, each under its digest.
const RECORDS: &str = "records";

/// Where one repository lives.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub prefix: String,
    pub dir: PathBuf,
}

impl Place {
    fn generations(&self) -> PathBuf {
        self.dir.join(".generations")
    }

    fn generation(&self, id: &str) -> PathBuf {
        self.generations().join(id)
    }

    /// Where files wait to be put in their place by one step.
    fn incoming(&self) -> PathBuf {
        self.generations().join("incoming")
    }

    /// The live generation, of either kind.
    pub fn state(&self) -> Result<Option<Generation>, PublishError> {
        for kind in RepositoryKind::ALL {
            if let Some(live) = self.state_behind(&self.dir.join(kind.link()))? {
                return Ok(Some(live));
            }
        }
        Ok(None)
    }

    fn state_behind(&self, link: &Path) -> Result<Option<Generation>, PublishError> {
        let foreign = || PublishError::Foreign {
            path: link.to_owned(),
            expected: "a symbolic link into .generations, or nothing",
        };
        let target = match fs::read_link(link) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(foreign()),
            Err(error) => return Err(PublishError::io("read", link)(error)),
        };
        let id = target.strip_prefix(".generations").ok().and_then(Path::parent).and_then(Path::to_str);
        let path = self.generation(id.ok_or_else(foreign)?).join("state.json");
        let bytes = fs::read(&path).map_err(PublishError::io("read", &path))?;
        let state = Generation::from_json(&bytes);
        state.map(Some).map_err(|reason| PublishError::State { path, reason })
    }
}

/// A repository that nobody else publishes while this exists.
pub(super) struct Room {
    pub place: Place,
    pub live: Option<Generation>,
    _lock: File,
}

impl Room {
    /// Waits for whoever publishes now, and removes what killed publishers left.
    pub fn enter(place: Place, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Self, PublishError> {
        files::create_dirs(&place.generations())?;
        let path = place.generations().join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(PublishError::io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress(Progress::Waiting { prefix: &place.prefix });
                lock.lock().map_err(PublishError::io("lock", &path))?;
            }
            Err(TryLockError::Error(error)) => return Err(PublishError::io("lock", path)(error)),
        }
        let live = place.state()?;
        Ok(Self { place, live, _lock: lock })
    }

    /// What is to be live.
    pub fn content(&self, repository: &Repository, now: u64) -> Result<Content, PublishError> {
        Content::merge(self.live.as_ref(), repository, &self.place.dir, now)
    }

    /// What is live, if it is what the repository should be, signed by the same keys.
    pub fn current(
        &self,
        content: &Content,
        keys: Option<&SigningKeys>,
    ) -> Result<Option<Generation>, PublishError> {
        let (digest, seal) = (content.digest(), Seal::of(keys)?);
        let agrees = |live: &&Generation| live.content == digest && Seal::from(*live) == seal;
        Ok(self.live.as_ref().filter(agrees).cloned())
    }

    /// Whether the plan was made from what is live.
    pub fn check_expected(&self, repository: &Repository) -> Result<(), PublishError> {
        let found = self.live.as_ref().map(|live| live.id.clone());
        match found == repository.expected {
            true => Ok(()),
            false => Err(PublishError::Superseded {
                prefix: repository.prefix.clone(),
                expected: repository.expected.clone(),
                found,
            }),
        }
    }

    /// Writes the package files and the whole generation beside the live one. Nobody sees it yet.
    pub fn prepare(
        self,
        content: Content,
        keys: Option<&SigningKeys>,
        (now, retention): (u64, u64),
        store: &LocalStore,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Prepared, PublishError> {
        let live = self.live.as_ref();
        let tree = self.indices(&content, Generation::next_date(live, now), store)?;
        let kind = content.index.kind();
        let own = tree.entries().iter().filter_map(|entry| kind.named_by_digest(&entry.path));
        let own = own.map(str::to_owned);
        let mut generation = Generation::after(live, &content, own, now, retention);
        let subscriptions = self.subscriptions(&content, keys)?;
        generation.subscriptions = subscriptions.iter().map(|(name, _)| name.clone()).collect();
        Seal { fingerprints: generation.fingerprints, keyring: generation.keyring } = Seal::of(keys)?;
        self.remove_leftovers(&generation)?;

        let prepared = Prepared { generation, content, room: self, committed: false };
        prepared.fill_pool(&tree, store, progress)?;
        prepared.write_indices(&tree, store)?;
        prepared.write_records(store)?;
        prepared.write_mirrorlist()?;
        prepared.write_signatures(&tree, keys, now, store)?;
        prepared.write_keys(keys)?;
        for (name, text) in subscriptions {
            write_file(&prepared.dir().join(name), text.as_bytes())?;
        }
        prepared.write_state()?;
        // A web server tells by the time of a file, in whole seconds, whether a client has it already. Dates
        // grow with each generation, also where two follow within a second or the clock was put back.
        files::date_files(&prepared.dir(), prepared.generation.date)?;
        files::flush_filesystem(&prepared.room.place.dir)?;
        Ok(prepared)
    }

    /// The index of all packages, made anew from their records.
    fn indices(&self, content: &Content, date: u64, store: &LocalStore) -> Result<Tree, PublishError> {
        let live = self.live.iter().flat_map(|live| &live.packages);
        let here: HashSet<Digest> = live.map(|package| package.entry.record).collect();
        let bytes = |record: Digest| match here.contains(&record) {
            true => self.record(record),
            false => Ok(store.get(record)?),
        };
        let mut packages = Vec::with_capacity(content.packages.len());
        for PublishedPackage { entry, .. } in &content.packages {
            packages.push((entry, bytes(entry.record)?));
        }
        let updateinfo = content.updateinfo.map(|object| store.get(object)).transpose()?;
        Ok(content.index.build(&packages, updateinfo.as_deref(), date, store)?)
    }

    /// Nobody subscribes to what is not signed.
    fn subscriptions(
        &self,
        content: &Content,
        keys: Option<&SigningKeys>,
    ) -> Result<Vec<(String, String)>, PublishError> {
        let Some(keys) = keys else { return Ok(Vec::new()) };
        Ok(subscriptions(content, &self.place.prefix, &keys.public_armored()?))
    }

    /// A record of the live generation, checked against its digest.
    fn record(&self, record: Digest) -> Result<Vec<u8>, PublishError> {
        let id = self.live.as_ref().map_or("", |live| live.id.as_str());
        let path = self.place.generation(id).join(RECORDS).join(record.to_string());
        let bytes = fs::read(&path).map_err(PublishError::io("read", &path))?;
        match Digest::of(&bytes) == record {
            true => Ok(bytes),
            false => Err(StoreError::Damaged(record).into()),
        }
    }

    /// A killed publisher left a generation that never was live, perhaps under the very same name.
    fn remove_leftovers(&self, next: &Generation) -> Result<(), PublishError> {
        let live = self.live.as_ref();
        let known = |id: &str| live.is_some_and(|live| live.id == id || live.earlier.contains_key(id));
        for path in self.directories()? {
            let id = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !known(id) || id == next.id {
                files::remove_dir(&path)?;
            }
        }
        files::create_dirs(&self.place.incoming())
    }

    fn directories(&self) -> Result<Vec<PathBuf>, PublishError> {
        let room = self.place.generations();
        let entries = fs::read_dir(&room).map_err(PublishError::io("list", &room))?;
        let paths = entries.collect::<Result<Vec<_>, _>>().map_err(PublishError::io("list", &room))?;
        Ok(paths.into_iter().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
    }
}

/// Whose signatures a generation carries.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Seal {
    fingerprints: Vec<String>,
    keyring: Option<Digest>,
}

impl Seal {
    pub fn of(keys: Option<&SigningKeys>) -> Result<Self, PublishError> {
        let Some(keys) = keys else { return Ok(Self::default()) };
        let keyring = Some(Digest::of(&keys.public_binary()?));
        Ok(Self { fingerprints: keys.fingerprints(), keyring })
    }
}

impl From<&Generation> for Seal {
    fn from(generation: &Generation) -> Self {
        Self { fingerprints: generation.fingerprints.clone(), keyring: generation.keyring }
    }
}

/// A package file that is to be in the pool.
struct PoolFile<'a> {
    path: &'a str,
    object: Digest,
    size: u64,
    /// Whether the file under this path was compared before.
    checked: bool,
}

/// A generation that waits to be committed; it is removed if it never is.
pub(super) struct Prepared {
    pub generation: Generation,
    pub content: Content,
    pub room: Room,
    committed: bool,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.committed {
            // What cannot be removed now is removed by the next publish.
            let _ = files::remove_dir(&self.dir());
            let _ = files::remove_dir(&self.room.place.incoming());
        }
    }
}

impl Prepared {
    fn dir(&self) -> PathBuf {
        self.room.place.generation(&self.generation.id)
    }

    fn kind(&self) -> RepositoryKind {
        self.generation.kind
    }

    fn fill_pool(
        &self,
        tree: &Tree,
        store: &LocalStore,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), PublishError> {
        let live = || self.room.live.iter().flat_map(|live| &live.packages);
        let known: HashMap<&str, Digest> = live().map(|one| (one.path.as_str(), one.entry.object)).collect();
        let places: HashMap<Digest, &str> = live().map(|one| (one.entry.object, one.path.as_str())).collect();
        let files: Vec<_> =
            tree.entries().iter().filter(|entry| self.kind().is_package(&entry.path)).collect();
        for (at, entry) in files.iter().enumerate() {
            if let Kind::File { object, size } = entry.kind {
                // What the live generation names was compared when it came.
                let checked = known.get(entry.path.as_str()) == Some(&object);
                let file = PoolFile { path: &entry.path, object, size, checked };
                let elsewhere = places.get(&object).copied().filter(|_| !checked);
                self.pool_file(&file, elsewhere, store)?;
                let prefix = &self.room.place.prefix;
                progress(Progress::Package { prefix, path: &entry.path, done: at + 1, total: files.len() });
            }
        }
        Ok(())
    }

    /// Creates a package file, or makes sure that the one there has the same bytes. Settings that
    /// lay the pool out anew find it `elsewhere` in it, and perhaps no more in the store.
    fn pool_file(
        &self,
        file: &PoolFile<'_>,
        elsewhere: Option<&str>,
        store: &LocalStore,
    ) -> Result<(), PublishError> {
        let PoolFile { path, object, size, checked } = *file;
        let place = self.room.place.dir.join(path);
        if fs::symlink_metadata(&place).is_err() {
            let incoming = self.room.place.incoming().join(object.to_string());
            match elsewhere {
                Some(elsewhere) => link_or_copy(&self.room.place.dir.join(elsewhere), &incoming)?,
                None => copy_object(store, object, &incoming)?,
            }
            // Once it has its name it stays for ever, so its bytes come first.
            files::flush_file(&incoming)?;
            if files::create_only(&incoming, &place)? {
                return Ok(());
            }
        }
        let metadata = fs::symlink_metadata(&place).map_err(PublishError::io("read", &place))?;
        let same = metadata.is_file() && metadata.len() == size && (checked || files::holds(&place, object)?);
        if same { Ok(()) } else { Err(PublishError::PoolConflict { path: place }) }
    }

    /// The metadata, and what of earlier generations' metadata their clients may still ask for.
    fn write_indices(&self, tree: &Tree, store: &LocalStore) -> Result<(), PublishError> {
        let mut written: HashMap<Digest, PathBuf> = HashMap::new();
        for entry in tree.entries() {
            let Kind::File { object, .. } = entry.kind else { continue };
            let Some(place) = self.kind().place(&entry.path) else { continue };
            let path = self.dir().join(place);
            match written.get(&object) {
                Some(same) => link_or_copy(same, &path)?,
                None => {
                    copy_object(store, object, &path)?;
                    written.insert(object, path);
                }
            }
        }
        let Some(live) = &self.room.live else { return Ok(()) };
        let live = self.room.place.generation(&live.id).join(self.kind().linked());
        let own = self.dir().join(self.kind().linked());
        let mut earlier = self.generation.by_hash.iter().filter(|(_, until)| until.is_some());
        earlier.try_for_each(|(path, _)| link_or_copy(&live.join(path), &own.join(path)))
    }

    /// What the next publish makes the indices from.
    fn write_records(&self, store: &LocalStore) -> Result<(), PublishError> {
        let generation = |id: &str| self.room.place.generation(id).join(RECORDS);
        let earlier = self.room.live.as_ref().map(|live| generation(&live.id));
        let records = |packages: &[PublishedPackage]| -> BTreeSet<Digest> {
            packages.iter().map(|package| package.entry.record).collect()
        };
        let here = self.room.live.as_ref().map(|live| records(&live.packages)).unwrap_or_default();
        for record in records(&self.generation.packages) {
            let name = record.to_string();
            let path = generation(&self.generation.id).join(&name);
            match earlier.as_ref().filter(|_| here.contains(&record)) {
                Some(earlier) => link_or_copy(&earlier.join(name), &path)?,
                None => copy_object(store, record, &path)?,
            }
        }
        Ok(())
    }

    /// The one place where clients of a list of mirrors find the metadata: this generation's own,
    /// so that all of it and its signature are of one publish.
    fn write_mirrorlist(&self) -> Result<(), PublishError> {
        if self.kind() == RepositoryKind::Apt {
            return Ok(());
        }
        let no_url = || PublishError::NoUrl(self.room.place.prefix.clone());
        let url = self.content.url.as_ref().ok_or_else(no_url)?;
        let mirror = format!("{url}/gen/{}/\n", self.generation.id);
        write_file(&self.dir().join("mirrorlist"), mirror.as_bytes())
    }

    fn write_signatures(
        &self,
        tree: &Tree,
        keys: Option<&SigningKeys>,
        now: u64,
        store: &LocalStore,
    ) -> Result<(), PublishError> {
        let Some(keys) = keys else { return Ok(()) };
        for entry in tree.entries() {
            let Kind::File { object, .. } = entry.kind else { continue };
            let Some(path) = self.kind().place(&entry.path).map(|place| self.dir().join(place)) else {
                continue;
            };
            match path.file_name().and_then(|name| name.to_str()) {
                Some("Release") => {
                    let text = store.get(object)?;
                    let cleartext = keys.sign_cleartext(&String::from_utf8_lossy(&text), now)?;
                    write_file(&path.with_file_name("InRelease"), cleartext.as_bytes())?;
                    write_file(
                        &path.with_file_name("Release.gpg"),
                        keys.sign_detached(&text, now)?.as_bytes(),
                    )?;
                }
                Some("repomd.xml") => {
                    let signature = keys.sign_detached(&store.get(object)?, now)?;
                    write_file(&path.with_file_name("repomd.xml.asc"), signature.as_bytes())?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn write_keys(&self, keys: Option<&SigningKeys>) -> Result<(), PublishError> {
        if let Some(keys) = keys {
            write_file(&self.dir().join("key.asc"), keys.public_armored()?.as_bytes())?;
            write_file(&self.dir().join("key.gpg"), &keys.public_binary()?)?;
        }
        Ok(())
    }

    fn write_state(&self) -> Result<(), PublishError> {
        let path = self.dir().join("state.json");
        let json = serde_json::to_vec_pretty(&self.generation)
            .map_err(|error| PublishError::io("encode", &path)(error.into()))?;
        write_file(&path, &json)
    }

    /// One rename, and everyone sees the new generation.
    pub fn commit(mut self) -> Result<Self, PublishError> {
        let place = self.room.place.clone();
        let staging = place.incoming().join("link");
        let kind = self.kind();
        // Through the link, these names follow the commit; before the first one they dangle.
        let keys: &[&str] = if self.generation.keyring.is_some() { &["key.asc", "key.gpg"] } else { &[] };
        let subscriptions = self.generation.subscriptions.iter().map(String::as_str);
        let own = keys.iter().copied().chain(subscriptions);
        let own = own.map(|name| (name, format!("{}/../{name}", kind.link())));
        let followers = kind.followers().iter().map(|(name, target)| (*name, (*target).to_owned()));
        for (name, target) in own.chain(followers) {
            let link = place.dir.join(name);
            if fs::read_link(&link).ok().as_deref() != Some(Path::new(&target)) {
                replace_link(Path::new(&target), &link, &staging)?;
            }
        }
        let target = Path::new(".generations").join(&self.generation.id).join(kind.linked());
        replace_link(&target, &place.dir.join(kind.link()), &staging)?;
        self.committed = true;
        files::flush_dir(&place.dir)?;
        Ok(self)
    }

    /// Removes generations that are past retention, and names that lead nowhere any more. The
    /// commit stands, whatever happens here.
    pub fn collect(&self, progress: &mut dyn FnMut(Progress<'_>)) {
        let earlier = self.room.live.iter().flat_map(|live| &live.subscriptions);
        for name in earlier.filter(|name| !self.generation.subscriptions.contains(name)) {
            let _ = fs::remove_file(self.room.place.dir.join(name));
        }
        let keep = |path: &Path| {
            let id = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            id == self.generation.id || self.generation.earlier.contains_key(id)
        };
        for path in self.room.directories().unwrap_or_default() {
            if !keep(&path)
                && let Err(error) = files::remove_dir(&path)
            {
                progress(Progress::Uncollected { path: &path, error: &error });
            }
        }
    }
}
