use std::sync::{LazyLock, mpsc};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// All traffic with S3 has one thread of its own: the run's is never held up by it, and threads that
/// work, which have no runtime, can wait for it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("s3")
        .enable_all()
        .build()
        .expect("the machine has room for one more thread")
});

/// Starts `future` beside everything else. Any runtime may await what is given.
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    RUNTIME.spawn(future)
}

/// Waits for `future`, holding this thread. Never to be called by a future of this room.
pub fn wait<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    begin(future).wait()
}

/// Starts `future` beside what this thread does until it waits for it.
pub fn begin<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Begun<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    RUNTIME.spawn(async move {
        // Nobody listens where the waiting thread has ended.
        let _ = sender.send(future.await);
    });
    Begun(receiver)
}

/// What was begun. It goes on, whether or not it is waited for.
pub struct Begun<T>(mpsc::Receiver<T>);

impl<T> Begun<T> {
    /// Waits for what it gives, holding this thread. Never to be called by a future of this room.
    pub fn wait(self) -> T {
        self.0.recv().expect("the future sends what it gives, or panicked")
    }
}
