//! Everything taken from outside: downloads, source packages' upstream archives, and the
//! packages of which base images are made.
//!
//! What is here adds to the layout of a local store:
//!
//! | path | content |
//! | --- | --- |
//! | `sha256/<hex>` | the object that has this SHA-256, as text |
//! | `downloads/<hex>.part` | what has come so far of a download, locked while it is written |

mod apt;
mod archive;
mod bootstrap;
mod dns;
mod fetch;
mod flat;
mod http;
mod image_rules;
mod lock;
mod mirrors;
mod part;
mod reference;
mod resolve;
mod sha256;
mod sources;
mod unpack;
mod update;

pub use apt::{AptError, AptRoot};
pub use archive::{ArchiveError, newest_mtime};
pub use bootstrap::{BootstrapError, BuildProgress, build};
pub use fetch::{Expected, Fault, FaultKind, FetchError, Fetched, Origin, fetch};
pub use lock::{Lock, LockError, LockedImage, LockedVersion, mirror_path, mirror_url};
pub use mirrors::{Distribution, MirrorKind, Mirrors};
pub use reference::{ImageReference, PinnedImage, PlatformImage, ReferenceError};
pub use resolve::{BootstrapLock, LockedPackage, LockedRelease, Wanted, resolve};
pub use sha256::{Sha256, Sha256ParseError};
pub use sources::{SourceVersion, source_versions};
pub use unpack::{UnpackError, unpack};
pub use update::{Found, UpdateError, Updater};
