//! Step 1: everything that no client looks at yet.

use std::collections::HashMap;
use std::path::PathBuf;

use super::headers::{IMMUTABLE, PRIVATE, content_type};
use super::live::{Live, fetch_bundles};
use super::manifest::{Manifest, bundle_name};
use super::probe::Probe;
use super::remote::Remote;
use crate::digest::Digest;
use crate::index::{Bundles, CatalogEntry, RepositoryKind, bundle};
use crate::publish::content::Content;
use crate::publish::draft::{Basis, Body, Draft, File, Listed};
use crate::publish::layout::Role;
use crate::publish::records::Bundled;
use crate::publish::{Edition, Effect, Generation, Progress, PublishError};
use crate::s3::{self, Condition, Put, Written};
use crate::store::{LocalStore, StoreError, hash_file};

/// What is sent from memory, in bytes: a few are on their way at a time.
const SMALL: u64 = 1 << 20;

/// A generation that is in the bucket, and nobody looks at it yet.
pub(super) struct Prepared {
    pub remote: Remote,
    pub prefix: String,
    pub live: Option<Live>,
    pub draft: Draft,
    pub manifest: Manifest,
    pub effect: Effect,
}

/// How a publish of one repository begins.
pub(super) struct Start<'a, 'm> {
    pub remote: Remote,
    pub prefix: &'a str,
    pub live: Option<Live>,
    pub edition: &'a Edition<'a>,
    /// In seconds.
    pub retention: u64,
    pub probe: &'a mut Probe<'m>,
}

