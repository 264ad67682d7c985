use std::collections::VecDeque;
use std::sync::Mutex;

use serde::Serialize;

use crate::digest::Digest;
use crate::s3::{S3Error, S3Fault};

/// How many requests in a row may fail, each tried several times, before no more are made.
const BORNE: u32 = 3;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Read,
    Write,
}

/// What happened between this process and a remote store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RemoteTraffic {
    /// Results that were found there.
    pub hits: u64,
    /// Objects received.
    pub objects_received: u64,
    /// Bytes received, of objects that are not all here among them.
    pub received: u64,
    /// Results that were sent.
    pub results_sent: u64,
    /// Objects sent.
    pub objects_sent: u64,
    /// Bytes sent, of objects that are not all there among them.
    pub sent: u64,
    /// What went wrong, how often.
    pub faults: u64,
    /// What went wrong first.
    pub first_fault: Option<String>,
}

/// Something to tell, by whoever listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// In a line.
    Notice(String),
    /// The result of a node is there now.
    Sent { node: String, key: Digest, bytes: u64 },
}

/// How well a remote store is, as far as it was asked. Where asking is of no use, nobody asks: a build
/// must not wait for a service that does not answer.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    reading: Gate,
    writing: Gate,
    faults: u64,
    first_fault: Option<String>,
    said: VecDeque<Said>,
}

#[derive(Debug, Default)]
struct Gate {
    is_closed: bool,
    is_proven: bool,
    failures: u32,
}

impl Health {
    /// Whether it is of use to ask.
    pub fn allows(&self, way: Way) -> bool {
        self.with(|state| !state.gate(way).is_closed)
    }

    /// Whether a request of this way has ever succeeded.
    pub fn is_proven(&self, way: Way) -> bool {
        self.with(|state| state.gate(way).is_proven)
    }

    /// A request succeeded.
    pub fn well(&self, way: Way) {
        self.with(|state| {
            let gate = state.gate(way);
            (gate.is_proven, gate.failures) = (true, 0);
        });
    }

    /// A request failed for good.
    pub fn fault(&self, way: Way, error: &S3Error) {
        self.with(|state| {
            state.count(error.to_string());
            match error.fault {
                S3Fault::NoBucket | S3Fault::Untrusted | S3Fault::Clock => {
                    [Way::Read, Way::Write].map(|way| state.close(way, error))
                }
                S3Fault::Denied => [state.close(way, error), ()],
                _ => {
                    let gate = state.gate(way);
                    gate.failures += 1;
                    let is_enough = gate.failures >= BORNE;
                    [
                        if is_enough {
                            state.close(way, error)
                        },
                        (),
                    ]
                }
            }
        });
    }

    /// Something else went wrong, about one object or on this machine.
    pub fn trouble(&self, text: String) {
        self.with(|state| {
            state.count(text.clone());
            state.said.push_back(Said::Notice(text));
        });
    }

    /// Something to tell.
    pub fn say(&self, said: Said) {
        self.with(|state| state.said.push_back(said));
    }

    /// What was said since this was asked last.
    pub fn take_said(&self) -> Vec<Said> {
        self.with(|state| state.said.drain(..).collect())
    }

    /// How often something went wrong, and what first.
    pub fn faults(&self) -> (u64, Option<String>) {
        self.with(|state| (state.faults, state.first_fault.clone()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // Counters are sound whoever panicked beside them.
        act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl State {
    fn gate(&mut self, way: Way) -> &mut Gate {
        match way {
            Way::Read => &mut self.reading,
            Way::Write => &mut self.writing,
        }
    }

    fn count(&mut self, text: String) {
        self.faults += 1;
        self.first_fault.get_or_insert(text);
    }

    /// Said once.
    fn close(&mut self, way: Way, error: &S3Error) {
        if std::mem::replace(&mut self.gate(way).is_closed, true) {
            return;
        }
        let what = match way {
            Way::Read => "the shared cache is not read any more in this run",
            Way::Write => "nothing more is written to the shared cache in this run",
        };
        self.said.push_back(Said::Notice(format!("{what}: {error}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(fault: S3Fault) -> S3Error {
        S3Error { action: "read", url: "s3://b/x".to_owned(), fault, message: "no".to_owned() }
    }

    #[test]
    fn what_will_not_heal_closes_one_way_at_once_and_is_said_once() {
        let health = Health::default();
        health.fault(Way::Write, &error(S3Fault::Denied));
        health.fault(Way::Write, &error(S3Fault::Denied));
        assert!(health.allows(Way::Read) && !health.allows(Way::Write));
        assert_eq!((health.take_said().len(), health.faults().0), (1, 2));
        health.fault(Way::Write, &error(S3Fault::Clock));
        assert!(!health.allows(Way::Read), "a wrong clock is wrong for all");
    }

    #[test]
    fn what_passes_is_borne_a_few_times_in_a_row() {
        let health = Health::default();
        for _ in 0..5 {
            health.fault(Way::Read, &error(S3Fault::Unavailable));
            health.fault(Way::Read, &error(S3Fault::Unavailable));
            assert!(health.allows(Way::Read));
            health.well(Way::Read);
        }
        (0..3).for_each(|_| health.fault(Way::Read, &error(S3Fault::Unavailable)));
        assert!(!health.allows(Way::Read) && health.allows(Way::Write));
        assert_eq!(health.faults(), (13, Some("cannot read s3://b/x: no".to_owned())));
    }
}
