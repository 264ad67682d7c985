use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Sha256;
use super::http;
use super::part::Part;
use crate::digest::Digest;
use crate::store::{LocalStore, StoreError};

/// What a download must turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The SHA-256 of its bytes.
    pub sha256: Sha256,
    /// Its length in bytes, where it is known.
    pub size: Option<u64>,
}

/// A file that is in the store now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The object that holds it.
    pub object: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where it came from this time.
    pub origin: Origin,
    /// What went wrong on the way; the file is right all the same, but somebody may want to know.
    pub faults: Vec<Fault>,
}

/// Where a file came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was in the store already.
    Store,
    /// A file in the directory of files fetched by other means.
    Distdir(PathBuf),
    /// This URL, the whole of it or the rest.
    Url(String),
}

/// One place that did not give the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {kind}")]
pub struct Fault {
    /// A URL or a path.
    pub place: String,
    /// What it did instead.
    pub kind: FaultKind,
}

/// What a place did instead of giving the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// It says that it has no such file (HTTP 404 or 410).
    #[error("not found")]
    NotFound,
    /// It answered with this HTTP status.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The connection failed or broke.
    #[error("{0}")]
    Network(String),
    /// Asked for the rest of the file, it sent another part, or none.
    #[error("the server's answer does not fit the range it was asked for")]
    BadRange,
    /// No later try can help.
    #[error("{0}")]
    Unusable(String),
    /// It gave other bytes.
    #[error("expected sha256 {expected}, got {got}")]
    Mismatch {
        /// What the bytes should hash to.
        expected: Sha256,
        /// What they hash to.
        got: Sha256,
    },
    /// It gave a file of another length.
    #[error("expected {expected} bytes, got {got}")]
    WrongSize {
        /// Bytes that should come.
        expected: u64,
        /// Bytes that were announced or came before the rest was refused.
        got: u64,
    },
}

impl FaultKind {
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Network(_) | Self::BadRange => true,
            Self::Status(status) => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }

    fn is_wrong_content(&self) -> bool {
        matches!(self, Self::Mismatch { .. } | Self::WrongSize { .. })
    }
}

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Every URL answers that there is no such file.
    #[error("no such file at {}", urls.join(", nor at "))]
    NotFound {
        /// The URLs, in the order they were asked.
        urls: Vec<String>,
    },
    /// A place gave something else, and no other place gave the file. Nothing was stored.
    #[error(
        "{fault}; nothing was stored. If upstream replaced the file, find out why; to take the new one, delete the version \
         from the lock and run `forge update`"
    )]
    WrongContent {
        /// The first place that did so.
        fault: Box<Fault>,
    },
    /// No place could be reached, or none did its part.
    #[error("cannot download: {}", list(faults))]
    Unreachable {
        /// What each place did, in the order they were asked.
        faults: Vec<Fault>,
    },
    /// There was no URL to ask.
    #[error("sha256 {0} is neither in the store nor in the distdir, and no URL was given for it")]
    NoPlace(Sha256),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
}

/// Brings the file `expected` into the store: from the store itself, else from a file of the
/// same name in `distdir`, else from the first of `urls` (`http:`, `https:`, `file:`) that gives
/// it. Blocks; so it is called from a thread that may.
///
/// A download that broke off goes on where it ended, also in a later process. What passes (a
/// broken connection, a status of 5xx) is tried again a few times, with growing pauses.
/// `progress` takes the bytes that are here and the bytes of the whole, where that is known.
pub fn fetch(
    store: &LocalStore,
    urls: &[String],
    expected: &Expected,
    distdir: Option<&Path>,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<Fetched, FetchError> {
    fetch_with(store, urls, expected, distdir, Patience::default(), progress)
}

/// How often and how soon to try again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Tries without a single new byte before a URL is given up.
    pub(super) tries: u32,
    /// The pause after the first of them; each later one doubles it.
    pub(super) pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 5, pause: Duration::from_millis(500) }
    }
}

