use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::files::{self, copy_object, link_or_copy, move_file, replace_link, write_file};
use super::incoming::Incoming;
use super::pool::Pool;
use super::state::{self, List, Stated, encode};
use crate::digest::Digest;
use crate::index::{Bundles, RepositoryKind, bundle};
use crate::publish::content::Content;
use crate::publish::draft::{Basis, Body, Draft, Listed};
use crate::publish::layout::Role;
use crate::publish::records::Bundled;
use crate::publish::{Edition, Generation, Progress, PublishError, Repository};
use crate::store::{LocalStore, Moment, Sighting};

/// Where a generation keeps what its indices are made from, in bundles named by their digests.
const RECORDS: &str = "records";
/// The list of a generation's files.
const FILES: &str = "files.json";

/// Where one repository lives.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub prefix: String,
    pub dir: PathBuf,
    pub last_read: LastRead,
}

/// The generation that was last read of each repository, with what its file looked like. It never changes, and a plan, its run and the
/// publish all ask for it.
pub(super) type LastRead = Arc<Mutex<HashMap<PathBuf, (Sighting, Generation)>>>;

impl Place {
    fn generations(&self) -> PathBuf {
        self.dir.join(".generations")
    }

    fn generation(&self, id: &str) -> PathBuf {
        self.generations().join(id)
    }

    /// Where files wait to be put in their places.
    fn incoming(&self) -> PathBuf {
        self.generations().join("incoming")
    }

    /// The live generation, of either kind.
    pub fn state(&self) -> Result<Option<Generation>, PublishError> {
        for kind in RepositoryKind::ALL {
            if let Some(live) = self.state_behind(&self.dir.join(kind.metadata()))? {
                return Ok(Some(live));
            }
        }
        Ok(None)
    }

