use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::thread;

use md5::{Digest as _, Md5};

use super::ar::ArWriter;
use super::tarball::TarWriter;
use super::{Deb, Substvars};
use crate::package::PackageError;
use crate::package::compress::Compressor;
use crate::package::layout::{Layout, Node, NodeKind};
use crate::package::object::{TempFile, hex, pack_object};
use crate::store::{LocalStore, StoreError, Tree};

impl Deb {
    /// Writes the package to `out`: `payload`, whose paths are relative to `/` and whose bytes
    /// `store` holds, and what comes from this description. It compresses on every core.
    ///
    /// # Errors
    ///
    /// A field, relation or path that no package may have; an object that is absent or damaged;
    /// a full disk. What was written to `out` by then is no package.
    pub fn write(
        &self,
        payload: &Tree,
        substvars: &Substvars,
        store: &LocalStore,
        out: &mut dyn Write,
    ) -> Result<(), PackageError> {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.write_on(cores, payload, substvars, store, out)
    }

    /// The same on at most `threads` threads; their number never shows in the bytes.
    pub fn write_on(
        &self,
        threads: NonZeroUsize,
        payload: &Tree,
        substvars: &Substvars,
        store: &LocalStore,
        out: &mut dyn Write,
    ) -> Result<(), PackageError> {
        self.compression.check()?;
        let layout = Layout::new(payload, self.written_files()?)?;
        let mut control = self.control_files(&layout, substvars)?;
        let (data, md5sums) = self.data_tar(&layout, store, threads)?;
        control.push(ControlFile { name: "md5sums", mode: 0o644, text: md5sums });
        let control = self.control_tar(control).map_err(PackageError::Write)?;

        let extension = self.compression.extension();
        let mut package = ArWriter::new(out, self.source_date_epoch)?;
        package.member("debian-binary", 4, &b"2.0\n"[..])?;
        package.member(&format!("control.tar.{extension}"), control.len() as u64, &control[..])?;
        package.member(&format!("data.tar.{extension}"), data.size, data.file)
    }

    /// All but `md5sums`, which is known only when the payload has been read.
    fn control_files(
        &self,
        layout: &Layout,
        substvars: &Substvars,
    ) -> Result<Vec<ControlFile>, PackageError> {
        let stanza = self.stanza(substvars, layout.installed_size())?;
        let mut files = vec![ControlFile { name: "control", mode: 0o644, text: stanza }];
        for (name, text) in [("conffiles", self.conffiles_file(layout)?), ("triggers", self.triggers_file()?)]
        {
            if !text.is_empty() {
                files.push(ControlFile { name, mode: 0o644, text });
            }
        }
        for (script, text) in &self.scripts {
            let name = script.file_name();
            if !text.starts_with("#!") {
                return Err(PackageError::Field {
                    field: name,
                    value: text.lines().next().unwrap_or_default().to_owned(),
                    expected: "a script that begins with its interpreter, such as `#!/bin/sh`",
                });
            }
            files.push(ControlFile { name, mode: 0o755, text: text.clone() });
        }
        Ok(files)
    }

    fn control_tar(&self, mut files: Vec<ControlFile>) -> io::Result<Vec<u8>> {
        files.sort_by_key(|file| file.name);
        // It is small: one thread has done before a second one is started.
        let compressor = self.compression.writer(NonZeroUsize::MIN, Vec::new())?;
        let mut tar = TarWriter::new(compressor, self.source_date_epoch)?;
        for ControlFile { name, mode, text } in &files {
            tar.file(name, *mode, text.len() as u64, text.as_bytes())?;
        }
        tar.finish()?.finish()
    }

    /// `data.tar`, compressed, and the text of `md5sums`.
    fn data_tar(
        &self,
        layout: &Layout,
        store: &LocalStore,
        threads: NonZeroUsize,
    ) -> Result<(TempFile, String), PackageError> {
        let scratch = store.scratch()?;
        let written = |error| PackageError::from(StoreError::io("write", scratch.path())(error));
        let file = tempfile::tempfile_in(scratch.path()).map_err(written)?;
        let compressor = self.compression.writer(threads, file).map_err(written)?;
        let mut tar = TarWriter::new(compressor, self.source_date_epoch).map_err(written)?;
        let mut md5sums = String::new();
        for (path, node) in in_unpacking_order(layout) {
            let sum = match &node.kind {
                NodeKind::Dir => tar.dir(path, node.mode).map(|()| None).map_err(written)?,
                NodeKind::Symlink { target } => tar.symlink(path, target).map(|()| None).map_err(written)?,
                NodeKind::Text(bytes) => {
                    tar.file(path, node.mode, bytes.len() as u64, &bytes[..]).map_err(written)?;
                    Some(hex(&Md5::digest(bytes)))
                }
                NodeKind::Object { digest, size } => {
                    let pack = |object: &mut dyn Read| tar.file(path, node.mode, *size, object);
                    Some(pack_object::<Md5>(store, *digest, pack)?)
                }
            };
            if let Some(sum) = sum.filter(|_| !self.is_conffile(path)) {
                writeln!(md5sums, "{sum}  {path}").expect("a String takes every write");
            }
        }
        let file = tar.finish().and_then(Compressor::finish).map_err(written)?;
        Ok((TempFile::rewound(file, scratch.path())?, md5sums))
    }

    /// As dh_md5sums does, `md5sums` leaves conffiles out: dpkg keeps their sums apart.
    fn is_conffile(&self, path: &str) -> bool {
        self.conffiles.iter().any(|conffile| conffile.strip_prefix('/') == Some(path))
    }
}

/// A member of `control.tar`.
struct ControlFile {
    name: &'static str,
    mode: u32,
    text: String,
}

/// As dpkg-deb walks a tree: directory by directory, which packs better than the plain order of
/// paths (`lib/`, `lib-x/`), and links last: while dpkg unpacks, none points at a file that is yet
/// to come.
fn in_unpacking_order(layout: &Layout) -> Vec<(&str, &Node)> {
    let mut all: Vec<_> = layout.iter().collect();
    all.sort_by_cached_key(|(path, node)| {
        let is_link = matches!(node.kind, NodeKind::Symlink { .. });
        (is_link, path.split('/').collect::<Vec<_>>())
    });
    all
}
