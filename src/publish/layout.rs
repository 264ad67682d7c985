//! Where the files of the two kinds of repository are for clients, and what each of them is to them.

use serde::{Deserialize, Serialize};

use crate::index::RepositoryKind;
use crate::index::rpm::NEXT;

/// What a file of a repository is to clients. Files are written in this order, so that whatever
/// names another comes after it; in a bucket some beside each other, see [`RepositoryKind::turn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    /// A package: created once, never changed.
    Package,
    /// Metadata that is named by its digest, or by its generation: likewise.
    Named,
    /// What has one name in all generations: keys, subscriptions, plain indices.
    Plain,
    /// The signature of a [`Role::Signed`] beside it.
    Signature,
    /// What names the plain indices by their digests.
    Signed,
    /// By what clients come from one generation to the next: `InRelease`, `mirrorlist`.
    Commit,
}

impl Role {
    /// Whether the file never changes once it is there.
    pub fn is_immutable(self) -> bool {
        matches!(self, Self::Package | Self::Named)
    }
}

impl RepositoryKind {
    pub(super) const ALL: [Self; 2] = [Self::Apt, Self::Rpm];

    /// The directory of the metadata for clients of the repository's root.
    pub(super) fn metadata(self) -> &'static str {
        match self {
            Self::Apt => "dists",
            Self::Rpm => "repodata",
        }
    }

    /// Where clients find a file of an index, in the generation `id`.
    pub(super) fn client_path(self, path: &str, id: &str) -> String {
        let next = || path.strip_prefix(NEXT).filter(|_| self == Self::Rpm);
        next().map_or_else(|| path.to_owned(), |rest| format!("gen/{id}{rest}"))
    }

    /// What a file is to clients, by where they find it.
    pub(super) fn role(self, path: &str) -> Role {
        let name = path.rsplit('/').next().unwrap_or(path);
        match (self, path.split('/').next().unwrap_or_default(), name) {
            (Self::Apt, "pool", _) | (Self::Rpm, "packages", _) => Role::Package,
            (Self::Apt, "dists", "InRelease") | (Self::Rpm, "mirrorlist", _) => Role::Commit,
            (Self::Apt, "dists", "Release.gpg") | (Self::Rpm, "repodata", "repomd.xml.asc") => {
                Role::Signature
            }
            (Self::Apt, "dists", "Release") | (Self::Rpm, "repodata", "repomd.xml") => Role::Signed,
            (Self::Apt, "dists", _) if path.contains("/by-hash/") => Role::Named,
            (Self::Rpm, "repodata" | "gen", _) => Role::Named,
            _ => Role::Plain,
        }
    }

    /// In which turn files of a role are written over, those of one turn beside each other: what clients ask for
    /// first comes after what it names, and `repomd.xml` after its signature.
    pub(super) fn turn(self, role: Role) -> u8 {
        match (self, role) {
            (_, Role::Commit) => 2,
            (Self::Rpm, Role::Signed) => 1,
            _ => 0,
        }
    }

    /// For metadata that is named by its digest, its path below [`RepositoryKind::metadata`]: clients
    /// with older metadata may ask for it.
    pub(super) fn named_by_digest(self, path: &str) -> Option<&str> {
        let below = path.strip_prefix(self.metadata())?.strip_prefix('/')?;
        Some(below).filter(|_| self.role(path) == Role::Named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_the_role_that_its_clients_give_it() {
        let apt = |path| RepositoryKind::Apt.role(path);
        assert_eq!(apt("pool/main/h/hello/hello_1_amd64.deb"), Role::Package);
        assert_eq!(apt("dists/x/main/binary-amd64/by-hash/SHA256/00"), Role::Named);
        assert_eq!(apt("dists/x/main/binary-amd64/Packages.xz"), Role::Plain);
        assert_eq!(apt("dists/x/Release.gpg"), Role::Signature);
        assert_eq!(apt("dists/x/Release"), Role::Signed);
        assert_eq!(apt("dists/x/InRelease"), Role::Commit);
        assert_eq!([apt("key.asc"), apt("x.sources")], [Role::Plain; 2]);
        let rpm = |path| RepositoryKind::Rpm.role(path);
        assert_eq!(rpm("packages/h/hello-1-1.noarch.rpm"), Role::Package);
        assert_eq!([rpm("gen/1/repodata/repomd.xml"), rpm("repodata/00-primary.xml.zst")], [Role::Named; 2]);
        assert_eq!(rpm("repodata/repomd.xml"), Role::Signed);
        assert_eq!(rpm("mirrorlist"), Role::Commit);
        assert_eq!([rpm("key.gpg"), rpm("el9.repo")], [Role::Plain; 2]);
        let named = |path| RepositoryKind::Rpm.named_by_digest(path);
        assert_eq!(named("repodata/00-primary.xml.zst"), Some("00-primary.xml.zst"));
        assert_eq!([named("repodata/repomd.xml"), named("gen/1/repodata/00-primary.xml.zst")], [None; 2]);
    }
}
