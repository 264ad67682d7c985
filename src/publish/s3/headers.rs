//! What caches and browsers are told of an object.

use crate::publish::layout::Role;

/// Of what never changes.
pub(super) const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Of what changes with each generation.
pub(super) const MUTABLE: &str = "public, max-age=0, must-revalidate";
/// Of what only forge reads.
pub(super) const PRIVATE: &str = "private, no-store";

/// `Cache-Control` of a file.
pub(super) fn cache_control(role: Role) -> &'static str {
    if role.is_immutable() { IMMUTABLE } else { MUTABLE }
}

/// `Content-Type` of a file by its name. Compressed files are what they are: a `Content-Encoding` would
/// have clients unpack them under way.
pub(super) fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match (name, name.rsplit_once('.').map_or("", |(_, extension)| extension)) {
        ("key.asc" | "key.gpg", _) => "application/pgp-keys",
        (_, "deb") => "application/vnd.debian.binary-package",
        (_, "rpm") => "application/x-rpm",
        (_, "xz") => "application/x-xz",
        (_, "gz") => "application/gzip",
        (_, "zst") => "application/zstd",
        (_, "xml") => "application/xml",
        (_, "json") => "application/json",
        (_, "asc" | "gpg") => "application/pgp-signature",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_by_names() {
        assert_eq!(content_type("pool/main/e/e/e_1.2_amd64.deb"), "application/vnd.debian.binary-package");
        assert_eq!(content_type("dists/x/main/binary-amd64/Packages"), "text/plain; charset=utf-8");
        assert_eq!(content_type("dists/x/main/binary-amd64/Packages.xz"), "application/x-xz");
        assert_eq!(content_type("dists/x/Release.gpg"), "application/pgp-signature");
        assert_eq!(content_type("repodata/repomd.xml.asc"), "application/pgp-signature");
        assert_eq!(content_type("key.asc"), "application/pgp-keys");
    }
}