impl Start<'_, '_> {
    /// Uploads what is not there.
    pub fn prepare(
        mut self,
        content: Content,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Prepared, PublishError> {
        if let Some(live) = &self.live {
            fetch_bundles(&self.remote, &live.manifest, self.edition.store)?;
        }
        // A killed publisher may have left another generation with the same id: then the next second's is taken.
        let mut date = Generation::next_date(self.live.as_ref().map(Live::generation), self.edition.now);
        let (draft, manifest) = loop {
            match self.write(&content, date, progress)? {
                Some(written) => break written,
                None => date += 1,
            }
        };
        let (remote, prefix, live) = (self.remote, self.prefix.to_owned(), self.live);
        Ok(Prepared { remote, prefix, live, draft, manifest, effect: content.effect })
    }

    /// Makes the generation of this date, and uploads what of it is not there. `None` if another one has its id.
    fn write(
        &mut self,
        content: &Content,
        date: u64,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<(Draft, Manifest)>, PublishError> {
        let Self { prefix, edition, retention, .. } = *self;
        let live = self.live.as_ref().map(Live::generation);
        let basis = Basis { live, prefix, edition, shelf: edition.store, date, retention };
        let bundles = self.live.iter().flat_map(|live| &live.manifest.records).chain(&content.bundles);
        let records = Bundles::new(edition.store, bundles.copied());
        let draft = Draft::new(content, &basis, &|record| Ok(records.record(record)?))?;
        let (manifest, own) = self.manifest(content, &draft, &records)?;
        // Until the decision nobody looks at any of it, so it goes beside each other.
        let uploads: Vec<Upload> = own.into_iter().chain(self.missing(content, &draft)?).collect();
        let total = (uploads.len(), uploads.iter().map(|upload| upload.size).sum::<u64>());
        let (mut done, mut is_taken) = ((0, 0), false);
        self.probe.require_fit()?;
        self.remote.for_each(
            uploads,
            |remote, upload| async move { upload.create(&remote).await },
            |created| {
                match created {
                    Created::Is { size } => done = (done.0 + 1, done.1 + size),
                    Created::IsTaken => is_taken = true,
                }
                progress(Progress::Objects { prefix, done, total });
            },
        )?;
        Ok((!is_taken).then_some((draft, manifest)))
    }

    /// What forge itself reads of a generation: its manifest, and bundles.
    fn manifest(
        &self,
        content: &Content,
        draft: &Draft,
        records: &Bundles<'_>,
    ) -> Result<(Manifest, Vec<Upload>), PublishError> {
        let mut uploads = Vec::new();
        let mut upload = |bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            uploads.push(Upload::own(bundle_name(digest), bytes, Naming::Content));
            digest
        };
        let live = self.live.as_ref().map(|live| (live.generation(), live.manifest.records.clone()));
        let Bundled { bundles, new } = Bundled::after(live, content, records, self.edition.store)?;
        if let Some(new) = new {
            upload(new);
        }
        let manifest = Manifest::new(draft, bundles, Digest::of(b""));
        let alone = |file: &&File| !file.role.is_immutable() && manifest.twin(&Listed::from(*file)).is_none();
        let mut bodies = Vec::new();
        for file in draft.files.iter().filter(alone) {
            bodies.push((file.object, bytes_of(file, self.edition.store)?));
        }
        let bodies = bodies.iter().map(|(digest, bytes)| (*digest, bytes.as_slice()));
        let bodies = upload(bundle::pack(bodies)?);
        let manifest = Manifest { bodies, ..manifest };
        let name = Manifest::name(&draft.generation.id);
        let bytes = manifest.to_bytes().map_err(PublishError::io("encode", &name))?;
        uploads.push(Upload::own(name, bytes, Naming::Generation));
        Ok((manifest, uploads))
    }

    /// What of the packages and of the draft's immutable files is not in the bucket.
    fn missing(&self, content: &Content, draft: &Draft) -> Result<Vec<Upload>, PublishError> {
        let live = self.live.as_ref().map(Live::generation);
        let pool = live.map(Generation::pool).unwrap_or_default();
        let places = live.map(Generation::places).unwrap_or_default();
        let mut missing = Vec::new();
        for package in content.pool()? {
            let CatalogEntry { object, size, .. } = package.entry;
            if pool.get(package.path.as_str()) != Some(&object) {
                let source = self.source(object, places.get(&object).copied())?;
                missing.push(upload((&package.path, &package.path), (object, size), source, Naming::Package));
            }
        }
        let kind = draft.generation.kind;
        let is_live = |file: &File| {
            let (Some(live), Some(name)) = (live, kind.named_by_digest(&file.path)) else { return false };
            // What only earlier generations list may be collected at any time.
            live.by_hash.get(name) == Some(&None)
        };
        // Names by hash tell nothing of what is in the file; that of the plain file does.
        let plain: HashMap<Digest, &str> = draft
            .files
            .iter()
            .filter(|file| kind == RepositoryKind::Apt && file.role == Role::Plain)
            .map(|file| (file.object, file.path.as_str()))
            .collect();
        for file in draft.with_role(Role::Named).filter(|file| !is_live(file)) {
            let named = plain.get(&file.object).copied().unwrap_or(&file.path);
            let naming = match kind.named_by_digest(&file.path) {
                Some(_) => Naming::Content,
                None => Naming::Generation,
            };
            let source = match &file.body {
                Body::Bytes(bytes) => Source::Bytes(bytes.clone()),
                Body::Object => self.source(file.object, None)?,
            };
            missing.push(upload((&file.path, named), (file.object, file.size), source, naming));
        }
        Ok(missing)
    }

    /// From where an object is taken, which is perhaps `elsewhere` in the bucket.
    fn source(&self, object: Digest, elsewhere: Option<&str>) -> Result<Source, StoreError> {
        let store = self.edition.store;
        Ok(match elsewhere {
            _ if store.contains(object) => Source::Object(store.object_file(object)?),
            Some(elsewhere) => Source::Elsewhere(elsewhere.to_owned()),
            None => Source::There,
        })
    }
}

/// Something that clients read: its name, another one that tells what it is, its digest and its size.
fn upload(
    (name, named): (&str, &str),
    (object, size): (Digest, u64),
    source: Source,
    naming: Naming,
) -> Upload {
    let (content_type, cache_control) = (content_type(named), IMMUTABLE);
    Upload { name: name.to_owned(), naming, object, size, source, content_type, cache_control }
}

/// The bytes of a file of a draft.
pub(super) fn bytes_of(file: &File, store: &LocalStore) -> Result<Vec<u8>, StoreError> {
    match &file.body {
        Body::Bytes(bytes) => Ok(bytes.clone()),
        Body::Object => store.get(file.object),
    }
}

/// An object that never changes, to be created.
struct Upload {
    name: String,
    naming: Naming,
    object: Digest,
    size: u64,
    source: Source,
    content_type: &'static str,
    cache_control: &'static str,
}

/// What the name of an object is taken from: whose fault it is if other bytes are there.
#[derive(Clone, Copy)]
enum Naming {
    /// The package in it.
    Package,
    /// Its bytes.
    Content,
    /// The id of the generation that it is of.
    Generation,
}

/// What became of an object that was to be created.
enum Created {
    /// It is there now, or was before.
    Is { size: u64 },
    /// Another generation has the same id.
    IsTaken,
}

enum Source {
    Bytes(Vec<u8>),
    /// A file of the store.
    Object(PathBuf),
    /// Under another name in the bucket: settings may lay out the pool anew.
    Elsewhere(String),
    /// In the bucket, under its own name: an earlier generation had it.
    There,
}

impl Upload {
    /// Something that forge alone reads.
    fn own(name: String, bytes: Vec<u8>, naming: Naming) -> Self {
        Self {
            object: Digest::of(&bytes),
            size: bytes.len() as u64,
            source: Source::Bytes(bytes),
            content_type: "application/zstd",
            cache_control: PRIVATE,
            name,
            naming,
        }
    }

