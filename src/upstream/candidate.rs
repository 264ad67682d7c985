use std::collections::BTreeMap;

use super::git::Tag;
use super::{LockedVersion, SourceVersion, UpdateError, Updater, source_versions};
use crate::buildfile::{Origin, TagForm, Upstream, Version};

/// A version that upstream has, and where.
pub(super) enum Candidate {
    /// At a tag.
    Tag(Tag),
    /// In suites of a Debian archive; one version may be in several, and repacked in one of them.
    Sources(Vec<SourceVersion>),
}

impl Candidate {
    /// Refuses a version that is not what it was when it was locked.
    pub fn check(&self, upstream: &Upstream, locked: &LockedVersion) -> Result<(), UpdateError> {
        let moved = |what, before: String, found: String| {
            let (upstream, version) = (upstream.name.clone(), locked.version.clone());
            Err(UpdateError::Moved { upstream, version, what, locked: before, found })
        };
        match self {
            Self::Tag(tag) => match &locked.commit {
                Some(commit) if *commit != tag.commit => moved("commit", commit.clone(), tag.commit.clone()),
                _ => Ok(()),
            },
            Self::Sources(sources) => match locked.archive() {
                Some(archive) if sources.iter().all(|source| source.sha256 != archive.sha256) => {
                    let found = sources.first().map(|source| source.sha256.to_string());
                    moved("sha256", archive.sha256.to_string(), found.unwrap_or_default())
                }
                _ => Ok(()),
            },
        }
    }
}

impl Updater<'_> {
    /// Everything that upstream has; `None` where the Buildfile itself says what there is.
    pub(super) fn candidates(
        &self,
        upstream: &Upstream,
    ) -> Result<Option<BTreeMap<Version, Candidate>>, UpdateError> {
        match &upstream.origin {
            Origin::Git { url, tag } => self.tags(upstream, url, tag).map(Some),
            Origin::AptSource { package, suites } => {
                let failed = |source| UpdateError::Apt { upstream: upstream.name.clone(), source };
                let apt = self.apt().map_err(failed)?;
                Ok(Some(by_version(source_versions(apt, package, suites).map_err(failed)?)))
            }
            Origin::List(_) | Origin::Path(_) => Ok(None),
        }
    }

    fn tags(
        &self,
        upstream: &Upstream,
        url: &str,
        form: &TagForm,
    ) -> Result<BTreeMap<Version, Candidate>, UpdateError> {
        let failed = |source| UpdateError::Git { upstream: upstream.name.clone(), source: Box::new(source) };
        let tags = self.git.tags(url).map_err(failed)?;
        let (count, example) =
            (tags.len(), tags.first().map(|tag| format!("; one of them is '{}'", tag.name)));
        let versions: BTreeMap<_, _> = tags
            .into_iter()
            .filter_map(|tag| Some((form.version(&tag.name)?, Candidate::Tag(tag))))
            .collect();
        match versions.is_empty() {
            true => Err(UpdateError::NoTags {
                upstream: upstream.name.clone(),
                url: url.to_owned(),
                form: form.written(),
                tags: count,
                example: example.unwrap_or_default(),
            }),
            false => Ok(versions),
        }
    }
}

fn by_version(sources: Vec<SourceVersion>) -> BTreeMap<Version, Candidate> {
    let mut versions: BTreeMap<Version, Vec<SourceVersion>> = BTreeMap::new();
    for source in sources {
        versions.entry(Version::new(source.version.as_str())).or_default().push(source);
    }
    versions.into_iter().map(|(version, sources)| (version, Candidate::Sources(sources))).collect()
}
