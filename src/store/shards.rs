use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::digest::Digest;

/// Which directories of a room are there, by the first byte of what they hold. Some rooms are empty most of the time: to look for
/// a file of each node in one took half the time of a plan of which nothing was built.
///
/// A directory that another process makes after the first look is seen by the next process.
#[derive(Debug)]
pub(super) struct Shards {
    room: PathBuf,
    known: [AtomicU8; 1 << u8::BITS],
}

const UNKNOWN: u8 = 0;
const ABSENT: u8 = 1;
const THERE: u8 = 2;

impl Shards {
    /// Those of a room, none of which was looked at yet.
    pub fn of(room: PathBuf) -> Self {
        Self { room, known: std::array::from_fn(|_| AtomicU8::new(UNKNOWN)) }
    }

    /// Whether what is under `digest` may be there.
    pub fn may_hold(&self, digest: Digest) -> bool {
        let first = digest.as_bytes()[0];
        let known = &self.known[usize::from(first)];
        let state = match known.load(Ordering::Relaxed) {
            UNKNOWN => {
                let is_there = self.room.join(format!("{first:02x}")).exists();
                let seen = if is_there { THERE } else { ABSENT };
                // Unless something was put there meanwhile.
                known
                    .compare_exchange(UNKNOWN, seen, Ordering::Relaxed, Ordering::Relaxed)
                    .map_or_else(|now| now, |_| seen)
            }
            state => state,
        };
        state == THERE
    }

    /// Something was put there under `digest`.
    pub fn add(&self, digest: Digest) {
        self.known[usize::from(digest.as_bytes()[0])].store(THERE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::store;

    #[test]
    fn what_is_put_into_an_empty_room_is_found() {
        let (_dir, store) = store();
        let key = |at: u8| Digest::from_bytes([at; Digest::LENGTH]);
        let failure = |key| store.failure(key).map(|failure| failure.error);
        assert_eq!((failure(key(1)), failure(key(2))), (None, None));
        store.put_failure(key(1), "node", "broken", None).unwrap();
        assert_eq!((failure(key(1)), failure(key(2))), (Some("broken".to_owned()), None));
        // Another process sees what was there before its first look.
        let next = crate::store::LocalStore::open(store.root()).unwrap();
        store.put_failure(key(2), "node", "broken as well", None).unwrap();
        assert_eq!(next.failure(key(2)).map(|failure| failure.error), Some("broken as well".to_owned()));
    }
}
