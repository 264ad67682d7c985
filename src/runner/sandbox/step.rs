use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::mount::{
    MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, UnshareFlags};

/// One thing that a process does to itself between its start and the command.
///
/// It is done in a copy of this process that has one of its threads: so it makes system calls with what was made before, and
/// nothing else; it neither allocates nor locks. Paths are relative to the working directory until [`Step::EnterRoot`], and begin
/// with `/` after it.
pub(super) enum Step {
    /// Takes standard input, output and error; everything else is closed at the exec.
    Streams { input: OwnedFd, output: OwnedFd },
    /// Enters a control group, by one of its files.
    EnterGroup(File),
    /// Maps the caller to uid 0 and gid 0 of its user namespace.
    MapIds(IdMaps),
    /// Keeps no group but that of root.
    LeaveGroups,
    /// Dies with the thread that started it, and at once if the process of this descriptor is gone.
    DieWith(OwnedFd),
    /// Has these of its own from here on.
    Unshare(UnshareFlags),
    /// What is mounted from here on is seen by nobody else, and goes away with the last process.
    KeepMounts,
    /// Goes to a directory.
    ChangeDir(CString),
    /// Mounts a new filesystem.
    Mount { kind: &'static CStr, at: CString, flags: MountFlags, options: CString },
    /// Takes a copy of what is mounted at a path and below it, to be shown elsewhere.
    TakeTree { from: CString, attributes: MountAttrFlags, tree: usize },
    /// Makes a directory the root. What was the root lies over it, for what has no path of its own.
    EnterRoot(CString),
    /// Makes a directory, where none is.
    MakeDir { at: CString, mode: Mode },
    /// Makes an empty file, where none is.
    MakeFile(CString),
    /// Makes a symbolic link.
    MakeLink { at: CString, target: CString },
    /// Shows what was taken.
    ShowTree { tree: usize, at: CString },
    /// Lets nobody write below a path.
    Seal(CString),
    /// Lets go of what was the root.
    LeaveOldRoot,
    /// Has a host name.
    Name(&'static [u8]),
    /// Has a loopback interface that works.
    Loopback,
    /// Has no terminal, and cannot be stopped from one.
    LeaveSession,
    /// Keeps these capabilities and gets no other, whatever it executes.
    Keep(CapabilitySet),
}

/// Copies of what is mounted, between [`Step::TakeTree`] and [`Step::ShowTree`].
pub(super) type Trees = [Option<OwnedFd>];

/// The lines for `uid_map` and `gid_map`.
pub(super) struct IdMaps {
    uid: CString,
    gid: CString,
}

impl IdMaps {
    /// Maps this process's user and group to 0; `None` if it is root already.
    pub(super) fn of_caller() -> Option<Self> {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let line = |id: u32| CString::new(format!("0 {id} 1\n")).unwrap_or_default();
        (!uid.is_root()).then(|| Self { uid: line(uid.as_raw()), gid: line(gid.as_raw()) })
    }
}

impl Step {
    pub(super) fn take(&mut self, trees: &mut Trees) -> Result<()> {
        match self {
            Self::Streams { input, output } => take_streams(input, output),
            Self::EnterGroup(group) => rustix::io::write(group, b"0").map(drop),
            Self::MapIds(maps) => {
                write_file(c"/proc/self/setgroups", b"deny")?;
                write_file(c"/proc/self/uid_map", maps.uid.to_bytes())?;
                write_file(c"/proc/self/gid_map", maps.gid.to_bytes())
            }
            Self::LeaveGroups => rustix::thread::set_thread_groups(&[Gid::ROOT]),
            Self::DieWith(process) => die_with(process),
            // SAFETY: the flags do not contain FILES, so no descriptor another thread relies on changes hands; and there is no
            // other thread.
            Self::Unshare(flags) => unsafe { rustix::thread::unshare_unsafe(*flags) },
            Self::KeepMounts => {
                let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
                rustix::mount::mount_change(c"/", flags)
            }
            Self::ChangeDir(dir) => rustix::process::chdir(dir.as_c_str()),
            Self::Mount { kind, at, flags, options } => {
                rustix::mount::mount(*kind, at.as_c_str(), *kind, *flags, options.as_c_str())
            }
            Self::TakeTree { from, attributes, tree } => {
                let taken = take_tree(from, *attributes)?;
                trees.get_mut(*tree).map(|place| *place = Some(taken)).ok_or(Errno::BADF)
            }
            Self::EnterRoot(dir) => {
                rustix::process::chdir(dir.as_c_str())?;
                rustix::process::pivot_root(c".", c".")
            }
            Self::MakeDir { at, mode } => there(rustix::fs::mkdir(at.as_c_str(), *mode)),
            Self::MakeFile(at) => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                there(rustix::fs::open(at.as_c_str(), flags, Mode::from_raw_mode(0o644)).map(drop))
            }
            Self::MakeLink { at, target } => rustix::fs::symlink(target.as_c_str(), at.as_c_str()),
            Self::ShowTree { tree, at } => {
                let taken = trees.get_mut(*tree).and_then(Option::take).ok_or(Errno::BADF)?;
                show_tree(&taken, at)
            }
            Self::Seal(at) => show_tree(&take_tree(at, MountAttrFlags::MOUNT_ATTR_RDONLY)?, at),
            Self::LeaveOldRoot => rustix::mount::unmount(c".", UnmountFlags::DETACH),
            Self::Name(name) => rustix::system::sethostname(name),
            Self::Loopback => bring_up_loopback(),
            Self::LeaveSession => rustix::process::setsid().map(drop),
            Self::Keep(capabilities) => keep(*capabilities),
        }
    }
}

/// What it does, as after "cannot".
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &CStr| path.to_string_lossy().into_owned();
        match self {
            Self::Streams { .. } => write!(f, "take its standard streams"),
            Self::EnterGroup(_) => write!(f, "enter its control group"),
            Self::MapIds(_) => write!(f, "map its user to root"),
            Self::LeaveGroups => write!(f, "leave its groups"),
            Self::DieWith(_) => write!(f, "be bound to forge"),
            Self::Unshare(_) => write!(f, "make its namespaces"),
            Self::KeepMounts => write!(f, "keep its mounts to itself"),
            Self::ChangeDir(dir) => write!(f, "go to {}", shown(dir)),
            Self::Mount { kind, at, .. } => write!(f, "mount {} at {}", shown(kind), shown(at)),
            Self::TakeTree { from, .. } => write!(f, "take {}", shown(from)),
            Self::EnterRoot(_) => write!(f, "enter its root"),
            Self::MakeDir { at, .. } => write!(f, "make the directory {} in its root", shown(at)),
            Self::MakeFile(at) => write!(f, "make the file {} in its root", shown(at)),
            Self::MakeLink { at, .. } => write!(f, "make the link {} in its root", shown(at)),
            Self::ShowTree { at, .. } => write!(f, "show what belongs at {}", shown(at)),
            Self::Seal(at) => write!(f, "make {} read-only", shown(at)),
            Self::LeaveOldRoot => write!(f, "leave this machine's root"),
            Self::Name(_) => write!(f, "take its host name"),
            Self::Loopback => write!(f, "bring up its loopback interface"),
            Self::LeaveSession => write!(f, "leave its session"),
            Self::Keep(_) => write!(f, "give up its capabilities"),
        }
    }
}

