use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::mount::{MountAttrFlags, MountFlags};

use super::super::command::{Command, FORGE, WORK, check_place};
use super::super::paths::resolve_inside;
use super::super::stage::Stage;
use super::super::{Root, RunError};
use super::step::Step;

/// The directories of this machine that [`Root::Host`] shows, where they exist.
const HOST_DIRS: [&str; 10] =
    ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix/store"];

/// The files that say who and where the machine is, with their names in the stage.
const IDENTITY: [(&str, &str); 3] =
    [("/etc/hosts", "etc/hosts"), ("/etc/hostname", "etc/hostname"), ("/etc/resolv.conf", "etc/resolv.conf")];

/// The devices there are, which are this machine's.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links in `/dev`.
const DEVICE_LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// What in `/proc` is of the whole machine, and may be written by its root.
const OF_THE_MACHINE: [&str; 4] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"];

const OPEN: Mode = Mode::from_raw_mode(0o1777);
const PLAIN: Mode = Mode::from_raw_mode(0o755);

/// How a process comes to see a command's root, and nothing else. Sources are taken while this machine's root is still
/// there, and shown when it is out of reach, so that no link of a tree leads there.
pub(super) struct View<'a> {
    command: &'a Command,
    stage: &'a Stage,
    /// Where the root can be looked at from here, to resolve links of places.
    root: &'a Path,
    taken: Vec<Step>,
    inside: Vec<Step>,
    made: HashSet<PathBuf>,
}

impl<'a> View<'a> {
    /// The steps, until the process is where the command begins.
    pub(super) fn steps(
        command: &'a Command,
        stage: &'a Stage,
        root: &'a Path,
    ) -> Result<Vec<Step>, RunError> {
        let mut view =
            Self { command, stage, root, taken: Vec::new(), inside: Vec::new(), made: HashSet::new() };
        view.machine()?;
        view.fixed_places()?;
        view.mounts()?;
        let Self { taken, inside, .. } = view;
        let at = c_path(&stage.path("root"))?;
        let mut steps = vec![Step::KeepMounts];
        steps.extend(root_mount(command, stage, root)?);
        steps.extend(taken);
        steps.push(Step::EnterRoot(at));
        steps.extend(inside);
        steps.push(Step::LeaveOldRoot);
        steps.push(Step::ChangeDir(c_path(Path::new(WORK))?));
        Ok(steps)
    }

