use std::io;

use super::xml::{Xml, document};
use crate::index::pieces::{Forms, Piece};
use crate::index::shelf::{Summed, Summing, put};
use crate::index::{IndexCompression, IndexError, Making};
use crate::store::Kind;

/// A file of metadata, compressed.
pub(super) struct Data {
    /// `primary`, `filelists`, `other`, `updateinfo`.
    pub kind: &'static str,
    /// Its name below `repodata/`.
    pub name: String,
    pub file: Kind,
    compressed: Summed,
    open: Summed,
}

impl Data {
    pub fn put<E: From<IndexError> + Send>(
        kind: &'static str,
        pieces: &[Piece<'_, E>],
        compression: IndexCompression,
        making: &Making<'_, E>,
    ) -> Result<Self, E> {
        let compressions = [compression];
        let forms = Forms::new(pieces, &compressions, making);
        // Its sum is told, and nobody asks for it plain.
        let open = || {
            let mut summing = Summing::new(io::sink());
            forms.write_plain(&mut summing)?;
            Ok::<_, E>(summing.finish().0)
        };
        let (compressed, open) = rayon::join(|| put(making.shelf, |out| forms.write(compression, out)), open);
        let ((compressed, file), open) = (compressed?, open?);
        let name = format!("{}-{kind}.xml.{}", compressed.sha256, compression.extension());
        Ok(Self { kind, name, file, compressed, open })
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
        xml.text("checksum", &[("type", "sha256")], &one.compressed.sha256);
        xml.text("open-checksum", &[("type", "sha256")], &one.open.sha256);
        xml.empty("location", &[("href", &format!("repodata/{}", one.name))]);
        xml.text("timestamp", &[], &date);
        xml.text("size", &[], &one.compressed.size.to_string());
        xml.text("open-size", &[], &one.open.size.to_string());
        xml.close("data");
        parts.push(xml.finish());
    }
    document("repomd", &namespaces, &parts)
}
