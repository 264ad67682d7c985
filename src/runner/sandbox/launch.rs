use std::ffi::CString;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::step::{Step, Trees, last_error};

/// What a new process does: its steps, one after the other, and then it becomes a program.
pub(super) struct Launch<'a> {
    pub(super) steps: &'a mut [Step],
    pub(super) arguments: Vec<CString>,
    pub(super) environment: Vec<CString>,
}

/// Which step could not be done; the number of steps stands for the exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) step: usize,
    pub(super) errno: Errno,
}

impl Refused {
    const SIZE: usize = 8;

    fn to_bytes(self) -> [u8; Self::SIZE] {
        let number = (self.step as u64) << 32 | u64::from(self.errno.raw_os_error() as u32);
        number.to_le_bytes()
    }

    /// Reads what a process said before it ended; nothing if it became the program.
    pub(super) fn read(said: &[u8]) -> Option<Self> {
        let number = u64::from_le_bytes(said.try_into().ok()?);
        let errno = Errno::from_raw_os_error(number as u32 as i32);
        Some(Self { step: (number >> 32) as usize, errno })
    }
}

impl Launch<'_> {
    /// Starts the process, as the first of a new pid namespace: when it ends, the kernel ends all others there before anybody
    /// learns of it. What comes from the pipe is what it was [refused](Refused); it ends when the process is the program.
    pub(super) fn start(self) -> io::Result<(Process, PipeReader)> {
        let (status, status_end) = io::pipe()?;
        let takes_tree = |step: &&Step| matches!(step, Step::TakeTree { .. });
        let mut trees: Vec<Option<OwnedFd>> = self.steps.iter().filter(takes_tree).map(|_| None).collect();
        let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
            texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
        };
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));

        let mut pidfd: libc::c_int = -1;
        // SAFETY: zeros are a value of this structure of numbers.
        let mut clone: libc::clone_args = unsafe { std::mem::zeroed() };
        let is_mapped = self.steps.iter().any(|step| matches!(step, Step::MapIds(_)));
        let users = if is_mapped { libc::CLONE_NEWUSER } else { 0 };
        clone.flags = (libc::CLONE_PIDFD | libc::CLONE_NEWPID | users) as u64;
        clone.pidfd = (&raw mut pidfd) as u64;
        clone.exit_signal = libc::SIGCHLD as u64;
        // SAFETY: without CLONE_VM the child has its own copy of all memory, this stack included, and without CLONE_FILES of all
        // descriptors. It has one thread, so whatever lock another held stays locked there: it takes none, neither here nor in a
        // step, and it never returns.
        let child =
            unsafe { libc::syscall(libc::SYS_clone3, &raw const clone, size_of::<libc::clone_args>()) };
        match child {
            0 => become_program(self.steps, &mut trees, &arguments, &environment, &status_end),
            1.. => {
                // SAFETY: the kernel made it for this process, and nobody else knows of it.
                let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
                Ok((Process { pidfd, is_reaped: false }, status))
            }
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The whole life of the child.
fn become_program(
    steps: &mut [Step],
    trees: &mut Trees,
    arguments: &[*const libc::c_char],
    environment: &[*const libc::c_char],
    status: &impl AsRawFd,
) -> ! {
    // Modes are what the steps say.
    rustix::process::umask(rustix::fs::Mode::empty());
    let refused = steps.iter_mut().zip(0..).find_map(|(step, at)| Some((at, step.take(trees).err()?)));
    let (step, errno) = refused.unwrap_or_else(|| (steps.len(), execute(arguments, environment)));
    let said = Refused { step, errno }.to_bytes();
    // SAFETY: the bytes are there, and as many; `_exit` takes a number, and runs nothing of this process.
    unsafe {
        // Nobody could be told if this failed.
        libc::write(status.as_raw_fd(), said.as_ptr().cast(), said.len());
        libc::_exit(127)
    }
}

/// Gives why it could not be done.
fn execute(arguments: &[*const libc::c_char], environment: &[*const libc::c_char]) -> Errno {
    // SAFETY: Rust has programs ignore this signal, and they would hand it on; no handler is set. An empty set of signals is made
    // before it is read. Both lists end with a null pointer and are of strings that end with a zero; the first is not empty.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::execve(arguments[0], arguments.as_ptr(), environment.as_ptr());
    }
    last_error()
}

/// The first process of a pid namespace. It is killed with all others there when this is dropped.
pub(super) struct Process {
    pidfd: OwnedFd,
    is_reaped: bool,
}

impl Process {
    /// Ends it, and all others there.
    pub(super) fn kill(&self) {
        // It may have ended by itself.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Waits for its end, and reaps it. Gives its exit code, which is 128 and the signal where one ended it.
    pub(super) async fn end(&mut self) -> io::Result<i32> {
        {
            // SAFETY: the descriptor is this value's own, and stays open until this is dropped.
            let ended = unsafe { AsyncFd::register_with_interest(self.pidfd.as_fd(), Interest::READABLE) }?;
            let _ready = ended.readable().await?;
        }
        self.reap()
    }

    fn reap(&mut self) -> io::Result<i32> {
        let process = WaitId::PidFd(self.pidfd.as_fd());
        let status = loop {
            match waitid(process.clone(), WaitIdOptions::EXITED) {
                Err(Errno::INTR) => {}
                status => break status?,
            }
        };
        self.is_reaped = true;
        let status = status.ok_or(io::ErrorKind::NotFound)?;
        Ok(status.exit_status().or_else(|| Some(128 + status.terminating_signal()?)).unwrap_or_default())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill();
            let _ = self.reap();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_read_as_it_was_said() {
        let refused = Refused { step: 7, errno: Errno::PERM };
        assert_eq!(Refused::read(&refused.to_bytes()), Some(refused));
        assert_eq!(Refused::read(&[]), None);
    }
}
