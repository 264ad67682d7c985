use std::collections::HashMap;
use std::path::Path;

use bollard::Docker as Client;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount, MountType,
    MountVolumeOptions,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::super::command::{CAPABILITIES, FORGE, HOSTNAME, PROCESS_ONE, WORK};
use super::super::stage::Stage;
use super::super::{Command, RunError};
use super::engine::{PID_LABEL, SCRATCH_LABEL, STORE_LABEL, engine_error, remove, store_name};

/// Bytes of shared memory: the engine's own 64 MiB are less than some test suites need.
const SHARED_MEMORY: i64 = 1 << 30;

/// A container that is removed however its command ends.
pub(super) struct Container {
    client: Client,
    pub(super) id: String,
    removed: bool,
}

/// How a container's command ended.
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) out_of_memory: bool,
}

impl Container {
    pub(super) async fn create(
        client: &Client,
        image: String,
        command: &Command,
        stage: &Stage,
    ) -> Result<Self, RunError> {
        let options = CreateContainerOptionsBuilder::default().platform(&command.platform).build();
        let made = client
            .create_container(Some(options), description(image, command, stage))
            .await
            .map_err(engine_error("create a container"))?;
        Ok(Self { client: client.clone(), id: made.id, removed: false })
    }

    /// Ends all its processes. One that has ended is fine.
    pub(super) async fn kill(&self) -> Result<(), RunError> {
        let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        match self.client.kill_container(&self.id, Some(options)).await {
            Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => Ok(()),
            Err(error) => Err(engine_error("kill a container")(error)),
        }
    }

    /// Waits until it has ended.
    pub(super) async fn end(&self) -> Result<Ended, RunError> {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut waiting = std::pin::pin!(self.client.wait_container(&self.id, Some(options)));
        let code = match waiting.next().await {
            Some(Ok(answer)) => answer.status_code,
            Some(Err(Error::DockerContainerWaitError { code, .. })) => code,
            Some(Err(error)) => return Err(engine_error("wait for a container")(error)),
            None => {
                return Err(RunError::Infrastructure(
                    "the Docker engine did not tell how a container ended".into(),
                ));
            }
        };
        let options = None::<InspectContainerOptions>;
        let told = self
            .client
            .inspect_container(&self.id, options)
            .await
            .map_err(engine_error("look at a container"))?;
        let out_of_memory = told.state.and_then(|state| state.oom_killed).unwrap_or(false);
        Ok(Ended { code: i32::try_from(code).unwrap_or(i32::MAX), out_of_memory })
    }

    pub(super) async fn remove(mut self) -> Result<(), RunError> {
        self.removed = true;
        remove(&self.client, &self.id).await
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Whoever waited for the command does so no longer. If the runtime ends before this is
        // done, the next sweep does it.
        if let (false, Ok(runtime)) = (self.removed, tokio::runtime::Handle::try_current()) {
            let (client, id) = (self.client.clone(), std::mem::take(&mut self.id));
            runtime.spawn(async move { remove(&client, &id).await });
        }
    }
}

fn description(image: String, command: &Command, stage: &Stage) -> ContainerCreateBody {
    let labels = [
        (STORE_LABEL, store_name(stage.store())),
        (SCRATCH_LABEL, stage.name().to_owned()),
        (PID_LABEL, std::process::id().to_string()),
    ];
    let environment = command.environment();
    ContainerCreateBody {
        image: Some(image),
        cmd: Some(PROCESS_ONE.map(str::to_owned).to_vec()),
        env: Some(environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        working_dir: Some(WORK.to_owned()),
        hostname: Some(HOSTNAME.to_owned()),
        user: Some("0:0".to_owned()),
        attach_stdout: Some(true),
        labels: Some(labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        host_config: Some(host_config(command, stage)),
        ..Default::default()
    }
}

fn host_config(command: &Command, stage: &Stage) -> HostConfig {
    let memory = command.memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    HostConfig {
        mounts: Some(mounts(command, stage)),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), "exec,nosuid,nodev,mode=1777".to_owned())])),
        network_mode: Some(if command.network { "default" } else { "none" }.to_owned()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        ipc_mode: Some("private".to_owned()),
        shm_size: Some(SHARED_MEMORY),
        memory,
        // Together with swap: so there is none.
        memory_swap: memory,
        nano_cpus: command.cpus.map(|cpus| (cpus * 1e9) as i64),
        // The log is attached to; the engine needs no copy of it.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        ..Default::default()
    }
}

fn mounts(command: &Command, stage: &Stage) -> Vec<Mount> {
    let mut mounts = vec![own_volume()];
    let mut identity = vec!["/etc/hostname"];
    if !command.network {
        // With a network the engine knows better.
        identity.extend(["/etc/hosts", "/etc/resolv.conf"]);
    }
    mounts.extend(identity.into_iter().map(|place| read_only(&stage.path(&place[1..]), place)));
    mounts.extend(stage.mounts().iter().map(|(from, at)| read_only(from, at)));
    mounts
}

/// `/forge` is a volume of the container's own: it is as quick as the disk, goes away with the
/// container, and none of its files belongs to root on the host.
fn own_volume() -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        target: Some(FORGE.to_owned()),
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..Default::default() }),
        ..Default::default()
    }
}

fn read_only(from: &Path, at: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(from.display().to_string()),
        target: Some(at.to_owned()),
        read_only: Some(true),
        ..Default::default()
    }
}
