use super::remote::Remote;
use crate::publish::PublishError;
use crate::s3::{self, Begun, Fitness, S3Error};

/// Some services take conditions and ignore them: it is found out before anything is written, once for all repositories of
/// a publish, and while the first of them is made.
pub(super) struct Probe {
    root: Remote,
    state: State,
}

enum State {
    NotAsked,
    Asked(Begun<Result<Fitness, S3Error>>),
    Fit,
}

impl Probe {
    /// Of the service that has `root`. Nobody is asked yet.
    pub fn new(root: Remote) -> Self {
        Self { root, state: State::NotAsked }
    }

    /// Asks, unless that was done.
    pub fn begin(&mut self) {
        if let State::NotAsked = self.state {
            let root = self.root.clone();
            self.state = State::Asked(s3::begin(async move { root.fitness().await }));
        }
    }

    /// Waits for the answer.
    pub fn require_fit(&mut self) -> Result<(), PublishError> {
        self.begin();
        if let State::Asked(answer) = std::mem::replace(&mut self.state, State::NotAsked)
            && let Fitness::Unfit(reason) = answer.wait()?
        {
            return Err(PublishError::Unfit { place: self.root.place(), reason });
        }
        self.state = State::Fit;
        Ok(())
    }
}
