use std::io::{self, Write};
use std::sync::Arc;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, DownloadFromContainerOptionsBuilder, StartContainerOptions,
    UploadToContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt};
use tar::Builder;
use tokio::sync::watch;

use super::super::command::{FORGE, OUT};
use super::super::log::Log;
use super::super::paths::components;
use super::super::stage::{SCRIPT, Stage, Stop, blocking, stopped};
use super::super::{Command, Exit, Outcome, Root, RunError, Told};
use super::archive::{append_dir, append_file, append_tree, made, streamed, unpack};
use super::container::{Container, Mounts, OOM_MARK};
use super::engine::{Docker, engine_error};
use crate::digest::Digest;
use crate::store::{LocalStore, StoreError};

impl Docker {
    pub(in super::super) async fn run(
        &self,
        command: &Command,
        store: &Arc<LocalStore>,
        listener: impl FnMut(Told<'_>),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, RunError> {
        tokio::select! {
            ran = self.load_and_run(command, store, listener, cancel) => ran,
            lost = self.lost() => Err(lost),
        }
    }

    async fn load_and_run(
        &self,
        command: &Command,
        store: &Arc<LocalStore>,
        mut listener: impl FnMut(Told<'_>),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, RunError> {
        command.check()?;
        let Root::Tree(root) = command.root else {
            return Err(RunError::Setup(
                "the docker runner cannot show this machine's own root; name an image, or use the sandbox runner".into(),
            ));
        };
        let (image, mounts) = tokio::select! {
            images = self.load_images(root, command, store) => images?,
            _ = stopped(None, cancel.clone()) => return Err(RunError::Cancelled),
        };
        let is_whole = matches!(mounts, Mounts::Stage { is_whole: true });
        let stage = {
            let (mut laid_out, store) = (command.clone(), store.clone());
            if !self.is_here() {
                // Nothing is mounted from here.
                laid_out.mounts.clear();
            }
            tokio::select! {
                stage = blocking(move || lay_out(&laid_out, store, is_whole)) => stage?,
                _ = stopped(None, cancel.clone()) => return Err(RunError::Cancelled),
            }
        };
        let container = Container::create(&self.client, image, mounts, command, &stage).await?;
        let ran = self.execute(&container, is_whole, command, &stage, &mut listener, cancel).await;
        if matches!(ran, Ok(None)) {
            listener(Told::Over);
        }
        let removed = container.remove().await;
        match ran {
            Ok(failed) => {
                removed?;
                stage.finish(command, failed).await
            }
            Err(error) => {
                blocking(move || drop(stage)).await;
                Err(error)
            }
        }
    }

    /// What the engine must have before it can make the container.
    async fn load_images(
        &self,
        root: Digest,
        command: &Command,
        store: &Arc<LocalStore>,
    ) -> Result<(String, Mounts), RunError> {
        self.connect(store).await?;
        let image = self.load_root(root, &command.platform, store).await?;
        if self.is_here() {
            return Ok((image, Mounts::Stage { is_whole: self.has_our_root().await? }));
        }
        let mut images = Vec::new();
        for mount in &command.mounts {
            images.push((self.load_mount(mount, &command.platform, store).await?, mount.at.clone()));
        }
        Ok((image, Mounts::Images(images)))
    }

    async fn execute(
        &self,
        container: &Container,
        is_whole: bool,
        command: &Command,
        stage: &Stage,
        listener: &mut impl FnMut(Told<'_>),
        cancel: watch::Receiver<bool>,
    ) -> Result<Option<Exit>, RunError> {
        let mut log = Log::create(&stage.path("log"), |line: &str| listener(Told::Line(line)))?;
        if !is_whole {
            tokio::select! {
                sent = self.send(container, command, stage) => sent?,
                _ = stopped(None, cancel.clone()) => return Err(RunError::Cancelled),
            }
        }
        // Before the start, or the first lines could be missed.
        let options = AttachContainerOptionsBuilder::default().stream(true).stdout(true).build();
        let attached = self.client.attach_container(&container.id, Some(options)).await;
        let mut output = attached.map_err(engine_error("attach to a container"))?.output;
        let started = self.client.start_container(&container.id, None::<StartContainerOptions>).await;
        started.map_err(engine_error("start the command"))?;

        let mut to_its_end = async || {
            drain(&mut log, &mut output).await?;
            container.end().await
        };
        let (ended, early) = tokio::select! {
            ended = to_its_end() => (ended?, None),
            stop = stopped(command.timeout, cancel) => {
                container.kill().await?;
                (to_its_end().await?, Some(stop))
            }
        };
        log.finish();
        // Whatever the exit code: the same command makes something else where there is more.
        let is_marked = match command.memory {
            None => false,
            Some(_) if is_whole => stage.path(&OOM_MARK[1..]).exists(),
            Some(_) => container.is_marked().await?,
        };
        let ran_out = command.memory.filter(|_| ended.out_of_memory || is_marked);
        match early {
            Some(Stop::Cancelled) => Err(RunError::Cancelled),
            Some(Stop::TimedOut(after)) => Ok(Some(Exit::TimedOut(after))),
            None => match ran_out.map(Exit::OutOfMemory).or_else(|| Exit::from_code(ended.code)) {
                Some(exit) => Ok(Some(exit)),
                None if is_whole => Ok(None),
                None => self.fetch(container, stage).await.map(|()| None),
            },
        }
    }

    /// Fills `/forge` by way of the engine.
    async fn send(&self, container: &Container, command: &Command, stage: &Stage) -> Result<(), RunError> {
        let (written, store) = (command.clone(), stage.store().clone());
        let (body, sent) = streamed(move |to| write_forge(&written, &store, to));
        let options = UploadToContainerOptionsBuilder::default().path(FORGE).build();
        let answer = self
            .client
            .upload_to_container(&container.id, Some(options), bollard::body_try_stream(body))
            .await;
        made(sent, stage.store()).await?;
        answer.map_err(engine_error("fill the working directory"))
    }

    /// Brings `/forge/out` by way of the engine.
    async fn fetch(&self, container: &Container, stage: &Stage) -> Result<(), RunError> {
        let out = stage.path("forge/out");
        std::fs::remove_dir(&out).map_err(StoreError::io("remove", &out))?;
        let options = DownloadFromContainerOptionsBuilder::default().path(OUT).build();
        let stream = std::pin::pin!(self.client.download_from_container(&container.id, Some(options)));
        match unpack(stream, stage.path("forge"), |_, _| true).await {
            Ok(unpacked) => Ok(unpacked.map_err(StoreError::io("unpack the outputs to", out))?),
            // The command removed it: each output is missing, which is told by its name.
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(engine_error("hand out what the command made")(error)),
        }
    }
}

fn lay_out(command: &Command, store: Arc<LocalStore>, is_whole: bool) -> Result<Stage, RunError> {
    let stage = Stage::prepare(command, store)?;
    stage.write("etc/resolv.conf", b"")?;
    if is_whole {
        stage.write(SCRIPT, command.script.as_bytes())?;
        stage.copy_in(command)?;
    }
    Ok(stage)
}

async fn drain<F: FnMut(&str)>(
    log: &mut Log<F>,
    output: &mut (impl Stream<Item = Result<LogOutput, Error>> + Unpin),
) -> Result<(), RunError> {
    while let Some(piece) = output.next().await {
        let piece = piece.map_err(engine_error("hand out what the command writes"))?;
        log.take(&piece.into_bytes())?;
    }
    Ok(())
}

fn write_forge(command: &Command, store: &LocalStore, to: &mut dyn Write) -> io::Result<()> {
    let time = command.source_date_epoch;
    let mut archive = Builder::new(to);
    for dir in ["home", "out", "work"] {
        append_dir(&mut archive, dir, 0o755, time)?;
    }
    append_file(&mut archive, "script", command.script.as_bytes(), time)?;
    for copy in &command.copies {
        let mut prefix = "work/".to_owned();
        for part in components(&copy.into).unwrap_or_default() {
            prefix.push_str(part);
            append_dir(&mut archive, &prefix, 0o755, time)?;
            prefix.push('/');
        }
        append_tree(&mut archive, &prefix, &store.tree(copy.tree).map_err(io::Error::other)?, store, time)?;
    }
    archive.finish()
}
