use std::io::{self, Read, Write};

use tar::{EntryType, Header};

/// The bytes of a block, and of the name fields of a header.
const BLOCK: u64 = 512;
const NAME: usize = 100;

/// Writes a tar archive in the GNU form dpkg reads (deb(5)): names from `./`, everything
/// owned by root, long names and link targets in entries of their own.
pub(super) struct TarWriter<W> {
    out: W,
    mtime: u64,
}

impl<W: Write> TarWriter<W> {
    /// An archive whose every time is `mtime`, in seconds since 1970; it begins with `./`.
    pub fn new(out: W, mtime: u64) -> io::Result<Self> {
        let mut writer = Self { out, mtime };
        writer.header(EntryType::Directory, "./", "", 0o755, 0)?;
        Ok(writer)
    }

    pub fn dir(&mut self, path: &str, mode: u32) -> io::Result<()> {
        self.header(EntryType::Directory, &format!("./{path}/"), "", mode, 0)
    }

    pub fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.header(EntryType::Symlink, &format!("./{path}"), target, 0o777, 0)
    }

    /// Writes `size` bytes of `data`; fewer are an error of kind `UnexpectedEof`.
    pub fn file(&mut self, path: &str, mode: u32, size: u64, data: impl Read) -> io::Result<()> {
        self.header(EntryType::Regular, &format!("./{path}"), "", mode, size)?;
        let written = io::copy(&mut data.take(size), &mut self.out)?;
        if written < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pad(size)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK as usize])?;
        Ok(self.out)
    }

    fn header(&mut self, kind: EntryType, name: &str, link: &str, mode: u32, size: u64) -> io::Result<()> {
        self.long_name(EntryType::GNULongName, name)?;
        self.long_name(EntryType::GNULongLink, link)?;
        self.short_header(kind, name, link, mode, size)
    }

    /// A name that leaves no room for its NUL goes into an entry before the one it names.
    fn long_name(&mut self, kind: EntryType, name: &str) -> io::Result<()> {
        if name.len() < NAME {
            return Ok(());
        }
        let size = name.len() as u64 + 1;
        self.short_header(kind, "././@LongLink", "", 0o644, size)?;
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(size)
    }

    fn short_header(
        &mut self,
        kind: EntryType,
        name: &str,
        link: &str,
        mode: u32,
        size: u64,
    ) -> io::Result<()> {
        let mut header = Header::new_gnu();
        // Not `set_path`: it takes away the `./`.
        copy_cut(name, &mut header.as_old_mut().name);
        copy_cut(link, &mut header.as_old_mut().linkname);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(self.mtime);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let rest = (BLOCK - size % BLOCK) % BLOCK;
        self.out.write_all(&[0; BLOCK as usize][..rest as usize])
    }
}

fn copy_cut(text: &str, field: &mut [u8; NAME]) {
    let length = text.len().min(NAME);
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_come_back() {
        let lengths = [1, 97, 98, 99, 100, 101, 155, 255, 256, 600];
        let mut writer = TarWriter::new(Vec::new(), 1).unwrap();
        for length in lengths {
            let name = "é".repeat(length / 2) + &"n".repeat(length % 2);
            writer.file(&name, 0o4755, 3, &b"abc"[..]).unwrap();
            writer.symlink(&format!("l{length}"), &name).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries: Vec<(Vec<u8>, Option<Vec<u8>>)> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path_bytes().into(), entry.link_name_bytes().map(Into::into)))
            .collect();
        assert_eq!(entries.len(), 1 + 2 * lengths.len());
        assert_eq!(entries[0].0, b"./");
        for (at, length) in lengths.into_iter().enumerate() {
            let (file, link) = (&entries[1 + 2 * at], &entries[2 + 2 * at]);
            assert_eq!(file.0.len(), length + 2);
            assert_eq!(link.1.as_deref(), Some(&file.0[2..]));
        }
    }

    #[test]
    fn a_file_shorter_than_its_header_says_is_an_error() {
        let mut writer = TarWriter::new(Vec::new(), 1).unwrap();
        let error = writer.file("a", 0o644, 4, &b"abc"[..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
