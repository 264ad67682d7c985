use serde::{Deserialize, Serialize};

use super::content::Content;
use super::layout::Role;
use super::subscription::subscriptions;
use super::{Edition, Generation, PublishError};
use crate::digest::Digest;
use crate::index::{Making, Member, RepositoryKind, Shelf};
use crate::keys::SigningKeys;
use crate::store::{Entry, Kind};

/// A generation before anybody sees it: every file that clients will find beside the packages, signed. It is the same
/// wherever it is published; targets differ in how they write it and make it live.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub generation: Generation,
    /// In the order of their roles, then of their paths.
    pub files: Vec<File>,
}

/// A file of a repository.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Where clients find it, below the repository's root.
    pub path: String,
    pub role: Role,
    pub object: Digest,
    pub size: u64,
    pub body: Body,
}

/// A file of a generation, without its bytes. What is kept of a generation lists those that are no packages: the others are in
/// its [`Generation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub path: String,
    pub role: Role,
    pub object: Digest,
    pub size: u64,
}

impl From<&File> for Listed {
    fn from(file: &File) -> Self {
        let File { path, role, object, size, .. } = file;
        Self { path: path.clone(), role: *role, object: *object, size: *size }
    }
}

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// On the shelf.
    Object,
    /// Here: they were made by signing.
    Bytes(Vec<u8>),
}

/// What a draft is made from and with, beside its content.
pub(super) struct Basis<'a> {
    /// The generation that it follows.
    pub live: Option<&'a Generation>,
    /// Where the repository is below the target's root.
    pub prefix: &'a str,
    /// Who signs, when, and what is remembered.
    pub edition: &'a Edition<'a>,
    /// Where the files of the indices go.
    pub shelf: &'a dyn Shelf,
    /// The date of the generation, later than that of the one it follows.
    pub date: u64,
    /// For how many seconds what was live stays readable.
    pub retention: u64,
}

/// The bytes of a package's record, or of advisories.
pub(super) type Records<'a> = crate::index::Records<'a, PublishError>;

impl Draft {
    /// The index of all packages, made anew from their records, and everything beside it.
    pub fn new(content: &Content, basis: &Basis<'_>, records: &Records<'_>) -> Result<Self, PublishError> {
        let indices = indices(content, basis, records)?;
        let kind = content.index.kind();
        let own = indices.iter().filter_map(|entry| kind.named_by_digest(&entry.path));
        let own = own.map(str::to_owned);
        let Basis { live, edition, date, retention, .. } = *basis;
        let mut generation = Generation::after(live, content, own, (edition.now, date), retention);
        Seal { fingerprints: generation.fingerprints, keyring: generation.keyring } = Seal::of(edition.keys)?;

        let mut files = Files { kind, files: Vec::new() };
        files.add_indices(&indices, &generation.id);
        files.add_signatures(&indices, &generation.id, basis)?;
        generation.subscriptions = files.add_subscriptions(content, basis)?;
        files.add_mirrorlist(content, &generation.id, basis)?;
        let mut files = files.files;
        files.sort_by(|a, b| (a.role, &a.path).cmp(&(b.role, &b.path)));
        Ok(Self { generation, files })
    }

    /// What is kept of its files.
    pub fn listed(&self) -> Vec<Listed> {
        self.files.iter().map(Listed::from).collect()
    }

    /// The files of a role.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.role == role)
    }
}

fn indices(content: &Content, basis: &Basis<'_>, records: &Records<'_>) -> Result<Vec<Entry>, PublishError> {
    let packages: Vec<Member<'_>> = content
        .packages
        .iter()
        .map(|package| Member { entry: &package.entry, record: None, origin: None })
        .collect();
    let updateinfo = content.updateinfo.map(records).transpose()?;
    let making = Making { date: basis.date, memory: basis.edition.store, shelf: basis.shelf, records };
    content.index.metadata(&packages, updateinfo.as_deref(), &making)
}

/// Files as they come together.
struct Files {
    kind: RepositoryKind,
    files: Vec<File>,
}

impl Files {
    fn add_indices(&mut self, indices: &[Entry], id: &str) {
        for entry in indices {
            let Kind::File { object, size } = entry.kind else { continue };
            let path = self.kind.client_path(&entry.path, id);
            self.files.push(File { role: self.kind.role(&path), path, object, size, body: Body::Object });
        }
    }

    fn add(&mut self, path: String, bytes: impl Into<Vec<u8>>) {
        let (role, bytes) = (self.kind.role(&path), bytes.into());
        let (object, size) = (Digest::of(&bytes), bytes.len() as u64);
        self.files.push(File { path, role, object, size, body: Body::Bytes(bytes) });
    }

    fn add_signatures(&mut self, indices: &[Entry], id: &str, basis: &Basis<'_>) -> Result<(), PublishError> {
        let Edition { keys: Some(keys), now, .. } = *basis.edition else { return Ok(()) };
        for entry in indices {
            let Kind::File { object, .. } = entry.kind else { continue };
            let path = self.kind.client_path(&entry.path, id);
            match path.rsplit_once('/') {
                Some((dir, "Release")) if self.kind == RepositoryKind::Apt => {
                    let text = basis.shelf.get(object)?;
                    let cleartext = keys.sign_cleartext(&String::from_utf8_lossy(&text), now)?;
                    self.add(format!("{dir}/InRelease"), cleartext);
                    self.add(format!("{dir}/Release.gpg"), keys.sign_detached(&text, now)?);
                }
                Some((_, "repomd.xml")) if self.kind == RepositoryKind::Rpm => {
                    let signature = keys.sign_detached(&basis.shelf.get(object)?, now)?;
                    self.add(format!("{path}.asc"), signature);
                }
                _ => {}
            }
        }
        self.add("key.asc".to_owned(), keys.public_armored()?);
        self.add("key.gpg".to_owned(), keys.public_binary()?);
        Ok(())
    }

    /// Gives their names. Nobody subscribes to what is not signed.
    fn add_subscriptions(
        &mut self,
        content: &Content,
        basis: &Basis<'_>,
    ) -> Result<Vec<String>, PublishError> {
        let Some(keys) = basis.edition.keys else { return Ok(Vec::new()) };
        let files = subscriptions(content, basis.prefix, &keys.public_armored()?);
        let names = files.iter().map(|(name, _)| name.clone()).collect();
        files.into_iter().for_each(|(name, text)| self.add(name, text));
        Ok(names)
    }

    /// The one place where clients of a list of mirrors find the metadata: this generation's own,
    /// so that all of it and its signature are of one publish.
    fn add_mirrorlist(&mut self, content: &Content, id: &str, basis: &Basis<'_>) -> Result<(), PublishError> {
        if self.kind == RepositoryKind::Rpm {
            let no_url = || PublishError::NoUrl(basis.prefix.to_owned());
            let url = content.url.as_ref().ok_or_else(no_url)?;
            self.add("mirrorlist".to_owned(), format!("{url}/gen/{id}/\n"));
        }
        Ok(())
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
