use std::io::{self, Read, Write};

const TRAILER: &str = "TRAILER!!!";

/// Writes the archive that is an rpm's payload: cpio in its "new ASCII" form (cpio(5)), names from
/// `./`, everything owned by root.
pub(super) struct CpioWriter<W> {
    out: W,
    mtime: u32,
}

impl<W: Write> CpioWriter<W> {
    /// An archive whose every time is `mtime`, in seconds since 1970.
    pub fn new(out: W, mtime: u32) -> Self {
        Self { out, mtime }
    }

    /// An entry with the `size` bytes of `data`; fewer are an error of kind `UnexpectedEof`. `mode`
    /// says what it is, too.
    pub fn entry(&mut self, path: &str, inode: u32, mode: u16, size: u32, data: impl Read) -> io::Result<()> {
        let mtime = self.mtime;
        self.header(&format!("./{path}"), inode, mode.into(), mtime, size)?;
        let written = io::copy(&mut data.take(size.into()), &mut self.out)?;
        if written < u64::from(size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pad(size as usize)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.header(TRAILER, 0, 0, 0, 0)?;
        Ok(self.out)
    }

    fn header(&mut self, name: &str, inode: u32, mode: u32, mtime: u32, size: u32) -> io::Result<()> {
        let (owner, links, device) = (0, 1, 0);
        let length = name.len() as u32 + 1;
        write!(self.out, "070701")?;
        for field in
            [inode, mode, owner, owner, links, mtime, size, device, device, device, device, length, 0]
        {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        // Six bytes of magic and thirteen fields of eight.
        self.pad(110 + name.len() + 1)
    }

    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..length.next_multiple_of(4) - length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::testing::{run, tool};

    #[test]
    fn cpio_reads_names_and_bytes_of_every_length() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = CpioWriter::new(Vec::new(), 1_700_000_000);
        for length in 1..20 {
            let (name, text) = ("n".repeat(length), "x".repeat(length - 1));
            writer.entry(&name, length as u32, 0o100_640, text.len() as u32, text.as_bytes()).unwrap();
        }
        writer.entry("link", 50, 0o120_777, 3, &b"nnn"[..]).unwrap();
        writer.entry("dir", 51, 0o040_750, 0, &b""[..]).unwrap();
        let archive = dir.path().join("archive");
        std::fs::write(&archive, writer.finish().unwrap()).unwrap();
        let listed = run(tool("cpio", "cpio").args(["-tv", "--quiet", "-F"]).arg(&archive).env("TZ", "UTC"));
        assert_eq!(listed.lines().count(), 21, "{listed}");
        assert!(
            listed.contains("-rw-r-----   1 root     root           18 Nov 14  2023 ./nnnnnnnnnnnnnnnnnnn"),
            "{listed}"
        );
        assert!(listed.contains(" ./link -> nnn") && listed.contains("drwxr-x---"), "{listed}");
        run(tool("cpio", "cpio").args(["-id", "--quiet", "-F"]).arg(&archive).current_dir(dir.path()));
        for length in 1..20 {
            let text = std::fs::read_to_string(dir.path().join("n".repeat(length))).unwrap();
            assert_eq!(text.len(), length - 1);
        }
    }

    #[test]
    fn a_file_shorter_than_its_header_says_is_an_error() {
        let error = CpioWriter::new(Vec::new(), 1).entry("a", 1, 0o100_644, 4, &b"abc"[..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
