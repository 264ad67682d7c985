use std::fmt;
use std::time::Duration;

use crate::digest::Digest;
use crate::store::StoreError;

/// How a command that failed came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It gave this exit code, which is not 0.
    Code(i32),
    /// A signal ended the script. A shell tells this as 128 + n, and so it is read.
    Signal(i32),
    /// It ran longer than it may.
    TimedOut(Duration),
    /// It needed more than this many bytes of memory.
    OutOfMemory(u64),
}

impl Exit {
    /// Reads a shell's exit code; `None` for success.
    pub(super) fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => None,
            129..=192 => Some(Self::Signal(code - 128)),
            code => Some(Self::Code(code)),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}{}", signal_name(*signal)),
            Self::TimedOut(after) => write!(f, "killed after its timeout of {after:?}"),
            Self::OutOfMemory(bytes) => {
                write!(f, "out of memory: it may use {} MiB; raise `resources memory`", bytes >> 20)
            }
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        24 => " (SIGXCPU)",
        25 => " (SIGXFSZ)",
        31 => " (SIGSYS)",
        _ => "",
    }
}

/// Why a command gave no outcome.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The command itself failed.
    #[error("the command failed: {exit}")]
    Failed {
        /// How it ended.
        exit: Exit,
        /// The object with all it wrote.
        log: Digest,
    },
    /// The command succeeded and did not make what it declares.
    #[error("output '{name}' was not made; the command must leave it at $OUT/{name}")]
    MissingOutput {
        /// The output's name.
        name: String,
        /// The object with all the command wrote.
        log: Digest,
    },
    /// The command made something that no tree can hold.
    #[error("$OUT/{path}: {reason}")]
    UnfitOutput {
        /// Relative to `$OUT`.
        path: String,
        /// What is wrong with it.
        reason: String,
        /// The object with all the command wrote.
        log: Digest,
    },
    /// What the runner stands on failed; trying again may help.
    #[error("{0}")]
    Infrastructure(String),
    /// The runner cannot do this here; the text says what to do.
    #[error("{0}")]
    Setup(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The caller asked for the end.
    #[error("cancelled")]
    Cancelled,
}

impl RunError {
    /// Whether the same command may succeed when it is run again at once.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Infrastructure(_))
    }
}