    fn state_behind(&self, link: &Path) -> Result<Option<Generation>, PublishError> {
        let foreign = || PublishError::Foreign {
            path: link.display().to_string(),
            expected: "a symbolic link into .generations, or nothing",
        };
        let target = match fs::read_link(link) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(foreign()),
            Err(error) => return Err(PublishError::io("read", link)(error)),
        };
        let id = target.strip_prefix(".generations").ok().and_then(Path::parent).and_then(Path::to_str);
        self.read(id.ok_or_else(foreign)?)?.ok_or_else(foreign).map(Some)
    }

    /// A generation; `None` if it is gone.
    pub fn read(&self, id: &str) -> Result<Option<Generation>, PublishError> {
        let now = Moment::now();
        let Some(stated) = Stated::open(&self.generation(id))? else { return Ok(None) };
        let seen = stated.seen;
        let mut last_read = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = last_read.get(&self.dir).filter(|(known, _)| *known == seen) {
            return Ok(Some(known.clone()));
        }
        let generation = stated.read()?;
        if seen.is_before(now) {
            last_read.insert(self.dir.clone(), (seen, generation.clone()));
        }
        Ok(Some(generation))
    }

    fn bundle(&self, id: &str, bundle: Digest) -> PathBuf {
        self.generation(id).join(RECORDS).join(bundle::file_name(bundle))
    }

    /// The bundles that a generation is made from.
    fn bundles(&self, id: &str) -> Result<Vec<Digest>, PublishError> {
        let room = self.generation(id).join(RECORDS);
        let entries = match fs::read_dir(&room) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(PublishError::io("list", &room))?,
        };
        let named = |entry: fs::DirEntry| {
            bundle::named(&entry.file_name()).ok_or_else(|| PublishError::Bundle(entry.path()))
        };
        entries.map(|entry| named(entry.map_err(PublishError::io("list", &room))?)).collect()
    }

    /// Puts them into the store, as far as they are missing there, and names them.
    pub fn fetch_bundles(&self, id: &str, store: &LocalStore) -> Result<Vec<Digest>, PublishError> {
        let bundles = self.bundles(id)?;
        for bundle in bundles.iter().filter(|bundle| !store.contains(**bundle)) {
            let path = self.bundle(id, *bundle);
            let bytes = fs::read(&path).map_err(PublishError::io("read", &path))?;
            if store.put(&bytes)? != *bundle {
                return Err(PublishError::Bundle(path));
            }
        }
        Ok(bundles)
    }

    /// The files of a generation, each with its place on the disk.
    pub fn files(&self, generation: &Generation) -> Result<Vec<(PathBuf, Listed)>, PublishError> {
        let path = self.generation(&generation.id).join(FILES);
        let fault = |reason: String| PublishError::State { path: path.display().to_string(), reason };
        let bytes =
            fs::read(&path).map_err(|error| fault(format!("{error}; the next publish writes one")))?;
        let files: Vec<Listed> = serde_json::from_slice(&bytes).map_err(|error| fault(error.to_string()))?;
        let place = |file: Listed| match file.role {
            Role::Package => (self.dir.join(&file.path), file),
            _ => {
                let below = generation.kind.in_generation(&file.path, &generation.id);
                (self.generation(&generation.id).join(below), file)
            }
        };
        Ok(generation.files(files).into_iter().map(place).collect())
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
        Content::merge(self.live.as_ref(), repository, &self.place.dir.display().to_string(), now)
    }

    /// Writes the package files and the whole generation beside the live one. Nobody sees it yet.
    pub fn prepare(
        self,
        content: Content,
        edition: &Edition<'_>,
        retention: u64,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Prepared, PublishError> {
        let live = self.live.as_ref();
        let (date, store) = (Generation::next_date(live, edition.now), edition.store);
        let unseen = self.begin(&Generation::id_of(&content, date), date)?;
        let basis =
            Basis { live, prefix: &self.place.prefix, edition, shelf: &unseen.incoming, date, retention };
        let bundles = live.map_or(Ok(Vec::new()), |live| self.place.fetch_bundles(&live.id, store))?;
        let records = Bundles::new(store, content.bundles.iter().chain(&bundles).copied());

        // What asks nothing of the indices is done while they are compressed.
        let (draft, beside) = rayon::join(
            || Draft::new(&content, &basis, &|record| Ok(records.record(record)?)),
            || {
                let before = live.map(|live| (live, bundles.clone()));
                let bundled = Bundled::after(before, &content, &records, store)?;
                let pool = Pool::look(&self.place.dir, &content, live)?;
                pool.begin(&unseen.incoming, store)?;
                let dir = live.map(|live| self.place.generation(&live.id));
                let live = live.zip(dir.as_deref());
                let lists = state::write_packages(&content.packages, &unseen.dir, live, unseen.date)?;
                Ok::<_, PublishError>((bundled, pool, lists))
            },
        );
        let (draft, (bundled, pool, lists)) = (draft?, beside?);
        pool.fill(&self.place.prefix, &unseen.incoming, store, progress)?;

        let prepared = Prepared { draft, content, room: self, unseen };
        prepared.write_files()?;
        prepared.keep_earlier()?;
        prepared.write_bundles(&bundled.bundles, store)?;
        prepared.write_state(lists)?;
        prepared.unseen.incoming.flush()?;
        Ok(prepared)
    }

    /// Removes what a killed publisher left, perhaps under the very same name.
    fn begin(&self, id: &str, date: u64) -> Result<Unseen, PublishError> {
        let live = self.live.as_ref();
        let known = |id: &str| live.is_some_and(|live| live.id == id || live.earlier.contains_key(id));
        for path in self.directories()? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !known(name) || name == id {
                files::remove_dir(&path)?;
            }
        }
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(date);
        let (dir, incoming) = (self.place.generation(id), Incoming::new(self.place.incoming(), date)?);
        Ok(Unseen { dir, date, incoming, is_committed: false })
    }

    /// Removes what killed publishers left, and generations that were live before `since`. Gives what it removed.
    pub fn collect_before(&self, since: u64) -> Result<Vec<PathBuf>, PublishError> {
        let Some(live) = &self.live else { return Ok(Vec::new()) };
        let is_kept = |id: &str| id == live.id || live.earlier.get(id).is_some_and(|until| *until >= since);
        let mut removed = self.directories()?;
        removed.retain(|path| !is_kept(path.file_name().and_then(|name| name.to_str()).unwrap_or_default()));
        removed.iter().try_for_each(|path| files::remove_dir(path))?;
        Ok(removed)
    }

    fn directories(&self) -> Result<Vec<PathBuf>, PublishError> {
        let room = self.place.generations();
        let entries = fs::read_dir(&room).map_err(PublishError::io("list", &room))?;
        let paths = entries.collect::<Result<Vec<_>, _>>().map_err(PublishError::io("list", &room))?;
        Ok(paths.into_iter().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
    }
}

/// The directory of a generation that nobody sees yet; it is removed if nobody ever does.
struct Unseen {
    dir: PathBuf,
    /// The time of modification of its files. A web server tells by that, in whole seconds, whether a client has one already:
    /// dates grow with each generation, also where two follow within a second or the clock was put back.
    date: SystemTime,
    incoming: Incoming,
    is_committed: bool,
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if !self.is_committed {
            // What cannot be removed now is removed by the next publish.
            let _ = files::remove_dir(&self.dir);
        }
    }
}