fn fetch_with(
    store: &LocalStore,
    urls: &[String],
    expected: &Expected,
    distdir: Option<&Path>,
    patience: Patience,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<Fetched, FetchError> {
    let mut fetcher = Fetcher { store, expected: *expected, patience, progress };
    let mut faults = Vec::new();
    if let Some((object, size)) = known(store, expected.sha256) {
        return Ok(Fetched { object, size, origin: Origin::Store, faults });
    }
    for path in distfiles(distdir, urls) {
        match fetcher.admit(&path) {
            Ok((object, size)) => return Ok(Fetched { object, size, origin: Origin::Distdir(path), faults }),
            Err(stop) => faults.push(Fault { place: path.display().to_string(), kind: stop.fault()? }),
        }
    }
    let mut part = Part::lock(store, expected.sha256)?;
    // Another process may have finished it while this one waited for the lock.
    if let Some((object, size)) = known(store, expected.sha256) {
        part.clear()?;
        return Ok(Fetched { object, size, origin: Origin::Store, faults });
    }
    for url in urls {
        match fetcher.download_and_admit(url, &mut part) {
            Ok((object, size)) => {
                return Ok(Fetched { object, size, origin: Origin::Url(url.clone()), faults });
            }
            Err(stop) => faults.push(Fault { place: url.clone(), kind: stop.fault()? }),
        }
    }
    Err(verdict(expected.sha256, faults))
}

/// One reason out of many: wrong bytes first, as somebody must look into them.
pub(super) fn verdict(sha256: Sha256, faults: Vec<Fault>) -> FetchError {
    if let Some(fault) = faults.iter().find(|fault| fault.kind.is_wrong_content()) {
        return FetchError::WrongContent { fault: Box::new(fault.clone()) };
    }
    if faults.is_empty() {
        return FetchError::NoPlace(sha256);
    }
    match faults.iter().all(|fault| fault.kind == FaultKind::NotFound) {
        true => FetchError::NotFound { urls: faults.into_iter().map(|fault| fault.place).collect() },
        false => FetchError::Unreachable { faults },
    }
}

/// Why one place did not give the file: its own fault, or that of this machine.
enum Stop {
    Fault(FaultKind),
    Store(StoreError),
}

impl Stop {
    /// Another place may still give the file, unless it is this machine that failed.
    fn fault(self) -> Result<FaultKind, StoreError> {
        match self {
            Self::Fault(kind) => Ok(kind),
            Self::Store(error) => Err(error),
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<FaultKind> for Stop {
    fn from(kind: FaultKind) -> Self {
        Self::Fault(kind)
    }
}

struct Fetcher<'a> {
    store: &'a LocalStore,
    expected: Expected,
    patience: Patience,
    progress: &'a mut dyn FnMut(u64, Option<u64>),
}

impl Fetcher<'_> {
    fn download_and_admit(&mut self, url: &str, part: &mut Part) -> Result<(Digest, u64), Stop> {
        if let Some(path) = url.strip_prefix("file:") {
            return self.admit(&file_path(path));
        }
        // A part that another run left may be of another file. If so, one fresh start shows it.
        let mut inherited = part.len() > 0;
        loop {
            self.download(url, part)?;
            match self.admit(part.path()) {
                Err(Stop::Fault(kind)) => {
                    part.clear()?;
                    if !std::mem::take(&mut inherited) {
                        return Err(kind.into());
                    }
                }
                Ok(admitted) => {
                    part.clear()?;
                    return Ok(admitted);
                }
                failed => return failed,
            }
        }
    }

    /// Completes `part`, or gives up after some tries that brought nothing.
    fn download(&mut self, url: &str, part: &mut Part) -> Result<(), Stop> {
        let (mut furthest, mut tries, mut pause) = (part.len(), 0, self.patience.pause);
        loop {
            let stop = match self.transfer(url, part) {
                Ok(()) => return Ok(()),
                Err(stop) => stop,
            };
            if part.len() > furthest {
                (furthest, tries, pause) = (part.len(), 0, self.patience.pause);
            }
            tries += 1;
            let passing = matches!(&stop, Stop::Fault(kind) if kind.is_passing());
            if !passing || tries >= self.patience.tries {
                return Err(stop);
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
    }

    /// One request, for what `part` lacks.
    fn transfer(&mut self, url: &str, part: &mut Part) -> Result<(), Stop> {
        if part.len() > 0 && self.expected.size == Some(part.len()) {
            return Ok(());
        }
        let answer = match http::get(url, part.len(), part.validator(url)) {
            Err(FaultKind::BadRange) => {
                part.clear()?;
                return Err(FaultKind::BadRange.into());
            }
            answer => answer?,
        };
        if answer.start == 0 {
            part.restart(url, answer.validator)?;
        }
        let announced = answer.length.map(|length| answer.start + length);
        if let (Some(expected), Some(got)) = (self.expected.size, announced)
            && expected != got
        {
            part.clear()?;
            return Err(FaultKind::WrongSize { expected, got }.into());
        }
        self.receive(answer.body, announced, part)
    }

    fn receive(&mut self, mut body: impl Read, announced: Option<u64>, part: &mut Part) -> Result<(), Stop> {
        let total = announced.or(self.expected.size);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            (self.progress)(part.len(), total);
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => part.append(&buffer[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FaultKind::Network(error.to_string()).into()),
            }
            if let Some(expected) = self.expected.size.filter(|&expected| part.len() > expected) {
                let got = part.len();
                part.clear()?;
                return Err(FaultKind::WrongSize { expected, got }.into());
            }
        }
        match total {
            Some(total) if part.len() < total => {
                let here = part.len();
                Err(FaultKind::Network(format!("the connection ended after {here} of {total} bytes")).into())
            }
            _ => Ok(()),
        }
    }

    /// Stores the file at `path` if it is the expected one; the only way into the store.
    fn admit(&self, path: &Path) -> Result<(Digest, u64), Stop> {
        let mut from = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Stop::Fault(FaultKind::NotFound),
            _ => StoreError::io("open", path)(error).into(),
        })?;
        let mut writer = self.store.writer()?;
        let (got, size) = Sha256::copy(&mut from, &mut writer).map_err(StoreError::io("copy", path))?;
        let expected = self.expected.sha256;
        if got != expected {
            return Err(FaultKind::Mismatch { expected, got }.into());
        }
        let object = writer.finish()?;
        remember(self.store, expected, object)?;
        Ok((object, size))
    }
}

/// The object that has this SHA-256, if it was fetched before and is still here.
fn known(store: &LocalStore, sha256: Sha256) -> Option<(Digest, u64)> {
    let text = fs::read_to_string(record_path(store, sha256)).ok()?;
    let object = text.trim().parse().ok()?;
    let size = store.open_object(object).ok()?.size().ok()?;
    Some((object, size))
}

pub(super) fn remember(store: &LocalStore, sha256: Sha256, object: Digest) -> Result<(), StoreError> {
    let path = record_path(store, sha256);
    let room = store.root().join("sha256");
    fs::create_dir_all(&room).map_err(StoreError::io("create", &room))?;
    // A record torn by a crash does not parse, and is written again.
    let temp = tempfile::NamedTempFile::new_in(&room).map_err(StoreError::io("create a file in", &room))?;
    fs::write(temp.path(), format!("{object}\n")).map_err(StoreError::io("write", &path))?;
    temp.persist(&path).map_err(|error| StoreError::io("write", &path)(error.error))?;
    Ok(())
}

fn record_path(store: &LocalStore, sha256: Sha256) -> PathBuf {
    store.root().join("sha256").join(sha256.to_string())
}

/// The files in `distdir` that are named as one of the URLs ends, where they exist.
pub(super) fn distfiles(distdir: Option<&Path>, urls: &[String]) -> Vec<PathBuf> {
    let Some(distdir) = distdir else { return Vec::new() };
    let mut names: Vec<String> = urls.iter().map(|url| file_name(url)).collect();
    names.dedup();
    let usable = names.into_iter().filter(|name| !name.is_empty() && name != "." && name != "..");
    usable.map(|name| distdir.join(name)).filter(|path| path.is_file()).collect()
}

/// What a browser would call the file.
pub(super) fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = percent_decode(path.rsplit('/').next().unwrap_or_default());
    // An encoded slash must not lead out of the directory.
    name.replace('/', "_")
}

/// `file:///path`, `file://localhost/path` and `file:/path` (RFC 8089).
pub(super) fn file_path(rest: &str) -> PathBuf {
    let path = rest.strip_prefix("//").map_or(rest, |rest| rest.strip_prefix("localhost").unwrap_or(rest));
    percent_decode(path).into()
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = escaped_byte(&bytes[at..]);
        plain.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn escaped_byte(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
