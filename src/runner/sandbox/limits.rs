use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Microseconds over which the kernel counts a group's processor time.
const PERIOD: u64 = 100_000;
/// What the names of forge's groups begin with; the pid of their forge follows, and a number.
const PREFIX: &str = "forge-";

/// So that no two groups of this process have one name.
static MADE: AtomicU64 = AtomicU64::new(0);

/// The control groups that hold a command to its limits. They go away with this value.
#[derive(Debug)]
pub(super) struct Limits(Vec<Group>);

#[derive(Debug)]
struct Group {
    dir: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Version 2: one hierarchy for all.
    Unified,
    /// Version 1: a hierarchy for each controller.
    Memory,
    Cpu,
}

impl Limits {
    /// Whether groups can be made here.
    pub(super) fn available() -> bool {
        [Kind::Memory, Kind::Cpu].into_iter().all(|kind| place_for(kind).is_some())
    }

    /// Makes what the limits need: nothing for none, and nothing where no group may be made.
    pub(super) fn make(cpus: Option<f64>, memory: Option<u64>) -> io::Result<Self> {
        let mut limits = Self(Vec::new());
        let wanted = [memory.map(|_| Kind::Memory), cpus.map(|_| Kind::Cpu)];
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        for (parent, kind) in wanted.into_iter().flatten().filter_map(place_for) {
            let dir = parent.join(format!("{PREFIX}{}-{made}", std::process::id()));
            if limits.0.iter().all(|group| group.dir != dir) {
                fs::create_dir(&dir)?;
                limits.0.push(Group { dir, kind });
            }
        }
        for group in &limits.0 {
            group.limit(cpus, memory)?;
        }
        Ok(limits)
    }

    /// The files through which a process of one thread enters, by writing `0`.
    pub(super) fn entrances(&self) -> io::Result<Vec<File>> {
        self.0.iter().map(|group| OpenOptions::new().write(true).open(group.entrance())).collect()
    }

    /// Whether the kernel killed a process in here for its memory.
    pub(super) fn out_of_memory(&self) -> bool {
        self.0.iter().any(Group::out_of_memory)
    }

    /// Removes the groups of forges that are gone, with what is left in them.
    pub(super) fn sweep() {
        let mut parents: Vec<_> =
            [Kind::Memory, Kind::Cpu].into_iter().filter_map(place_for).map(|(dir, _)| dir).collect();
        parents.dedup();
        for parent in parents {
            for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
                if entry.file_name().to_str().is_some_and(is_abandoned) {
                    end_abandoned(&entry.path());
                }
            }
        }
    }
}

