use super::candidate::Candidate;
use super::fetch::file_name;
use super::first_use::fetch_unknown;
use super::git::Tag;
use super::published::{check_signature, listed_digest};
use super::{
    Check, Expected, FetchError, Fetched, LockedArchive, LockedSource, LockedVersion, Origin, Sha256,
    SourceVersion, UpdateError, Updater, fetch, mirror_url, newest_mtime,
};
use crate::buildfile::{self, Template, Upstream};

/// A version as it comes into the lock.
pub(super) struct Taken {
    pub locked: LockedVersion,
    /// What is to be told of it.
    pub notes: Vec<String>,
    /// Why there is nothing to build, if so.
    pub absent: Option<String>,
}

/// An archive that was downloaded, and what it was checked against on the way.
struct Downloaded {
    fetched: Fetched,
    sha256: Sha256,
    checks: Vec<Check>,
    notes: Vec<String>,
}

impl Updater<'_> {
    /// Downloads a version's source: its date stands inside. A version that is not there is locked
    /// without a source, so that only what needs it has to do without.
    pub(super) fn take(
        &self,
        upstream: &Upstream,
        version: &str,
        candidate: &Candidate,
    ) -> Result<Taken, UpdateError> {
        (self.tell)(&format!("{} {version}: downloading", upstream.name));
        let taking = Taking { updater: self, upstream, version };
        match (candidate, &upstream.origin) {
            (Candidate::Sources(sources), _) => taking.packaged(sources),
            (Candidate::Tag(tag), buildfile::Origin::Git { url, .. }) if upstream.archives.is_empty() => {
                taking.repository(url, tag)
            }
            (Candidate::Tag(tag), _) => taking.released(tag),
        }
    }
}

/// One version that is being taken.
struct Taking<'a> {
    updater: &'a Updater<'a>,
    upstream: &'a Upstream,
    version: &'a str,
}

