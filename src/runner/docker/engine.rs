use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, Docker as Client};
use tokio::sync::OnceCell;

use super::super::RunError;
use super::address::EngineAddress;
use super::tunnel::Tunnel;
use crate::digest::Digest;
use crate::store::LocalStore;

/// Names the store whose forge made a container: the digest of the store's path.
pub(super) const STORE_LABEL: &str = "forge.store";
/// Names the scratch directory that is locked while the container's forge lives.
pub(super) const SCRATCH_LABEL: &str = "forge.scratch";
/// The pid of the container's forge, for people.
pub(super) const PID_LABEL: &str = "forge.pid";

/// The oldest API that has all that is used: `platform` for containers came with it.
const OLDEST_API: (usize, usize) = (1, 41);

/// An engine may take this long to answer. Loading an image answers when it is done.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How often an engine elsewhere is asked whether it is still there, how long it may take to
/// answer, and how many answers it may owe.
const HEARTBEAT: Duration = Duration::from_secs(20);
const HEARTBEATS_MISSED: usize = 3;

/// Runs commands in containers.
#[derive(Clone, Debug)]
pub struct Docker {
    pub(in super::super) client: Client,
    address: EngineAddress,
    version: String,
    /// The way to the engine, as long as anybody uses it.
    tunnel: Option<Arc<Tunnel>>,
    /// Whether root in its containers is who this process is; asked when a container is to be made.
    has_our_root: Arc<OnceCell<bool>>,
    /// One image is loaded at a time, so that none is loaded twice.
    pub(super) loading: Arc<tokio::sync::Mutex<()>>,
}

impl Docker {
    /// Connects to the engine that `DOCKER_HOST` names, or to the usual socket.
    pub async fn open() -> Result<Self, RunError> {
        Self::open_at(EngineAddress::of_environment().map_err(RunError::Setup)?).await
    }

    /// Connects to the engine at `address`.
    pub async fn open_at(address: EngineAddress) -> Result<Self, RunError> {
        let unreachable = |error| unreachable(&address, error);
        let (client, tunnel) = match &address {
            EngineAddress::Socket(path) => (by_socket(path), None),
            EngineAddress::Tcp(host) => (by_tcp(host), None),
            EngineAddress::Ssh(ssh) => {
                let tunnel = Tunnel::open(ssh).await?;
                (by_socket(&tunnel.socket()), Some(Arc::new(tunnel)))
            }
        };
        let client = client.map_err(unreachable)?.negotiate_version().await.map_err(unreachable)?;
        let client = client.with_timeout(PATIENCE);
        let api = client.client_version();
        if (api.major_version, api.minor_version) < OLDEST_API {
            return Err(RunError::Setup(format!(
                "the Docker engine speaks API {api}; expected 1.41 or later (Docker 20.10); upgrade it"
            )));
        }
        let told = client.version().await.map_err(unreachable)?;
        let [version, arch] = [told.version, told.arch].map(Option::unwrap_or_default);
        let version = format!("Docker {version} ({arch}), API {api}");
        let (has_our_root, loading) = Default::default();
        Ok(Self { client, address, version, tunnel, has_our_root, loading })
    }

    /// What is used, in one line.
    pub fn describe(&self) -> String {
        match self.is_here() {
            true => self.version.clone(),
            false => format!("{} at {}", self.version, self.address),
        }
    }

    /// Whether it sees this machine's files.
    pub(in super::super) fn is_here(&self) -> bool {
        self.address.is_here()
    }

    /// Whether root in a container may do here what this process may, and the other way round: so not where the engine maps users
    /// (`userns-remap`, rootless), whose root is another one.
    pub(super) async fn has_our_root(&self) -> Result<bool, RunError> {
        if !self.is_here() || !rustix::process::geteuid().is_root() {
            return Ok(false);
        }
        let ask = async || {
            let told = self.client.info().await.map_err(engine_error("tell its settings"))?;
            let options = told.security_options.unwrap_or_default();
            let maps_users =
                |option: &String| option.starts_with("name=userns") || option.starts_with("name=rootless");
            Ok(!options.iter().any(maps_users))
        };
        self.has_our_root.get_or_try_init(ask).await.copied()
    }

    /// Opens the way again if it broke, and ends what could not be ended over it: to be called
    /// where something begins.
    pub(super) async fn connect(&self, store: &LocalStore) -> Result<(), RunError> {
        match &self.tunnel {
            Some(tunnel) if tunnel.renew().await? => self.sweep(store).await,
            _ => Ok(()),
        }
    }

