//! Two sides of one comparison, timed in alternation.

use std::time::{Duration, Instant};

/// Pairs that are timed, after one that warms up.
const PAIRS: usize = 5;

/// What both sides took, pair by pair.
pub struct Pairs {
    ours: Vec<Duration>,
    theirs: Vec<Duration>,
}

/// Times both sides after a warm-up, in turn, `ours` first in every other pair. What is given to a side is prepared anew for
/// each time, outside of what is timed.
pub fn compare<T, U>(
    mut prepare_ours: impl FnMut() -> T,
    mut ours: impl FnMut(T),
    mut prepare_theirs: impl FnMut() -> U,
    mut theirs: impl FnMut(U),
) -> Pairs {
    let mut pairs = Pairs { ours: Vec::new(), theirs: Vec::new() };
    for round in 0..=PAIRS {
        let (mut our_time, mut their_time) = (Duration::ZERO, Duration::ZERO);
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                let prepared = prepare_ours();
                our_time = time(|| ours(prepared));
            } else {
                let prepared = prepare_theirs();
                their_time = time(|| theirs(prepared));
            }
        }
        eprintln!(
            "  {}: {our_time:.3?} against {their_time:.3?}",
            if round == 0 { "warm-up" } else { "pair" }
        );
        if round > 0 {
            pairs.ours.push(our_time);
            pairs.theirs.push(their_time);
        }
    }
    pairs
}

impl Pairs {
    /// What was measured while both sides were [compared](compare), the warm-up first.
    pub fn of(ours: Vec<Duration>, theirs: Vec<Duration>) -> Self {
        Self { ours: ours[1..].to_vec(), theirs: theirs[1..].to_vec() }
    }

    pub fn ours(&self) -> Duration {
        median(self.ours.clone())
    }

    pub fn theirs(&self) -> Duration {
        median(self.theirs.clone())
    }

    /// The median of the pairs' ratios: what slows a pair down slows both of its sides.
    pub fn ratio(&self) -> f64 {
        let mut ratios: Vec<f64> = self
            .ours
            .iter()
            .zip(&self.theirs)
            .map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64())
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// What was written before is on the disk first: one side flushes what it writes, and would wait for what the other one left.
fn time(work: impl FnOnce()) -> Duration {
    rustix::fs::sync();
    let started = Instant::now();
    work();
    started.elapsed()
}
