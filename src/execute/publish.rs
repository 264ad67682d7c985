//! Repositories: what is indexed is put where clients find it.

use std::collections::BTreeMap;

use super::Event;
use super::builtin::{Builtin, mebibytes};
use super::done::Failure;
use crate::digest::Digest;
use crate::graph::PublishWork;
use crate::plan::Destination;
use crate::publish::{Progress, PublishError};

impl Builtin {
    /// Publishes. Where somebody else was quicker it is tried again, as often as it was told to, from what
    /// is live then: what others published stays.
    pub(super) fn publish(&self, work: &PublishWork) -> Result<BTreeMap<String, Digest>, Failure> {
        let destination = Destination::new(work);
        let keys = destination.keys().map_err(Failure::action)?;
        let mut retries = self.supplies.publish_retries;
        loop {
            let repositories =
                destination.repositories(&self.inputs, &self.store).map_err(Failure::action)?;
            let mut progress = |progress: Progress<'_>| self.tell(&progress);
            match destination.publish(&repositories, &keys, &self.store, &mut progress) {
                Ok(_) => return Ok(BTreeMap::new()),
                Err(PublishError::Superseded { prefix, found, .. })
                    if retries > 0 && !*self.cancel.borrow() =>
                {
                    retries -= 1;
                    let found = found.unwrap_or_default();
                    let text = format!(
                        "{prefix}: somebody else published generation {found} meanwhile; trying again from it"
                    );
                    let _ = self.events.send(Event::Notice { text });
                }
                Err(error) => return Err(Failure::action(error)),
            }
        }
    }

    fn tell(&self, progress: &Progress<'_>) {
        if let Some(text) = progress.warning() {
            let _ = self.events.send(Event::Notice { text });
        }
        match progress {
            Progress::Waiting { prefix } => self.progress(format!("{prefix}: another publisher is at it")),
            Progress::Finishing { prefix, id } => {
                self.progress(format!("{prefix}: generation {id} was interrupted, and is finished first"));
            }
            Progress::Package { prefix, done, total, .. } => {
                self.progress(format!("{prefix}: {done} of {total} packages"));
            }
            Progress::Objects { prefix, done, total } => {
                let (sent, all) = (mebibytes(done.1), mebibytes(total.1));
                let count = format!("{prefix}: {} of {} objects", done.0, total.0);
                self.progress(format!("{count}, {sent:.1} of {all:.1} MiB"));
            }
            Progress::Committed { prefix, id } => self.progress(format!("{prefix}: generation {id} is live")),
            Progress::Uncollected { .. } | Progress::Uninvalidated { .. } => {}
        }
    }
}
