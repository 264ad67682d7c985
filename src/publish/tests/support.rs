use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::index::apt::{fixture, stanzas};
use crate::index::fixture::{Fixture, run};
use crate::index::{
    AptIndex, CatalogEntry, Indexed, IndexedPackage, IndexedRpm, RpmIndex, Settings, bundles_of, catalog,
    read_catalog, rpm,
};
use crate::keys::SigningKeys;
pub use crate::keys::testing::{NOW, gpgv, load_key, new_key, source};
use crate::publish::{DirectoryTarget, Edition, Outcome, PublishError, Repository, Target};

/// Where clients find a repository, for tests without any.
pub const URL: &str = "https://packages.example.org/site";

/// A store, a target and a key.
pub struct World {
    pub fixture: Fixture,
    pub target: Target,
    pub keys: SigningKeys,
}

impl World {
    pub fn new() -> Self {
        let fixture = Fixture::new();
        let target = Target::Directory(DirectoryTarget::new(fixture.dir.path().join("site")));
        let keys = load_key(fixture.dir.path(), "key.asc", &new_key());
        Self { fixture, target, keys }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.fixture.dir.path().join(below)
    }

    pub fn site(&self) -> PathBuf {
        self.path("site")
    }

    /// The index as a repository whose expected generation is the live one.
    pub fn repository(&self, prefix: &str, index: &AptIndex, packages: &[IndexedPackage]) -> Repository {
        let expected = self.target.state(prefix).unwrap().map(|live| live.id);
        let (packages, bundles) = self.catalog(fixture::entered(packages, &self.fixture.store).unwrap());
        Repository {
            prefix: prefix.to_owned(),
            index: Settings::Apt(index.clone()),
            url: Some(URL.to_owned()),
            keep: None,
            packages,
            bundles,
            updateinfo: None,
            instead: None,
            expected,
        }
    }

    /// The same for dnf, to be found at [`URL`].
    pub fn rpm_repository(&self, prefix: &str, index: &RpmIndex, packages: &[IndexedRpm]) -> Repository {
        let (packages, bundles) = self.catalog(rpm::fixture::entered(packages, &self.fixture.store).unwrap());
        Repository {
            index: Settings::Rpm(index.clone()),
            url: Some(URL.to_owned()),
            packages,
            bundles,
            ..self.repository(prefix, &fixture::index(Vec::new()), &[])
        }
    }

    /// The entries of packages, and their bundles, as a publish reads them.
    pub fn catalog(&self, packages: Vec<Indexed>) -> (Vec<CatalogEntry>, Vec<Digest>) {
        let store = &self.fixture.store;
        let catalog = catalog(&packages, None, store).unwrap();
        (read_catalog(&catalog, store).unwrap(), bundles_of(&catalog))
    }

    /// These repositories at once.
    pub fn edition<'a>(&'a self, repositories: &'a [Repository], now: u64) -> Edition<'a> {
        Edition { repositories, keys: Some(&self.keys), now, store: &self.fixture.store }
    }

    /// Why there is something to publish.
    pub fn difference(
        &self,
        repository: &Repository,
        keys: Option<&SigningKeys>,
        now: u64,
    ) -> Result<Option<String>, PublishError> {
        self.target.difference(repository, keys, now, &self.fixture.store)
    }

    pub fn publish(&self, repository: &Repository, now: u64) -> Result<Outcome, PublishError> {
        self.publish_with(&self.keys, repository, now)
    }

    pub fn publish_with(
        &self,
        keys: &SigningKeys,
        repository: &Repository,
        now: u64,
    ) -> Result<Outcome, PublishError> {
        let edition = Edition { keys: Some(keys), ..self.edition(std::slice::from_ref(repository), now) };
        self.target.publish(&edition, &mut |_| {}).map(|mut outcomes| outcomes.remove(0))
    }
}

/// A private apt root: the machine's own apt is left alone.
pub struct Apt {
    root: PathBuf,
}

