use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::flat::FlatRepository;
use super::image_rules::{DPKG_OPTIONS, Image};
use super::mirrors::encode;
use super::sources::{field, paragraphs};
use super::unpack::unpack_with;
use super::{BootstrapLock, Expected, FetchError, LockedPackage, Mirrors, UnpackError, fetch};
use crate::package::PackageError;
use crate::store::{Kind, LocalStore, StoreError, Tree};

/// Downloads at the same time: enough to hide a mirror's latency, few enough to stay welcome.
const DOWNLOADS: usize = 8;

/// How much of mmdebstrap's log an error shows.
const LOG_LINES: usize = 25;

/// Puts a command into a world of its own: its mounts, its processes, no network, a fixed host
/// name. What is mounted into the image is never seen outside, so that sweeping up after a
/// killed build cannot reach through it; and the whole of it dies with forge.
const ENCLOSED: [&str; 14] = [
    "setpriv",
    "--pdeathsig=KILL",
    "unshare",
    "--mount",
    "--propagation=private",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--ipc",
    "--uts",
    "--net",
    "sh",
    "-c",
];

/// Why a base image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The lock names a package that the mirror does not have (any more).
    #[error(
        "the mirror does not have {name} {version} ({path}), which the lock names: it was replaced by a \
         newer one, or the mirror is behind its own index; `forge update` locks what there is now"
    )]
    Gone {
        /// The package.
        name: String,
        /// Its version.
        version: String,
        /// Where it should lie, relative to the mirror.
        path: String,
    },
    /// A package could not be downloaded.
    #[error("{name} {version}: {source}")]
    Download {
        /// The package.
        name: String,
        /// Its version.
        version: String,
        /// Why.
        source: FetchError,
    },
    /// A package is not what a package is.
    #[error("{name} {version} is no usable package: {source}")]
    BadPackage {
        /// The package.
        name: String,
        /// Its version.
        version: String,
        /// What is wrong with it.
        source: PackageError,
    },
    /// A program that makes images is missing.
    #[error("'{program}' is needed to make a base image; `apt-get install {package}` brings it")]
    NoTool {
        /// The program.
        program: &'static str,
        /// The package that brings it.
        package: &'static str,
    },
    /// The packages could not be installed.
    #[error("mmdebstrap cannot make {suite} {arch} ({status}); the end of its log:\n{log}")]
    Failed {
        /// The suite.
        suite: String,
        /// The architecture.
        arch: String,
        /// How it ended.
        status: String,
        /// The last lines it printed.
        log: String,
    },
    /// The image holds something else than the lock says.
    #[error("the image of {suite} {arch} is not what the lock says: {what}")]
    Differs {
        /// The suite.
        suite: String,
        /// The architecture.
        arch: String,
        /// Which package differs, and how.
        what: String,
    },
    /// The image cannot become a tree.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far a base image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildProgress {
    /// Packages are being downloaded.
    Downloading {
        /// Packages that are in the store.
        done: usize,
        /// Packages of the lock.
        of: usize,
    },
    /// They are being installed.
    Installing,
}

/// Makes the base image that `lock` describes. The tree depends on the lock alone: neither on
/// the mirror, nor on this machine, its clock or its configuration.
///
/// It has no documentation and no translations, no `/dev`, no lists, caches or logs, and
/// names no host. Setuid and setgid bits are taken away, as a tree knows no owners. Needs
/// mmdebstrap, and root or the right to make user namespaces. Blocks.
pub fn build(
    store: &LocalStore,
    lock: &BootstrapLock,
    mirrors: &Mirrors,
    progress: &(dyn Fn(BuildProgress) + Sync),
) -> Result<Tree, BootstrapError> {
    require_tools()?;
    let files = download(store, lock, mirrors, progress)?;
    progress(BuildProgress::Installing);
    let scratch = store.scratch()?;
    // In a user namespace this directory belongs to somebody else.
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755))
        .map_err(StoreError::io("write", scratch.path()))?;
    let repository = FlatRepository::create(scratch.path().join("repository"), &files)?;
    let tree = install(store, lock, &repository, scratch.path())?;
    check(store, lock, &tree)?;
    Ok(tree)
}

