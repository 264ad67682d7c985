use std::io;

use rustix::io::Errno;

use super::super::RunError;
use super::super::command::SHELL;
use super::step::Step;

const ALLOW_NAMESPACES: &str = "run as root, or allow unprivileged user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns), or use the docker runner";

/// Why no process could be started.
pub(super) fn not_started(error: io::Error) -> RunError {
    match Errno::from_io_error(&error) {
        Some(Errno::NOSYS) => RunError::Setup(format!(
            "the sandbox cannot start a process in namespaces: {error}; it needs Linux 5.12 or later, and to be allowed to; or use the docker runner"
        )),
        Some(Errno::PERM | Errno::ACCESS | Errno::NOSPC | Errno::USERS) => {
            RunError::Setup(format!("the sandbox may not make namespaces here: {error}; {ALLOW_NAMESPACES}"))
        }
        _ => lost(error),
    }
}

/// Why a step could not be done; without one, the exec.
pub(super) fn refusal(step: Option<&Step>, errno: Errno) -> RunError {
    let error = io::Error::from(errno);
    let Some(step) = step else {
        return RunError::Setup(format!("the sandbox cannot run {SHELL} of the root: {error}"));
    };
    let hint = match (step, errno) {
        (_, Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::SRCH) => {
            return RunError::Infrastructure(format!("the sandbox cannot {step}: {error}"));
        }
        (Step::Mount { kind, .. }, Errno::INVAL | Errno::NODEV) if *kind == c"overlay" => {
            "; the store must be on a filesystem that can hold a writable layer (ext4, xfs, btrfs or tmpfs, not another overlay or NFS), or use the docker runner".to_owned()
        }
        (_, Errno::NOSYS) | (Step::Streams { .. }, Errno::INVAL) => {
            "; it needs Linux 5.12 or later; or use the docker runner".to_owned()
        }
        (_, Errno::PERM | Errno::ACCESS | Errno::NOSPC) => format!("; {ALLOW_NAMESPACES}"),
        _ => String::new(),
    };
    RunError::Setup(format!("the sandbox cannot {step}: {error}{hint}"))
}

/// What stands between forge and a command that it started.
pub(super) fn lost(error: io::Error) -> RunError {
    RunError::Infrastructure(format!("the sandbox lost its command: {error}"))
}

pub(super) fn no_limits(error: io::Error) -> RunError {
    RunError::Infrastructure(format!("cannot make a control group for the command's limits: {error}"))
}
