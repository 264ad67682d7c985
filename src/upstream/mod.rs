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
mod candidate;
mod fetch;
mod first_use;
mod flat;
mod git;
mod http;
mod image_rules;
mod lock;
mod locked_version;
mod mirrors;
mod part;
mod published;
mod reference;
mod resolve;
mod sha256;
mod sources;
mod take;
mod unpack;
mod update;
mod update_error;

pub use apt::{AptError, AptRoot};
pub use archive::{ArchiveError, newest_mtime};
pub use bootstrap::{BootstrapError, BuildProgress, build};
pub use fetch::{Expected, Fault, FaultKind, FetchError, Fetched, Origin, fetch};
pub use git::{Git, GitError, GitSource, Tag};
pub use lock::{Lock, LockError, LockedImage, mirror_path, mirror_url};
pub use locked_version::{Check, LockedArchive, LockedSource, LockedVersion};
pub use mirrors::{Distribution, MirrorKind, Mirrors};
pub use published::PublishedError;
pub use reference::{ImageReference, PinnedImage, PlatformImage, ReferenceError};
pub use resolve::{BootstrapLock, LockedPackage, LockedRelease, Wanted, resolve};
pub use sha256::{Sha256, Sha256ParseError};
pub use sources::{SourceVersion, source_versions};
pub use unpack::{UnpackError, unpack};
pub use update::{Added, Ask, Updater, UpstreamChange};
pub use update_error::{UpdateError, VersionError};
