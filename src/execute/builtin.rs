use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, watch};

use super::Event;
use super::done::{Done, Failure};
use crate::digest::Digest;
use crate::graph::{ArchiveSource, BootstrapImage, CommitSource, Node, PackageWork, Signer, Work};
use crate::keys::{KeySource, SigningKeys, signing_time};
use crate::package::{Deb, Package, Rpm, RpmGenerated, Substvars};
use crate::store::{Entry, Kind, LocalStore, Tree};
use crate::upstream::{self, AptError, BuildProgress, Expected, Git, Mirrors};

/// What builtin work takes from outside.
#[derive(Default)]
pub struct Supplies {
    /// A directory with archives fetched by other means.
    pub distdir: Option<PathBuf>,
    /// The archive that apt is configured with, looked up when the first node needs it.
    pub mirrors: OnceLock<Mirrors>,
    /// How often a publish that lost to another one is tried again, from what is live then.
    pub publish_retries: u32,
}

impl Supplies {
    /// The archive that this machine's apt is configured with.
    pub fn mirrors(&self) -> Result<&Mirrors, AptError> {
        if let Some(mirrors) = self.mirrors.get() {
            return Ok(mirrors);
        }
        let found = Mirrors::of_host()?;
        Ok(self.mirrors.get_or_init(|| found))
    }
}

/// Work that forge does itself.
pub struct Builtin {
    pub node: Node,
    pub inputs: Vec<Digest>,
    pub cores: usize,
    pub store: Arc<LocalStore>,
    pub supplies: Arc<Supplies>,
    pub events: mpsc::UnboundedSender<Event>,
    pub cancel: watch::Receiver<bool>,
}

impl Builtin {
    /// Does it, on the calling thread.
    pub fn run(self) -> Result<Done, Failure> {
        if *self.cancel.borrow() {
            return Err(Failure::Cancelled);
        }
        let is_kept = !matches!(self.node.work, Work::Publish(_));
        let outputs = match &self.node.work {
            Work::Archive(source) => self.archive(source)?,
            Work::Commit(source) => self.commit(source)?,
            Work::Files => self.output("src", self.inputs[0]),
            Work::Accept => self.output("package", self.inputs[0]),
            Work::Bootstrap(image) => self.bootstrap(image)?,
            Work::Package(package) => self.package(package)?,
            Work::Index(index) => self.index(index)?,
            Work::Publish(work) => self.publish(work)?,
            Work::Key(key) => self.key(key)?,
            Work::Script(_) | Work::Dockerfile(_) | Work::Registry(_) => {
                return Err(Failure::action("this work is for a runner, not for forge itself"));
            }
        };
        Ok(Done { outputs, log: None, runner: "builtin", is_kept })
    }

    pub(super) fn output(&self, name: &str, tree: Digest) -> BTreeMap<String, Digest> {
        [(name.to_owned(), tree)].into()
    }

    pub(super) fn progress(&self, text: String) {
        let _ = self.events.send(Event::NodeProgress { node: self.node.name(), text });
    }

    fn archive(&self, source: &ArchiveSource) -> Result<BTreeMap<String, Digest>, Failure> {
        let mut urls = Vec::new();
        for url in &source.urls {
            urls.extend(self.resolved(url)?);
        }
        let sha256 = source.sha256.parse().map_err(Failure::action)?;
        let expected = Expected { sha256, size: source.size };
        let mut progress = |done: u64, total: Option<u64>| {
            let total = total.map_or_else(String::new, |total| format!(" of {:.1}", mebibytes(total)));
            self.progress(format!("{:.1}{total} MiB", mebibytes(done)));
        };
        let distdir = self.supplies.distdir.as_deref();
        let fetched = upstream::fetch(&self.store, &urls, &expected, distdir, &mut progress);
        let object = fetched.map_err(Failure::action)?.object;
        let name = source.urls.first().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
        self.progress("unpacking".to_owned());
        let tree = upstream::unpack(&self.store, &self.store.object_file(object)?, name, source.strip);
        Ok(self.output("src", self.store.put_tree(&tree.map_err(Failure::action)?)?))
    }

    /// `forge update` has brought the files; on another machine, or after a gc, they are fetched again.
    fn commit(&self, source: &CommitSource) -> Result<BTreeMap<String, Digest>, Failure> {
        let CommitSource { url, tag, tree } = source;
        if !self.store.holds_tree(*tree) {
            self.progress(format!("fetching {}", tag.name));
            let fetched = Git::default().source(&self.store, url, tag).map_err(Failure::action)?;
            if fetched.tree != *tree {
                let (found, commit) = (fetched.tree, &tag.commit);
                let message =
                    format!("{url}, commit {commit}: the lock says its tree is {tree}, and it is {found}");
                return Err(Failure::action(message));
            }
        }
        Ok(self.output("src", *tree))
    }

    /// The places that a locked URL stands for on this machine.
    fn resolved(&self, url: &str) -> Result<Vec<String>, Failure> {
        match upstream::mirror_path(url) {
            None => Ok(vec![url.to_owned()]),
            Some((kind, path)) => Ok(self.supplies.mirrors().map_err(Failure::action)?.urls(kind, path)),
        }
    }

