//! Where the files of the two kinds of repository are, in a generation's directory and beside it.

use crate::index::RepositoryKind;
use crate::index::rpm::NEXT;

impl RepositoryKind {
    pub(super) const ALL: [Self; 2] = [Self::Apt, Self::Rpm];

    /// The symbolic link at the repository's root whose replacement is the commit.
    pub(super) fn link(self) -> &'static str {
        match self {
            Self::Apt => "dists",
            Self::Rpm => "repodata",
        }
    }

    /// What it leads to in a generation's directory.
    pub(super) fn linked(self) -> &'static str {
        match self {
            Self::Apt => "dists",
            Self::Rpm => "plain",
        }
    }

    /// The names beside it that follow the commit through the link, or never change.
    pub(super) fn followers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Apt => &[],
            Self::Rpm => &[("gen", ".generations"), ("mirrorlist", "repodata/../mirrorlist")],
        }
    }

    /// Whether a path of an index is that of a package file.
    pub(super) fn is_package(self, path: &str) -> bool {
        match self {
            Self::Apt => path.starts_with("pool/"),
            Self::Rpm => path.starts_with("packages/"),
        }
    }

    /// Where a file of an index that is no package goes in a generation's directory.
    pub(super) fn place(self, path: &str) -> Option<String> {
        match self {
            Self::Apt => path.starts_with("dists/").then(|| path.to_owned()),
            Self::Rpm => {
                let plain = path.strip_prefix("repodata/").map(|name| format!("plain/{name}"));
                let next = || path.strip_prefix(NEXT)?.strip_prefix('/').map(str::to_owned);
                plain.or_else(next)
            }
        }
    }

    /// For a file that is named by its digest, its path below what the link leads to: clients with
    /// older metadata may ask for it.
    pub(super) fn named_by_digest(self, path: &str) -> Option<&str> {
        match self {
            Self::Apt => path.strip_prefix("dists/").filter(|path| path.contains("/by-hash/")),
            Self::Rpm => path.strip_prefix("repodata/").filter(|name| *name != "repomd.xml"),
        }
    }
}