impl Taking<'_> {
    /// The tag's own tree.
    fn repository(&self, url: &str, tag: &Tag) -> Result<Taken, UpdateError> {
        let taken = self.updater.git.source(self.updater.store, url, tag);
        let taken = taken.map_err(|source| {
            let (upstream, version) = self.names();
            UpdateError::Source { upstream, version, source }
        })?;
        let locked = self.locked(taken.date, Some(tag), LockedSource::Tree(taken.tree));
        Ok(Taken { locked, notes: Vec::new(), absent: None })
    }

    /// The archive that upstream released for the tag.
    fn released(&self, tag: &Tag) -> Result<Taken, UpdateError> {
        let urls: Vec<String> = self.upstream.archives.iter().map(|template| self.filled(template)).collect();
        let downloaded = match self.download(&urls) {
            Err(UpdateError::Fetch { source: error @ FetchError::NotFound { .. }, .. }) => {
                return Ok(self.absent(Some(tag), &error));
            }
            downloaded => downloaded?,
        };
        self.checked(downloaded, urls, tag)
    }

    fn checked(&self, downloaded: Downloaded, urls: Vec<String>, tag: &Tag) -> Result<Taken, UpdateError> {
        let Downloaded { fetched, sha256, mut checks, notes } = downloaded;
        let path = self.updater.store.object_path(fetched.object);
        if let Some(signature) = &self.upstream.signature {
            let keys = self.updater.dir.join(&signature.key_file);
            check_signature(&self.filled(&signature.url), &keys, &path, &place_of(&fetched, &urls))
                .map_err(|source| self.published(source))?;
            checks.push(Check::Signature);
        }
        let date = newest_mtime(&path).map_err(|source| self.unreadable(source))?;
        let archive = LockedArchive { sha256, size: fetched.size, urls, checks };
        let locked = self.locked(date, Some(tag), LockedSource::Archive(archive));
        Ok(Taken { locked, notes, absent: None })
    }

    /// By the digest that upstream publishes, or else on trust, this once.
    fn download(&self, urls: &[String]) -> Result<Downloaded, UpdateError> {
        let distdir = self.updater.distdir.as_deref();
        let mut notes = Vec::new();
        if let Some(list) = self.upstream.checksums.as_ref().map(|list| self.filled(list)) {
            let name = file_name(urls.first().map_or("", String::as_str));
            match listed_digest(&list, &name).map_err(|source| self.published(source))? {
                Some(sha256) => {
                    let fetched = self.fetch_listed(urls, sha256, &list)?;
                    return Ok(Downloaded { fetched, sha256, checks: vec![Check::Checksums], notes });
                }
                None => notes.push(format!("upstream publishes no checksums for it: nothing at {list}")),
            }
        }
        let unknown = fetch_unknown(self.updater.store, urls, distdir);
        let (sha256, fetched) = unknown.map_err(|source| self.unfetched(source))?;
        Ok(Downloaded { fetched, sha256, checks: Vec::new(), notes })
    }

    fn fetch_listed(&self, urls: &[String], sha256: Sha256, list: &str) -> Result<Fetched, UpdateError> {
        let expected = Expected { sha256, size: None };
        let distdir = self.updater.distdir.as_deref();
        fetch(self.updater.store, urls, &expected, distdir, &mut |_, _| {}).map_err(|source| match source {
            source @ FetchError::WrongContent { .. } => {
                let (upstream, version) = self.names();
                UpdateError::WrongChecksum { upstream, version, list: list.to_owned(), source }
            }
            source => self.unfetched(source),
        })
    }

    /// The archive beside a source package; the archive's signed indices tell its digest.
    fn packaged(&self, sources: &[SourceVersion]) -> Result<Taken, UpdateError> {
        let mut missing = None;
        for source in sources {
            let apt = self.updater.apt().map_err(|source| {
                let upstream = self.upstream.name.clone();
                UpdateError::Apt { upstream, source }
            })?;
            let expected = source.expected();
            let urls = source.urls(apt.mirrors());
            let distdir = self.updater.distdir.as_deref();
            match fetch(self.updater.store, &urls, &expected, distdir, &mut |_, _| {}) {
                Ok(fetched) => {
                    let date = newest_mtime(&self.updater.store.object_path(fetched.object));
                    let archive = LockedArchive {
                        sha256: expected.sha256,
                        size: fetched.size,
                        urls: vec![mirror_url(source.mirror, &source.path)],
                        checks: Vec::new(),
                    };
                    let date = date.map_err(|source| self.unreadable(source))?;
                    let locked = self.locked(date, None, LockedSource::Archive(archive));
                    return Ok(Taken { locked, notes: Vec::new(), absent: None });
                }
                Err(error @ FetchError::NotFound { .. }) => missing = Some(error),
                Err(error) => return Err(self.unfetched(error)),
            }
        }
        Ok(self.absent(None, &missing.unwrap_or(FetchError::NotFound { urls: Vec::new() })))
    }

    fn absent(&self, tag: Option<&Tag>, error: &FetchError) -> Taken {
        let locked = self.locked(0, tag, LockedSource::Absent);
        Taken { locked, notes: Vec::new(), absent: Some(error.to_string()) }
    }

    fn locked(&self, date: u64, tag: Option<&Tag>, source: LockedSource) -> LockedVersion {
        let commit = tag.map(|tag| tag.commit.clone());
        LockedVersion { version: self.version.to_owned(), date, commit, source }
    }

    fn filled(&self, template: &Template) -> String {
        let filled = template.fill(|hole| (hole.text() == "version").then(|| self.version.to_owned()));
        filled.unwrap_or_default()
    }

    fn names(&self) -> (String, String) {
        (self.upstream.name.clone(), self.version.to_owned())
    }

    fn unfetched(&self, source: FetchError) -> UpdateError {
        let (upstream, version) = self.names();
        UpdateError::Fetch { upstream, version, source }
    }

    fn published(&self, source: super::published::PublishedError) -> UpdateError {
        let (upstream, version) = self.names();
        UpdateError::Published { upstream, version, source }
    }

    fn unreadable(&self, source: super::ArchiveError) -> UpdateError {
        let (upstream, version) = self.names();
        UpdateError::Archive { upstream, version, source }
    }
}

/// Where an archive came from, for messages.
fn place_of(fetched: &Fetched, urls: &[String]) -> String {
    match &fetched.origin {
        Origin::Url(url) => url.clone(),
        Origin::Distdir(path) => path.display().to_string(),
        Origin::Store => urls.first().cloned().unwrap_or_default(),
    }
}
