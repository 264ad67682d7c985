use super::candidate::Candidate;
use super::fetch::file_name;
use super::first_use::fetch_unknown;
use super::git::{GitSource, Tag};
use super::published::{check_signature, listed_digest};
use super::{
    Check, Expected, FetchError, Fetched, LockedArchive, LockedSource, LockedVersion, Origin, Sha256,
    SourceVersion, UpdateError, Updater, VersionError, fetch, mirror_url, newest_mtime,
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
        let taken = match (candidate, &upstream.origin) {
            (Candidate::Sources(sources), _) => taking.packaged(sources),
            (Candidate::Tag(tag), buildfile::Origin::Git { url, .. }) if upstream.archives.is_empty() => {
                taking.repository(url, tag)
            }
            (Candidate::Tag(tag), _) => taking.released(tag),
        };
        taken.map_err(|source| {
            let (upstream, version) = (upstream.name.clone(), version.to_owned());
            UpdateError::Version { upstream, version, source: Box::new(source) }
        })
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
    fn repository(&self, url: &str, tag: &Tag) -> Result<Taken, VersionError> {
        let GitSource { tree, date } = self.updater.git.source(self.updater.store, url, tag)?;
        Ok(self.taken(date, Some(tag), LockedSource::Tree(tree), Vec::new()))
    }

    /// The archive that upstream released for the tag.
    fn released(&self, tag: &Tag) -> Result<Taken, VersionError> {
        let urls: Vec<String> = self.upstream.archives.iter().map(|template| self.filled(template)).collect();
        let downloaded = match self.download(&urls) {
            Err(VersionError::Fetch(error @ FetchError::NotFound { .. })) => {
                return Ok(self.absent(Some(tag), &error.to_string()));
            }
            downloaded => downloaded?,
        };
        let Downloaded { fetched, sha256, mut checks, notes } = downloaded;
        let path = self.updater.store.object_file(fetched.object)?;
        if let Some(signature) = &self.upstream.signature {
            let keys = self.updater.dir.join(&signature.key_file);
            check_signature(&self.filled(&signature.url), &keys, &path, &place_of(&fetched, &urls))?;
            checks.push(Check::Signature);
        }
        let archive = LockedArchive { sha256, size: fetched.size, urls, checks };
        Ok(self.taken(newest_mtime(&path)?, Some(tag), LockedSource::Archive(archive), notes))
    }

    /// By the digest that upstream publishes, or else on trust, this once.
    fn download(&self, urls: &[String]) -> Result<Downloaded, VersionError> {
        let (store, distdir) = (self.updater.store, self.updater.distdir.as_deref());
        let mut notes = Vec::new();
        if let Some(list) = self.upstream.checksums.as_ref().map(|list| self.filled(list)) {
            let name = file_name(urls.first().map_or("", String::as_str));
            if let Some(sha256) = listed_digest(&list, &name)? {
                let expected = Expected { sha256, size: None };
                let fetched = fetch(store, urls, &expected, distdir, &mut |_, _| {});
                let fetched = fetched.map_err(|source| match source {
                    FetchError::WrongContent { .. } => VersionError::WrongChecksum { list, source },
                    source => source.into(),
                })?;
                return Ok(Downloaded { fetched, sha256, checks: vec![Check::Checksums], notes });
            }
            notes.push(format!("upstream publishes no checksums for it: nothing at {list}"));
        }
        let (sha256, fetched) = fetch_unknown(store, urls, distdir)?;
        Ok(Downloaded { fetched, sha256, checks: Vec::new(), notes })
    }

    /// The archive beside a source package; the archive's signed indices tell its digest.
    fn packaged(&self, sources: &[SourceVersion]) -> Result<Taken, VersionError> {
        let (store, distdir) = (self.updater.store, self.updater.distdir.as_deref());
        let mirrors = self.updater.apt()?.mirrors();
        let mut missing = String::new();
        for source in sources {
            let expected = source.expected();
            match fetch(store, &source.urls(mirrors), &expected, distdir, &mut |_, _| {}) {
                Ok(fetched) => {
                    let date = newest_mtime(&store.object_file(fetched.object)?)?;
                    let archive = LockedArchive {
                        sha256: expected.sha256,
                        size: fetched.size,
                        urls: vec![mirror_url(source.mirror, &source.path)],
                        checks: Vec::new(),
                    };
                    return Ok(self.taken(date, None, LockedSource::Archive(archive), Vec::new()));
                }
                Err(error @ FetchError::NotFound { .. }) => missing = error.to_string(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.absent(None, &missing))
    }

    fn absent(&self, tag: Option<&Tag>, reason: &str) -> Taken {
        let absent = Some(reason.to_owned());
        Taken { absent, ..self.taken(0, tag, LockedSource::Absent, Vec::new()) }
    }

    fn taken(&self, date: u64, tag: Option<&Tag>, source: LockedSource, notes: Vec<String>) -> Taken {
        let commit = tag.map(|tag| tag.commit.clone());
        let locked = LockedVersion { version: self.version.to_owned(), date, commit, source };
        Taken { locked, notes, absent: None }
    }

    fn filled(&self, template: &Template) -> String {
        let filled = template.fill(|hole| hole.is("version").then_some(self.version));
        filled.unwrap_or_default()
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
