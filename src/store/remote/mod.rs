//! A store in a bucket, which machines share without a server. Law 6 holds there too: objects go up
//! before the result that names them, and every byte is hashed on its way here.
//!
//! Layout, below the bucket's prefix:
//!
//! | name | content |
//! | --- | --- |
//! | `results/ab/<key>` | a result by its key, and where its objects are: JSON, zstd |
//! | `packs/ab/<digest>` | small objects of one output together, zstd; named by the list of what is in it |
//! | `objects/ab/<digest>` | a larger object by its digest; with `.zst` at the end where that makes it smaller |
//! | `history/ab/<digest>` | the latest results of a node, by the digest of its name: JSON, zstd |

mod codec;
mod contents;
mod fetch;
mod gc;
mod health;
mod lookup;
mod pack;
mod push;
mod record;
mod remote_store;
#[cfg(test)]
mod tests;
mod uploads;
mod verify;

pub use contents::RemoteStats;
pub use gc::RemoteGc;
pub use health::{RemoteTraffic, Said};
pub use push::{SendError, Sent};
pub use remote_store::{Access, RemoteStore};
pub use verify::RemoteVerify;
