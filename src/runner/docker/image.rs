use std::io::{self, Write};
use std::sync::Arc;

use bollard::errors::Error;
use bollard::query_parameters::ImportImageOptionsBuilder;
use futures_util::TryStreamExt;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::Builder;

use super::super::stage::blocking;
use super::super::{Mount, RunError};
use super::archive::{append_dir, append_file, append_tree, made, streamed};
use super::engine::{Docker, engine_error};
use crate::digest::Digest;
use crate::store::{Entry, Kind, LocalStore, StoreError, Tree};

/// The time of every file in the root, in seconds since 1970; the same as in a checkout.
const ROOT_TIME: u64 = 1;

impl Docker {
    /// The name of the image that holds the tree `root`. It is loaded into the engine where it
    /// is absent; `docker image rm` may remove it at any time.
    pub async fn load_root(
        &self,
        root: Digest,
        platform: &str,
        store: &Arc<LocalStore>,
    ) -> Result<String, RunError> {
        self.load("root", root, platform, store, move |store| Ok(Placed::root(store.tree(root)?))).await
    }

    /// The name of the image that holds the tree of `mount` at its place, and nothing else. It is
    /// treated as a root is.
    pub(super) async fn load_mount(
        &self,
        mount: &Mount,
        platform: &str,
        store: &Arc<LocalStore>,
    ) -> Result<String, RunError> {
        let (tree, at) = (mount.tree, mount.at.clone());
        let content = Digest::of(format!("{tree} {at}").as_bytes());
        self.load("mount", content, platform, store, move |store| Ok(Placed { tree: store.tree(tree)?, at }))
            .await
    }

    /// The image of the kind and content; it is made of `tree` where it is absent.
    async fn load(
        &self,
        kind: &str,
        content: Digest,
        platform: &str,
        store: &Arc<LocalStore>,
        tree: impl FnOnce(&LocalStore) -> Result<Placed, StoreError> + Send + 'static,
    ) -> Result<String, RunError> {
        let platform = Platform::parse(platform)?;
        let name = format!("forge/{kind}:{content}-{}", platform.suffix());
        let _alone = self.loading.lock().await;
        match self.client.inspect_image(&name).await {
            Ok(_) => return Ok(name),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => return Err(engine_error("look for an image")(error)),
        }
        let layer = {
            let store = store.clone();
            blocking(move || Layer::measure(tree(&store)?, store)).await?
        };
        let written = name.clone();
        let (body, sent) = streamed(move |to| layer.write_image(&written, &platform, to));
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let loaded = self
            .client
            .import_image(options, bollard::body_try_stream(body), None)
            .try_for_each(|_| async { Ok(()) })
            .await;
        made(sent, store).await?;
        loaded.map_err(engine_error("load an image"))?;
        Ok(name)
    }
}

/// An operating system and a processor, as `linux/arm/v7`.
struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    fn parse(text: &str) -> Result<Self, RunError> {
        let parts: Vec<_> = text.split('/').map(str::to_owned).collect();
        match &parts[..] {
            [os, architecture, variant @ ..] if variant.len() < 2 => {
                // Engines write arm64 with its variant; one without it is another platform.
                let implied = (architecture == "arm64").then(|| "v8".to_owned());
                let variant = variant.first().cloned().or(implied);
                Ok(Self { os: os.clone(), architecture: architecture.clone(), variant })
            }
            _ => Err(RunError::Setup(format!("'{text}' is not a platform; expected one as linux/amd64"))),
        }
    }

    fn suffix(&self) -> String {
        let variant = self.variant.as_ref().map(|variant| format!("-{variant}"));
        format!("{}{}", self.architecture, variant.unwrap_or_default())
    }
}

/// A tree, and where in an image it is.
struct Placed {
    tree: Tree,
    /// An absolute path; empty for a root.
    at: String,
}

impl Placed {
    fn root(tree: Tree) -> Self {
        Self { tree: with_open_tmp(tree), at: String::new() }
    }

    fn write(&self, store: &LocalStore, to: &mut dyn Write) -> io::Result<()> {
        let mut archive = Builder::new(to);
        let mut prefix = String::new();
        for part in self.at.split('/').filter(|part| !part.is_empty()) {
            prefix.push_str(part);
            append_dir(&mut archive, &prefix, 0o755, ROOT_TIME)?;
            prefix.push('/');
        }
        append_tree(&mut archive, &prefix, &self.tree, store, ROOT_TIME)?;
        archive.finish()
    }
}

/// A tree as the one layer of an image. It is written twice: the name of its bytes must be
/// known before they are sent, and writing it again is cheaper than keeping it.
struct Layer {
    tree: Placed,
    store: Arc<LocalStore>,
    size: u64,
    sha256: String,
}

impl Layer {
    fn measure(tree: Placed, store: Arc<LocalStore>) -> Result<Self, StoreError> {
        let mut measure = Measure::default();
        tree.write(&store, &mut measure).map_err(|error| {
            error.downcast().unwrap_or_else(StoreError::io("read the trees in", store.root()))
        })?;
        let sha256 = hex(&measure.hasher.finalize());
        Ok(Self { tree, store, size: measure.size, sha256 })
    }

    /// The image as `docker save` writes one.
    fn write_image(&self, name: &str, platform: &Platform, to: &mut dyn Write) -> io::Result<()> {
        let mut config = json!({
            "architecture": platform.architecture,
            "os": platform.os,
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", self.sha256)] },
        });
        if let Some(variant) = &platform.variant {
            config["variant"] = variant.as_str().into();
        }
        let config = config.to_string();
        let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
        let layer_name = format!("{}/layer.tar", self.sha256);
        let manifest = json!([{ "Config": config_name, "RepoTags": [name], "Layers": [layer_name] }]);

        let mut image = Builder::new(to);
        append_file(&mut image, &config_name, config.as_bytes(), ROOT_TIME)?;
        append_file(&mut image, "manifest.json", manifest.to_string().as_bytes(), ROOT_TIME)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(self.size);
        header.set_mode(0o644);
        header.set_path(&layer_name)?;
        header.set_cksum();
        image.get_mut().write_all(header.as_bytes())?;
        self.tree.write(&self.store, image.get_mut())?;
        // A tar is a whole number of blocks already: nothing to fill up.
        image.finish()
    }
}

/// What is mounted at `/tmp` takes the mode from what is there in the image.
fn with_open_tmp(tree: Tree) -> Tree {
    let is_dir = tree.get("tmp").is_none_or(|entry| entry.kind == Kind::Dir);
    let tmp = is_dir.then(|| Entry { path: "tmp".to_owned(), mode: 0o1777, kind: Kind::Dir });
    Tree::new(tree.entries().iter().cloned().chain(tmp).collect())
}

#[derive(Default)]
struct Measure {
    hasher: Sha256,
    size: u64,
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_named_with_its_variant() {
        let suffix = |text| Platform::parse(text).map(|platform| platform.suffix());
        assert_eq!(suffix("linux/amd64").unwrap(), "amd64");
        assert_eq!(suffix("linux/arm64").unwrap(), "arm64-v8");
        assert_eq!(suffix("linux/arm/v7").unwrap(), "arm-v7");
        assert!(suffix("amd64").is_err());
    }
}
