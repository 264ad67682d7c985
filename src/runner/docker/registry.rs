use std::sync::Arc;

use bollard::errors::Error;
use bollard::models::OciPlatform;

use super::super::RunError;
use super::super::stage::blocking;
use super::build::DockerfileBuild;
use super::credentials::credentials;
use super::engine::Docker;
use crate::store::{Entry, Kind, LocalStore, StoreError, Tree};
use crate::upstream::{ImageReference, PinnedImage, Sha256};

/// Takes an image and does nothing with it. The builder asks the registry for the digest, and
/// refuses whatever has another.
const TAKE: &str = "ARG image\nFROM ${image}\n";

/// How engines pass on, as a fault of their own, that a registry asks for a login.
const ASKS_FOR_LOGIN: &str = "no basic auth credentials";

/// What a registry has under a name now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The name.
    pub reference: ImageReference,
    digest: Sha256,
    /// Empty if the registry does not tell.
    platforms: Vec<String>,
}

impl Docker {
    /// Asks the registry of `reference`, by the engine, what that is now. Nothing is pulled.
    pub async fn ask_registry(&self, reference: &ImageReference) -> Result<Published, RunError> {
        let credentials = credentials(reference.registry()).await?;
        let told = self.client.inspect_registry_image(&reference.to_string(), credentials).await;
        let told = told.map_err(|error| refused(reference, error))?;
        let digest = told.descriptor.digest.unwrap_or_default();
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        let digest = hex.parse().map_err(|_| {
            RunError::Setup(format!(
                "{reference}: its registry told the digest '{digest}', which is no sha256:…"
            ))
        })?;
        let platforms = told.platforms.iter().filter_map(platform).collect();
        Ok(Published { reference: reference.clone(), digest, platforms })
    }
}

impl Published {
    /// The digest, if there is an image for `platform` (`linux/amd64`) among those it stands for.
    pub fn digest_for(&self, platform: &str) -> Result<Sha256, RunError> {
        let is_it = |offered: &String| {
            // A variant that nobody asked for: linux/arm64 is linux/arm64/v8 as well.
            offered == platform
                || offered.strip_prefix(platform).is_some_and(|variant| variant.starts_with('/'))
        };
        match self.platforms.is_empty() || self.platforms.iter().any(is_it) {
            true => Ok(self.digest),
            false => Err(RunError::Setup(format!(
                "{}: there is none for {platform}; its registry has {}",
                self.reference,
                self.platforms.join(", ")
            ))),
        }
    }
}

impl DockerfileBuild {
    /// The build that gives the image as it is in its registry.
    pub async fn of_registry_image(
        image: PinnedImage,
        platform: String,
        store: Arc<LocalStore>,
    ) -> Result<Self, StoreError> {
        let dockerfile = "Dockerfile".to_owned();
        let path = dockerfile.clone();
        let context = blocking(move || {
            let kind = Kind::File { object: store.put(TAKE.as_bytes())?, size: TAKE.len() as u64 };
            store.put_tree(&Tree::new(vec![Entry { path, mode: 0o644, kind }]))
        });
        Ok(Self {
            context: context.await?,
            dockerfile,
            args: Default::default(),
            bases: [("image".to_owned(), image)].into(),
            platform,
            source_date_epoch: 1,
        })
    }
}

fn platform(told: &OciPlatform) -> Option<String> {
    let (os, architecture) = (told.os.as_deref()?, told.architecture.as_deref()?);
    let variant = told.variant.as_deref().filter(|variant| !variant.is_empty());
    // Attestations stand in the list of manifests as images for an unknown system.
    let is_known = !os.is_empty() && os != "unknown";
    is_known.then(|| format!("{os}/{architecture}{}", variant.map(|v| format!("/{v}")).unwrap_or_default()))
}

fn refused(reference: &ImageReference, error: Error) -> RunError {
    let registry = reference.registry();
    // Registries answer with several lines.
    let one_line = |message: String| message.split_whitespace().collect::<Vec<_>>().join(" ");
    match error {
        Error::DockerResponseServerError { status_code, message }
            if matches!(status_code, 401 | 403 | 404) || message.contains(ASKS_FOR_LOGIN) =>
        {
            RunError::Setup(format!(
                "{reference}: its registry ({registry}) does not give it: {}; look at the name, and run \
                 `docker login {registry}` if it is private",
                one_line(message)
            ))
        }
        Error::DockerResponseServerError { message, .. } => RunError::Infrastructure(format!(
            "{reference}: its registry ({registry}) cannot be asked: {}",
            one_line(message)
        )),
        error => RunError::Infrastructure(format!("{reference}: the Docker engine does not answer: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_found_among_those_of_an_image() {
        let told = |os: &str, architecture: &str, variant: &str| OciPlatform {
            os: Some(os.into()),
            architecture: Some(architecture.into()),
            variant: Some(variant.into()),
            ..Default::default()
        };
        let platforms = [("linux", "amd64", ""), ("linux", "arm64", "v8"), ("unknown", "unknown", "")]
            .iter()
            .filter_map(|(os, architecture, variant)| platform(&told(os, architecture, variant)))
            .collect();
        let digest = Sha256::of(b"list");
        let published = Published { reference: "debian".parse().unwrap(), digest, platforms };
        for platform in ["linux/amd64", "linux/arm64", "linux/arm64/v8"] {
            assert_eq!(published.digest_for(platform).unwrap(), digest, "{platform}");
        }
        for platform in ["linux/arm", "linux/amd64/v3", "amd64", ""] {
            let error = published.digest_for(platform).unwrap_err().to_string();
            assert!(error.ends_with("its registry has linux/amd64, linux/arm64/v8"), "{error}");
        }
        let silent = Published { platforms: Vec::new(), ..published };
        assert_eq!(silent.digest_for("linux/amd64").unwrap(), digest);
    }
}
