use std::collections::BTreeSet;
use std::time::Duration;

use crate::digest::Digest;
use crate::graph::PublishWork;
use crate::keys::{KeySource, SigningKeys, signing_time};
use crate::publish::{DirectoryTarget, PublishError, Repository};

/// What a publishing node wants to be there, beside what is there.
pub struct Destination<'a> {
    work: &'a PublishWork,
    target: DirectoryTarget,
}

impl<'a> Destination<'a> {
    /// Of a node's work.
    pub fn new(work: &'a PublishWork) -> Self {
        let retention = Duration::from_secs(work.retention_days * 86_400);
        Self { work, target: DirectoryTarget::new(&work.to).with_retention(retention) }
    }

    /// Where it is.
    pub fn target(&self) -> &DirectoryTarget {
        &self.target
    }

    /// The keys, read and tried now: one that cannot sign is told before anything is built.
    pub fn keys(&self) -> Result<SigningKeys, PublishError> {
        let sources: Vec<KeySource> = self.work.keys.iter().map(KeySource::from).collect();
        Ok(SigningKeys::load(&sources, signing_time())?)
    }

    /// The repositories to be published, made from the generations that are live now. The
    /// tree of an index is its content: equal trees are equal repositories.
    pub fn repositories(&self, trees: &[Digest]) -> Result<Vec<Repository>, PublishError> {
        let pairs = self.work.prefixes.iter().zip(trees);
        pairs
            .map(|(prefix, tree)| {
                let expected = self.target.state(prefix)?.map(|generation| generation.id);
                Ok(Repository { prefix: prefix.clone(), tree: *tree, content: *tree, expected })
            })
            .collect()
    }

    /// Why there is something to publish; `None` if everything is there.
    pub fn difference(&self, trees: &[Digest]) -> Result<Option<String>, PublishError> {
        let fingerprints = self.keys()?.fingerprints();
        for (prefix, tree) in self.work.prefixes.iter().zip(trees) {
            let place = self.work.to.join(prefix);
            let place = place.display();
            match self.target.state(prefix)? {
                None => return Ok(Some(format!("nothing is published at {place}"))),
                Some(live) if live.content != *tree => {
                    return Ok(Some(format!("{place} holds generation {}", live.id)));
                }
                Some(live) if live.fingerprints != fingerprints => {
                    return Ok(Some(format!("{place} is signed by other keys")));
                }
                Some(_) => {}
            }
        }
        Ok(None)
    }

    /// What is published below a prefix now, as `suite: name version (architecture)`.
    pub fn packages(&self, prefix: &str) -> Result<BTreeSet<String>, PublishError> {
        let live = self.target.state(prefix)?;
        let packages = live.iter().flat_map(|generation| &generation.packages);
        Ok(packages.map(|p| format!("{}: {} {} ({})", p.suite, p.name, p.version, p.architecture)).collect())
    }
}
