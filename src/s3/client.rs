use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime::client::retries::classifiers::HttpStatusCodeClassifier;

use super::{Location, S3Error, S3Fault};

/// How often a request is made in all before its fault is told.
const ATTEMPTS: u32 = 5;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a service may be silent.
const SILENCE: Duration = Duration::from_secs(20);
/// Somebody else wrote the same object at the same moment, so that a condition could not be decided: to be asked again (S3's
/// `ConditionalRequestConflict`). What else is worth another attempt the SDK knows by itself.
const CONFLICT: &[u16] = &[409];
/// Used where nothing says another: services other than Amazon's mostly do not care.
const REGION: Region = Region::from_static("us-east-1");

/// A client for the service of `location`, with the credentials of the SDK's usual chain: environment,
/// AWS settings and profiles, web identity, the role of a container or machine; or with those given.
pub(super) async fn client(location: &Location, credentials: Option<Credentials>) -> Result<Client, S3Error> {
    let service = &location.service;
    let mut shared = settings(tls(location)?);
    if let Some(region) = &service.region {
        shared = shared.region(Region::new(region.clone()));
    }
    if let Some(credentials) = credentials {
        shared = shared.credentials_provider(credentials);
    }
    let shared = shared.load().await;
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(service.path_style)
        .retry_classifier(HttpStatusCodeClassifier::new_from_codes(CONFLICT));
    if shared.region().is_none() {
        config.set_region(Some(REGION));
    }
    if let Some(endpoint) = &service.endpoint {
        config.set_endpoint_url(Some(endpoint.clone()));
    }
    Ok(Client::from_conf(config.build()))
}

/// How any service of Amazon's, or one like it, is asked.
pub(super) fn settings(tls: TlsContext) -> ConfigLoader {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https();
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(SILENCE).build();
    let retries =
        RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(Duration::from_secs(5));
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(retries)
}

fn tls(location: &Location) -> Result<TlsContext, S3Error> {
    let unusable = |message: String| S3Error {
        action: "trust the certificates for",
        url: location.to_string(),
        fault: S3Fault::Local,
        message,
    };
    let mut builder = TlsContext::builder();
    if let Some(path) = &location.service.ca {
        let pem = std::fs::read(path).map_err(|error| unusable(format!("{}: {error}", path.display())))?;
        if !pem.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----") {
            return Err(unusable(format!("{} holds no certificate in PEM", path.display())));
        }
        builder = builder.with_trust_store(TrustStore::empty().with_pem_certificate(pem));
    }
    builder.build().map_err(|error| unusable(error.to_string()))
}
