use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::mirrors::Distribution;
use super::{MirrorKind, Mirrors};
use crate::store::StoreError;

/// Why apt could not tell what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// apt is not on this machine.
    #[error(
        "'{program}' is not installed: suites and source packages are read with apt, on Debian, Ubuntu or their like"
    )]
    NoApt {
        /// The program that was not found.
        program: String,
    },
    /// apt knows no archive of a distribution.
    #[error(
        "apt on this machine is configured with no Debian or Ubuntu archive (see `apt-get indextargets`); \
         add one to /etc/apt/sources.list.d"
    )]
    NoMirror,
    /// A suite needs the security archive, and apt knows none.
    #[error(
        "suite '{suite}' has security updates, but apt on this machine is configured with no security \
         archive; add the entry for '…-security' to /etc/apt/sources.list.d"
    )]
    NoSecurityMirror {
        /// The suite.
        suite: String,
    },
    /// The keys to check the archive with are not on this machine.
    #[error("{} is missing; install the package '{package}'", path.display())]
    NoKeyring {
        /// Where the keys should be.
        path: PathBuf,
        /// The package that brings them.
        package: &'static str,
    },
    /// The name cannot be that of a suite or an architecture.
    #[error("'{0}' is no name of a suite or an architecture: letters, digits, '.', '+' and '-'")]
    BadName(String),
    /// apt said no.
    #[error("{doing}: {message}")]
    Failed {
        /// What was tried.
        doing: String,
        /// What apt said.
        message: String,
    },
    /// apt answered in a form that forge does not know.
    #[error("{doing}: cannot read '{line}' in apt's answer")]
    Unexpected {
        /// What was tried.
        doing: String,
        /// The line that makes no sense.
        line: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] StoreError),
}

/// Where apt keeps what it knows of suites, apart from the host's own apt: its own
/// configuration, its own lists, an empty dpkg status. What was fetched stays, and is not
/// fetched again before it is [`AptRoot::with_max_age`] old.
#[derive(Debug)]
pub struct AptRoot {
    dir: PathBuf,
    mirrors: Mirrors,
    max_age: Duration,
}

/// What of a suite is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// The index of source packages, of the component main.
    Sources,
    /// The indices of binary packages, of the component main.
    Packages { arch: String, foreign: Vec<String> },
}

/// A part of a suite with a Release file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pocket {
    /// As apt's sources name it: `bookworm-updates`.
    pub(super) name: String,
    /// Which archive serves it.
    pub(super) mirror: MirrorKind,
}

/// The indices of one suite, fetched and verified by apt. Locked while this value lives.
pub(super) struct Suite<'a> {
    root: &'a AptRoot,
    dir: PathBuf,
    pub(super) name: String,
    pub(super) pockets: Vec<Pocket>,
    _lock: File,
}

/// One index file of a pocket, as apt stored it.
pub(super) struct Index {
    pub(super) pocket: Pocket,
    /// The text, uncompressed.
    pub(super) text: String,
}

impl AptRoot {
    /// A root below `dir`, with the mirrors of this machine's apt.
    pub fn of_host(dir: impl Into<PathBuf>) -> Result<Self, AptError> {
        Self::open(dir, Mirrors::of_host()?)
    }

    /// A root below `dir`; nothing is fetched yet.
    pub fn open(dir: impl Into<PathBuf>, mirrors: Mirrors) -> Result<Self, AptError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
        let dir = dir.canonicalize().map_err(StoreError::io("resolve", &dir))?;
        Ok(Self { dir, mirrors, max_age: Duration::from_secs(3600) })
    }

    /// How old an index may be before it is fetched again: one hour if nothing is said.
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// The mirrors it asks.
    pub fn mirrors(&self) -> &Mirrors {
        &self.mirrors
    }

    /// The indices of `suite` with its updates, fresh enough.
    pub(super) fn suite(&self, suite: &str, want: &Want) -> Result<Suite<'_>, AptError> {
        want.names().chain([suite]).try_for_each(check_name)?;
        let dir = self.dir.join(suite).join(want.room());
        make_dirs(&dir)?;
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(StoreError::io("create", &lock_path))?;
        lock.lock().map_err(StoreError::io("lock", &lock_path))?;
        let pockets = pockets(suite, self.mirrors.distribution);
        let suite = Suite { root: self, dir, name: suite.to_owned(), pockets, _lock: lock };
        suite.configure(want)?;
        suite.update(want)?;
        Ok(suite)
    }
}

