//! What a Buildfile declares, with every name resolved and every text still a template.

mod repository;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Predicate, Reference, Span, Template, Version, VersionPolicy};
use crate::s3::Location;

pub use repository::*;

/// All declarations of a Buildfile and of the files it includes, one profile applied.
#[derive(Clone, Debug)]
pub struct Buildfile {
    /// The directory that relative paths start from.
    pub dir: Arc<Path>,
    /// The lock file, relative to `dir`.
    pub lock: PathBuf,
    /// Where versions come from.
    pub upstreams: Vec<Upstream>,
    /// The dimensions of the matrix, in declared order.
    pub axes: Vec<Axis>,
    /// Which cells there are not.
    pub rules: Vec<Rule>,
    /// Everything that is expanded over axes, in declared order.
    pub targets: Vec<Target>,
    /// The store that machines share, if there is one.
    pub cache: Option<Cache>,
    /// What the profile selects.
    pub choice: Vec<(Predicate, Span)>,
    /// The names of all profiles.
    pub profiles: Vec<String>,
    /// What was looked at to read all this: files, and directories in which globs of `include` were looked for.
    pub looked_at: Vec<PathBuf>,
}

impl Buildfile {
    /// The target called `name`.
    pub fn target(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|target| *target.name == *name)
    }

    /// The axis called `name`.
    pub fn axis(&self, name: &str) -> Option<&Axis> {
        self.axes.iter().find(|axis| axis.name == name)
    }

    /// The upstream called `name`.
    pub fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.upstreams.iter().find(|upstream| upstream.name == name)
    }
}

/// A store in a bucket, that machines share.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// Where it is. The path of a certificate in it is relative to the Buildfile.
    pub location: Location,
    /// Whether results are looked up there.
    pub read: bool,
    /// Whether results are sent there.
    pub write: bool,
    /// The age at which the bucket's lifecycle removes what is not touched.
    pub expires: Option<Duration>,
    /// Where it is declared.
    pub span: Span,
}

/// Where the versions of one piece of software come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// How its versions are found.
    pub origin: Origin,
    /// Where a version's archive is, `{version}` standing for it; several are mirrors.
    pub archives: Vec<Template>,
    /// Leading path components that unpacking drops (`tar --strip-components`).
    pub strip: usize,
    /// Where upstream publishes the digests of its archives, in the format of `sha256sum`.
    pub checksums: Option<Template>,
    /// Where upstream publishes the signature of an archive.
    pub signature: Option<ArchiveSignature>,
    /// Which versions are taken.
    pub policy: VersionPolicy,
}

/// A detached OpenPGP signature of an archive.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchiveSignature {
    /// Where it is, `{version}` standing for the version.
    pub url: Template,
    /// The public keys that may have made it, relative to the Buildfile.
    pub key_file: PathBuf,
}

/// How versions are found.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// Tags of a git repository.
    Git {
        /// The repository.
        url: String,
        /// The tag's form.
        tag: TagForm,
    },
    /// Source packages of a Debian archive: the mirror this machine's apt is configured with.
    AptSource {
        /// The source package.
        package: String,
        /// The suites to look in.
        suites: Vec<String>,
    },
    /// Given in the Buildfile.
    List(Vec<ListedVersion>),
    /// A directory on this machine; its one version is called `local`.
    Path(Template),
}

/// How the tags of versions are made, such as `OTP-{version}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagForm {
    /// What stands before the version.
    pub before: String,
    /// What stands after it.
    pub after: String,
}

impl TagForm {
    /// Reads `text`, which has `{version}` in it exactly once.
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once("{version}")?;
        let form = Self { before: before.to_owned(), after: after.to_owned() };
        (!after.contains("{version}")).then_some(form)
    }

    /// The version that `tag` stands for. `None` for tags of another form, and for what stands in
    /// the place of a version and is none: a tag that moves, such as `v1.18-latest`.
    pub fn version(&self, tag: &str) -> Option<Version> {
        let text = tag.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        Some(Version::new(text)).filter(Version::is_regular)
    }

    /// The tag of a version.
    pub fn of(&self, version: &str) -> String {
        format!("{}{version}{}", self.before, self.after)
    }

    /// As it is written in the Buildfile.
    pub fn written(&self) -> String {
        self.of("{version}")
    }
}

