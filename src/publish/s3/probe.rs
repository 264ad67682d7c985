use super::manifest::PROBE;
use super::remote::Remote;
use crate::publish::PublishError;
use crate::s3::{self, Begun, Etag, Fitness, S3Error};
use crate::store::LocalStore;

/// Some services take conditions and ignore them: it is found out before anything is written, once for all repositories of
/// a publish, and while the first of them is made.
pub(super) struct Probe<'a> {
    root: Remote,
    memory: &'a LocalStore,
    state: State,
}

enum State {
    NotAsked,
    Asked(Begun<Result<Fitness, S3Error>>),
    Fit,
}

impl<'a> Probe<'a> {
    /// Of the service that has `root`. Nobody is asked yet. It takes one step less where `memory` knows the probe's object.
    pub fn new(root: Remote, memory: &'a LocalStore) -> Self {
        Self { root, memory, state: State::NotAsked }
    }

    /// Asks, unless that was done.
    pub fn begin(&mut self) {
        if let State::NotAsked = self.state {
            let root = self.root.clone();
            let known = self.memory.last_seen(&root.url(PROBE)).map(Etag::new);
            self.state = State::Asked(s3::begin(async move { root.fitness(known).await }));
        }
    }

    /// Waits for the answer.
    pub fn require_fit(&mut self) -> Result<(), PublishError> {
        self.begin();
        if let State::Asked(answer) = std::mem::replace(&mut self.state, State::NotAsked) {
            match answer.wait()? {
                Fitness::Fit(etag) => self.root.remember(self.memory, PROBE, etag.as_str()),
                Fitness::Unfit(reason) => {
                    return Err(PublishError::Unfit { place: self.root.place(), reason });
                }
            }
        }
        self.state = State::Fit;
        Ok(())
    }
}