fn require_tools() -> Result<(), BootstrapError> {
    let tools = [("mmdebstrap", "mmdebstrap"), ("setpriv", "util-linux"), ("unshare", "util-linux")];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here = |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    match tools.into_iter().find(|(program, _)| !is_here(program)) {
        Some((program, package)) => Err(BootstrapError::NoTool { program, package }),
        None => Ok(()),
    }
}

/// Brings every package into the store, several at once; stops at the first that cannot be had.
fn download<'a>(
    store: &LocalStore,
    lock: &'a BootstrapLock,
    mirrors: &Mirrors,
    progress: &(dyn Fn(BuildProgress) + Sync),
) -> Result<Vec<(&'a LockedPackage, PathBuf)>, BootstrapError> {
    let of = lock.packages.len();
    let (next, done, stopped) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let found = Mutex::new(BTreeMap::new());
    let work = || -> Result<(), BootstrapError> {
        while !stopped.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(package) = lock.packages.get(at) else { break };
            let path = download_one(store, package, mirrors)
                .inspect_err(|_| stopped.store(true, Ordering::Relaxed))?;
            found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(at, (package, path));
            progress(BuildProgress::Downloading { done: 1 + done.fetch_add(1, Ordering::Relaxed), of });
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..DOWNLOADS).map(|_| scope.spawn(work)).collect();
        let ends = workers.into_iter().map(|worker| match worker.join() {
            Ok(end) => end,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ends.collect::<Vec<_>>().into_iter().collect::<Result<(), _>>()
    })?;
    let found = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    Ok(found.into_values().collect())
}

fn download_one(
    store: &LocalStore,
    package: &LockedPackage,
    mirrors: &Mirrors,
) -> Result<PathBuf, BootstrapError> {
    let expected = Expected { sha256: package.sha256, size: Some(package.size) };
    let urls = mirrors.urls(package.mirror, &package.path);
    let (name, version) = (package.name.clone(), package.version.clone());
    match fetch(store, &urls, &expected, None, &mut |_, _| {}) {
        Ok(fetched) => Ok(store.object_file(fetched.object)?),
        Err(FetchError::NotFound { .. }) => {
            Err(BootstrapError::Gone { name, version, path: package.path.clone() })
        }
        Err(source) => Err(BootstrapError::Download { name, version, source }),
    }
}

/// Installs exactly the packages of the repository, and stores what comes of it.
fn install(
    store: &LocalStore,
    lock: &BootstrapLock,
    repository: &FlatRepository,
    scratch: &Path,
) -> Result<Tree, BootstrapError> {
    let log = scratch.join("log");
    let mut child = start(lock, repository, scratch, &log)?;
    let name = format!("image of {} {}", lock.suite, lock.arch);
    let unpacked = match child.stdout.take() {
        Some(tar) => unpack_stream(store, tar, &name),
        None => Err(StoreError::io("read", &log)(io::ErrorKind::BrokenPipe.into()).into()),
    };
    let status = child.wait().map_err(StoreError::io("wait for", "mmdebstrap"))?;
    match unpacked {
        // What mmdebstrap complains of is why its archive is broken.
        Ok(_) | Err(UnpackError::Archive { .. }) if !status.success() => Err(BootstrapError::Failed {
            suite: lock.suite.clone(),
            arch: lock.arch.clone(),
            status: status.to_string(),
            log: last_lines(&log),
        }),
        unpacked => Ok(unpacked?),
    }
}