/// A version given in the Buildfile.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedVersion {
    /// The version.
    pub version: String,
    /// SHA-256 of the archive, hexadecimal.
    pub sha256: String,
    /// Upstream's own date, seconds since 1970.
    pub date: u64,
}

/// One dimension of the matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// What stands on it.
    pub values: AxisValues,
    /// Where it is written what stands on it.
    pub values_span: Span,
}

/// Where an axis has its values from.
#[derive(Clone, Debug, PartialEq)]
pub enum AxisValues {
    /// The versions of an upstream, from the lock.
    Upstream(String),
    /// Given in the Buildfile.
    Given(Vec<AxisValue>),
}

/// One point on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisValue {
    /// Its name.
    pub name: Arc<str>,
    /// What is known of it, such as `codename`; values that are declared together share it.
    pub attributes: Arc<BTreeMap<String, String>>,
    /// Where it is declared.
    pub span: Span,
}

/// Says something of all cells that meet it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What it says.
    pub kind: RuleKind,
    /// All of these must hold.
    pub predicates: Vec<Predicate>,
    /// Where it is written.
    pub span: Span,
}

/// What a rule says of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// They are not in the matrix.
    Exclude,
    /// They are, whatever earlier rules say.
    Include,
    /// What gathers them may go on without those that fail.
    Optional,
}

/// An axis, or an attribute by which an axis is grouped (`otp.major`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dimension {
    /// The axis.
    pub axis: String,
    /// The attribute.
    pub attribute: Option<String>,
}

impl Axis {
    /// Whether the lock tells what stands on it, and an update adds to it.
    pub fn is_open(&self) -> bool {
        matches!(self.values, AxisValues::Upstream(_))
    }
}

impl Dimension {
    /// Whether something over these dimensions has one value of it in each of its cells.
    pub fn is_told_by(&self, over: &[Self]) -> bool {
        let whole = Self { axis: self.axis.clone(), attribute: None };
        over.contains(self) || over.contains(&whole)
    }

    /// As it is written in `over`.
    pub fn text(&self) -> String {
        match &self.attribute {
            Some(attribute) => format!("{}.{attribute}", self.axis),
            None => self.axis.clone(),
        }
    }
}

/// A template that is expanded over axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its name, unique among all targets.
    pub name: Arc<str>,
    /// Where it is declared.
    pub span: Span,
    /// The dimensions it spans.
    pub over: Vec<Dimension>,
    /// Where they are written.
    pub over_span: Span,
    /// The cells it is limited to.
    pub filter: Vec<Predicate>,
    /// What is done in each cell.
    pub body: Body,
}

/// What a target does.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Makes the tree that commands run in.
    Image(ImageSource),
    /// Runs a script.
    Command(Box<Command>),
    /// Writes a package.
    Package(Box<Package>),
    /// Makes a repository's metadata.
    Index(Box<Index>),
    /// Puts repositories where clients find them.
    Publish(Box<Publish>),
    /// Gives the public part of a key that signs.
    Key(Key),
}

impl Body {
    /// The node name it is declared by.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Image(_) => "image",
            Self::Command(command) if command.is_test => "test",
            Self::Command(_) => "target",
            Self::Package(_) => "package",
            Self::Index(_) => "index",
            Self::Publish(_) => "publish",
            Self::Key(_) => "key",
        }
    }
}