/// A generation that waits to be committed.
pub(super) struct Prepared {
    draft: Draft,
    pub content: Content,
    pub room: Room,
    unseen: Unseen,
}

impl Prepared {
    /// What is to be live.
    pub fn generation(&self) -> &Generation {
        &self.draft.generation
    }

    fn kind(&self) -> RepositoryKind {
        self.generation().kind
    }

    /// Everything of the generation that is no package.
    fn write_files(&self) -> Result<(), PublishError> {
        let Unseen { dir, date, incoming, .. } = &self.unseen;
        let mut written: HashMap<Digest, PathBuf> = HashMap::new();
        for file in &self.draft.files {
            let path = dir.join(self.kind().in_generation(&file.path, &self.generation().id));
            match (&file.body, written.get(&file.object)) {
                (Body::Bytes(bytes), _) => write_file(&path, bytes, *date)?,
                (Body::Object, Some(same)) => link_or_copy(same, &path)?,
                (Body::Object, None) => {
                    move_file(&incoming.object(file.object), &path)?;
                    written.insert(file.object, path);
                }
            }
        }
        Ok(())
    }

    /// What of earlier generations' metadata their clients may still ask for.
    fn keep_earlier(&self) -> Result<(), PublishError> {
        let Some(live) = &self.room.live else { return Ok(()) };
        let live = self.room.place.generation(&live.id).join(self.kind().linked());
        let own = self.unseen.dir.join(self.kind().linked());
        let mut earlier = self.generation().by_hash.iter().filter(|(_, until)| until.is_some());
        earlier.try_for_each(|(path, _)| link_or_copy(&live.join(path), &own.join(path)))
    }

    /// What the next publish makes the indices from.
    fn write_bundles(&self, bundles: &[Digest], store: &LocalStore) -> Result<(), PublishError> {
        let place = &self.room.place;
        bundles.iter().try_for_each(|bundle| {
            let to = place.bundle(&self.generation().id, *bundle);
            let before = self.room.live.as_ref().map(|live| place.bundle(&live.id, *bundle));
            match before.filter(|path| path.exists()) {
                Some(before) => link_or_copy(&before, &to),
                None => copy_object(store, *bundle, &to),
            }
        })
    }

    fn write_state(&self, packages: Vec<List>) -> Result<(), PublishError> {
        let Unseen { dir, date, .. } = &self.unseen;
        state::write_state(self.generation(), packages, dir, *date)?;
        write_file(&dir.join(FILES), &encode(&self.draft.listed(), dir)?, *date)
    }

    /// One rename, and everyone sees the new generation.
    pub fn commit(mut self) -> Result<Self, PublishError> {
        let place = self.room.place.clone();
        let staging = self.unseen.incoming.free();
        let kind = self.kind();
        // Through the link, these names follow the commit; before the first one they dangle.
        let keys: &[&str] = if self.generation().keyring.is_some() { &["key.asc", "key.gpg"] } else { &[] };
        let subscriptions = self.generation().subscriptions.iter().map(String::as_str);
        let own = keys.iter().copied().chain(subscriptions);
        let own = own.map(|name| (name, format!("{}/../{name}", kind.metadata())));
        let followers = kind.followers().iter().map(|(name, target)| (*name, (*target).to_owned()));
        for (name, target) in own.chain(followers) {
            let link = place.dir.join(name);
            if fs::read_link(&link).ok().as_deref() != Some(Path::new(&target)) {
                replace_link(Path::new(&target), &link, &staging)?;
            }
        }
        let target = Path::new(".generations").join(&self.generation().id).join(kind.linked());
        replace_link(&target, &place.dir.join(kind.metadata()), &staging)?;
        self.unseen.is_committed = true;
        files::flush_dir(&place.dir)?;
        Ok(self)
    }

    /// Removes generations that are past retention, and names that lead nowhere any more. The
    /// commit stands, whatever happens here.
    pub fn collect(&self, progress: &mut dyn FnMut(Progress<'_>)) {
        let earlier = self.room.live.iter().flat_map(|live| &live.subscriptions);
        for name in earlier.filter(|name| !self.generation().subscriptions.contains(name)) {
            let _ = fs::remove_file(self.room.place.dir.join(name));
        }
        let keep = |path: &Path| {
            let id = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            id == self.generation().id || self.generation().earlier.contains_key(id)
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
