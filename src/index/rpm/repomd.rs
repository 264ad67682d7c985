use sha2::{Digest as _, Sha256};

use super::xml::{Xml, document};
use crate::index::pieces::{self, Forms, Piece};
use crate::index::{IndexCompression, IndexError};
use crate::store::{Kind, LocalStore};

/// A file of metadata, compressed, in the store.
pub(super) struct Data {
    /// `primary`, `filelists`, `other`, `updateinfo`.
    pub kind: &'static str,
    /// Its name below `repodata/`.
    pub name: String,
    pub file: Kind,
    size: u64,
    sha256: String,
    open_size: u64,
    open_sha256: String,
}

impl Data {
    pub fn store<E: From<IndexError> + Send>(
        kind: &'static str,
        pieces: &[Piece<'_, E>],
        compression: IndexCompression,
        store: &LocalStore,
    ) -> Result<Self, E> {
        let Forms { plain, compressed } = pieces::join(pieces, &[compression], store)?;
        let (sha256, open_sha256) = rayon::join(|| hex_sha256(&compressed), || hex_sha256(&plain));
        // It was asked for one form.
        let bytes = compressed.concat();
        let size = bytes.len() as u64;
        Ok(Self {
            kind,
            name: format!("{sha256}-{kind}.xml.{}", compression.extension()),
            file: Kind::File { object: store.put(&bytes).map_err(IndexError::from)?, size },
            size,
            sha256,
            open_size: plain.iter().map(|piece| piece.len() as u64).sum(),
            open_sha256,
        })
    }
}

/// `repomd.xml`, which names all other files. `date`, in seconds since 1970, stands for the time
/// of each, and as the revision.
pub(super) fn repomd<'a>(data: impl Iterator<Item = &'a Data>, date: u64) -> String {
    let namespaces = [
        ("xmlns", "http://linux.duke.edu/metadata/repo"),
        ("xmlns:rpm", "http://linux.duke.edu/metadata/rpm"),
    ];
    let date = date.to_string();
    let mut xml = Xml::new();
    xml.text("revision", &[], &date);
    let mut parts = vec![xml.finish()];
    for one in data {
        let mut xml = Xml::new();
        xml.open("data", &[("type", one.kind)]);
        xml.text("checksum", &[("type", "sha256")], &one.sha256);
        xml.text("open-checksum", &[("type", "sha256")], &one.open_sha256);
        xml.empty("location", &[("href", &format!("repodata/{}", one.name))]);
        xml.text("timestamp", &[], &date);
        xml.text("size", &[], &one.size.to_string());
        xml.text("open-size", &[], &one.open_size.to_string());
        xml.close("data");
        parts.push(xml.finish());
    }
    document("repomd", &namespaces, &parts)
}

fn hex_sha256(parts: &[Vec<u8>]) -> String {
    let mut sum = Sha256::new();
    parts.iter().for_each(|part| sum.update(part));
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
