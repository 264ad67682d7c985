use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::ops::Range;

use rpm::{Error, FileFlags, Header, IndexSignatureTag, IndexTag, Tag};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::frame::Front;
use super::{RpmDependency, RpmRelation};
use crate::package::PackageError;
use crate::package::object::hex;

/// What an index says of an rpm package, read from the package alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpmInfo {
    /// The package's name.
    pub name: String,
    /// None is less than any epoch for rpm, and taken for 0 by what reads indices.
    pub epoch: Option<u32>,
    /// Upstream's version.
    pub version: String,
    /// The version of the packaging.
    pub release: String,
    /// `x86_64`, `noarch`; `src` for a source package.
    pub architecture: String,
    /// One line.
    pub summary: String,
    /// Any number of lines.
    pub description: String,
    /// Under which terms it may be used.
    pub license: Option<String>,
    /// Who distributes it.
    pub vendor: Option<String>,
    /// The group of packages it belongs to.
    pub group: Option<String>,
    /// Who made it, `Name <address@host>`.
    pub packager: Option<String>,
    /// The machine it was made on.
    pub build_host: Option<String>,
    /// The web page of what is packaged.
    pub url: Option<String>,
    /// The file name of the source package it was made from.
    pub source_rpm: Option<String>,
    /// When it was made, in seconds since 1970.
    pub build_time: u64,
    /// The size of the file in bytes.
    pub size: u64,
    /// What it takes installed, in bytes.
    pub installed_size: u64,
    /// The size of the unpacked payload in bytes.
    pub archive_size: u64,
    /// The header's place in the file in bytes, for clients that fetch nothing else of it.
    pub header: Range<u64>,
    /// The file's SHA-256, hexadecimal.
    pub sha256: String,
    /// Relations to others in the header's order; those that there are none of are left out.
    pub relations: BTreeMap<RpmRelation, Vec<RpmDependency>>,
    /// Everything it installs, in the header's order.
    pub files: Vec<RpmFile>,
    /// The newest change first.
    pub changelog: Vec<RpmChange>,
}

/// Something that a package installs or owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpmFile {
    /// Absolute.
    pub path: String,
    /// What it is.
    pub kind: RpmFileKind,
}

/// What an index tells apart among files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RpmFileKind {
    /// A regular file, a link or a device.
    File,
    /// A directory.
    Dir,
    /// Owned, but not part of the payload.
    Ghost,
}

/// An entry of the changelog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpmChange {
    /// `Name <address@host> - version`.
    pub author: String,
    /// Seconds since 1970.
    pub time: u64,
    /// Lines, each item after a `-`.
    pub text: String,
}

impl RpmInfo {
    /// Reads a package in one pass. Memory stays bounded whatever the file holds; the payload is
    /// summed up, not unpacked.
    ///
    /// # Errors
    ///
    /// The file is no rpm package, is cut short or damaged: a digest or a size that it carries
    /// does not hold. Signatures are not looked at.
    pub fn read(input: impl Read) -> Result<Self, PackageError> {
        let mut input = Sums::of(BufReader::new(input));
        let front = Front::read(&mut input)?;
        let mut payload = Sums::of(&mut input);
        io::copy(&mut payload, &mut io::sink()).map_err(|error| PackageError::malformed("payload", error))?;
        let (payload_size, payload_sha256) = (payload.size, payload.hex());
        check(&front, payload_size, &payload_sha256)?;
        let info = Self::of_header(&front)?;
        Ok(Self { size: input.size, sha256: input.hex(), ..info })
    }

