use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::PublishError;
use super::directory::{Progress, Repository};
use super::files::{self, copy_object, link_or_copy, replace_link, write_file};
use super::generation::{Generation, published_packages};
use crate::digest::Digest;
use crate::index::apt::{dated, stanzas};
use crate::keys::SigningKeys;
use crate::store::{Kind, LocalStore, Tree};

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

    fn dists(&self) -> PathBuf {
        self.dir.join("dists")
    }

    /// Where files wait to be put in their place by one step.
    fn incoming(&self) -> PathBuf {
        self.generations().join("incoming")
    }

    /// The live generation.
    pub fn state(&self) -> Result<Option<Generation>, PublishError> {
        let link = self.dists();
        let foreign = || PublishError::Foreign {
            path: link.clone(),
            expected: "a symbolic link into .generations, or nothing",
        };
        let target = match fs::read_link(&link) {
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

    /// What is live, if it is what the repository should be, signed by the same keys.
    pub fn current(
        &self,
        repository: &Repository,
        keys: Option<&SigningKeys>,
    ) -> Result<Option<Generation>, PublishError> {
        let (fingerprints, keyring) = signed_by(keys)?;
        let agrees = |live: &&Generation| {
            live.content == repository.content && live.fingerprints == fingerprints && live.keyring == keyring
        };
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
        repository: &Repository,
        keys: Option<&SigningKeys>,
        (now, retention): (u64, u64),
        store: &LocalStore,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Prepared, PublishError> {
        let tree = store.tree(repository.tree)?;
        let suites = suites(&tree)?;
        let own = tree.entries().iter().filter_map(|entry| entry.path.strip_prefix("dists/"));
        let own = own.filter(|path| path.contains("/by-hash/")).map(str::to_owned);
        let packages = published_packages(&tree, store)?;
        let content = repository.content;
        let mut generation = Generation::after(self.live.as_ref(), content, packages, own, now, retention);
        (generation.fingerprints, generation.keyring) = signed_by(keys)?;
        self.remove_leftovers(&generation)?;

        let prepared = Prepared { generation, room: self, committed: false };
        prepared.fill_pool(&tree, store, progress)?;
        prepared.write_indices(&tree, store)?;
        for (suite, release) in suites {
            prepared.write_release(&suite, &String::from_utf8_lossy(&store.get(release)?), keys, now)?;
        }
        prepared.write_keys(keys)?;
        prepared.write_state()?;
        files::flush_filesystem(&prepared.room.place.dir)?;
        Ok(prepared)
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

/// The Release file of each suite.
fn suites(tree: &Tree) -> Result<Vec<(String, Digest)>, PublishError> {
    let mut suites = Vec::new();
    for entry in tree.entries() {
        let reason = match (&entry.kind, entry.path.split('/').next()) {
            (Kind::Dir, _) => continue,
            (Kind::Symlink { .. }, _) => "a link is no file of a repository",
            (Kind::File { .. }, Some("pool")) => continue,
            (Kind::File { object, .. }, Some("dists")) => {
                suites.extend(suite_of_release(&entry.path).map(|suite| (suite.to_owned(), *object)));
                continue;
            }
            _ => "expected a path below pool/ or dists/",
        };
        return Err(PublishError::Tree { path: entry.path.clone(), reason });
    }
    match suites.is_empty() {
        true => Err(PublishError::Tree { path: "dists".into(), reason: "it holds no suite with a Release" }),
        false => Ok(suites),
    }
}

/// The suite, for `dists/<suite>/Release`.
fn suite_of_release(path: &str) -> Option<&str> {
    let suite = path.strip_prefix("dists/")?.strip_suffix("/Release")?;
    (!suite.contains('/')).then_some(suite)
}

fn signed_by(keys: Option<&SigningKeys>) -> Result<(Vec<String>, Option<Digest>), PublishError> {
    let Some(keys) = keys else { return Ok((Vec::new(), None)) };
    Ok((keys.fingerprints(), Some(Digest::of(&keys.public_binary()?))))
}

/// A generation that waits to be committed; it is removed if it never is.
pub(super) struct Prepared {
    pub generation: Generation,
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

    fn fill_pool(
        &self,
        tree: &Tree,
        store: &LocalStore,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), PublishError> {
        let live = self.room.live.iter().flat_map(|live| &live.packages);
        let known: HashMap<&str, Digest> = live.map(|one| (one.path.as_str(), one.object)).collect();
        let files: Vec<_> = tree.entries().iter().filter(|entry| entry.path.starts_with("pool/")).collect();
        for (at, entry) in files.iter().enumerate() {
            if let Kind::File { object, size } = entry.kind {
                // What the live generation names was compared when it came.
                let checked = known.get(entry.path.as_str()) == Some(&object);
                self.pool_file(&entry.path, object, size, checked, store)?;
                let prefix = &self.room.place.prefix;
                progress(Progress::Package { prefix, path: &entry.path, done: at + 1, total: files.len() });
            }
        }
        Ok(())
    }

    /// Creates a package file, or makes sure that the one there has the same bytes.
    fn pool_file(
        &self,
        path: &str,
        object: Digest,
        size: u64,
        checked: bool,
        store: &LocalStore,
    ) -> Result<(), PublishError> {
        let place = self.room.place.dir.join(path);
        if fs::symlink_metadata(&place).is_err() {
            let incoming = self.room.place.incoming().join(object.to_string());
            copy_object(store, object, &incoming)?;
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

    /// The files below `dists/`, and those that clients of earlier generations may still ask for.
    fn write_indices(&self, tree: &Tree, store: &LocalStore) -> Result<(), PublishError> {
        let mut written: HashMap<Digest, PathBuf> = HashMap::new();
        for entry in tree.entries().iter().filter(|entry| entry.path.starts_with("dists/")) {
            let Kind::File { object, .. } = entry.kind else { continue };
            if suite_of_release(&entry.path).is_some() {
                continue;
            }
            let path = self.dir().join(&entry.path);
            match written.get(&object) {
                Some(same) => link_or_copy(same, &path)?,
                None => {
                    copy_object(store, object, &path)?;
                    written.insert(object, path);
                }
            }
        }
        let Some(live) = &self.room.live else { return Ok(()) };
        let live = self.room.place.generation(&live.id).join("dists");
        let dists = self.dir().join("dists");
        let mut earlier = self.generation.by_hash.iter().filter(|(_, until)| until.is_some());
        earlier.try_for_each(|(path, _)| link_or_copy(&live.join(path), &dists.join(path)))
    }

    fn write_release(
        &self,
        suite: &str,
        release: &str,
        keys: Option<&SigningKeys>,
        now: u64,
    ) -> Result<(), PublishError> {
        self.check_identity(suite, release)?;
        let release = dated(release, self.generation.date);
        let dir = self.dir().join("dists").join(suite);
        write_file(&dir.join("Release"), release.as_bytes())?;
        if let Some(keys) = keys {
            write_file(&dir.join("InRelease"), keys.sign_cleartext(&release, now)?.as_bytes())?;
            write_file(&dir.join("Release.gpg"), keys.sign_detached(release.as_bytes(), now)?.as_bytes())?;
        }
        Ok(())
    }

    fn check_identity(&self, suite: &str, release: &str) -> Result<(), PublishError> {
        let Some(live) = &self.room.live else { return Ok(()) };
        let path = self.room.place.generation(&live.id).join("dists").join(suite).join("Release");
        let Ok(before) = fs::read_to_string(path) else { return Ok(()) };
        let value = |text: &str, field| {
            let stanza = stanzas(text).ok().and_then(|all| all.into_iter().next())?;
            stanza.get(field).map(str::to_owned)
        };
        for field in ["Origin", "Label", "Codename"] {
            let [before, after] = [&before, release].map(|text| value(text, field).unwrap_or_default());
            if before != after {
                let (prefix, suite) = (self.room.place.prefix.clone(), suite.to_owned());
                return Err(PublishError::Identity { prefix, suite, field, before, after });
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
        // Through `dists`, the names of the keys follow the commit; before the first one they dangle.
        let keys: &[&str] = if self.generation.keyring.is_some() { &["key.asc", "key.gpg"] } else { &[] };
        for key in keys {
            let (target, link) = (Path::new("dists/..").join(key), place.dir.join(key));
            if fs::read_link(&link).ok().as_ref() != Some(&target) {
                replace_link(&target, &link, &staging)?;
            }
        }
        let target = Path::new(".generations").join(&self.generation.id).join("dists");
        replace_link(&target, &place.dists(), &staging)?;
        self.committed = true;
        files::flush_dir(&place.dir)?;
        Ok(self)
    }

    /// Removes generations that are past retention. The commit stands, whatever happens here.
    pub fn collect(&self, progress: &mut dyn FnMut(Progress<'_>)) {
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
