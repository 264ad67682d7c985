use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::index::bundle;
use crate::publish::Generation;
use crate::publish::draft::{Draft, Listed};
use crate::publish::generation::check_format;
use crate::publish::layout::Role;
use crate::s3::Etag;

/// The name of the state object.
pub(super) const STATE: &str = ".forge/state.json";
/// The name of the object that shows whether the service heeds conditions.
pub(super) const PROBE: &str = ".forge/probe";
/// The version of the state object's format.
const FORMAT: u32 = 1;

/// The one mutable object that forge itself reads, in `.forge/state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    format: u32,
    /// The id of the generation that is to be live: it is decided.
    pub generation: String,
    /// The id of the one before it.
    pub previous: Option<String>,
    /// Whether all clients see it. If not, whoever comes next goes on.
    pub finished: bool,
    /// What is known of the files that change: those of the last generation that was finished.
    pub objects: BTreeMap<String, Known>,
    /// Files that changed, and the CDN before the bucket was not told: it could not be reached.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stale: BTreeSet<String>,
    /// Until when clients saw the generation before, in seconds since 1970, where that was longer than the
    /// publisher knew: it was killed, and another one finished for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<u64>,
}

/// An object that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// What the service knows it by.
    pub etag: Etag,
    /// The digest of its bytes.
    pub object: Digest,
}

/// One generation, in `.forge/generations/<id>.json.zst`; it never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub generation: Generation,
    /// The files that clients find beside those of packages, in the order of their roles and paths.
    pub files: Vec<Listed>,
    /// The bundles with what its indices are made from; some of it may be of earlier generations alone.
    pub records: Vec<Digest>,
    /// The bundle with those files that change and are under no other name.
    pub bodies: Digest,
}

impl State {
    /// That `generation` is to be live after what `previous` says.
    pub fn decided(generation: &str, previous: Option<&Self>) -> Self {
        Self {
            format: FORMAT,
            generation: generation.to_owned(),
            previous: previous.map(|previous| previous.generation.clone()),
            finished: false,
            objects: previous.map(|previous| previous.objects.clone()).unwrap_or_default(),
            previous_until: None,
            stale: previous.map(|previous| previous.stale.clone()).unwrap_or_default(),
        }
    }

    /// That all clients see it, but for these files, which a CDN may hold as they were.
    pub fn finished(&self, objects: BTreeMap<String, Known>, stale: BTreeSet<String>) -> Self {
        Self { finished: true, objects, stale, ..self.clone() }
    }

    /// The error is the reason for people.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let state: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match state.format {
            FORMAT => Ok(state),
            other => Err(format!("its format is {other}, this forge knows {FORMAT}; use a newer forge")),
        }
    }
}

impl Manifest {
    pub fn new(draft: &Draft, records: Vec<Digest>, bodies: Digest) -> Self {
        Self { generation: draft.generation.clone(), files: draft.listed(), records, bodies }
    }

    /// The object of a generation.
    pub fn name(id: &str) -> String {
        format!(".forge/generations/{id}.json.zst")
    }

    /// The files that change.
    pub fn mutable(&self) -> impl Iterator<Item = &Listed> {
        self.files.iter().filter(|file| !file.role.is_immutable())
    }

    /// For a file that changes, an immutable one with the same bytes.
    pub fn twin(&self, file: &Listed) -> Option<&Listed> {
        self.files.iter().find(|other| other.role == Role::Named && other.object == file.object)
    }

    pub fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        zstd::encode_all(serde_json::to_vec(self)?.as_slice(), 3)
    }

    /// The error is the reason for people.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let json = zstd::decode_all(bytes).map_err(|error| error.to_string())?;
        let manifest = serde_json::from_slice::<Self>(&json).map_err(|error| error.to_string());
        // What it is in another format is told by its number alone.
        check_format(match &manifest {
            Ok(manifest) => manifest.generation.format(),
            Err(_) => format_of(&json)?,
        })?;
        manifest
    }
}

fn format_of(json: &[u8]) -> Result<u32, String> {
    #[derive(Deserialize)]
    struct Outer {
        generation: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        format: u32,
    }
    let outer: Outer = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    Ok(outer.generation.format)
}

/// The object of a bundle.
pub(super) fn bundle_name(bundle: Digest) -> String {
    format!(".forge/bundles/{}", bundle::file_name(bundle))
}