    fn of_header(front: &Front) -> Result<Self, PackageError> {
        let signature = Tags(&front.metadata.signature);
        let tags = Tags(&front.metadata.header);
        let required = |tag: IndexTag| {
            let missing = || PackageError::malformed("header", format!("it has no {tag}"));
            tags.text(tag)?.filter(|text| !text.is_empty()).ok_or_else(missing)
        };
        let source_rpm = tags.text(IndexTag::RPMTAG_SOURCERPM)?;
        let architecture = required(IndexTag::RPMTAG_ARCH)?;
        let mut relations = BTreeMap::new();
        for relation in RpmRelation::ALL {
            let all = dependencies(&tags, relation)?;
            if !all.is_empty() {
                relations.insert(relation, all);
            }
        }
        Ok(Self {
            name: required(IndexTag::RPMTAG_NAME)?,
            epoch: tags.number(IndexTag::RPMTAG_EPOCH)?.and_then(|epoch| u32::try_from(epoch).ok()),
            version: required(IndexTag::RPMTAG_VERSION)?,
            release: required(IndexTag::RPMTAG_RELEASE)?,
            architecture: if source_rpm.is_some() { architecture } else { "src".to_owned() },
            summary: tags.text(IndexTag::RPMTAG_SUMMARY)?.unwrap_or_default(),
            description: tags.text(IndexTag::RPMTAG_DESCRIPTION)?.unwrap_or_default(),
            license: tags.text(IndexTag::RPMTAG_LICENSE)?,
            vendor: tags.text(IndexTag::RPMTAG_VENDOR)?,
            group: tags.text(IndexTag::RPMTAG_GROUP)?,
            packager: tags.text(IndexTag::RPMTAG_PACKAGER)?,
            build_host: tags.text(IndexTag::RPMTAG_BUILDHOST)?,
            url: tags.text(IndexTag::RPMTAG_URL)?,
            source_rpm,
            build_time: tags.number(IndexTag::RPMTAG_BUILDTIME)?.unwrap_or_default(),
            size: 0,
            installed_size: tags
                .first_number(&[IndexTag::RPMTAG_LONGSIZE, IndexTag::RPMTAG_SIZE])?
                .unwrap_or_default(),
            archive_size: archive_size(&signature, &tags)?,
            header: front.header.clone(),
            sha256: String::new(),
            relations,
            files: files(&tags)?,
            changelog: changelog(&tags)?,
        })
    }
}

/// Holds what the package says of itself against what was read: a package that was cut short or
/// damaged on its way is none.
fn check(front: &Front, payload_size: u64, payload_sha256: &str) -> Result<(), PackageError> {
    let signature = Tags(&front.metadata.signature);
    let tags = Tags(&front.metadata.header);
    let size = signature
        .first_number(&[IndexSignatureTag::RPMSIGTAG_LONGSIZE, IndexSignatureTag::RPMSIGTAG_SIZE])?;
    let digest = tags.text(IndexTag::RPMTAG_PAYLOADSHA256)?;
    if size.is_none() && digest.is_none() {
        return Err(PackageError::malformed("header", "it tells neither size nor digest of the payload"));
    }
    let found = front.header_bytes().len() as u64 + payload_size;
    if let Some(size) = size.filter(|size| *size != found) {
        let reason = format!("expected {size} bytes with the header, found {found}");
        return Err(PackageError::malformed("payload", reason));
    }
    if digest.is_some_and(|digest| digest != payload_sha256) {
        return Err(PackageError::malformed("payload", "its SHA-256 is not the one that the header tells"));
    }
    let digest = signature.text(IndexSignatureTag::RPMSIGTAG_SHA256)?;
    match digest.is_some_and(|digest| digest != hex(&Sha256::digest(front.header_bytes()))) {
        true => Err(PackageError::malformed("header", "its SHA-256 is not the one that the package tells")),
        false => Ok(()),
    }
}

fn archive_size(
    signature: &Tags<'_, IndexSignatureTag>,
    tags: &Tags<'_, IndexTag>,
) -> Result<u64, PackageError> {
    let of_signature = signature.first_number(&[
        IndexSignatureTag::RPMSIGTAG_LONGARCHIVESIZE,
        IndexSignatureTag::RPMSIGTAG_PAYLOADSIZE,
    ])?;
    let of_header = [IndexTag::RPMTAG_PAYLOADSIZEALT, IndexTag::RPMTAG_ARCHIVESIZE];
    Ok(of_signature.or(tags.first_number(&of_header)?).unwrap_or_default())
}

fn dependencies(
    tags: &Tags<'_, IndexTag>,
    relation: RpmRelation,
) -> Result<Vec<RpmDependency>, PackageError> {
    let [names, flags, versions] = relation.tags();
    let (names, flags, versions) = (tags.texts(names)?, tags.numbers(flags)?, tags.texts(versions)?);
    if names.len() != flags.len() || names.len() != versions.len() {
        let reason = format!("the lists of {relation} are not of one length");
        return Err(PackageError::malformed("header", reason));
    }
    let all = names.iter().zip(flags).zip(versions);
    Ok(all.map(|((name, flags), version)| RpmDependency::from_header(name, flags, version)).collect())
}