impl Apt {
    pub fn new(root: PathBuf) -> Self {
        for dir in [
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/sources.list.d",
            "etc/trusted.gpg.d",
            "lib/lists/partial",
            "cache/archives/partial",
            "log",
        ] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("status"), "").unwrap();
        let at = root.display();
        let settings = format!(
            "Dir::State \"{at}/lib\"; Dir::State::status \"{at}/status\"; Dir::Cache \"{at}/cache\";\n\
             Dir::Etc \"{at}/etc\"; Dir::Etc::main \"/dev/null\"; Dir::Etc::parts \"{at}/etc/apt.conf.d\";\n\
             Dir::Etc::trusted \"/dev/null\"; Dir::Etc::trustedparts \"{at}/etc/trusted.gpg.d\";\n\
             Dir::Log \"{at}/log\"; Acquire::Languages \"none\"; APT::Sandbox::User \"root\";\n\
             APT::Architecture \"amd64\"; APT::Architectures {{ \"amd64\"; }};\n"
        );
        fs::write(root.join("apt.conf"), settings).unwrap();
        Self { root }
    }

    pub fn source(&self, uri: &str, key: &Path, suite: &str) {
        let line = format!("deb [signed-by={}] {uri} {suite} main\n", key.display());
        fs::write(self.root.join("etc/sources.list"), line).unwrap();
    }

    pub fn configure(&self, settings: &str) {
        fs::write(self.root.join("etc/apt.conf.d/50test"), settings).unwrap();
    }

    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("APT_CONFIG", self.root.join("apt.conf")).current_dir(&self.root);
        command.env("LC_ALL", "C.UTF-8").env_remove("http_proxy").env("no_proxy", "127.0.0.1");
        command
    }

    pub fn get(&self, arguments: &[&str]) -> String {
        run(&mut self.command("apt-get", arguments))
    }

    /// `apt-get update` where every warning is a failure.
    pub fn update(&self) -> Result<String, String> {
        let Output { status, stdout, stderr } =
            self.command("apt-get", &["--error-on=any", "update"]).output().unwrap();
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        match status.success() && !said.lines().any(|line| line.starts_with("W:")) {
            true => Ok(said),
            false => Err(said),
        }
    }

    /// The versions of a package that apt knows, newest first.
    pub fn versions(&self, package: &str) -> Vec<String> {
        let table = run(&mut self.command("apt-cache", &["madison", package]));
        let versions: Vec<_> =
            table.lines().filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned())).collect();
        versions
    }

    pub fn file(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }
}

/// A web server on a free port of this machine; its log is what it answered.
pub struct Server {
    child: Child,
    log: PathBuf,
    pub uri: String,
}

impl Server {
    pub fn start(root: &Path, log: PathBuf) -> Self {
        fs::create_dir_all(root).unwrap();
        let mut command = Command::new("python3");
        command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]).current_dir(root);
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // Serving HTTP on 127.0.0.1 port 12345 (http://127.0.0.1:12345/) ...
        let port = line.split_whitespace().nth(5).unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { child, log, uri: format!("http://127.0.0.1:{port}") }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every file and link below `dir` with its mode and bytes' digest.
pub fn listing(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in walkdir::WalkDir::new(dir).min_depth(1) {
        let entry = entry.unwrap();
        let path = entry.path();
        let metadata = fs::symlink_metadata(path).unwrap();
        let what = if metadata.is_dir() {
            "directory".to_owned()
        } else if metadata.is_symlink() {
            format!("link to {}", fs::read_link(path).unwrap().display())
        } else {
            format!("{:o} {}", metadata.permissions().mode(), Digest::of(&fs::read(path).unwrap()))
        };
        all.insert(path.strip_prefix(dir).unwrap().to_owned(), what);
    }
    all
}

/// Reads a repository as the strictest of clients would: each signature, each hash that its
/// metadata lists, each package that an index names.
pub fn check_whole(repository: &Path, key: &Path) {
    match repository.join("repodata").exists() {
        true => super::rpm::check_whole(repository, key),
        false => check_apt(repository, key),
    }
}

fn check_apt(repository: &Path, key: &Path) {
    // One look at the link: a client may see a commit between two requests, a check must not.
    let dists = fs::canonicalize(repository.join("dists")).unwrap();
    for suite in fs::read_dir(&dists).unwrap() {
        let suite = suite.unwrap().path();
        if !suite.join("InRelease").exists() {
            continue;
        }
        gpgv(key, &[&suite.join("InRelease")]);
        gpgv(key, &[&suite.join("Release.gpg"), &suite.join("Release")]);
        let release = fs::read_to_string(suite.join("Release")).unwrap();
        let inside = fs::read_to_string(suite.join("InRelease")).unwrap();
        assert!(inside.contains(&release), "InRelease and Release of {} differ", suite.display());
        let release = stanzas(&release).unwrap().remove(0);
        for line in release.get("SHA256").unwrap().lines().skip(1) {
            let [hash, _, path] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
            let dir = path.rsplit_once('/').unwrap().0;
            assert_eq!(sha256(&suite.join(path)), hash, "{path}");
            assert_eq!(sha256(&suite.join(dir).join("by-hash/SHA256").join(hash)), hash, "{path}");
            if path.ends_with("/Packages") {
                for package in stanzas(&fs::read_to_string(suite.join(path)).unwrap()).unwrap() {
                    let file = repository.join(package.get("Filename").unwrap());
                    assert_eq!(sha256(&file), package.get("SHA256").unwrap(), "{}", file.display());
                }
            }
        }
    }
}

pub fn sha256(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
