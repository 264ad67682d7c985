use std::collections::HashMap;
use std::path::Path;

use bollard::Docker as Client;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount, MountType,
    MountVolumeOptions,
};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, CreateContainerOptionsBuilder, InspectContainerOptions,
    KillContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::super::command::{CAPABILITIES, FORGE, HOSTNAME, SHELL, WORK, process_one};
use super::super::stage::Stage;
use super::super::{Command, RunError};
use super::engine::{PID_LABEL, SCRATCH_LABEL, STORE_LABEL, engine_error, remove, store_name};

/// Bytes of shared memory: the engine's own 64 MiB are less than some test suites need.
const SHARED_MEMORY: i64 = 1 << 30;

/// What stands in `/etc/hosts` and `/etc/resolv.conf` of a command without network. The engine
/// mounts its own, which only the container can change; then process 1 is what it is everywhere.
const IDENTITY: &str = "printf '127.0.0.1\\tlocalhost forge\\n::1\\tlocalhost\\n' >/etc/hosts; \
                        : >/etc/resolv.conf; unset SHLVL; exec \"$0\" \"$@\"";

/// What process 1 leaves where the kernel killed something for want of memory.
pub(super) const OOM_MARK: &str = "/forge/oom";

/// What process 1 does at the end of a command whose memory is limited. The engine says of itself whether the kernel killed
/// something, but only of what it heard before it heard of the end, and these two come by ways of their own
/// (moby's `EventOOM` and `EventExit`). The first file is that of the second version of cgroups, the other of the first.
const MARK_OOM: &str = "status=$?; \
    for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do \
    while read -r name count; do [ \"$name\" != oom_kill ] || [ \"$count\" = 0 ] || echo >/forge/oom; done <$file; \
    done 2>/dev/null; exit $status";

/// A container that is removed however its command ends.
pub(super) struct Container {
    client: Client,
    pub(super) id: String,
    /// Containers that run nothing: their volumes are what is mounted from an engine elsewhere.
    holders: Vec<String>,
    removed: bool,
}

/// From where a container has its mounts.
pub(super) enum Mounts {
    /// The stage, which the engine sees.
    Stage {
        /// Whether `/forge` is that of the stage, too: what goes in and out need not be packed for the engine then.
        is_whole: bool,
    },
    /// Images that the engine has, each with the place of the tree in it.
    Images(Vec<(String, String)>),
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
        mounts: Mounts,
        command: &Command,
        stage: &Stage,
    ) -> Result<Self, RunError> {
        let mut container =
            Self { client: client.clone(), id: String::new(), holders: Vec::new(), removed: false };
        if let Mounts::Images(images) = &mounts {
            for (image, at) in images {
                let holder = container.make(holder(image, at, stage), command).await?;
                container.holders.push(holder);
            }
        }
        let description = description(image, &mounts, &container.holders, command, stage);
        container.id = container.make(description, command).await?;
        Ok(container)
    }

    async fn make(&self, description: ContainerCreateBody, command: &Command) -> Result<String, RunError> {
        let options = CreateContainerOptionsBuilder::default().platform(&command.platform).build();
        let made = self.client.create_container(Some(options), description).await;
        Ok(made.map_err(engine_error("create a container"))?.id)
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

    /// Whether process 1 left the mark of a want of memory.
    pub(super) async fn is_marked(&self) -> Result<bool, RunError> {
        let options = ContainerArchiveInfoOptionsBuilder::default().path(OOM_MARK).build();
        match self.client.get_container_archive_info(&self.id, Some(options)).await {
            Ok(_) => Ok(true),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
            Err(error) => Err(engine_error("look at what a container left")(error)),
        }
    }

    pub(super) async fn remove(mut self) -> Result<(), RunError> {
        self.removed = true;
        let ids = self.take_ids();
        remove_all(&self.client, ids).await
    }

    /// The command's first: who holds a volume goes after who uses it.
    fn take_ids(&mut self) -> Vec<String> {
        let own = std::mem::take(&mut self.id);
        let all = std::iter::once(own).chain(std::mem::take(&mut self.holders));
        all.filter(|id| !id.is_empty()).collect()
    }
}

async fn remove_all(client: &Client, ids: Vec<String>) -> Result<(), RunError> {
    let mut all = Ok(());
    for id in ids {
        all = all.and(remove(client, &id).await);
    }
    all
}

impl Drop for Container {
    fn drop(&mut self) {
        // Whoever waited for the command does so no longer. If the runtime ends before this is
        // done, the next sweep does it.
        if let (false, Ok(runtime)) = (self.removed, tokio::runtime::Handle::try_current()) {
            let (client, ids) = (self.client.clone(), self.take_ids());
            runtime.spawn(async move { remove_all(&client, ids).await });
        }
    }
}

fn labels(stage: &Stage) -> HashMap<String, String> {
    let labels = [
        (STORE_LABEL, store_name(stage.store())),
        (SCRATCH_LABEL, stage.name().to_owned()),
        (PID_LABEL, std::process::id().to_string()),
    ];
    labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The engine fills a new volume with what the image has at its place; nothing is ever started.
fn holder(image: &str, at: &str, stage: &Stage) -> ContainerCreateBody {
    let volume = Mount { typ: Some(MountType::VOLUME), target: Some(at.to_owned()), ..Default::default() };
    let host_config = HostConfig {
        mounts: Some(vec![volume]),
        network_mode: Some("none".to_owned()),
        ..Default::default()
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["-".to_owned()]),
        labels: Some(labels(stage)),
        host_config: Some(host_config),
        ..Default::default()
    }
}

fn description(
    image: String,
    mounts: &Mounts,
    holders: &[String],
    command: &Command,
    stage: &Stage,
) -> ContainerCreateBody {
    let process_one = process_one(command, if command.memory.is_some() { MARK_OOM } else { "exit $?" });
    let before: &[&str] = match mounts {
        Mounts::Images(_) if !command.network => &[SHELL, "-c", IDENTITY],
        _ => &[],
    };
    let host_config = HostConfig {
        mounts: Some(match mounts {
            Mounts::Stage { is_whole } => self::mounts(command, stage, *is_whole),
            Mounts::Images(_) => vec![own_volume()],
        }),
        volumes_from: Some(holders.iter().map(|holder| format!("{holder}:ro")).collect()),
        ..host_config(command)
    };
    let environment = command.environment();
    ContainerCreateBody {
        image: Some(image),
        cmd: Some(before.iter().map(|&word| word.to_owned()).chain(process_one).collect()),
        env: Some(environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        working_dir: Some(WORK.to_owned()),
        hostname: Some(HOSTNAME.to_owned()),
        user: Some("0:0".to_owned()),
        attach_stdout: Some(true),
        labels: Some(labels(stage)),
        host_config: Some(host_config),
        ..Default::default()
    }
}

fn host_config(command: &Command) -> HostConfig {
    let memory = command.memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    HostConfig {
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

fn mounts(command: &Command, stage: &Stage, is_whole: bool) -> Vec<Mount> {
    let own = match is_whole {
        true => Mount { read_only: Some(false), ..read_only(&stage.path(&FORGE[1..]), FORGE) },
        false => own_volume(),
    };
    let mut mounts = vec![own];
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
