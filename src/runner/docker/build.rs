use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use bollard::errors::Error;
use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{
    BuildImageOptions, BuildImageOptionsBuilder, BuilderVersion, ImageBuildOutput,
};
use futures_util::StreamExt;
use tar::{Builder, EntryType};
use tokio::sync::watch;

use super::super::log::Log;
use super::super::stage::{Stage, blocking, stopped};
use super::super::{Command, Exit, Outcome, Root, RunError};
use super::archive::{append_tree, made, streamed, unpack_file};
use super::credentials::credentials_for_build;
use super::engine::{Docker, engine_error};
use crate::digest::Digest;
use crate::store::{LocalStore, StoreError};
use crate::upstream::PinnedImage;

/// The one output of a build.
const OUTPUT: &str = "root";

/// An image to be built from a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerfileBuild {
    /// The tree that COPY and ADD read from.
    pub context: Digest,
    /// The Dockerfile's path in the context.
    pub dockerfile: String,
    /// The values of its ARGs.
    pub args: BTreeMap<String, String>,
    /// Further ones, whose values are images of registries.
    pub bases: BTreeMap<String, PinnedImage>,
    /// What it is built for, as `linux/amd64`.
    pub platform: String,
    /// The time of the context's files, in seconds since 1970.
    pub source_date_epoch: u64,
}

impl Docker {
    /// Builds with the engine's BuildKit (so `RUN --mount=type=cache` works) and stores the
    /// image's filesystem as the tree of the output `root`: without devices and pipes, and
    /// without the files that tell the machine's name and network, as every command gets its
    /// own. Only files are kept: ENV, USER and the like are not part of a root.
    pub async fn build_dockerfile(
        &self,
        build: &DockerfileBuild,
        store: &Arc<LocalStore>,
        listener: impl FnMut(&str),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, RunError> {
        let command = placeholder(build);
        let stage = {
            let (command, store) = (command.clone(), store.clone());
            blocking(move || Stage::prepare(&command, store)).await?
        };
        let built = tokio::select! {
            lost = self.lost() => Err(lost),
            built = self.build(build, &stage, listener) => built,
            // The engine ends a build that nobody listens to.
            _ = stopped(None, cancel) => Err(RunError::Cancelled),
        };
        match built {
            Ok(failed) => stage.finish(&command, failed).await,
            Err(error) => {
                blocking(move || drop(stage)).await;
                Err(error)
            }
        }
    }

    async fn build(
        &self,
        build: &DockerfileBuild,
        stage: &Stage,
        listener: impl FnMut(&str),
    ) -> Result<Option<Exit>, RunError> {
        self.connect(stage.store()).await?;
        let mut log = Log::create(&stage.path("log"), listener)?;
        let mut told = Progress::default();
        let image = stage.path("image.tar");
        let (body, sent) = {
            let (build, store) = (build.clone(), stage.store().clone());
            streamed(move |to| {
                let mut archive = Builder::new(to);
                let context = store.tree(build.context).map_err(io::Error::other)?;
                append_tree(&mut archive, "", &context, &store, build.source_date_epoch)?;
                archive.finish()
            })
        };
        let registries = build.bases.values().map(|base| base.reference().registry().to_owned()).collect();
        let mut steps = self.client.build_image(
            options(build, stage, &image),
            Some(credentials_for_build(registries).await?),
            Some(bollard::body_try_stream(body)),
        );
        while let Some(step) = steps.next().await {
            match step {
                Ok(step) => told.tell(step, &mut log)?,
                Err(Error::DockerStreamError { error }) => {
                    log.take(format!("{error}\n").as_bytes())?;
                    return Ok(Some(Exit::Code(exit_code(&error))));
                }
                Err(error) => {
                    made(sent, stage.store()).await?;
                    return Err(engine_error("build an image")(error));
                }
            }
        }
        log.finish();
        let to = stage.path("forge/out").join(OUTPUT);
        unpack_file(image, to.clone(), belongs_to_root)
            .await
            .map_err(StoreError::io("unpack the image to", to))?;
        Ok(None)
    }
}

/// A build is staged and collected as a command with one output is.
fn placeholder(build: &DockerfileBuild) -> Command {
    Command {
        root: Root::Host,
        script: String::new(),
        env: BTreeMap::new(),
        mounts: Vec::new(),
        copies: Vec::new(),
        outputs: vec![OUTPUT.to_owned()],
        network: true,
        source_date_epoch: build.source_date_epoch,
        jobs: 1,
        cpus: None,
        memory: None,
        timeout: None,
        platform: build.platform.clone(),
    }
}

fn options(build: &DockerfileBuild, stage: &Stage, image: &Path) -> BuildImageOptions {
    let bases = build.bases.iter().map(|(name, base)| (name.clone(), base.to_string()));
    let args: HashMap<String, String> = build.args.clone().into_iter().chain(bases).collect();
    BuildImageOptionsBuilder::default()
        .dockerfile(&build.dockerfile)
        .buildargs(&args)
        .platform(&build.platform)
        .version(BuilderVersion::BuilderBuildKit)
        .session(&format!("forge-{}-{}", std::process::id(), stage.name()))
        .outputs(ImageBuildOutput::Tar(image.display().to_string()))
        .build()
}

/// What of an image's filesystem is the image's own.
fn belongs_to_root(path: &Path, kind: EntryType) -> bool {
    let special = matches!(kind, EntryType::Char | EntryType::Block | EntryType::Fifo);
    let engines = [".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf"];
    !special && !engines.iter().any(|name| path == Path::new(name))
}

/// BuildKit says in words how a step failed.
fn exit_code(message: &str) -> i32 {
    let told = message.rsplit_once("exit code: ").map(|(_, rest)| rest);
    let digits = told.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(1)
}

/// Turns BuildKit's states into lines.
#[derive(Default)]
struct Progress {
    begun: HashSet<String>,
}

impl Progress {
    fn tell<F: FnMut(&str)>(&mut self, step: BuildInfo, log: &mut Log<F>) -> Result<(), StoreError> {
        let Some(BuildInfoAux::BuildKit(status)) = step.aux else {
            return Ok(());
        };
        for vertex in status.vertexes {
            if vertex.started.is_some() && self.begun.insert(vertex.digest) {
                let cached = if vertex.cached { " (cached)" } else { "" };
                log.take(format!("{}{cached}\n", vertex.name).as_bytes())?;
            }
        }
        status.logs.iter().try_for_each(|piece| log.take(&piece.msg))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_read_from_what_buildkit_says() {
        assert_eq!(exit_code("executor failed running [/bin/sh -c exit 3]: exit code: 3"), 3);
        assert_eq!(
            exit_code("process \"/bin/sh\" did not complete successfully: exit code: 127: not found"),
            127
        );
        assert_eq!(exit_code("failed to solve: pull access denied"), 1);
    }

    #[test]
    fn what_the_engine_writes_is_not_the_images() {
        assert!(!belongs_to_root(Path::new("etc/hosts"), EntryType::Regular));
        assert!(!belongs_to_root(Path::new("dev/null"), EntryType::Char));
        assert!(belongs_to_root(Path::new("etc/hosts.allow"), EntryType::Regular));
    }
}
