//! Scaled time: what a CDN and a retention do in days happens within a minute.

use std::time::{Duration, Instant};

/// How long a day takes. Long enough that a client which has read `InRelease` or `mirrorlist` is done
/// with what it names well within another day, also on a busy machine.
pub const DAY: Duration = Duration::from_secs(15);

/// How often somebody publishes, if that takes no longer.
pub const INTERVAL: Duration = Duration::from_millis(3500);

/// When the first publisher begins, in seconds since 1970: so long ago that all of a soak is in the past of
/// the clients, whose clocks are right.
pub const BEGINNING: u64 = 1_750_000_000;

/// The clock of publishers, which goes so much faster. forge takes it from `SOURCE_DATE_EPOCH`, so that
/// `retention days=2` is two scaled days.
pub struct Clock(Instant);

impl Clock {
    /// One that stands at the beginning now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        BEGINNING + (self.0.elapsed().as_secs_f64() * 86_400.0 / DAY.as_secs_f64()) as u64
    }
}

/// A random share of `longest`.
pub fn some_of(longest: Duration) -> Duration {
    longest.mul_f64(rand::random::<f64>())
}
