//! Clients: machines with habits.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::clock::{DAY, some_of};
use super::machine::{Machine, Subscription};
use super::site::{PACKAGES, SUITES, Site};
use super::tally::Tally;

/// The longest pause between two rounds of a client.
const PAUSE: Duration = Duration::from_secs(1);

/// What a client does round by round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Updates and upgrades.
    Follows,
    /// Is another machine each time: updates and installs, knowing nothing.
    IsNew,
    /// Updates, and installs up to a day later from what it knew then.
    Dawdles,
}

/// A client.
pub struct Client {
    /// For people.
    name: String,
    habit: Habit,
    subscription: Subscription,
    machine: Machine,
    /// Where its machine is, the only one.
    dir: tempfile::TempDir,
}

impl Client {
    /// All clients of a site.
    pub fn all(site: &Site) -> Vec<Self> {
        let habits = [Habit::Follows, Habit::IsNew, Habit::Dawdles];
        let of_apt = SUITES.into_iter().zip(habits).map(|(suite, habit)| {
            let (url, key) = (site.apt.clone(), site.key.clone());
            Self::new(Subscription::Apt { url, suite, key }, habit)
        });
        let of_dnf = site.rpm.iter().flat_map(|url| {
            [Habit::Follows, Habit::IsNew]
                .map(|habit| Self::new(Subscription::Rpm { url: url.clone() }, habit))
        });
        of_apt.chain(of_dnf).collect()
    }

    fn new(subscription: Subscription, habit: Habit) -> Self {
        let name = match &subscription {
            Subscription::Apt { suite, .. } => format!("apt on {suite} that {habit:?}"),
            Subscription::Rpm { .. } => format!("dnf that {habit:?}"),
        };
        let dir = tempfile::Builder::new().prefix("forge-client-").tempdir().unwrap();
        let machine = Machine::new(&subscription, dir.path());
        Self { name, habit, subscription, machine, dir }
    }

    /// Whether it knows nothing when a round begins.
    pub fn is_new(&self) -> bool {
        self.habit == Habit::IsNew
    }

    /// Whether it is one of dnf's.
    pub fn is_dnf(&self) -> bool {
        matches!(self.subscription, Subscription::Rpm { .. })
    }

    /// One round after the other, until told to stop.
    pub fn live(&mut self, stop: &AtomicBool, tally: &Mutex<Tally>) {
        while !stop.load(Ordering::Relaxed) {
            self.round(stop, tally);
            nap(some_of(PAUSE), stop);
        }
    }

    /// Updates and installs. What cannot be updated is not installed either, and complained of once.
    pub fn round(&mut self, stop: &AtomicBool, tally: &Mutex<Tally>) {
        if self.habit == Habit::IsNew {
            self.dir = tempfile::Builder::new().prefix("forge-client-").tempdir().unwrap();
            self.machine = Machine::new(&self.subscription, self.dir.path());
        }
        let updated = self.machine.update();
        tally.lock().unwrap().updated(&self.name, &updated);
        if updated.is_err() {
            return;
        }
        if self.habit == Habit::Dawdles {
            nap(some_of(DAY), stop);
        }
        let installed = self.machine.install();
        tally.lock().unwrap().installed(&self.name, &installed);
    }

    /// Complains if these versions are not what it has.
    pub fn compare(&self, versions: &[String; PACKAGES.len()], tally: &Mutex<Tally>) {
        let installed = self.machine.installed();
        if installed != *versions {
            let said = format!("{installed:?} is installed, and {versions:?} was published a day ago");
            tally.lock().unwrap().complaint(&self.name, &said);
        }
    }
}

/// Waits, unless told to stop.
fn nap(time: Duration, stop: &AtomicBool) {
    let started = Instant::now();
    while started.elapsed() < time && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
}