    /// What [`Root::Host`] shows of this machine.
    fn machine(&mut self) -> Result<(), RunError> {
        if self.command.root != Root::Host {
            return Ok(());
        }
        for dir in HOST_DIRS {
            let path = Path::new("/").join(dir);
            if let Ok(target) = fs::read_link(&path) {
                self.inside.push(Step::MakeLink { at: c_path(&path)?, target: c_path(&target)? });
            } else if path.is_dir() {
                self.show(&path, &path, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
            }
        }
        self.dir(Path::new("/run"), PLAIN)?;
        self.dir(Path::new("/var/tmp"), OPEN)
    }

    fn fixed_places(&mut self) -> Result<(), RunError> {
        for place in ["/proc", "/dev", FORGE] {
            if self.resolve(place)? != Path::new(place) {
                return Err(RunError::Setup(format!(
                    "{place} is a symbolic link in the root; make it a directory"
                )));
            }
        }
        self.proc()?;
        self.devices()?;
        let tmp = self.resolve("/tmp")?;
        self.memory(&tmp, c"mode=1777")?;
        for (place, file) in IDENTITY {
            let to = self.resolve(place)?;
            // The host's /etc is read-only: no mount point can be made in it.
            let has_place = self.command.root != Root::Host || !to.starts_with("/etc") || to.exists();
            if has_place {
                self.show(&self.stage.path(file), &to, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
            }
        }
        self.show(&self.stage.path("forge"), Path::new(FORGE), MountAttrFlags::empty())
    }

    fn proc(&mut self) -> Result<(), RunError> {
        self.dir(Path::new("/proc"), PLAIN)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        self.mount(c"proc", Path::new("/proc"), flags, c"")?;
        for place in OF_THE_MACHINE.map(Path::new).into_iter().filter(|place| place.exists()) {
            self.inside.push(Step::Seal(c_path(place)?));
        }
        Ok(())
    }

    fn devices(&mut self) -> Result<(), RunError> {
        let dev = Path::new("/dev");
        self.memory(dev, c"mode=0755")?;
        for device in DEVICES.map(|name| dev.join(name)).iter().filter(|device| device.exists()) {
            self.take(device, device, MountAttrFlags::MOUNT_ATTR_NOSUID)?;
        }
        for (name, target) in DEVICE_LINKS {
            self.inside
                .push(Step::MakeLink { at: c_path(&dev.join(name))?, target: c_path(target.as_ref())? });
        }
        let pts = dev.join("pts");
        self.dir(&pts, PLAIN)?;
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
        self.mount(c"devpts", &pts, flags, c"newinstance,ptmxmode=0666,mode=620")?;
        self.memory(&dev.join("shm"), c"mode=1777")
    }

    fn mounts(&mut self) -> Result<(), RunError> {
        for (from, at) in self.stage.mounts() {
            let to = self.resolve(at)?;
            check_place(&to.to_string_lossy())?;
            self.show(from, &to, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        }
        Ok(())
    }

    /// Shows a file or a directory, with more attributes than those that all have.
    fn show(&mut self, from: &Path, at: &Path, attributes: MountAttrFlags) -> Result<(), RunError> {
        let always = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        self.take(from, at, attributes | always)
    }

    fn take(&mut self, from: &Path, at: &Path, attributes: MountAttrFlags) -> Result<(), RunError> {
        match from.is_dir() {
            true => self.dir(at, PLAIN)?,
            false => {
                self.parents(at)?;
                self.inside.push(Step::MakeFile(c_path(at)?));
            }
        }
        let tree = self.taken.len();
        self.taken.push(Step::TakeTree { from: c_path(from)?, attributes, tree });
        self.inside.push(Step::ShowTree { tree, at: c_path(at)? });
        Ok(())
    }

    /// A directory in memory.
    fn memory(&mut self, at: &Path, options: &CStr) -> Result<(), RunError> {
        self.dir(at, PLAIN)?;
        self.mount(c"tmpfs", at, MountFlags::NOSUID | MountFlags::NODEV, options)
    }

    fn mount(
        &mut self,
        kind: &'static CStr,
        at: &Path,
        flags: MountFlags,
        options: &CStr,
    ) -> Result<(), RunError> {
        self.inside.push(Step::Mount { kind, at: c_path(at)?, flags, options: options.to_owned() });
        Ok(())
    }

    fn parents(&mut self, at: &Path) -> Result<(), RunError> {
        at.parent().map_or(Ok(()), |parent| self.dir(parent, PLAIN))
    }

    /// Makes a directory and those it is in, where they are not.
    fn dir(&mut self, at: &Path, mode: Mode) -> Result<(), RunError> {
        if at == Path::new("/") || !self.made.insert(at.to_owned()) {
            return Ok(());
        }
        self.parents(at)?;
        self.inside.push(Step::MakeDir { at: c_path(at)?, mode });
        Ok(())
    }

    fn resolve(&self, place: &str) -> Result<PathBuf, RunError> {
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

/// What becomes the root: a writable layer over a tree, or nothing yet.
fn root_mount(command: &Command, stage: &Stage, root: &Path) -> Result<Vec<Step>, RunError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    if command.root == Root::Host {
        let at = c_path(&stage.path("root"))?;
        return Ok(vec![Step::Mount { kind: c"tmpfs", at, flags, options: c"mode=0755".to_owned() }]);
    }
    let store = stage.store().root();
    // No character of an absolute path can be taken for a separator of the options.
    let relative = |path: &Path| path.strip_prefix(store).unwrap_or(path).display().to_string();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}{}",
        relative(root),
        relative(&stage.path("upper")),
        relative(&stage.path("overlay")),
        // The only attributes an overlay may write in a user namespace.
        if rustix::process::geteuid().is_root() { "" } else { ",userxattr" },
    );
    let (at, options) = (c_path(relative(&stage.path("root")).as_ref())?, c_path(options.as_ref())?);
    Ok(vec![Step::ChangeDir(c_path(store)?), Step::Mount { kind: c"overlay", at, flags, options }])
}

fn c_path(path: &Path) -> Result<CString, RunError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| RunError::Setup(error.to_string()))
}