    fn bootstrap(&self, image: &BootstrapImage) -> Result<BTreeMap<String, Digest>, Failure> {
        let Some(locked) = &image.locked else {
            return Err(Failure::action("the lock does not say what it is made of; run `forge update`"));
        };
        let mirrors = self.supplies.mirrors().map_err(Failure::action)?;
        let (events, name) = (self.events.clone(), self.node.name());
        let progress = move |progress: BuildProgress| {
            let text = match progress {
                BuildProgress::Downloading { done, of } => format!("{done} of {of} packages"),
                BuildProgress::Installing => "installing".to_owned(),
            };
            let _ = events.send(Event::NodeProgress { node: name.clone(), text });
        };
        let tree = upstream::build(&self.store, locked, mirrors, &progress);
        Ok(self.output("root", self.store.put_tree(&tree.map_err(Failure::action)?)?))
    }

    fn package(&self, package: &PackageWork) -> Result<BTreeMap<String, Digest>, Failure> {
        let mut entries = Vec::new();
        for (input, path, to) in &package.contents {
            let tree = self.store.tree(self.inputs[*input])?;
            entries.extend(placed(&tree, path, to).map_err(Failure::action)?);
        }
        let payload = Tree::new(entries);
        let copyright = package.copyright.map(|input| self.single_text(self.inputs[input])).transpose()?;
        let mut object = self.store.writer()?;
        match package.package.clone() {
            Package::Deb(deb) => self.deb(deb, package, copyright, &payload, &mut object)?,
            Package::Rpm(rpm) => self.rpm(Rpm { copyright, ..rpm }, package, &payload, &mut object)?,
        }
        let object = object.finish()?;
        let size = self.store.open_object(object)?.size().map_err(Failure::action)?;
        let file =
            Entry { path: package.package.file_name(), mode: 0o644, kind: Kind::File { object, size } };
        Ok(self.output("package", self.store.put_tree(&Tree::new(vec![file]))?))
    }

    fn deb(
        &self,
        deb: Deb,
        package: &PackageWork,
        copyright: Option<String>,
        payload: &Tree,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let deb = Deb { copyright: copyright.unwrap_or_default(), ..deb };
        let substvars = match package.generated {
            Some(input) => self.single_text(self.inputs[input])?,
            None => String::new(),
        };
        let substvars = Substvars::parse(&substvars).map_err(Failure::action)?;
        let cores = self.cores_at_least_one();
        deb.write_on(cores, payload, &substvars, &self.store, out).map_err(Failure::action)
    }

    fn rpm(
        &self,
        rpm: Rpm,
        package: &PackageWork,
        payload: &Tree,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let generated = match package.generated {
            Some(input) => {
                let found = self.store.tree(self.inputs[input])?;
                let (requires, provides) =
                    (self.text_at(&found, "requires")?, self.text_at(&found, "provides")?);
                RpmGenerated::parse(&requires, &provides).map_err(Failure::action)?
            }
            None => RpmGenerated::default(),
        };
        let keys = package.signer.as_ref().map(signing_keys).transpose()?;
        let cores = self.cores_at_least_one();
        rpm.write_on(cores, payload, &generated, keys.as_ref(), &self.store, out).map_err(Failure::action)
    }

    fn text_at(&self, tree: &Tree, path: &str) -> Result<String, Failure> {
        match tree.get(path).map(|entry| &entry.kind) {
            Some(Kind::File { object, .. }) => self.text(*object),
            _ => Err(Failure::action(format!("the dependency generator left no file '{path}'"))),
        }
    }

    fn text(&self, object: Digest) -> Result<String, Failure> {
        String::from_utf8(self.store.get(object)?).map_err(|_| Failure::action("a text is not UTF-8"))
    }

    fn cores_at_least_one(&self) -> std::num::NonZeroUsize {
        std::num::NonZeroUsize::new(self.cores).unwrap_or(std::num::NonZeroUsize::MIN)
    }

    /// The text of the one file of a tree.
    fn single_text(&self, tree: Digest) -> Result<String, Failure> {
        let (object, _) = self.single_file(tree)?;
        self.text(object)
    }

    pub(super) fn single_file(&self, tree: Digest) -> Result<(Digest, u64), Failure> {
        let tree = self.store.tree(tree)?;
        let mut files = tree.files();
        match (files.next(), files.next()) {
            (Some(file), None) => Ok(file),
            _ => Err(Failure::action(format!("expected one file, and there are {}", tree.files().count()))),
        }
    }
}

/// The key that a package is signed by, if it still is the one that the action names.
fn signing_keys(signer: &Signer) -> Result<SigningKeys, Failure> {
    let source = KeySource::from(&signer.key);
    let keys = SigningKeys::load(&[source], signing_time()).map_err(Failure::action)?;
    match keys.fingerprints() == [signer.fingerprint.as_str()] {
        true => Ok(keys),
        false => Err(Failure::action("another key is there than when the plan was made; plan again")),
    }
}

/// The part of `tree` below `path`, put below `to`. A path that is a file is put as `to` itself.
fn placed(tree: &Tree, path: &str, to: &str) -> Result<Vec<Entry>, String> {
    let under = |name: &str| match to {
        "" => name.to_owned(),
        to => format!("{to}/{name}"),
    };
    if let Some(file) = tree.get(path).filter(|entry| entry.kind != Kind::Dir) {
        return Ok(vec![Entry { path: to.to_owned(), ..file.clone() }]);
    }
    let below = tree.below(path);
    if below.entries().is_empty() && !path.is_empty() {
        return Err(format!("there is nothing at '{path}' to put into the package"));
    }
    Ok(below.entries().iter().map(|entry| Entry { path: under(&entry.path), ..entry.clone() }).collect())
}

pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