    /// Ends when an engine elsewhere has not answered for a while; never if it does, and never
    /// here. A connection that nobody closes waits for ever.
    pub(super) async fn lost(&self) -> RunError {
        let mut missed = 0;
        while self.is_here() || missed < HEARTBEATS_MISSED {
            tokio::time::sleep(HEARTBEAT).await;
            missed = match tokio::time::timeout(HEARTBEAT, self.client.ping()).await {
                Ok(Ok(_)) => 0,
                _ => missed + 1,
            };
        }
        RunError::Infrastructure(format!("the Docker engine at {} does not answer any more", self.address))
    }

    /// Removes the containers, running or not, whose forge is dead. Killing a forge does not
    /// end its containers; this does, at the next start.
    pub async fn sweep(&self, store: &LocalStore) -> Result<(), RunError> {
        let label = format!("{STORE_LABEL}={}", store_name(store));
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let containers =
            self.client.list_containers(Some(options)).await.map_err(engine_error("list containers"))?;
        for container in containers {
            let scratch = container.labels.as_ref().and_then(|labels| labels.get(SCRATCH_LABEL));
            let alive = scratch.is_some_and(|name| is_held(store, name));
            if let Some(id) = container.id.filter(|_| !alive) {
                remove(&self.client, &id).await?;
            }
        }
        Ok(())
    }
}

/// What a store is called in a label: by its machine as well, as several machines may use an
/// engine, and keep their stores at the same path.
pub(in super::super) fn store_name(store: &LocalStore) -> String {
    let machine = std::fs::read("/etc/machine-id").unwrap_or_default();
    let host = rustix::system::uname();
    let parts = [&machine, host.nodename().to_bytes(), store.root().as_os_str().as_encoded_bytes()];
    Digest::of(&parts.join(&0)).to_string()
}

/// Whether a living process holds the scratch directory.
fn is_held(store: &LocalStore, scratch: &str) -> bool {
    let lock = store.root().join("scratch").join(scratch).join("lock");
    File::open(lock).is_ok_and(|lock| lock.try_lock().is_err())
}

/// Ends and removes a container with its volumes. Gone already is fine.
pub(super) async fn remove(client: &Client, id: &str) -> Result<(), RunError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match client.remove_container(id, Some(options)).await {
        // 404: gone. 409: somebody else is removing it.
        Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => Ok(()),
        Err(error) => Err(engine_error("remove a container")(error)),
    }
}

fn by_socket(path: &Path) -> Result<Client, Error> {
    Client::connect_with_unix(&path.display().to_string(), PATIENCE.as_secs(), API_DEFAULT_VERSION)
}

/// By TLS if `DOCKER_TLS_VERIFY` or `DOCKER_CERT_PATH` is set, with the `ca.pem`, `cert.pem` and
/// `key.pem` of the latter, which is `~/.docker` by default.
fn by_tcp(host: &str) -> Result<Client, Error> {
    let address = format!("tcp://{host}");
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let (verify, dir) = (set("DOCKER_TLS_VERIFY"), set("DOCKER_CERT_PATH").map(PathBuf::from));
    if verify.is_none() && dir.is_none() {
        return Client::connect_with_http(&address, PATIENCE.as_secs(), API_DEFAULT_VERSION);
    }
    let usual = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".docker");
    let dir = dir.unwrap_or_else(usual);
    let [key, cert, ca] = ["key.pem", "cert.pem", "ca.pem"].map(|name| dir.join(name));
    Client::connect_with_ssl(&address, &key, &cert, &ca, PATIENCE.as_secs(), API_DEFAULT_VERSION)
}

fn unreachable(address: &EngineAddress, error: Error) -> RunError {
    RunError::Setup(match address.is_here() {
        true => format!(
            "the Docker engine cannot be reached: {error}; start it (`systemctl start docker`), and see that you may use its socket (group `docker`)"
        ),
        false => format!(
            "the Docker engine at {address} cannot be reached: {error}; see that `docker -H {address} version` works"
        ),
    })
}

/// For `map_err`: what the engine refuses will be refused again; anything else may pass.
pub(super) fn engine_error(doing: &'static str) -> impl FnOnce(Error) -> RunError {
    move |error| match error {
        Error::DockerResponseServerError { status_code: 400..=499, message } => {
            RunError::Setup(format!("the Docker engine refused to {doing}: {message}"))
        }
        error => RunError::Infrastructure(format!("the Docker engine could not {doing}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_is_held_as_long_as_its_owner_lives() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let scratch = store.scratch().unwrap();
        let name = scratch.path().file_name().unwrap().to_str().unwrap().to_owned();
        assert!(is_held(&store, &name));
        drop(scratch);
        assert!(!is_held(&store, &name));
        let abandoned = store.root().join("scratch/work-dead");
        std::fs::create_dir(&abandoned).unwrap();
        std::fs::write(abandoned.join("lock"), "").unwrap();
        assert!(!is_held(&store, "work-dead"));
    }
}
