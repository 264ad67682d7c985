use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Gid, Pid, Signal};
use rustix::thread::UnshareFlags;

/// What the child does between fork and exec of bubblewrap. All it needs is made before the
/// fork; [`Prologue::run`] makes system calls and nothing else.
pub(super) struct Prologue {
    /// The process that must be alive for this child to make sense.
    pub(super) parent: Pid,
    /// A writable layer over the shared root.
    pub(super) overlay: Option<Overlay>,
    /// Maps the caller to uid 0, where the caller is not root.
    pub(super) id_maps: Option<IdMaps>,
    /// `cgroup.procs` of the control groups to enter.
    pub(super) groups: Vec<File>,
    /// Stays open over the exec: bubblewrap tells its status there.
    pub(super) status: OwnedFd,
    /// Descriptors that came with this process, to be closed at the exec.
    pub(super) inherited: Vec<RawFd>,
}

/// An overlay mount, its paths relative to the child's working directory: so no character of
/// an absolute path can be taken for a separator of the option string.
pub(super) struct Overlay {
    pub(super) options: CString,
    pub(super) at: CString,
}

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

/// The descriptors above stderr that would stay open over an exec: what the caller's shell or
/// `make` left open. Whatever Rust opens later is closed at an exec.
pub(super) fn inherited() -> Vec<RawFd> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|&number| number > 2 && stays_open(number)).collect()
}

fn stays_open(number: RawFd) -> bool {
    // SAFETY: the number is at least 3, so not -1, and it is only asked for its flags, which
    // fails harmlessly if it was closed since it was listed.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(fd).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
}

impl Prologue {
    /// Runs in the child. Async-signal-safe: it neither allocates nor locks; every path below
    /// is a C string already, and an `io::Error` made of an `Errno` is a plain number.
    pub(super) fn run(&mut self) -> io::Result<()> {
        for group in &self.groups {
            rustix::io::write(group, b"0")?;
        }
        self.unshare()?;
        // After the namespaces: gaining capabilities forgets it.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(self.parent) {
            return Err(rustix::io::Errno::SRCH.into());
        }
        if let Some(overlay) = &self.overlay {
            overlay.mount()?;
        }
        self.settle_descriptors()
    }

    fn unshare(&self) -> io::Result<()> {
        let user = if self.id_maps.is_some() { UnshareFlags::NEWUSER } else { UnshareFlags::empty() };
        // SAFETY: the flags do not contain FILES, so no descriptor another thread relies on
        // changes hands; and after a fork there is no other thread.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | user) }?;
        match &self.id_maps {
            Some(maps) => {
                write_file(c"/proc/self/setgroups", b"deny")?;
                write_file(c"/proc/self/uid_map", maps.uid.to_bytes())?;
                write_file(c"/proc/self/gid_map", maps.gid.to_bytes())?;
            }
            None => rustix::thread::set_thread_groups(&[Gid::ROOT])?,
        }
        // Nothing mounted from here on is seen outside, and it goes away with the last process.
        Ok(rustix::mount::mount_change(c"/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?)
    }

    fn settle_descriptors(&self) -> io::Result<()> {
        for &number in &self.inherited {
            // SAFETY: as in `stays_open`; a descriptor that is gone by now gives an error that
            // does not matter.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
        Ok(rustix::io::fcntl_setfd(&self.status, FdFlags::empty())?)
    }

    /// The number under which bubblewrap finds its status descriptor.
    pub(super) fn status_fd(&self) -> RawFd {
        self.status.as_raw_fd()
    }
}

impl Overlay {
    fn mount(&self) -> io::Result<()> {
        let flags = MountFlags::NODEV;
        Ok(rustix::mount::mount(c"overlay", self.at.as_c_str(), c"overlay", flags, self.options.as_c_str())?)
    }
}

fn write_file(path: &std::ffi::CStr, text: &[u8]) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text)?;
    Ok(())
}