/// How an image is made.
#[derive(Clone, Debug, PartialEq)]
pub enum ImageSource {
    /// A suite of the archive that this machine's apt is configured with.
    Bootstrap {
        /// `bookworm`.
        suite: Template,
        /// Debian's name of the architecture.
        arch: Template,
        /// Architectures of which it holds libraries beside its own.
        foreign: Vec<Template>,
        /// What is installed beside the essential packages.
        packages: Vec<Template>,
    },
    /// Built by a Docker Engine.
    Dockerfile {
        /// The Dockerfile, relative to the Buildfile.
        path: Template,
        /// Globs of files that make the build context.
        context: Vec<String>,
        /// `--build-arg` values.
        args: Vec<(String, Template)>,
        /// Arguments whose values are images of registries, each handed in by its digest.
        bases: Vec<(String, Template)>,
        /// `linux/amd64`.
        platform: Template,
    },
    /// Taken from a registry.
    Registry {
        /// `debian:bookworm`.
        reference: Template,
        /// `linux/amd64`.
        platform: Template,
    },
}

/// Where a script runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Root {
    /// In the tree of one of these images.
    Image(Vec<Reference>),
    /// In the host's own tree, read-only.
    Host,
    /// On the host as it is, without a sandbox.
    Bare,
}

/// A script with its inputs and outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Declared by `test`: others require its success, and it gives no output.
    pub is_test: bool,
    /// The image.
    pub root: Root,
    /// Run by `/bin/sh -eu`.
    pub script: Arc<Template>,
    /// Environment beside the fixed one.
    pub env: Vec<(String, Arc<Template>)>,
    /// What the script finds there.
    pub inputs: Vec<Input>,
    /// What it finds there of several nodes at once.
    pub gathers: Vec<Gather>,
    /// Names below `$OUT`.
    pub outputs: Arc<[String]>,
    /// Targets that must have succeeded.
    pub requires: Vec<Reference>,
    /// Whether it may reach the network.
    pub network: bool,
    /// What it is expected to use.
    pub resources: Resources,
    /// When it is killed.
    pub timeout: Option<Duration>,
}

/// What a command takes of the machine, for the scheduler; runners that can, hold it to this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Cores.
    pub cpu: usize,
    /// Bytes.
    pub memory: Option<u64>,
}

/// Something a command finds in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// What it is.
    pub from: InputSource,
    /// Where it is put.
    pub place: Place,
}

/// What an input is.
#[derive(Clone, Debug, PartialEq)]
pub enum InputSource {
    /// The source of an upstream in the cell's version.
    Upstream(Reference),
    /// An output of another target.
    Target {
        /// The target, or alternatives.
        targets: Vec<Reference>,
        /// Which of its outputs; its only one by default.
        output: Option<Reference>,
    },
    /// Files beside the Buildfile, by globs; what git ignores is left out.
    Files(Arc<[Template]>),
}

/// An output of every node of another target that agrees.
#[derive(Clone, Debug, PartialEq)]
pub struct Gather {
    /// The target.
    pub target: Reference,
    /// Which of its outputs; its only one by default.
    pub output: Option<Reference>,
    /// Where each is put, filled from the cell of the node that gave it.
    pub place: Place,
}

/// Where an input is put.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// Copied below the working directory; the script may change it.
    Into(Arc<Template>),
    /// Mounted read-only at an absolute path.
    At(Arc<Template>),
}

impl Place {
    /// Where it is.
    pub fn path(&self) -> &Template {
        match self {
            Self::Into(path) | Self::At(path) => path,
        }
    }
}

/// A binary package.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    /// `deb` or `rpm`.
    pub format: Template,
    /// The package's name; the target's by default.
    pub name: Template,
    /// Upstream's part of the version.
    pub version: Template,
    /// Epoch.
    pub epoch: Option<u32>,
    /// Debian revision, or release.
    pub iteration: Option<Template>,
    /// What an rpm's release ends with (`el9`).
    pub dist: Option<Template>,
    /// The architecture's name in the package.
    pub architecture: Template,
    /// Who answers for it.
    pub maintainer: Template,
    /// Upstream's page.
    pub homepage: Option<Template>,
    /// One line.
    pub summary: Template,
    /// Any number of lines.
    pub description: Template,
    /// The text of the changelog's entry.
    pub changelog: Template,
    /// The copyright file, relative to the Buildfile.
    pub copyright: Option<PathBuf>,
    /// What counts for every format.
    pub common: PackagePart,
    /// What counts for Debian packages alone.
    pub deb: PackagePart,
    /// What counts for rpm packages alone.
    pub rpm: PackagePart,
    /// What it holds.
    pub contents: Vec<Content>,
    /// In one of which the dependency generator runs; none if none is asked.
    pub image: Vec<Reference>,
    /// Tests that must have succeeded.
    pub requires: Vec<Reference>,
}

