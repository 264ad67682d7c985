use std::collections::BTreeMap;
use std::time::Duration;

use super::RunError;
use super::paths::components;
use super::simple_command::{SimpleCommand, line};
use crate::digest::Digest;

/// The directory that belongs to the action.
pub(super) const FORGE: &str = "/forge";
/// Where the script runs.
pub(super) const WORK: &str = "/forge/work";
/// What the action makes, `$OUT`.
pub(super) const OUT: &str = "/forge/out";
/// `$HOME`.
pub(super) const HOME: &str = "/forge/home";
/// The host's name inside.
pub(super) const HOSTNAME: &str = "forge";

/// What process 1 is.
pub(super) const SHELL: &str = "/bin/sh";

/// What process 1 does at first: it reaps orphans while it waits for the script, and joins both streams, so that the
/// log has the lines in the order they came. No more files may be open than here (fewer, where the system says so), as some
/// programs close every possible one before they start another.
const BEFORE: &str = "umask 022; exec 2>&1; ulimit -c 0; ulimit -n 65536 2>/dev/null";

/// How it runs a script.
const RUN_SCRIPT: &str = "/bin/sh -eu /forge/script";

/// The arguments of process 1, which does `at_end` when the script has ended, with its status in `$?`. A simple command it runs itself.
pub(super) fn process_one(command: &Command, at_end: &str) -> [String; 3] {
    let simple = SimpleCommand::read(&command.script, &command.environment());
    let run = simple.map_or(RUN_SCRIPT, |_| line(&command.script));
    [SHELL.to_owned(), "-c".to_owned(), format!("{BEFORE}; {run}; {at_end}")]
}

/// The capabilities of uid 0 inside: Docker's default without MKNOD and NET_RAW, which no
/// build needs. They suffice for apt and dpkg.
pub(super) const CAPABILITIES: [&str; 12] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// One command, with everything a runner needs to run it.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The root it sees; writable, and thrown away afterwards.
    pub root: Root,
    /// Run as `/bin/sh -eu <file>` in `/forge/work`, or to the same effect.
    pub script: String,
    /// Added to the fixed environment; wins where both name a variable.
    pub env: BTreeMap<String, String>,
    /// Trees to be seen read-only.
    pub mounts: Vec<Mount>,
    /// Trees to be copied into the working directory.
    pub copies: Vec<WorkCopy>,
    /// Names below `$OUT`, relative. Each must exist when the script has ended.
    pub outputs: Vec<String>,
    /// Whether it reaches more than its own loopback interface.
    pub network: bool,
    /// Seconds since 1970; `$SOURCE_DATE_EPOCH` and the times of all copied files.
    pub source_date_epoch: u64,
    /// `$FORGE_JOBS`: how many processes it should run side by side.
    pub jobs: usize,
    /// How many processors' time it gets. This bounds scheduling, not what `nproc` says.
    pub cpus: Option<f64>,
    /// Bytes of memory, swap included. Files in `/tmp` count.
    pub memory: Option<u64>,
    /// It is killed after this.
    pub timeout: Option<Duration>,
    /// What it runs on, as `linux/amd64`.
    pub platform: String,
}

/// Where a command's `/` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// A tree in the store.
    Tree(Digest),
    /// This machine's own system directories, read-only. Only the sandbox has it.
    Host,
}

/// A tree that is seen read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The tree in the store.
    pub tree: Digest,
    /// An absolute path; made where the root does not have it.
    pub at: String,
}

/// A tree of which the action gets its own, writable copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkCopy {
    /// The tree in the store.
    pub tree: Digest,
    /// Relative to `/forge/work`; empty or `.` for that directory itself.
    pub into: String,
}

/// What is told of a command while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// A line that it wrote, without its end.
    Line(&'a str),
    /// It has ended well. From now on it takes neither processors nor memory; what it made is still to be stored.
    Over,
}

impl Command {
    /// Everything the script finds in its environment.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let fixed = [
            ("FORGE_JOBS", self.jobs.to_string()),
            ("HOME", HOME.to_owned()),
            ("HOSTNAME", HOSTNAME.to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("OUT", OUT.to_owned()),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("PWD", WORK.to_owned()),
            ("SOURCE_DATE_EPOCH", self.source_date_epoch.to_string()),
            ("TZ", "UTC".to_owned()),
        ];
        let mut environment: BTreeMap<_, _> =
            fixed.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        environment.extend(self.env.clone());
        environment
    }

    /// Refuses what no runner could do as it is asked.
    pub(super) fn check(&self) -> Result<(), RunError> {
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(RunError::Setup(format!("'{name}' cannot be a variable of the environment")));
            }
        }
        for copy in &self.copies {
            if components(&copy.into).is_none() {
                return Err(outside("copied into", &copy.into, "a relative path below /forge/work"));
            }
        }
        for output in &self.outputs {
            if components(output).is_none_or(|parts| parts.is_empty()) {
                return Err(outside("an output at", output, "a relative path below $OUT"));
            }
        }
        self.mounts.iter().try_for_each(|mount| check_place(&mount.at))?;
        self.check_no_mount_in_another()
    }

    fn check_no_mount_in_another(&self) -> Result<(), RunError> {
        let mut places: Vec<_> = self.mounts.iter().map(|mount| format!("{}/", mount.at)).collect();
        places.sort();
        match places.windows(2).find(|pair| pair[1].starts_with(&pair[0])) {
            Some(pair) => Err(RunError::Setup(format!(
                "the mount at {} is inside the read-only mount at {}; mount them side by side",
                pair[1].trim_end_matches('/'),
                pair[0].trim_end_matches('/'),
            ))),
            None => Ok(()),
        }
    }
}

/// Mounts stay out of what the runner itself lays out.
pub(super) fn check_place(at: &str) -> Result<(), RunError> {
    let parts = at.strip_prefix('/').and_then(components).unwrap_or_default();
    let normal = format!("/{}", parts.join("/")) == at;
    let system = matches!(parts.first(), None | Some(&("proc" | "dev" | "sys")));
    let own = match parts[..] {
        ["tmp"] => true,
        ["forge", ref below @ ..] => below.len() < 2 || below[0] == "out" || below[0] == "script",
        _ => false,
    };
    match normal && !system && !own {
        true => Ok(()),
        false => {
            Err(outside("a mount at", at, "an absolute path outside of /proc, /dev, /sys and /forge/out"))
        }
    }
}

fn outside(what: &str, path: &str, expected: &str) -> RunError {
    RunError::Setup(format!("{what} '{path}' cannot be; expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_stay_out_of_what_the_runner_lays_out() {
        for good in ["/usr/lib/x", "/forge/work/deps", "/forge/in/a", "/tmp/x", "/opt"] {
            assert!(check_place(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "usr",
            "/usr/",
            "/usr/../x",
            "//usr",
            "/proc/x",
            "/dev",
            "/tmp",
            "/forge",
            "/forge/work",
            "/forge/out/x",
        ] {
            assert!(check_place(bad).is_err(), "{bad}");
        }
    }
}
