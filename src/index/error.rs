use crate::package::PackageError;
use crate::store::StoreError;

/// Why no index can be made of the packages and settings.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The store could not take or give an object.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file is no whole package.
    #[error("{origin}: {source}")]
    Package {
        /// Where the file comes from.
        origin: String,
        /// What is wrong with it.
        source: PackageError,
    },
    /// What an index is made of cannot be read.
    #[error("the catalog of the index cannot be read: {reason}")]
    Catalog {
        /// What is wrong with it.
        reason: String,
    },
    /// A package's control data lacks a field that every package needs.
    #[error("{origin} has no field '{field}' in its control data: it is not a whole package")]
    MissingField {
        /// Where the package comes from.
        origin: String,
        /// The field's name.
        field: &'static str,
    },
    /// A field holds what Debian Policy does not allow, and what could not stand in a path.
    #[error("{origin}: '{value}' is no valid {field}; {rule}")]
    MalformedField {
        /// Where the package comes from.
        origin: String,
        /// The field's name.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        rule: &'static str,
    },
    /// A package names a suite that the index has not, or one that only repeats another.
    #[error("{origin} is for suite '{suite}', which {reason}; packages go into one of: {known}")]
    UnknownSuite {
        /// Where the package comes from.
        origin: String,
        /// The suite it names.
        suite: String,
        /// What is wrong with that suite.
        reason: &'static str,
        /// The suites that take packages.
        known: String,
    },
    /// An alias names no suite that holds packages itself.
    #[error("suite '{alias}' is an alias of '{target}', which is not a suite with packages of its own")]
    UnknownAlias {
        /// The alias.
        alias: String,
        /// What it names.
        target: String,
    },
    /// Two suites have one codename.
    #[error(
        "two suites have the codename '{0}': the codename names the suite's directory, give each its own"
    )]
    DuplicateSuite(String),
    /// A setting would break the Release file or its path.
    #[error("'{value}' cannot be the {setting} of an apt repository; {rule}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        rule: &'static str,
    },
    /// One name, version and architecture, two contents.
    #[error(
        "suite '{suite}' would hold two different packages {package}: one from {first}, one from {second}; \
         raise the iteration of one"
    )]
    Conflict {
        /// The suite's codename.
        suite: String,
        /// Name, version and architecture.
        package: String,
        /// Where the one comes from.
        first: String,
        /// Where the other comes from.
        second: String,
    },
    /// Two packages of different suites, or of different epochs, would be one file.
    #[error(
        "{path} would be two different files: one from {first}, one from {second}; \
         give the versions a suffix for each suite (such as ~bookworm), or lay the pool out per suite"
    )]
    PoolConflict {
        /// The path below the repository's root.
        path: String,
        /// Where the one comes from.
        first: String,
        /// Where the other comes from.
        second: String,
    },
    /// Two rpm packages would be one file.
    #[error(
        "{path} would be two different files: one from {first}, one from {second}; \
         raise the iteration of one"
    )]
    FileConflict {
        /// The path below the repository's root.
        path: String,
        /// Where the one comes from.
        first: String,
        /// Where the other comes from.
        second: String,
    },
    /// A text of a package has a character that XML 1.0 cannot hold.
    #[error("{origin} has the character {character:?} in its header, which no XML can hold; take it out")]
    NotXml {
        /// Where the package comes from.
        origin: String,
        /// The character.
        character: char,
    },
    /// A file of advisories is none.
    #[error(
        "the file of updateinfo is no list of advisories, an XML document with the root 'updates': {reason}"
    )]
    Updateinfo {
        /// What is wrong with it.
        reason: String,
    },
}
