use std::ffi::OsString;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tar::{Archive, EntryType};

use super::ar::{ArReader, Member};
use super::control::parse_stanza;
use crate::package::PackageError;
use crate::package::compress::unpacker;
use crate::package::object::hex;

/// The most `control.tar` may unpack to, and its `control` file, and `data.tar`, in bytes.
const CONTROL_TAR: u64 = 128 << 20;
const CONTROL: u64 = 4 << 20;
const DATA_TAR: u64 = 256 << 30;
/// The longest path, and the memory all paths together may take, in bytes.
const PATH: u64 = 32 << 10;
const PATHS: u64 = 512 << 20;

/// What a Debian package says of itself before its payload begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebControl {
    /// The text of `control`: one stanza.
    pub stanza: String,
    /// The newest time of the members so far, in seconds since 1970: when it was built.
    pub built: u64,
}

impl DebControl {
    /// Reads a package up to its payload.
    ///
    /// # Errors
    ///
    /// The file is no Debian package of format 2, or is damaged or cut short before its payload.
    pub fn read(input: impl Read) -> Result<Self, PackageError> {
        Self::read_from(&mut ArReader::new(BufReader::new(input))?)
    }

    fn read_from(package: &mut ArReader<impl Read>) -> Result<Self, PackageError> {
        let format = check_format(package)?;
        let (control, ending) = next_archive(package, "control.tar")?;
        let stanza = package.read(&control, |body| read_control(&ending, body))?;
        Ok(Self { stanza, built: format.mtime.max(control.mtime) })
    }
}

/// What an index says of a Debian package, read from the package alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebInfo {
    /// The fields of `control` in order; a value's further lines begin with a line feed and
    /// the space that stands there, so that `name: value` gives the stanza again.
    pub fields: Vec<(String, String)>,
    /// The size of the file in bytes.
    pub size: u64,
    /// The file's MD5, hexadecimal.
    pub md5: String,
    /// The file's SHA-256, hexadecimal.
    pub sha256: String,
    /// Everything it installs but directories, relative to `/`, in the order of the archive.
    pub paths: Vec<PathBuf>,
}

impl DebInfo {
    /// Reads a package in one pass. Memory stays bounded whatever the file holds, and nothing
    /// is unpacked to disk.
    ///
    /// # Errors
    ///
    /// The file is no Debian package of format 2, is damaged or cut short, unpacks to far more
    /// than any package does, or holds what dpkg would refuse.
    pub fn read(input: impl Read) -> Result<Self, PackageError> {
        let mut package = ArReader::new(Sums::of(BufReader::new(input)))?;
        let control = DebControl::read_from(&mut package)?;
        let fields = parse_stanza(&control.stanza)?;
        for name in ["Package", "Version", "Architecture"] {
            if !fields.iter().any(|(field, value)| field.eq_ignore_ascii_case(name) && !value.is_empty()) {
                return Err(PackageError::malformed("control", format!("it has no field {name}")));
            }
        }
        let (data, ending) = next_archive(&mut package, "data.tar")?;
        let paths = package.read(&data, |body| read_paths(&ending, body))?;

        // Later members are for later formats (deb(5)), but they are part of the file's sums.
        let mut sums = package.into_inner();
        io::copy(&mut sums, &mut io::sink()).map_err(|error| PackageError::malformed("ar archive", error))?;
        let (md5, sha256) = (hex(&sums.md5.finalize()), hex(&sums.sha256.finalize()));
        Ok(Self { fields, size: sums.size, md5, sha256, paths })
    }

    /// The value of a field, whatever the case of its name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }
}

fn check_format(package: &mut ArReader<impl Read>) -> Result<Member, PackageError> {
    let fault = |reason: &str| PackageError::malformed("debian-binary", reason);
    let member = package.next()?;
    if member.name != "debian-binary" {
        return Err(fault("it is not the first member"));
    }
    let text = package.read(&member, |body| {
        let mut text = Vec::new();
        body.take(64).read_to_end(&mut text).map_err(|error| fault(&error.to_string()))?;
        Ok(text)
    })?;
    match text.starts_with(b"2.") {
        true => Ok(member),
        false => Err(fault("the format is not 2")),
    }
}

/// The next member, which must be `stem`, and what its name has after that. Members that begin
/// with `_` may be passed over (deb(5)).
fn next_archive(package: &mut ArReader<impl Read>, stem: &str) -> Result<(Member, String), PackageError> {
    loop {
        let member = package.next()?;
        if let Some(ending) = member.name.strip_prefix(stem) {
            let ending = ending.to_owned();
            return Ok((member, ending));
        }
        if !member.name.starts_with('_') {
            let reason = format!("expected {stem}, found the member '{}'", member.name.escape_default());
            return Err(PackageError::malformed("ar archive", reason));
        }
        package.read(&member, |_| Ok(()))?;
    }
}

