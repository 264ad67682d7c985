use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

use rpm::FileFlags;
use sha2::{Digest as _, Sha256};

use super::Rpm;
use super::cpio::CpioWriter;
use super::dirs::is_of_system;
use crate::package::PackageError;
use crate::package::compress::Compressor;
use crate::package::layout::{Layout, NodeKind};
use crate::package::object::{TempFile, hex, pack_object};
use crate::store::{LocalStore, StoreError};

/// Where documentation is, which a system may be told to leave out (`%_excludedocs`): rpmbuild's
/// `%__docdir_path`.
const DOCS: [&str; 4] = ["usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/gtk-doc/html/"];
const LICENSES: &str = "usr/share/licenses/";

/// A packed payload, and what the header says of it.
pub(super) struct Payload {
    /// The archive, compressed.
    pub archive: TempFile,
    /// SHA-256 of the compressed archive, hexadecimal.
    pub sha256: String,
    /// The size of the archive before it was compressed, in bytes.
    pub unpacked_size: u32,
    /// SHA-256 of it, hexadecimal.
    pub unpacked_sha256: String,
    /// Everything in it, by path.
    pub files: Vec<PackedFile>,
}

/// What the header says of one file, link or directory.
pub(super) struct PackedFile {
    /// Relative to the root of the installed system.
    pub path: String,
    /// With its type, as stat(2) has it.
    pub mode: u16,
    pub size: u32,
    /// SHA-256 of a file's bytes, hexadecimal; empty for all others.
    pub sha256: String,
    /// Where a link leads; empty for all others.
    pub link: String,
    pub flags: FileFlags,
    /// 1 for 32-bit ELF, 2 for 64-bit, 0 for all others: where two architectures have the same
    /// path, rpm takes the system's own.
    pub color: u32,
}

type Archive = CpioWriter<Summed<Compressor<Summed<File>>>>;

impl Rpm {
    /// Packs what is in `layout` but the directories that belong to the system, and sums it up on
    /// the way: nothing of it is held in memory.
    pub(super) fn payload(
        &self,
        layout: &Layout,
        store: &LocalStore,
        threads: NonZeroUsize,
        mtime: u32,
    ) -> Result<Payload, PackageError> {
        let scratch = store.scratch()?;
        let written = |error| PackageError::from(StoreError::io("write", scratch.path())(error));
        let file = tempfile::tempfile_in(scratch.path()).map_err(written)?;
        let compressor = self.compression.writer(threads, Summed::of(file)).map_err(written)?;
        let mut archive = CpioWriter::new(Summed::of(compressor), mtime);
        let mut files = Vec::new();
        for (path, node) in layout.iter() {
            if matches!(node.kind, NodeKind::Dir) && is_of_system(path) {
                continue;
            }
            let inode = u32::try_from(files.len() + 1).unwrap_or(u32::MAX);
            let mut file = PackedFile::new(path, node.mode, &node.kind, self.is_conffile(path))?;
            file.pack(&node.kind, inode, &mut archive, store, &written)?;
            files.push(file);
        }
        let unpacked = archive.finish().map_err(written)?;
        let unpacked_size = fitting("the payload", unpacked.size)?;
        let unpacked_sha256 = hex(&unpacked.sha256.finalize());
        let packed = unpacked.inner.finish().map_err(written)?;
        let sha256 = hex(&packed.sha256.finalize());
        let archive = TempFile::rewound(packed.inner, scratch.path())?;
        Ok(Payload { archive, sha256, unpacked_size, unpacked_sha256, files })
    }

    fn is_conffile(&self, path: &str) -> bool {
        self.conffiles.iter().any(|conffile| conffile.strip_prefix('/') == Some(path))
    }
}

impl PackedFile {
    fn new(path: &str, mode: u32, kind: &NodeKind, is_conffile: bool) -> Result<Self, PackageError> {
        let (typ, mode, size, link) = match kind {
            NodeKind::Dir => (0o040_000, mode, 0, ""),
            NodeKind::Object { size, .. } => (0o100_000, mode, *size, ""),
            NodeKind::Text(bytes) => (0o100_000, mode, bytes.len() as u64, ""),
            NodeKind::Symlink { target } => (0o120_000, 0o777, target.len() as u64, target.as_str()),
        };
        let flags = match kind {
            NodeKind::Dir => FileFlags::empty(),
            _ if is_conffile => FileFlags::CONFIG | FileFlags::NOREPLACE,
            _ if path.starts_with(LICENSES) => FileFlags::LICENSE,
            _ if DOCS.iter().any(|docs| path.starts_with(docs)) => FileFlags::DOC,
            _ => FileFlags::empty(),
        };
        Ok(Self {
            path: path.to_owned(),
            mode: typ | (mode & 0o7777) as u16,
            size: fitting(path, size)?,
            sha256: String::new(),
            link: link.to_owned(),
            flags,
            color: 0,
        })
    }

    fn pack(
        &mut self,
        kind: &NodeKind,
        inode: u32,
        archive: &mut Archive,
        store: &LocalStore,
        written: &dyn Fn(io::Error) -> PackageError,
    ) -> Result<(), PackageError> {
        let (path, mode, size) = (self.path.clone(), self.mode, self.size);
        let mut entry = |data: &mut dyn Read| archive.entry(&path, inode, mode, size, data);
        match kind {
            NodeKind::Dir => entry(&mut io::empty()).map_err(written),
            NodeKind::Symlink { target } => entry(&mut target.as_bytes()).map_err(written),
            NodeKind::Text(bytes) => {
                self.sha256 = hex(&Sha256::digest(bytes));
                entry(&mut &bytes[..]).map_err(written)
            }
            NodeKind::Object { digest, .. } => {
                let mut head = Vec::new();
                self.sha256 = pack_object::<Sha256>(store, *digest, |object| {
                    object.take(5).read_to_end(&mut head)?;
                    entry(&mut head.chain(object))
                })?;
                self.color = color(&head);
                Ok(())
            }
        }
    }
}

/// By the class in an ELF file's first bytes (elf(5)).
fn color(head: &[u8]) -> u32 {
    match head {
        [0x7f, b'E', b'L', b'F', class @ (1 | 2)] => u32::from(*class),
        _ => 0,
    }
}

/// rpm's format 4 has 32 bits for a size.
fn fitting(part: &str, size: u64) -> Result<u32, PackageError> {
    let limit = u64::from(u32::MAX);
    u32::try_from(size).map_err(|_| PackageError::TooLarge { part: part.to_owned(), size, limit })
}

/// Sums up what is written through it.
struct Summed<W> {
    inner: W,
    size: u64,
    sha256: Sha256,
}

impl<W> Summed<W> {
    fn of(inner: W) -> Self {
        Self { inner, size: 0, sha256: Sha256::new() }
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.size += length as u64;
        self.sha256.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
