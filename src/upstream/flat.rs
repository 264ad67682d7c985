use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::{BootstrapError, LockedPackage};
use crate::package::DebControl;
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
            let bytes = File::open(file).map_err(StoreError::io("open", file))?;
            let control = DebControl::read(bytes).map_err(|source| BootstrapError::BadPackage {
                name: package.name.clone(),
                version: package.version.clone(),
                source,
            })?;
            let name = format!("{}_{}.deb", package.name, package.architecture);
            let link = dir.join(&name);
            symlink(file, &link).map_err(StoreError::io("link", &link))?;
            let LockedPackage { size, sha256, .. } = package;
            index += control.stanza.trim();
            index += &format!("\nFilename: ./{name}\nSize: {size}\nSHA256: {sha256}\n\n");
            newest = newest.max(control.built);
        }
        let path = dir.join("Packages");
        fs::write(&path, index).map_err(StoreError::io("write", &path))?;
        Ok(Self { dir, newest })
    }
}
