//! One flush of the filesystem for all who want one at the same time.

use std::fs::File;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use super::StoreError;

/// The flushes of one filesystem by this process, one after the other.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Rounds {
    /// How many were begun.
    begun: u64,
    /// The last one that ended well.
    done: u64,
    is_running: bool,
}

impl Flushes {
    /// Returns once all that was written to the filesystem of `path` before is on the disk. However many wait for that,
    /// there are two flushes at most: the one that is under way, and the next.
    pub fn flush(&self, path: &Path) -> Result<(), StoreError> {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        // The one under way may have passed by what was written a moment ago.
        let wanted = rounds.begun + 1;
        while rounds.done < wanted {
            if rounds.is_running {
                rounds = self.ended.wait(rounds).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            rounds.begun += 1;
            rounds.is_running = true;
            let own = rounds.begun;
            drop(rounds);
            let flushed = sync(path);
            rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
            rounds.is_running = false;
            if flushed.is_ok() {
                rounds.done = own;
            }
            self.ended.notify_all();
            // Whoever waits finds that its flush is not done, and makes it itself.
            flushed?;
        }
        Ok(())
    }
}

fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| Ok(rustix::fs::syncfs(file)?)).map_err(StoreError::io("flush", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_share_a_flush_and_each_waits_for_one_that_began_after_it_came() {
        let dir = tempfile::tempdir().unwrap();
        let flushes = Flushes::default();
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    let begun = flushes.rounds.lock().unwrap().begun;
                    flushes.flush(dir.path()).unwrap();
                    assert!(flushes.rounds.lock().unwrap().done > begun);
                });
            }
        });
        assert!(flushes.rounds.lock().unwrap().begun <= 64);
        let begun = flushes.rounds.lock().unwrap().begun;
        flushes.flush(Path::new("/no/such/directory")).unwrap_err();
        flushes.flush(dir.path()).unwrap();
        assert_eq!(flushes.rounds.lock().unwrap().begun, begun + 2);
    }
}