/// It becomes part of paths and of apt's configuration.
fn check_name(name: &str) -> Result<(), AptError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".+-".contains(&byte);
    let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(fits);
    if is_name { Ok(()) } else { Err(AptError::BadName(name.to_owned())) }
}

impl Want {
    fn names(&self) -> impl Iterator<Item = &str> {
        let (arch, foreign) = match self {
            Self::Sources => (None, &[][..]),
            Self::Packages { arch, foreign } => (Some(arch.as_str()), &foreign[..]),
        };
        arch.into_iter().chain(foreign.iter().map(String::as_str))
    }

    fn room(&self) -> String {
        match self {
            Self::Sources => "sources".to_owned(),
            Self::Packages { .. } => self.names().collect::<Vec<_>>().join("+"),
        }
    }

    /// As apt names the index that is asked for (`Created-By` in its index targets).
    fn target(&self) -> &'static str {
        match self {
            Self::Sources => "Sources",
            Self::Packages { .. } => "Packages",
        }
    }
}

/// Rolling suites have no updates beside them; every other one has both pockets, also where
/// they are empty, so that one that is missing is an error and not an omission.
fn pockets(suite: &str, distribution: Distribution) -> Vec<Pocket> {
    let pocket = |name: String, mirror| Pocket { name, mirror };
    let base = pocket(suite.to_owned(), MirrorKind::Main);
    let rolling = matches!(suite, "sid" | "unstable" | "experimental" | "rc-buggy");
    if suite.contains('-') || (rolling && distribution == Distribution::Debian) {
        return vec![base];
    }
    let updates = pocket(format!("{suite}-updates"), MirrorKind::Main);
    vec![base, updates, pocket(format!("{suite}-security"), MirrorKind::Security)]
}