    /// Creates it, or makes sure that what is there has the same bytes.
    async fn create(self, remote: &Remote) -> Result<Created, PublishError> {
        let size = self.size;
        let body = match self.source {
            Source::There => {
                return match remote.digest(&self.name).await? {
                    Some(found) if found == self.object => Ok(Created::Is { size }),
                    Some(_) => Err(PublishError::pool_conflict(&remote.place(), &self.name)),
                    None => Err(StoreError::Missing(self.object).into()),
                };
            }
            Source::Bytes(bytes) => s3::Body::Bytes(bytes),
            Source::Object(path) => checked(path, self.object, size).await?,
            Source::Elsewhere(name) => {
                let found = remote.get(&name).await?.ok_or(StoreError::Damaged(self.object))?;
                match Digest::of(&found.bytes) == self.object {
                    true => s3::Body::Bytes(found.bytes),
                    false => return Err(PublishError::pool_conflict(&remote.place(), &name)),
                }
            }
        };
        let put = Put {
            name: self.name.clone(),
            body,
            content_type: self.content_type,
            cache_control: Some(self.cache_control),
            condition: Condition::Absent,
        };
        if let Written::Done(_) = remote.put(put, size).await? {
            return Ok(Created::Is { size });
        }
        // It may be one's own, if an answer was lost.
        let is_same = remote.digest(&self.name).await? == Some(self.object);
        match self.naming {
            _ if is_same => Ok(Created::Is { size }),
            Naming::Package => Err(PublishError::pool_conflict(&remote.place(), &self.name)),
            Naming::Content => Err(PublishError::Foreign {
                path: remote.url(&self.name),
                expected: "what its name says, or nothing",
            }),
            Naming::Generation => Ok(Created::IsTaken),
        }
    }
}

/// A package stays for ever, so its bytes are looked at first. What is small is sent as it was looked at.
async fn checked(path: PathBuf, object: Digest, size: u64) -> Result<s3::Body, PublishError> {
    let check = move || match size <= SMALL {
        true => {
            let bytes = std::fs::read(&path).map_err(StoreError::io("read", &path))?;
            (Digest::of(&bytes) == object)
                .then_some(s3::Body::Bytes(bytes))
                .ok_or(StoreError::Damaged(object))
        }
        false => {
            (hash_file(&path)? == object).then_some(s3::Body::File(path)).ok_or(StoreError::Damaged(object))
        }
    };
    let checked = tokio::task::spawn_blocking(check).await;
    Ok(checked.unwrap_or_else(|stopped| std::panic::resume_unwind(stopped.into_panic()))?)
}
