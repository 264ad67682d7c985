use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::archive::{Decoded, decode};
use super::{BootstrapError, LockedPackage};
use crate::store::StoreError;

/// An apt repository of chosen packages in one directory (sources.list(5): "exact path").
pub(super) struct FlatRepository {
    /// Where it lies.
    pub(super) dir: PathBuf,
    /// When the youngest of its packages was built, in seconds since 1970.
    pub(super) newest: u64,
}

impl FlatRepository {
    /// Makes the repository below `dir`, of packages and the files that hold them.
    pub(super) fn create(
        dir: PathBuf,
        packages: &[(&LockedPackage, PathBuf)],
    ) -> Result<Self, BootstrapError> {
        fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
        let (mut index, mut newest) = (String::new(), 0);
        for (package, file) in packages {
            let deb = Deb::read(file).map_err(|source| BootstrapError::BadPackage {
                name: package.name.clone(),
                version: package.version.clone(),
                source,
            })?;
            let name = format!("{}_{}.deb", package.name, package.architecture);
            let link = dir.join(&name);
            symlink(file, &link).map_err(StoreError::io("link", &link))?;
            let LockedPackage { size, sha256, .. } = package;
            index += deb.control.trim();
            index += &format!("\nFilename: ./{name}\nSize: {size}\nSHA256: {sha256}\n\n");
            newest = newest.max(deb.time);
        }
        let path = dir.join("Packages");
        fs::write(&path, index).map_err(StoreError::io("write", &path))?;
        Ok(Self { dir, newest })
    }
}

/// What a binary package tells of itself (deb(5)).
struct Deb {
    /// Its control paragraph.
    control: String,
    /// When it was built, in seconds since 1970.
    time: u64,
}

impl Deb {
    fn read(path: &Path) -> io::Result<Self> {
        let mut members = ar::Archive::new(BufReader::new(File::open(path)?));
        let mut time = 0;
        while let Some(member) = members.next_entry() {
            let mut member = member?;
            time = time.max(member.header().mtime());
            if member.header().identifier().starts_with(b"control.tar") {
                let mut bytes = Vec::new();
                member.read_to_end(&mut bytes)?;
                return Ok(Self { control: control_of(bytes)?, time });
            }
        }
        Err(malformed("it has no control.tar"))
    }
}

fn control_of(tar: Vec<u8>) -> io::Result<String> {
    let plain = match decode(Cursor::new(tar))? {
        Decoded::Plain(plain) => plain,
        Decoded::Unknown(_) => return Err(malformed("its control.tar is compressed in an unknown way")),
    };
    for entry in tar::Archive::new(plain).entries()? {
        let mut entry = entry?;
        if matches!(&*entry.path_bytes(), b"./control" | b"control") {
            let mut control = String::new();
            entry.read_to_string(&mut control)?;
            return Ok(control);
        }
    }
    Err(malformed("its control.tar has no control file"))
}

fn malformed(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