impl Suite<'_> {
    /// An apt or dpkg program that sees this root and nothing of the host's.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C.UTF-8");
        command
    }

    /// The indices that were asked for, pocket by pocket.
    pub(super) fn indices(&self, want: &Want) -> Result<Vec<Index>, AptError> {
        let mut query = self.command("apt-get");
        query.args(["indextargets", "--format", "$(RELEASE)|$(FILENAME)|$(TRUSTED)"]);
        query.arg(format!("Created-By: {}", want.target()));
        let mut indices = Vec::new();
        for line in output(&mut query)?.lines() {
            let unexpected = || self.unexpected(line);
            let (release, rest) = line.split_once('|').ok_or_else(unexpected)?;
            let (file, trusted) = rest.rsplit_once('|').ok_or_else(unexpected)?;
            let pocket = self.pockets.iter().find(|pocket| pocket.name == release).ok_or_else(unexpected)?;
            if trusted != "yes" {
                return Err(unexpected());
            }
            // Whatever compression apt keeps it in.
            let mut cat = self.command("/usr/lib/apt/apt-helper");
            indices.push(Index { pocket: pocket.clone(), text: output(cat.args(["cat-file", file]))? });
        }
        Ok(indices)
    }

    /// The signed Release file of a pocket, as the archive sent it.
    pub(super) fn release(&self, pocket: &Pocket) -> Result<Vec<u8>, AptError> {
        let lists = self.dir.join("var/lib/apt/lists");
        let entries = fs::read_dir(&lists).map_err(StoreError::io("list", &lists))?;
        let names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        // Either form is signed; apt falls back to the second where the first is not served.
        let found = ["InRelease", "Release"].iter().find_map(|form| {
            let end = format!("_dists_{}_{form}", pocket.name);
            names.iter().find(|name| name.ends_with(&end))
        });
        let path = found.map(|name| lists.join(name)).ok_or_else(|| AptError::Failed {
            doing: self.doing(),
            message: format!("apt keeps no Release file of {}", pocket.name),
        })?;
        Ok(fs::read(&path).map_err(StoreError::io("read", path))?)
    }

    /// For messages.
    pub(super) fn doing(&self) -> String {
        format!("cannot read suite '{}'", self.name)
    }

    pub(super) fn unexpected(&self, line: &str) -> AptError {
        AptError::Unexpected { doing: self.doing(), line: line.to_owned() }
    }

    fn configure(&self, want: &Want) -> Result<(), AptError> {
        write(&self.dir.join("apt.conf"), &self.configuration(want)?)
    }

    fn configuration(&self, want: &Want) -> Result<String, AptError> {
        let dir = self.dir.display();
        let arch = match want {
            Want::Packages { arch, .. } => {
                let all: String = want.names().map(|arch| format!("\"{arch}\"; ")).collect();
                format!("APT::Architecture \"{arch}\";\nAPT::Architectures {{ {all}}};\n")
            }
            Want::Sources => String::new(),
        };
        Ok(format!(
            "{}Dir \"{dir}\";\n\
             Dir::State::status \"{dir}/var/lib/dpkg/status\";\n\
             Dir::Etc \"{dir}/etc/apt\";\n\
             Dir::Etc::main \"/dev/null\";\n\
             Dir::Etc::parts \"{dir}/etc/apt/apt.conf.d\";\n\
             Dir::Bin::methods \"/usr/lib/apt/methods\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::ForceHash \"SHA256\";\n\
             Acquire::AllowInsecureRepositories \"false\";\n\
             Acquire::AllowWeakRepositories \"false\";\n\
             Acquire::AllowDowngradeToInsecureRepositories \"false\";\n\
             APT::Update::Error-Mode \"any\";\n\
             APT::Sandbox::User \"root\";\n\
             APT::Install-Recommends \"false\";\n\
             {arch}",
            host_connection()?
        ))
    }

    fn sources_list(&self, want: &Want) -> Result<String, AptError> {
        let keyring = self.root.mirrors.keyring.display();
        let mut lines = String::new();
        for pocket in &self.pockets {
            let mirror = self.root.mirrors.of(pocket.mirror).first();
            let mirror = mirror.ok_or_else(|| AptError::NoSecurityMirror { suite: self.name.clone() })?;
            lines += &match want {
                Want::Sources => format!("deb-src [signed-by={keyring}] {mirror} {} main\n", pocket.name),
                Want::Packages { .. } => format!(
                    "deb [arch={} signed-by={keyring}] {mirror} {} main\n",
                    want.names().collect::<Vec<_>>().join(","),
                    pocket.name,
                ),
            };
        }
        Ok(lines)
    }

    /// Fetches what is new, unless it was done lately.
    fn update(&self, want: &Want) -> Result<(), AptError> {
        let (list, stamp) = (self.sources_list(want)?, self.dir.join("updated"));
        if self.root.is_young(&stamp) && fs::read_to_string(&stamp).is_ok_and(|told| told == list) {
            return Ok(());
        }
        write(&self.dir.join("etc/apt/sources.list"), &list)?;
        output(self.command("apt-get").args(["update", "-q"]))
            .map_err(|error| error.while_doing(self.doing()))?;
        write(&stamp, &list)
    }
}

impl AptRoot {
    fn is_young(&self, stamp: &Path) -> bool {
        let modified = fs::metadata(stamp).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < self.max_age))
    }
}

impl AptError {
    pub(super) fn while_doing(self, what: String) -> Self {
        match self {
            Self::Failed { message, .. } => Self::Failed { doing: what, message },
            other => other,
        }
    }
}

