use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use super::super::command::{CAPABILITIES, Command, FORGE, HOSTNAME, PROCESS_ONE, WORK, check_place};
use super::super::paths::resolve_inside;
use super::super::stage::Stage;
use super::super::{Root, RunError};

/// The directories of this machine that [`Root::Host`] shows, where they exist.
const HOST_DIRS: [&str; 10] =
    ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix/store"];

/// The files that say who and where the machine is, with their names in the stage.
const IDENTITY: [(&str, &str); 3] =
    [("/etc/hosts", "etc/hosts"), ("/etc/hostname", "etc/hostname"), ("/etc/resolv.conf", "etc/resolv.conf")];

/// What bubblewrap is told.
pub(super) struct Arguments<'a> {
    command: &'a Command,
    stage: &'a Stage,
    /// Where the root can be looked at from here: to resolve links before bubblewrap, which
    /// would follow them while this machine's own root is still in reach.
    root: &'a Path,
    list: Vec<OsString>,
}

impl<'a> Arguments<'a> {
    /// `status_fd` is the descriptor that bubblewrap tells its JSON to.
    pub(super) fn build(
        command: &'a Command,
        stage: &'a Stage,
        root: &'a Path,
        status_fd: i32,
    ) -> Result<Vec<OsString>, RunError> {
        let mut arguments = Self { command, stage, root, list: Vec::new() };
        arguments.namespaces(status_fd);
        arguments.root()?;
        arguments.fixed_places()?;
        arguments.mounts()?;
        arguments.add(["--chdir", WORK, "--"]);
        arguments.add(PROCESS_ONE);
        Ok(arguments.list)
    }

    fn add<T: Into<OsString>>(&mut self, words: impl IntoIterator<Item = T>) {
        self.list.extend(words.into_iter().map(Into::into));
    }

    fn bind(&mut self, option: &str, from: &Path, to: &Path) {
        self.add([OsStr::new(option), from.as_os_str(), to.as_os_str()]);
    }

    fn namespaces(&mut self, status_fd: i32) {
        self.add(["--die-with-parent", "--new-session", "--as-pid-1"]);
        self.add(["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]);
        if !self.command.network {
            self.add(["--unshare-net"]);
        }
        self.add(["--hostname", HOSTNAME, "--json-status-fd", &status_fd.to_string()]);
        self.add(["--cap-drop", "ALL"]);
        for capability in CAPABILITIES {
            self.add(["--cap-add", capability]);
        }
    }

    fn root(&mut self) -> Result<(), RunError> {
        match self.command.root {
            Root::Tree(_) => {
                let overlay = self.stage.path("root");
                self.bind("--bind", &overlay, Path::new("/"));
            }
            Root::Host => {
                for dir in HOST_DIRS {
                    self.host_dir(dir);
                }
                self.add(["--dir", "/run", "--perms", "1777", "--dir", "/var/tmp"]);
            }
        }
        Ok(())
    }

    fn host_dir(&mut self, dir: &str) {
        let path = Path::new("/").join(dir);
        if let Ok(target) = fs::read_link(&path) {
            self.add(["--symlink".into(), target.into_os_string(), path.into_os_string()]);
        } else if path.is_dir() {
            self.bind("--ro-bind", &path, &path);
        }
    }

    fn fixed_places(&mut self) -> Result<(), RunError> {
        for place in ["/proc", "/dev", FORGE] {
            if self.resolve(place)? != Path::new(place) {
                return Err(RunError::Setup(format!(
                    "{place} is a symbolic link in the root; make it a directory"
                )));
            }
        }
        self.add(["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"]);
        let tmp = self.resolve("/tmp")?;
        self.add(["--perms".as_ref(), "1777".as_ref(), "--tmpfs".as_ref(), tmp.as_os_str()]);
        for (place, file) in IDENTITY {
            let to = self.resolve(place)?;
            // The host's /etc is read-only: no mount point can be made in it.
            let has_place = self.command.root != Root::Host || !to.starts_with("/etc") || to.exists();
            if has_place {
                self.bind("--ro-bind", &self.stage.path(file), &to);
            }
        }
        self.bind("--bind", &self.stage.path("forge"), Path::new(FORGE));
        Ok(())
    }

    fn mounts(&mut self) -> Result<(), RunError> {
        for (from, at) in self.stage.mounts() {
            let to = self.resolve(at)?;
            check_place(&to.to_string_lossy())?;
            self.bind("--ro-bind", from, &to);
        }
        Ok(())
    }

    fn resolve(&self, place: &str) -> Result<std::path::PathBuf, RunError> {
        let unresolved = |error| RunError::Setup(format!("cannot find {place} in the root: {error}"));
        if !place.starts_with("/forge/") {
            return resolve_inside(self.root, place).map_err(unresolved);
        }
        let resolved = resolve_inside(&self.stage.path(""), place).map_err(unresolved)?;
        match resolved == Path::new(place) {
            true => Ok(resolved),
            false => Err(RunError::Setup(format!(
                "the mount at {place} leads through a symbolic link of a copied tree; mount it elsewhere"
            ))),
        }
    }
}