fn start(
    lock: &BootstrapLock,
    repository: &FlatRepository,
    scratch: &Path,
    log: &Path,
) -> Result<Child, StoreError> {
    let is_root = rustix::process::geteuid().is_root();
    let script = match is_root {
        true => "echo forge > /proc/sys/kernel/hostname; umask 022; exec \"$@\"",
        false => "umask 022; exec \"$@\"",
    };
    let mut command = match is_root {
        true => enclosed(&ENCLOSED),
        // mmdebstrap makes the namespaces itself then.
        false => enclosed(&["setpriv", "--pdeathsig=TERM", "sh", "-c"]),
    };
    command.args([script, "sh"]).args(mmdebstrap(lock, repository, is_root));
    let errors = File::create(log).map_err(StoreError::io("create", log))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("PATH", path)
        .env("LC_ALL", "C.UTF-8")
        .env("TMPDIR", scratch)
        // Of the packages, not of the day: the same packages give the same bytes.
        .env("SOURCE_DATE_EPOCH", repository.newest.to_string())
        .current_dir(scratch)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(StoreError::io("run", "mmdebstrap"))
}

fn enclosed(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

fn mmdebstrap(lock: &BootstrapLock, repository: &FlatRepository, is_root: bool) -> Vec<String> {
    let names: Vec<String> = lock.packages.iter().map(|package| lock.name_of(package)).collect();
    let architectures: Vec<&str> =
        std::iter::once(&lock.arch).chain(&lock.foreign).map(String::as_str).collect();
    let mut words = vec![
        "mmdebstrap".to_owned(),
        format!("--mode={}", if is_root { "root" } else { "unshare" }),
        "--variant=apt".to_owned(),
        "--format=tar".to_owned(),
        format!("--architectures={}", architectures.join(",")),
        format!("--include={}", names.join(",")),
        "--skip=output/dev".to_owned(),
        // Whether foreign programs run here is found out by whoever runs this.
        "--skip=check/qemu".to_owned(),
        // Only where the suite has the package that says that /usr is merged.
        "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr".to_owned(),
    ];
    words.extend(DPKG_OPTIONS.iter().map(|option| format!("--dpkgopt={option}")));
    let place = encode(&repository.dir.to_string_lossy());
    words.extend([lock.suite.clone(), "-".to_owned(), format!("deb [trusted=yes] copy:{place} ./")]);
    words
}

fn unpack_stream(store: &LocalStore, tar: impl io::Read, name: &str) -> Result<Tree, UnpackError> {
    let mut archive = tar::Archive::new(tar);
    let tree = unpack_with(store, &mut archive, Path::new(name), name, &Image)?;
    // The padding at the end: left unread, it would end the writer with SIGPIPE.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(StoreError::io("read", name))?;
    Ok(tree)
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// dpkg's own record must name the packages of the lock, all installed, and no other.
fn check(store: &LocalStore, lock: &BootstrapLock, tree: &Tree) -> Result<(), BootstrapError> {
    let differs =
        |what: String| BootstrapError::Differs { suite: lock.suite.clone(), arch: lock.arch.clone(), what };
    let Some(Kind::File { object, .. }) = tree.get("var/lib/dpkg/status").map(|entry| &entry.kind) else {
        return Err(differs("dpkg has no status file".to_owned()));
    };
    let status = store.get(*object)?;
    let status = String::from_utf8_lossy(&status);
    let mut installed: BTreeMap<(&str, &str), &str> = paragraphs(&status)
        .filter(|paragraph| field(paragraph, "Status") == Some("install ok installed"))
        .filter_map(|paragraph| {
            let name = (field(paragraph, "Package")?, field(paragraph, "Architecture")?);
            Some((name, field(paragraph, "Version")?))
        })
        .collect();
    for package in &lock.packages {
        let (name, version) = (lock.name_of(package), &package.version);
        match installed.remove(&(package.name.as_str(), package.architecture.as_str())) {
            Some(found) if found == version => {}
            Some(found) => return Err(differs(format!("{name} is {found}, expected {version}"))),
            None => return Err(differs(format!("{name} {version} is not installed"))),
        }
    }
    match installed.first_key_value() {
        Some(((name, arch), version)) => {
            Err(differs(format!("{name}:{arch} {version} is installed beside it")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
