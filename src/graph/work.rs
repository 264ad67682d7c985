use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::Text;
use crate::buildfile::{Key, Retention};
use crate::digest::Digest;
use crate::index::{AptIndex, RpmIndex, Settings};
use crate::keys::Certificate;
use crate::package::Package;
use crate::publish::Target;
use crate::upstream::{BootstrapLock, PinnedImage, PlatformImage, Tag, Wanted};

/// What a node does. An input is named by its place in the node's list.
#[derive(Clone, Debug)]
pub enum Work {
    /// Unpacks an archive of an upstream.
    Archive(Box<ArchiveSource>),
    /// Takes the files of a commit of an upstream.
    Commit(Box<CommitSource>),
    /// Gives the files of its one input as they are.
    Files,
    /// Gives a package as it is, once the tests that it requires have succeeded.
    Accept,
    /// Makes an image of packages of a Debian archive.
    Bootstrap(Box<BootstrapImage>),
    /// Makes an image by a Docker Engine.
    Dockerfile(Box<DockerImage>),
    /// Takes an image from a registry.
    Registry(Box<RegistryImage>),
    /// Runs a script.
    Script(Arc<Script>),
    /// Writes a package.
    Package(Box<PackageWork>),
    /// Makes a repository's metadata.
    Index(Box<IndexWork>),
    /// Puts repositories where clients find them.
    Publish(Box<PublishWork>),
    /// Gives the public part of a key.
    Key(Box<KeyWork>),
}

impl Work {
    /// The names of the outputs.
    pub fn outputs(&self) -> Vec<&str> {
        match self {
            Self::Archive(_) | Self::Commit(_) | Self::Files => vec!["src"],
            Self::Bootstrap(_) | Self::Dockerfile(_) | Self::Registry(_) => vec!["root"],
            Self::Script(script) => script.outputs.iter().map(String::as_str).collect(),
            Self::Package(_) | Self::Accept => vec!["package"],
            // The catalog is for publishing alone; in a Buildfile an index has one output.
            Self::Index(_) => vec!["repository", "catalog"],
            Self::Publish(_) => Vec::new(),
            Self::Key(_) => vec!["public"],
        }
    }

    /// The images of registries that it is made of.
    pub fn registry_images(&self) -> Vec<&RegistryImage> {
        match self {
            Self::Registry(image) => vec![image],
            Self::Dockerfile(image) => image.bases.values().collect(),
            _ => Vec::new(),
        }
    }
}

impl Work {
    /// Whether anything but what is declared may be in its result: other machines do not get it.
    pub fn is_bare(&self) -> bool {
        matches!(self, Self::Script(script) if script.root == Root::Bare)
    }

    /// What it publishes, if it does.
    pub fn publish(&self) -> Option<&PublishWork> {
        match self {
            Self::Publish(publish) => Some(publish),
            _ => None,
        }
    }

    /// Whether its verdict does not follow from files on this machine alone: a repository or a signing key is asked.
    pub(super) fn is_outward(&self) -> bool {
        match self {
            Self::Publish(_) | Self::Key(_) => true,
            Self::Package(package) => package.signer.is_some(),
            _ => false,
        }
    }

    /// Whether a sandbox or an engine does it.
    pub fn needs_runner(&self) -> bool {
        match self {
            Self::Script(script) => script.root != Root::Bare,
            Self::Dockerfile(_) | Self::Registry(_) => true,
            _ => false,
        }
    }

    /// The platform of the programs that it runs, or makes an image of: `linux/amd64`.
    pub fn platform(&self) -> Option<String> {
        match self {
            Self::Bootstrap(image) => Some(format!("linux/{}", image.wanted.arch)),
            Self::Dockerfile(image) => Some(image.platform.clone()),
            Self::Registry(image) => Some(image.image.platform.clone()),
            Self::Script(script) => Some(script.platform.to_string()),
            _ => None,
        }
    }
}

/// The platform of the machine that this runs on, in the words of Docker.
pub fn machine_platform() -> &'static str {
    static MACHINE: LazyLock<String> = LazyLock::new(|| {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        format!("linux/{architecture}")
    });
    &MACHINE
}

/// An archive and how it is unpacked.
#[derive(Clone, Debug, Default)]
pub struct ArchiveSource {
    /// Where it is, best first; not part of the key, since the digest says what it is.
    pub urls: Vec<String>,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Bytes, if known.
    pub size: Option<u64>,
    /// Leading path components that are dropped.
    pub strip: usize,
}

/// The files of a commit.
#[derive(Clone, Debug)]
pub struct CommitSource {
    /// The repository; like the tag and the commit not part of the key, since the tree says what it is.
    pub url: String,
    /// The tag that leads to the commit.
    pub tag: Tag,
    /// The digest of its tree.
    pub tree: Digest,
}

/// An image made of packages.
#[derive(Clone, Debug)]
pub struct BootstrapImage {
    /// What it is asked to hold.
    pub wanted: Wanted,
    /// What the lock says it is made of; a node without this has a fault.
    pub locked: Option<BootstrapLock>,
}