impl Package {
    /// What counts for packages of `format`.
    pub fn part(&self, format: &str) -> PackagePart {
        let own = match format {
            "deb" => &self.deb,
            "rpm" => &self.rpm,
            _ => return self.common.clone(),
        };
        self.common.clone().with(own.clone())
    }

    /// Every part, of whatever format.
    pub fn parts(&self) -> [&PackagePart; 3] {
        [&self.common, &self.deb, &self.rpm]
    }
}

/// What may stand in a package for every format, or for one of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PackagePart {
    /// Relations by their field's name (`Depends`); `auto` asks the distribution's own generator.
    pub relations: BTreeMap<String, Vec<Template>>,
    /// Maintainer scripts by name (`postinst`).
    pub scripts: BTreeMap<String, Template>,
    /// Absolute paths.
    pub conffiles: Vec<Template>,
    /// `xz`, `zstd` or `gzip`.
    pub compression: Option<String>,
    /// Archive section, of a Debian package.
    pub section: Option<Template>,
    /// Priority, of a Debian package.
    pub priority: Option<Template>,
    /// Lines of the lintian override file, of a Debian package.
    pub lintian_overrides: Vec<Template>,
    /// rpm's own name of the architecture.
    pub architecture: Option<Template>,
    /// The license, of an rpm package.
    pub license: Option<Template>,
    /// The group of packages, of an rpm package.
    pub group: Option<Template>,
    /// Who distributes it, of an rpm package.
    pub vendor: Option<Template>,
    /// The key that signs it, of an rpm package.
    pub sign: Option<Reference>,
}

impl PackagePart {
    /// This, and what `own` says more: lists add up, and a single text of `own` stands for that of this.
    fn with(mut self, own: Self) -> Self {
        for (field, clauses) in own.relations {
            self.relations.entry(field).or_default().extend(clauses);
        }
        self.scripts.extend(own.scripts);
        self.conffiles.extend(own.conffiles);
        self.lintian_overrides.extend(own.lintian_overrides);
        Self {
            compression: own.compression.or(self.compression),
            section: own.section.or(self.section),
            priority: own.priority.or(self.priority),
            architecture: own.architecture.or(self.architecture),
            license: own.license.or(self.license),
            group: own.group.or(self.group),
            vendor: own.vendor.or(self.vendor),
            sign: own.sign.or(self.sign),
            relations: self.relations,
            scripts: self.scripts,
            conffiles: self.conffiles,
            lintian_overrides: self.lintian_overrides,
        }
    }

    /// The relation that asks for generated dependencies, if one does.
    pub fn generated(&self) -> Option<&Template> {
        self.relations.values().flatten().find(|relation| is_auto(relation))
    }

    /// All texts with holes.
    pub(super) fn templates(&self) -> Vec<&Template> {
        let single =
            [&self.section, &self.priority, &self.architecture, &self.license, &self.group, &self.vendor];
        let lists = self.relations.values().flatten().chain(self.scripts.values());
        lists
            .chain(&self.conffiles)
            .chain(&self.lintian_overrides)
            .chain(single.into_iter().flatten())
            .collect()
    }
}

/// Whether a relation stands for what the distribution's generator finds.
pub fn is_auto(relation: &Template) -> bool {
    matches!(relation.parts.as_slice(), [super::Part::Text(text)] if text == "auto")
}

/// A part of a package's payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// An output of a target, or local files.
    pub from: InputSource,
    /// The part of it that is taken; all of it if empty.
    pub path: Template,
    /// Where it goes, absolute.
    pub to: Template,
}