fn read_control(ending: &str, body: &mut dyn Read) -> Result<String, PackageError> {
    let mut found = None;
    each_entry("control.tar", ending, body, CONTROL_TAR, |path, kind, data| {
        if kind.is_file() && matches!(path, b"./control" | b"control") {
            found = Some(read_bounded("control", data, CONTROL)?);
        }
        Ok(())
    })?;
    let bytes = found.ok_or_else(|| PackageError::malformed("control.tar", "it has no control file"))?;
    String::from_utf8(bytes).map_err(|_| PackageError::malformed("control", "it is not UTF-8"))
}

fn read_paths(ending: &str, body: &mut dyn Read) -> Result<Vec<PathBuf>, PackageError> {
    let (mut paths, mut memory) = (Vec::new(), 0);
    each_entry("data.tar", ending, body, DATA_TAR, |path, kind, _| {
        if kind.is_dir() || path.ends_with(b"/") {
            return Ok(());
        }
        let path = path.strip_prefix(b".").unwrap_or(path);
        let path = path.strip_prefix(b"/").unwrap_or(path);
        memory += (path.len() + size_of::<PathBuf>()) as u64;
        if memory > PATHS {
            return Err(PackageError::malformed(
                "data.tar",
                format!("its paths take more than {PATHS} bytes"),
            ));
        }
        if path.is_empty() || path.iter().any(|byte| matches!(byte, b'\0' | b'\n')) {
            return Err(PackageError::malformed("data.tar", "a path is empty or holds a line feed or NUL"));
        }
        paths.push(PathBuf::from(OsString::from_vec(path.to_vec())));
        Ok(())
    })?;
    Ok(paths)
}

/// Shows every entry of a packed tar archive: its whole path, its type, its bytes. Long names
/// are read here rather than by the `tar` crate, which sets no bound to them.
fn each_entry(
    part: &str,
    ending: &str,
    body: &mut dyn Read,
    limit: u64,
    mut visit: impl FnMut(&[u8], EntryType, &mut dyn Read) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    let fault = |error: io::Error| PackageError::malformed(part, error);
    let unpacked = unpacker(ending, body).map_err(fault)?.ok_or_else(|| {
        let reason = format!("cannot unpack '{}'; known are .xz, .zst, .gz", ending.escape_default());
        PackageError::malformed(part, reason)
    })?;
    let mut unpacked = Bounded { input: unpacked, left: limit };
    let mut archive = Archive::new(&mut unpacked);
    let mut long_name = None;
    for entry in archive.entries().map_err(fault)?.raw(true) {
        let mut entry = entry.map_err(fault)?;
        match entry.header().entry_type() {
            EntryType::GNULongName => long_name = Some(read_name(part, &mut entry)?),
            EntryType::GNULongLink => {}
            kind if is_known(kind) => {
                let path = long_name.take().unwrap_or_else(|| entry.header().path_bytes().into_owned());
                visit(&path, kind, &mut entry)?;
            }
            kind => {
                let reason = format!("dpkg knows no tar entry of type {:?}", char::from(kind.as_byte()));
                return Err(PackageError::malformed(part, reason));
            }
        }
    }
    // To its end, where the compressed stream has its own checks.
    io::copy(&mut unpacked, &mut io::sink()).map(|_| ()).map_err(fault)
}

fn is_known(kind: EntryType) -> bool {
    kind.is_file()
        || kind.is_dir()
        || kind.is_symlink()
        || kind.is_hard_link()
        || kind.is_contiguous()
        || kind.is_character_special()
        || kind.is_block_special()
        || kind.is_fifo()
}

fn read_name(part: &str, entry: &mut dyn Read) -> Result<Vec<u8>, PackageError> {
    let mut name = read_bounded(part, entry, PATH)?;
    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
    Ok(name)
}

fn read_bounded(part: &str, input: &mut dyn Read, limit: u64) -> Result<Vec<u8>, PackageError> {
    let mut bytes = Vec::new();
    let read = Bounded { input, left: limit }.read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| PackageError::malformed(part, error))
}

/// Ends with an error, not quietly, where more than `left` bytes come.
struct Bounded<R> {
    input: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.left = self
            .left
            .checked_sub(length as u64)
            .ok_or_else(|| io::Error::other("it unpacks to more than any package holds"))?;
        Ok(length)
    }
}

/// Sums up what is read through it.
struct Sums<R> {
    input: R,
    size: u64,
    md5: Md5,
    sha256: Sha256,
}

impl<R> Sums<R> {
    fn of(input: R) -> Self {
        Self { input, size: 0, md5: Md5::new(), sha256: Sha256::new() }
    }
}

impl<R: Read> Read for Sums<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.size += length as u64;
        self.md5.update(&buffer[..length]);
        self.sha256.update(&buffer[..length]);
        Ok(length)
    }
}