/// An image that a Docker Engine builds.
#[derive(Clone, Debug)]
pub struct DockerImage {
    /// The Dockerfile's path inside the context, which is input 0.
    pub dockerfile: String,
    /// `--build-arg` values.
    pub args: BTreeMap<String, String>,
    /// Further ones, whose values are images of registries.
    pub bases: BTreeMap<String, RegistryImage>,
    /// `linux/amd64`.
    pub platform: String,
}

/// An image of a registry.
#[derive(Clone, Debug)]
pub struct RegistryImage {
    /// What it is called there, and its platform.
    pub image: PlatformImage,
    /// What the lock says it is by content; a node without this has a fault.
    pub locked: Option<PinnedImage>,
}

/// In which tree a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// That of this input.
    Input(usize),
    /// The host's own.
    Host,
    /// The host's own, without a sandbox.
    Bare,
}

/// A script with its surroundings: the same for all cells of a target that take the same places of others.
#[derive(Clone, Debug)]
pub struct Script {
    /// Run by `/bin/sh -eu`.
    pub text: Text,
    /// In which tree.
    pub root: Root,
    /// Environment beside the fixed one.
    pub env: BTreeMap<String, Text>,
    /// Where inputs are put.
    pub placements: Vec<Placement>,
    /// Names below `$OUT`.
    pub outputs: Arc<[String]>,
    /// Whether it may reach the network.
    pub network: bool,
    /// `SOURCE_DATE_EPOCH`, seconds since 1970.
    pub date: u64,
    /// `linux/amd64`.
    pub platform: Arc<str>,
}

/// Where an input is put.
#[derive(Clone, Debug)]
pub enum Placement {
    /// Copied below the working directory.
    Into {
        /// Which input.
        input: usize,
        /// Relative to the working directory.
        path: Text,
    },
    /// Mounted read-only.
    At {
        /// Which input.
        input: usize,
        /// Absolute.
        path: Text,
    },
}

/// A package to be written.
#[derive(Clone, Debug)]
pub struct PackageWork {
    /// Everything but the payload.
    pub package: Package,
    /// What it holds: input, the part of it that is taken, and where that goes.
    pub contents: Vec<(usize, String, String)>,
    /// The input that holds what the dependency generator found.
    pub generated: Option<usize>,
    /// The input that holds the copyright file.
    pub copyright: Option<usize>,
    /// By which key an rpm package is signed.
    pub signer: Option<Signer>,
}

/// A key that signs packages.
#[derive(Clone, Debug)]
pub struct Signer {
    /// Where the secret key is read when it is used; it may be elsewhere tomorrow.
    pub key: Key,
    /// Its fingerprint, which is public: what the action knows of it.
    pub fingerprint: String,
}

/// Repository metadata to be made.
#[derive(Clone, Debug)]
pub enum IndexWork {
    /// For apt.
    Apt(AptIndexWork),
    /// For dnf and its kin.
    Rpm(RpmIndexWork),
}

impl IndexWork {
    /// The date of its newest package, seconds since 1970.
    pub fn date(&self) -> u64 {
        match self {
            Self::Apt(apt) => apt.date,
            Self::Rpm(rpm) => rpm.date,
        }
    }
}

/// An apt repository to be made.
#[derive(Clone, Debug)]
pub struct AptIndexWork {
    /// Settings.
    pub index: AptIndex,
    /// In which suite the package of each input is.
    pub suites: Vec<String>,
    /// `Date:` of the unsigned release files, seconds since 1970.
    pub date: u64,
}

/// An rpm repository to be made of its inputs.
#[derive(Clone, Debug)]
pub struct RpmIndexWork {
    /// Settings.
    pub index: RpmIndex,
    /// Whether the last input is a file of advisories, and no package.
    pub has_updateinfo: bool,
    /// The time in the unsigned metadata, seconds since 1970.
    pub date: u64,
}

/// Repositories to be published.
#[derive(Clone, Debug)]
pub struct PublishWork {
    /// Where they go; it does not change what is published. It remembers what it learnt of a service.
    pub target: Target,
    /// What is published of each input, which is the catalog of an index.
    pub repositories: Vec<Publication>,
    /// Keys to sign with.
    pub keys: Vec<Key>,
}

/// The public part of a key.
#[derive(Clone, Debug)]
pub struct KeyWork {
    /// What its files are called, without an ending.
    pub name: String,
    /// Where the key is.
    pub key: Key,
    /// What is public of it; a node without this has a fault.
    pub certificate: Option<Certificate>,
}

/// One repository to be published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Below which prefix it goes.
    pub prefix: String,
    /// Settings; those for apt with all aliases.
    pub index: Settings,
    /// Where clients find it, without a slash at the end.
    pub url: Option<String>,
    /// What of earlier publishes is dropped.
    pub keep: Option<Retention>,
}
