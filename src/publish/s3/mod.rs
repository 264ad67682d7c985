//! A part of a bucket.
//!
//! A publish goes in steps, each after the one before it has ended:
//!
//! 0. the state object is read, and beside it the generation that it named when this store last heard of it; the next
//!    generation is made from exactly the one it names now;
//! 1. packages, metadata that is named by its digest or generation, what it is made from, and the generation
//!    itself, all created only where they are absent;
//! 2. **the decision**: the state object names the new generation, if it still is the one of step 0. Of
//!    several publishers one gets here, and the others have written only what nobody looks at;
//! 3. plain files;
//! 4. the files by which clients come to the new generation. Those of both steps are replaced only if they still
//!    are the ones of the generation before;
//! 5. what is past its retention is deleted, the CDN before the bucket is told what changed, and the state
//!    object says that all is done.
//!
//! Whoever finds a generation that was decided and not finished, finishes it first: all of it is in the bucket.

mod cdn;
mod collect;
mod finish;
mod headers;
mod live;
mod manifest;
mod prepare;
mod probe;
mod remote;
mod target;
mod verify;

#[cfg(test)]
pub(in crate::publish) use remote::Fuse;
pub use remote::Request;
pub use target::BucketTarget;
