use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::super::RunError;
use super::address::SshAddress;

/// How long ssh may take to log in.
const PATIENCE: Duration = Duration::from_secs(60);

/// What runs on the other side: it says that the way is open, and ends when forge does, however
/// forge ends, as its standard input does.
const OTHER_SIDE: &str = "echo forge && exec cat >/dev/null";

/// A socket here that leads to one on another machine, by the system's own ssh with the user's
/// configuration, keys and known hosts.
#[derive(Debug)]
pub(super) struct Tunnel {
    to: SshAddress,
    /// Nobody else may enter: who reaches an engine is root on its machine.
    dir: TempDir,
    /// Killed when this is dropped.
    ssh: Mutex<Child>,
}

impl Tunnel {
    pub(super) async fn open(to: &SshAddress) -> Result<Self, RunError> {
        let dir = tempfile::Builder::new().prefix("forge-engine-").tempdir().map_err(refused)?;
        let ssh = Mutex::new(start(to, &dir).await?);
        Ok(Self { to: to.clone(), dir, ssh })
    }

    /// Opens it again if the connection broke, and says whether it did.
    pub(super) async fn renew(&self) -> Result<bool, RunError> {
        let mut ssh = self.ssh.lock().await;
        let broke = !matches!(ssh.try_wait(), Ok(None));
        if broke {
            *ssh = start(&self.to, &self.dir).await?;
        }
        Ok(broke)
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }
}

async fn start(to: &SshAddress, dir: &TempDir) -> Result<Child, RunError> {
    let mut command = Command::new("ssh");
    command.args(["-T", "-S", "none", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"]);
    // A machine that is gone is noticed after a minute.
    command.args(["-o", "ServerAliveInterval=20", "-o", "ServerAliveCountMax=3", "-o", "ConnectTimeout=30"]);
    command.args(["-o", "StreamLocalBindUnlink=yes"]);
    command.arg("-L").arg(format!("{}:{}", dir.path().join("socket").display(), to.socket));
    to.port.iter().for_each(|port| _ = command.args(["-p", &port.to_string()]));
    command.arg("--").arg(&to.destination).arg(OTHER_SIDE);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // An interrupt from the terminal is for forge, which needs the way to end its containers.
    command.process_group(0);
    let mut ssh = command.spawn().map_err(refused)?;
    match tokio::time::timeout(PATIENCE, first_line(&mut ssh)).await {
        Ok(Ok(())) => Ok(ssh),
        Ok(Err(said)) => Err(unreachable(to, &said)),
        Err(_) => Err(unreachable(to, "no answer")),
    }
}

fn refused(error: std::io::Error) -> RunError {
    RunError::Setup(format!("ssh cannot be started: {error}; install it (openssh-client)"))
}

/// Waits until the way is open. An error is what ssh says.
async fn first_line(ssh: &mut Child) -> Result<(), String> {
    let (Some(stdout), Some(mut stderr)) = (ssh.stdout.as_mut(), ssh.stderr.take()) else {
        return Err("no pipes".to_owned());
    };
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line).await;
    if read.is_ok() && line.trim() == "forge" {
        // Whatever it says from now on: it must not wait for a reader.
        tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await });
        return Ok(());
    }
    let mut said = String::new();
    let _ = stderr.read_to_string(&mut said).await;
    Err(said.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn unreachable(to: &SshAddress, said: &str) -> RunError {
    let destination = &to.destination;
    RunError::Setup(format!(
        "ssh does not reach {destination}: {said}; see that `ssh {destination} true` works without a question"
    ))
}
