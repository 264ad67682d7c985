//! Content-addressed objects and trees, and results by key.
//!
//! `remote` is the same in a bucket, shared by machines.
//!
//! Layout of a local store, below its root:
//!
//! | path | content |
//! | --- | --- |
//! | `objects/ab/<rest>` | bytes by BLAKE3 digest, read-only, never changed |
//! | `objects/ab/small` | objects that fit into a block of a disk, each behind its digest and its length; it is only added to |
//! | `results/ab/<rest>` | the result of an action by its key, JSON |
//! | `failures/ab/<rest>` | the last failure of an action by its key, JSON |
//! | `histories` | the latest keys of each node, by the digest of its name; it is only added to |
//! | `facts/ab/<rest>` | what was found out of an object, such as what a package says of itself |
//! | `pieces/ab/<rest>` | what was made of something and can be made again, such as parts of an index, with its digest |
//! | `places/ab/<rest>` | where the objects of a result are that a remote store told, by its key |
//! | `earlier/ab/<rest>` | what a remote store told of a node's latest results, by the digest of its name |
//! | `seen/ab/<rest>` | what an object elsewhere last said, such as which generation is live, by the digest of its URL |
//! | `answers/ab/<rest>` | what a plan found out, by the digest of what was asked, and what has to look as it did |
//! | `trees/<digest>/` | trees checked out for runners to mount read-only |
//! | `scratch/<name>/` | working directories of actions under way |
//! | `unflushed/` | markers of runs that flush what they write at their end |
//! | `locks/` | `keys`, one byte of which is locked for each key being built, and `store` |

mod answer;
mod error;
mod files;
#[cfg(test)]
mod fixture;
mod flush;
mod gc;
mod history;
mod ingest;
mod local;
mod materialize;
mod object;
mod outputs;
mod record;
mod remote;
mod result_index;
mod result_table;
mod scratch;
mod sealed;
mod shards;
mod sighting;
mod small;
mod spares;
mod staging;
mod stat_cache;
mod tree;

pub use answer::{Answer, Baseline, Decided, KnownNode};
pub use error::StoreError;
pub use flush::Unflushed;
pub use gc::{GcReport, StoreStats, VerifyReport};
pub use ingest::{Ingest, hash_file};
pub use local::{CACHEDIR_SIGNATURE, LocalStore};
pub use object::{Object, ObjectWriter};
pub use outputs::Outputs;
pub use record::{ActionResult, Earlier, Failure};
pub use remote::{
    Access, RemoteGc, RemoteStats, RemoteStore, RemoteTraffic, RemoteVerify, Said, SendError, Sent,
};
pub use result_index::{KnownResult, ResultIndex, worth};
pub use scratch::Scratch;
pub use sighting::{Moment, Sighting, Sightings};
pub use spares::{Spares, is_plain};
pub use staging::Staging;
pub use stat_cache::StatCache;
pub use tree::{Entry, Kind, Tree, TreeParseError};