/// A process that has not yet asked to die with its forge outlives it, until it finds that out.
fn end_abandoned(group: &Path) {
    const TRIES: u32 = 50;
    for _ in 0..TRIES {
        if fs::remove_dir(group).is_ok() {
            return;
        }
        let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for member in members.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            let _ = kill_process(member, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        for group in &self.0 {
            // All its processes are gone; if one is not, the next sweep removes the group.
            let _ = fs::remove_dir(&group.dir);
        }
    }
}

impl Group {
    fn limit(&self, cpus: Option<f64>, memory: Option<u64>) -> io::Result<()> {
        if let Some(bytes) = memory.filter(|_| self.kind != Kind::Cpu) {
            let (limit, swap, swap_limit) = match self.kind {
                Kind::Unified => ("memory.max", "memory.swap.max", 0),
                _ => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", bytes),
            };
            self.write(limit, &bytes.to_string())?;
            // Absent where the kernel does not count swap.
            let _ = self.write(swap, &swap_limit.to_string());
        }
        if let Some(cpus) = cpus.filter(|_| self.kind != Kind::Memory) {
            let quota = quota(cpus);
            match self.kind {
                Kind::Unified => self.write("cpu.max", &format!("{quota} {PERIOD}"))?,
                _ => {
                    self.write("cpu.cfs_period_us", &PERIOD.to_string())?;
                    self.write("cpu.cfs_quota_us", &quota.to_string())?;
                }
            }
        }
        Ok(())
    }

    /// A thread that moves itself waits for nobody, where the move of a process was seen to wait for up to 11 ms
    /// (Linux 6.18). Version 2 moves processes alone between its domains.
    fn entrance(&self) -> PathBuf {
        self.dir.join(if self.kind == Kind::Unified { "cgroup.procs" } else { "tasks" })
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.dir.join(file);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        fs::write(&path, text).map_err(named)
    }

    fn out_of_memory(&self) -> bool {
        let file = match self.kind {
            Kind::Unified => "memory.events",
            Kind::Memory => "memory.oom_control",
            Kind::Cpu => return false,
        };
        let told = fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        told.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
    }
}

fn quota(cpus: f64) -> u64 {
    // The kernel takes no less than a millisecond.
    ((cpus * PERIOD as f64).round() as u64).max(1000)
}

fn is_abandoned(name: &str) -> bool {
    let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    pid.and_then(|(pid, _)| pid.parse::<u32>().ok())
        .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// Where this process may make a group for the controller, and of which kind it is.
fn place_for(kind: Kind) -> Option<(PathBuf, Kind)> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    find_place(Path::new("/sys/fs/cgroup"), &own, kind)
}

fn find_place(mounted: &Path, own: &str, kind: Kind) -> Option<(PathBuf, Kind)> {
    let controller = if kind == Kind::Memory { "memory" } else { "cpu" };
    let paths = own.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_once(':')
    });
    for (controllers, path) in paths {
        if controllers.split(',').any(|name| name == controller) {
            let hierarchy = mounted.join(controller);
            return ancestors(&hierarchy, path).find(|dir| is_writable(dir)).map(|dir| (dir, kind));
        }
        if controllers.is_empty() && mounted.join("cgroup.controllers").exists() {
            // A group with processes gives its children no controllers; so one further up.
            let fit = |dir: &PathBuf| gives_both(dir) && is_writable(dir);
            return ancestors(mounted, path).find(fit).map(|dir| (dir, Kind::Unified));
        }
    }
    None
}

/// The group at `path` and all above it, as far as they are visible here.
fn ancestors<'a>(hierarchy: &'a Path, path: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    let all = Path::new(path.trim_start_matches('/')).ancestors();
    all.map(|part| hierarchy.join(part)).filter(|dir| dir.is_dir())
}

fn gives_both(dir: &Path) -> bool {
    let given = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
    ["memory", "cpu"].iter().all(|wanted| given.split_whitespace().any(|name| name == *wanted))
}

fn is_writable(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
        && rustix::fs::access(dir.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(root: &Path, path: &str, subtree: &str) {
        let dir = root.join(path);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("cgroup.procs"), "").unwrap();
        fs::write(dir.join("cgroup.subtree_control"), subtree).unwrap();
    }

    #[test]
    fn version_2_takes_the_nearest_group_that_hands_on_both_controllers() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "cpu memory pids").unwrap();
        group(root.path(), "", "cpu memory pids");
        group(root.path(), "user.slice", "memory cpu");
        group(root.path(), "user.slice/x.scope", "");
        let own = "0::/user.slice/x.scope\n";
        let place = find_place(root.path(), own, Kind::Memory);
        assert_eq!(place, Some((root.path().join("user.slice"), Kind::Unified)));
        assert_eq!(find_place(root.path(), "0::/\n", Kind::Cpu), Some((root.path().join(""), Kind::Unified)));
    }

    #[test]
    fn version_1_takes_the_controllers_own_hierarchy() {
        let root = tempfile::tempdir().unwrap();
        group(root.path(), "memory/a", "");
        group(root.path(), "cpu", "");
        let own = "4:memory:/a\n2:cpu:/not/visible/here\n0::/\n";
        assert_eq!(
            find_place(root.path(), own, Kind::Memory),
            Some((root.path().join("memory/a"), Kind::Memory))
        );
        assert_eq!(find_place(root.path(), own, Kind::Cpu), Some((root.path().join("cpu/"), Kind::Cpu)));
    }

    #[test]
    fn groups_of_the_living_stay() {
        assert!(!is_abandoned(&format!("forge-{}-work-x", std::process::id())));
        assert!(is_abandoned("forge-4194305-work-x"));
        assert!(!is_abandoned("forge-x") && !is_abandoned("docker"));
    }
}
