use super::Repository;
use crate::keys::SigningKeys;
use crate::store::LocalStore;

/// What is published at once, and with what.
#[derive(Clone, Copy)]
pub struct Edition<'a> {
    /// What each repository should hold.
    pub repositories: &'a [Repository],
    /// Who signs; without keys nothing is signed.
    pub keys: Option<&'a SigningKeys>,
    /// When, in seconds since 1970.
    pub now: u64,
    /// Has the packages, and what indices are made from.
    pub store: &'a LocalStore,
}