fn files(tags: &Tags<'_, IndexTag>) -> Result<Vec<RpmFile>, PackageError> {
    let (names, at) = (tags.texts(IndexTag::RPMTAG_BASENAMES)?, tags.numbers(IndexTag::RPMTAG_DIRINDEXES)?);
    let dirs = tags.texts(IndexTag::RPMTAG_DIRNAMES)?;
    let (modes, flags) = (tags.modes(IndexTag::RPMTAG_FILEMODES)?, tags.numbers(IndexTag::RPMTAG_FILEFLAGS)?);
    let fault = || PackageError::malformed("header", "the lists of files are not of one length");
    if [at.len(), modes.len(), flags.len()].iter().any(|length| *length != names.len()) {
        return Err(fault());
    }
    let mut files = Vec::with_capacity(names.len());
    for (((name, at), mode), flags) in names.iter().zip(at).zip(modes).zip(flags) {
        let dir = dirs.get(at as usize).ok_or_else(fault)?;
        let is_ghost = FileFlags::from_bits_retain(flags).contains(FileFlags::GHOST);
        let kind = match (mode & 0o170_000 == 0o040_000, is_ghost) {
            (true, _) => RpmFileKind::Dir,
            (false, true) => RpmFileKind::Ghost,
            (false, false) => RpmFileKind::File,
        };
        files.push(RpmFile { path: [*dir, *name].concat(), kind });
    }
    Ok(files)
}

fn changelog(tags: &Tags<'_, IndexTag>) -> Result<Vec<RpmChange>, PackageError> {
    let authors = tags.texts(IndexTag::RPMTAG_CHANGELOGNAME)?;
    let times = tags.numbers(IndexTag::RPMTAG_CHANGELOGTIME)?;
    let texts = tags.texts(IndexTag::RPMTAG_CHANGELOGTEXT)?;
    if authors.len() != times.len() || authors.len() != texts.len() {
        return Err(PackageError::malformed("header", "the lists of changes are not of one length"));
    }
    let all = authors.into_iter().zip(times).zip(texts);
    let change = |((author, time), text): ((&str, u32), &str)| RpmChange {
        author: author.to_owned(),
        time: time.into(),
        text: text.to_owned(),
    };
    Ok(all.map(change).collect())
}

/// Tags by type; one that is absent is none, or an empty list.
struct Tags<'a, T: Tag>(&'a Header<T>);

impl<'a, T: Tag> Tags<'a, T> {
    /// A text; of one in several languages, the first, which is that of no language.
    fn text(&self, tag: T) -> Result<Option<String>, PackageError> {
        let text = self.0.get_entry_data_as_string(tag).or_else(|error| match error {
            Error::UnexpectedTagDataType { .. } => self.0.get_entry_data_as_i18n_string(tag),
            other => Err(other),
        });
        known(text.map(str::to_owned))
    }

    fn texts(&self, tag: T) -> Result<Vec<&'a str>, PackageError> {
        Ok(known(self.0.get_entry_data_as_string_array(tag))?.unwrap_or_default())
    }

    fn number(&self, tag: T) -> Result<Option<u64>, PackageError> {
        let number = self.0.get_entry_data_as_u32(tag).map(u64::from);
        known(number.or_else(|error| match error {
            Error::UnexpectedTagDataType { .. } => self.0.get_entry_data_as_u64(tag),
            other => Err(other),
        }))
    }

    fn first_number(&self, tags: &[T]) -> Result<Option<u64>, PackageError> {
        for tag in tags {
            if let Some(number) = self.number(*tag)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    fn numbers(&self, tag: T) -> Result<Vec<u32>, PackageError> {
        Ok(known(self.0.get_entry_data_as_u32_array(tag))?.unwrap_or_default())
    }

    fn modes(&self, tag: T) -> Result<Vec<u16>, PackageError> {
        Ok(known(self.0.get_entry_data_as_u16_array(tag))?.unwrap_or_default())
    }
}

fn known<V>(value: Result<V, Error>) -> Result<Option<V>, PackageError> {
    match value {
        Ok(value) => Ok(Some(value)),
        Err(Error::TagNotFound(_)) => Ok(None),
        Err(error) => Err(PackageError::malformed("header", error)),
    }
}

/// Sums up what is read through it.
struct Sums<R> {
    input: R,
    size: u64,
    sha256: Sha256,
}

impl<R> Sums<R> {
    fn of(input: R) -> Self {
        Self { input, size: 0, sha256: Sha256::new() }
    }

    fn hex(self) -> String {
        hex(&self.sha256.finalize())
    }
}

impl<R: Read> Read for Sums<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.size += length as u64;
        self.sha256.update(&buffer[..length]);
        Ok(length)
    }
}
