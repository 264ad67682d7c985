use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker as Client;
use bollard::errors::Error;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};

use super::super::RunError;
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

/// Runs commands in containers.
#[derive(Clone, Debug)]
pub struct Docker {
    pub(in super::super) client: Client,
    version: String,
    /// One image is loaded at a time, so that none is loaded twice.
    pub(super) loading: Arc<tokio::sync::Mutex<()>>,
}

impl Docker {
    /// Connects to the engine that `DOCKER_HOST` names, or to the usual socket.
    pub async fn open() -> Result<Self, RunError> {
        check_is_local(std::env::var("DOCKER_HOST").ok().as_deref())?;
        let client = Client::connect_with_defaults().map_err(unreachable)?;
        let client = client.negotiate_version().await.map_err(unreachable)?.with_timeout(PATIENCE);
        let api = client.client_version();
        if (api.major_version, api.minor_version) < OLDEST_API {
            return Err(RunError::Setup(format!(
                "the Docker engine speaks API {api}; expected 1.41 or later (Docker 20.10); upgrade it"
            )));
        }
        let version = client.version().await.map_err(unreachable)?.version.unwrap_or_default();
        Ok(Self { client, version: format!("Docker {version}, API {api}"), loading: Arc::default() })
    }

    /// What is used, in one line.
    pub fn describe(&self) -> String {
        self.version.clone()
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

/// What a store is called in a label.
pub(super) fn store_name(store: &LocalStore) -> String {
    Digest::of(store.root().as_os_str().as_encoded_bytes()).to_string()
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

fn check_is_local(host: Option<&str>) -> Result<(), RunError> {
    match host {
        None => Ok(()),
        Some(host) if host.starts_with("unix://") => Ok(()),
        Some(host) => Err(RunError::Setup(format!(
            "DOCKER_HOST is {host}; expected an engine on this machine (unix://…), as trees of the store are mounted from here"
        ))),
    }
}

fn unreachable(error: Error) -> RunError {
    RunError::Setup(format!(
        "the Docker engine cannot be reached: {error}; start it (`systemctl start docker`), and see that you may use its socket (group `docker`)"
    ))
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
    fn only_an_engine_on_this_machine_will_do() {
        assert!(check_is_local(None).is_ok());
        assert!(check_is_local(Some("unix:///run/docker.sock")).is_ok());
        let error = check_is_local(Some("tcp://example.org:2376")).unwrap_err().to_string();
        assert!(error.contains("DOCKER_HOST is tcp://example.org:2376"), "{error}");
    }

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