/// It is as good if it is there already.
fn there(made: Result<()>) -> Result<()> {
    match made {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

/// The error of a call that gave a negative number.
fn checked(result: libc::c_long) -> Result<()> {
    match result {
        0.. => Ok(()),
        _ => Err(last_error()),
    }
}

/// Why the last call of the C library failed.
pub(super) fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

fn take_streams(input: &OwnedFd, output: &OwnedFd) -> Result<()> {
    for (from, to) in [(input, 0), (output, 1), (output, 2)] {
        // SAFETY: what the numbers 0 to 2 stand for in this process nobody else relies on: it is a copy, of one thread.
        checked(unsafe { libc::dup2(from.as_raw_fd(), to) }.into())?;
    }
    // SAFETY: it closes nothing before the exec, and after that nobody is here who could rely on a descriptor.
    checked(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) })
}

fn die_with(process: &OwnedFd) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before it could be said.
    let mut ended = [PollFd::new(process, PollFlags::IN)];
    match poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
        0 => Ok(()),
        _ => Err(Errno::SRCH),
    }
}

fn take_tree(from: &CStr, attributes: MountAttrFlags) -> Result<OwnedFd> {
    // As a whole: a part of what a less privileged user sees would show what lies below its mounts.
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, from, flags)?;
    set_attributes(&tree, attributes)?;
    Ok(tree)
}

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

fn set_attributes(tree: &OwnedFd, attributes: MountAttrFlags) -> Result<()> {
    let attributes =
        MountAttributes { set: attributes.bits().into(), clear: 0, propagation: 0, user_namespace: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path ends with a zero, the structure is what the kernel reads, and its size is given.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    })
}

fn show_tree(tree: &OwnedFd, at: &CStr) -> Result<()> {
    rustix::mount::move_mount(tree, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// The kernel gives the interface its addresses when it comes up.
fn bring_up_loopback() -> Result<()> {
    // SAFETY: zeros are a value of this structure of numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: it takes three numbers; and what it gives is closed below.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    checked(socket.into())?;
    // SAFETY: the kernel reads a name and flags of the structure, which are set.
    let brought = checked(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request) }.into());
    // SAFETY: it was opened here, and is used no more.
    unsafe { libc::close(socket) };
    brought
}

fn keep(capabilities: CapabilitySet) -> Result<()> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if !capabilities.contains(capability) {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                // The kernel knows no more.
                Err(Errno::INVAL) => break,
                removed => removed?,
            }
        }
    }
    let sets = CapabilitySets {
        effective: capabilities,
        permitted: capabilities,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::set_no_new_privs(true)
}

fn write_file(path: &CStr, text: &[u8]) -> Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text).map(drop)
}
