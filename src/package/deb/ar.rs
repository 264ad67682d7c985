use std::io::{self, Read, Write};

use crate::package::PackageError;

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;
/// Ten decimal digits (deb(5)).
const LARGEST: u64 = 9_999_999_999;

/// Writes the common ar format with the members of a package (deb(5)).
pub(super) struct ArWriter<'a> {
    out: &'a mut dyn Write,
    mtime: u64,
}

impl<'a> ArWriter<'a> {
    /// An archive whose every time is `mtime`, in seconds since 1970.
    pub fn new(out: &'a mut dyn Write, mtime: u64) -> Result<Self, PackageError> {
        out.write_all(MAGIC).map_err(PackageError::Write)?;
        Ok(Self { out, mtime })
    }

    /// Adds a member that has `size` bytes. Its name has at most 15.
    pub fn member(&mut self, name: &str, size: u64, mut data: impl Read) -> Result<(), PackageError> {
        if size > LARGEST {
            return Err(PackageError::TooLarge { part: name.to_owned(), size, limit: LARGEST });
        }
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", self.mtime, 0, 0, "100644");
        debug_assert_eq!(header.len(), HEADER);
        self.out
            .write_all(header.as_bytes())
            .and_then(|()| io::copy(&mut data, self.out))
            .and_then(|_| if size % 2 == 1 { self.out.write_all(b"\n") } else { Ok(()) })
            .map_err(PackageError::Write)
    }
}

/// Reads the members one by one.
pub(super) struct ArReader<R> {
    input: R,
}

pub(super) struct Member {
    pub name: String,
    /// Seconds since 1970.
    pub mtime: u64,
    size: u64,
}

impl<R: Read> ArReader<R> {
    pub fn new(mut input: R) -> Result<Self, PackageError> {
        let mut magic = [0; MAGIC.len()];
        match input.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => Ok(Self { input }),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(fault(error)),
            _ => Err(fault("the file does not begin with `!<arch>`")),
        }
    }

    /// The next member's header; it stands before the archive's end.
    pub fn next(&mut self) -> Result<Member, PackageError> {
        let mut header = [0; HEADER];
        self.input.read_exact(&mut header).map_err(cut_short)?;
        if !header.ends_with(b"`\n") {
            return Err(fault("a member's header does not end as one"));
        }
        let text =
            |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).map(str::trim_end).ok();
        let name = text(0..16).map(|name| name.strip_suffix('/').unwrap_or(name));
        let number = |range| -> Option<u64> {
            text(range).filter(|number| number.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
        };
        let mtime = number(16..28).unwrap_or(0);
        match (name, number(48..58)) {
            (Some(name), Some(size)) => Ok(Member { name: name.to_owned(), mtime, size }),
            _ => Err(fault("a member's header has no name or no size")),
        }
    }

    /// Lets `read` take the member's bytes, then passes over what it left.
    pub fn read<T>(
        &mut self,
        member: &Member,
        read: impl FnOnce(&mut dyn Read) -> Result<T, PackageError>,
    ) -> Result<T, PackageError> {
        let mut body = (&mut self.input).take(member.size);
        let value = read(&mut body)?;
        io::copy(&mut body, &mut io::sink()).map_err(fault)?;
        if body.limit() > 0 {
            return Err(cut_short(io::ErrorKind::UnexpectedEof.into()));
        }
        if member.size % 2 == 1 {
            // The last member's padding may be missing.
            io::copy(&mut (&mut self.input).take(1), &mut io::sink()).map_err(fault)?;
        }
        Ok(value)
    }

    /// What is left after the members that were read.
    pub fn into_inner(self) -> R {
        self.input
    }
}

fn cut_short(error: io::Error) -> PackageError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => fault("the file ends too early"),
        _ => fault(error),
    }
}

fn fault(reason: impl ToString) -> PackageError {
    PackageError::malformed("ar archive", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = ArWriter::new(&mut bytes, 1_700_000_000).unwrap();
        writer.member("odd", 3, &b"abc"[..]).unwrap();
        writer.member("control.tar.zst", 4, &b"abcd"[..]).unwrap();
        bytes
    }

    #[test]
    fn members_round_trip() {
        let bytes = archive();
        let mut reader = ArReader::new(&bytes[..]).unwrap();
        for (name, body) in [("odd", "abc"), ("control.tar.zst", "abcd")] {
            let member = reader.next().unwrap();
            assert_eq!(member.name, name);
            let read = reader.read(&member, |input| Ok(io::read_to_string(input).unwrap())).unwrap();
            assert_eq!(read, body);
        }
        assert!(reader.into_inner().is_empty());
    }

    #[test]
    fn an_archive_cut_anywhere_is_an_error() {
        let bytes = archive();
        let whole = |bytes: &[u8]| -> Result<(), PackageError> {
            let mut reader = ArReader::new(bytes)?;
            for _ in 0..2 {
                let member = reader.next()?;
                reader.read(&member, |_| Ok(()))?;
            }
            Ok(())
        };
        assert!(whole(&bytes).is_ok());
        for length in 0..bytes.len() {
            assert!(whole(&bytes[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_member_too_large_for_its_header_is_refused() {
        let mut bytes = Vec::new();
        let mut writer = ArWriter::new(&mut bytes, 0).unwrap();
        let error = writer.member("data.tar.xz", LARGEST + 1, io::empty()).unwrap_err().to_string();
        assert!(error.contains("data.tar.xz") && error.contains("9999999999"), "{error}");
    }
}
