//! Results go up behind the build.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::RemoteStore;
use super::health::Said;
use crate::digest::Digest;
use crate::s3;

/// How many results go up beside each other.
const BESIDE: usize = 4;

/// Results that wait to go up. One that waits takes no more memory than its key: its bytes are on disk.
#[derive(Default)]
pub struct Uploads {
    worker: Mutex<Option<(mpsc::UnboundedSender<Digest>, JoinHandle<()>)>>,
    waiting: AtomicUsize,
    sent: AtomicU64,
}

impl Uploads {
    /// How many results went up.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl RemoteStore {
    /// Has the result under `key` sent, without waiting for it.
    pub fn send_later(&self, key: Digest) {
        if !self.is_written() {
            return;
        }
        let mut worker = self.0.uploads.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, _) = worker.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            (sender, s3::spawn(self.clone().work(receiver)))
        });
        self.0.uploads.waiting.fetch_add(1, Ordering::Relaxed);
        // The worker lives as long as the sender.
        let _ = sender.send(key);
    }

    /// How many results still have to go up.
    pub fn waiting(&self) -> usize {
        self.0.uploads.waiting.load(Ordering::Relaxed)
    }

    /// Waits until everything is sent, or told as failed.
    pub async fn finish_sending(&self) {
        let worker = self.0.uploads.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, worker)) = worker {
            drop(sender);
            let _ = worker.await;
        }
    }

    async fn work(self, receiver: mpsc::UnboundedReceiver<Digest>) {
        let next = |mut receiver: mpsc::UnboundedReceiver<Digest>| async move {
            receiver.recv().await.map(|key| (key, receiver))
        };
        let send = |key| self.clone().send_one(key).boxed();
        stream::unfold(receiver, next).for_each_concurrent(BESIDE, send).await;
    }

    async fn send_one(self, key: Digest) {
        // Why one did not go up is counted where it happens.
        if let Ok(sent) = self.send_here(key).await
            && !sent.was_there
        {
            self.note_sent(key, sent.bytes);
        }
        self.0.uploads.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn note_sent(&self, key: Digest, bytes: u64) {
        self.0.uploads.sent.fetch_add(1, Ordering::Relaxed);
        let node = self.0.local.result(key).map(|result| result.node).unwrap_or_default();
        self.0.health.say(Said::Sent { node, key, bytes });
    }
}
