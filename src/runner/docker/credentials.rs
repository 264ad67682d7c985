//! What `docker login` left: forge hands it on, and keeps it nowhere.

use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::PathBuf;

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential};

use super::super::RunError;
use super::super::stage::blocking;

/// How Docker's own registry is called in image names, in Docker's configuration, and by the builder.
const HUB: [&str; 3] = ["docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"];

/// What a credential helper says of a registry that nobody logged in to.
const NOT_KNOWN_TO_HELPER: &str = "credentials not found";

/// The credentials for one registry, from `$DOCKER_CONFIG/config.json` (`~/.docker` if that is not
/// set) or the helper that is named there; `None` if there are none.
pub(super) async fn credentials(registry: &str) -> Result<Option<DockerCredentials>, RunError> {
    let registry = registry.to_owned();
    // A helper is a program of its own.
    blocking(move || look_up(&registry)).await
}

/// The same for all that a build may ask, by the names the builder knows them by.
pub(super) async fn credentials_for_build(
    registries: BTreeSet<String>,
) -> Result<HashMap<String, DockerCredentials>, RunError> {
    let mut all = HashMap::new();
    for registry in registries {
        if let Some(found) = credentials(&registry).await? {
            let builder = if registry == HUB[0] { HUB[2].to_owned() } else { registry };
            all.insert(builder, found);
        }
    }
    Ok(all)
}

fn look_up(registry: &str) -> Result<Option<DockerCredentials>, RunError> {
    let Some(path) = configuration() else { return Ok(None) };
    let unusable = |reason: &str| {
        RunError::Setup(format!(
            "{} does not give the credentials for {registry}: {reason}; repair it, or run `docker login {registry}`",
            path.display()
        ))
    };
    let file = match std::fs::File::open(&path) {
        Ok(file) => std::io::BufReader::new(file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(&error.to_string())),
    };
    let server = if registry == HUB[0] { HUB[1] } else { registry };
    let empty = DockerCredentials { serveraddress: Some(server.to_owned()), ..Default::default() };
    match docker_credential::get_credential_from_reader(file, server) {
        Ok(DockerCredential::UsernamePassword(name, password)) => {
            Ok(Some(DockerCredentials { username: Some(name), password: Some(password), ..empty }))
        }
        Ok(DockerCredential::IdentityToken(token)) => {
            Ok(Some(DockerCredentials { identitytoken: Some(token), ..empty }))
        }
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. })
            if stdout.contains(NOT_KNOWN_TO_HELPER) || stderr.contains(NOT_KNOWN_TO_HELPER) =>
        {
            Ok(None)
        }
        Err(error) => Err(unusable(error.to_string().trim())),
    }
}

/// Where Docker's command line keeps it.
fn configuration() -> Option<PathBuf> {
    let own = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let usual = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    Some(own.or_else(usual)?.join("config.json"))
}