fn make_dirs(dir: &Path) -> Result<(), AptError> {
    let rooms = [
        "etc/apt/apt.conf.d",
        "etc/apt/preferences.d",
        "etc/apt/sources.list.d",
        "etc/apt/trusted.gpg.d",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "var/log/apt",
        "var/lib/dpkg",
    ];
    for room in rooms {
        let path = dir.join(room);
        fs::create_dir_all(&path).map_err(StoreError::io("create", &path))?;
    }
    // Nothing is installed: so apt resolves everything anew.
    write(&dir.join("var/lib/dpkg/status"), "")
}

fn write(path: &Path, text: &str) -> Result<(), AptError> {
    Ok(fs::write(path, text).map_err(StoreError::io("write", path))?)
}

/// How the host's apt reaches its mirrors (proxies, authorities) and what it thinks of
/// outdated ones; nothing else of its configuration is taken over.
fn host_connection() -> Result<String, AptError> {
    let taken = [
        "Acquire::http::",
        "Acquire::https::",
        "Acquire::Retries",
        "Acquire::ForceIPv",
        "Acquire::Check-Valid-Until",
        "Acquire::Check-Date",
    ];
    let dump = output(Command::new("apt-config").args(["dump", "Acquire"]))?;
    let lines = dump.lines().filter(|line| taken.iter().any(|key| line.starts_with(key)));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

/// What the program prints; its complaints as an error if it fails.
pub(super) fn output(command: &mut Command) -> Result<String, AptError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => AptError::NoApt { program: program.clone() },
        _ => StoreError::io("run", &program)(error).into(),
    })?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&done.stderr);
    let mut lines: Vec<&str> = told.lines().filter(|line| !line.trim().is_empty()).collect();
    let complaints: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("E:")).collect();
    if !complaints.is_empty() {
        lines = complaints;
    }
    let message = match lines.is_empty() {
        true => format!("{program}: {}", done.status),
        false => lines.join("; "),
    };
    Err(AptError::Failed { doing: format!("cannot run {program}"), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_suite_has_its_updates_and_a_rolling_one_has_none() {
        let names = |suite| {
            let pockets = pockets(suite, Distribution::Debian);
            pockets.into_iter().map(|pocket| pocket.name).collect::<Vec<_>>()
        };
        assert_eq!(names("bookworm"), ["bookworm", "bookworm-updates", "bookworm-security"]);
        assert_eq!(names("sid"), ["sid"]);
        assert_eq!(names("bookworm-backports"), ["bookworm-backports"]);
    }

    #[test]
    fn names_stay_in_their_directory() {
        check_name("non-free-firmware").unwrap();
        for name in ["../etc", "a b", "", "bookworm\ndeb", "-o"] {
            assert!(matches!(check_name(name), Err(AptError::BadName(_))), "{name}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_told() {
        let error = output(&mut Command::new("apt-of-no-machine")).unwrap_err();
        assert!(matches!(error, AptError::NoApt { ref program } if program == "apt-of-no-machine"));
    }

    #[test]
    fn an_unsigned_archive_is_refused() {
        let mirrors = Mirrors::of_host().expect("this test needs the apt mirror of this machine");
        let dir = tempfile::tempdir().unwrap();
        let keyring = dir.path().join("no-keys.gpg");
        fs::write(&keyring, "").unwrap();
        let root = AptRoot::open(dir.path().join("apt"), Mirrors { keyring, ..mirrors }).unwrap();
        let error = root.suite("bookworm", &Want::Sources).err().unwrap();
        assert!(error.to_string().contains("not signed"), "{error}");
    }

    #[test]
    fn a_suite_that_does_not_exist_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let root = AptRoot::of_host(dir.path()).expect("this test needs the apt mirror of this machine");
        let error = root.suite("nosuchsuite", &Want::Sources).err().unwrap();
        assert!(error.to_string().contains("nosuchsuite"), "{error}");
    }
}
