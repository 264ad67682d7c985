//! Where the files that clients find are in a directory: a generation's own lie beside those of others,
//! and links lead to those of the live one.

use crate::index::RepositoryKind;

impl RepositoryKind {
    /// What the link of the repository's metadata leads to in a generation's directory.
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

    /// Where in the directory of generation `id` a file is that clients find at `path`.
    pub(super) fn in_generation(self, path: &str, id: &str) -> String {
        let below = |start: &str| path.strip_prefix(start)?.strip_prefix('/');
        match self {
            Self::Apt => path.to_owned(),
            Self::Rpm => {
                let plain = below(self.metadata()).map(|rest| format!("{}/{rest}", self.linked()));
                let own = || below("gen").and_then(|rest| rest.strip_prefix(id)?.strip_prefix('/'));
                plain.or_else(|| own().map(str::to_owned)).unwrap_or_else(|| path.to_owned())
            }
        }
    }
}
