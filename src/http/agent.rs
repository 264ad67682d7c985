use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;

use super::dns::Remembering;

/// Without a byte for this long, a connection counts as dead.
const SILENCE: Duration = Duration::from_secs(60);

/// As many as are open to one mirror at a time.
const IDLE_CONNECTIONS: usize = 8;

/// Where systems keep the certificates they trust, in the order they are looked for.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// One agent for all threads, so that connections are used again.
pub fn agent() -> &'static Agent {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        let tls = TlsConfig::builder().root_certs(root_certs()).build();
        // The proxy is the environment's: that is ureq's default.
        let config = Agent::config_builder()
            .max_idle_connections_per_host(IDLE_CONNECTIONS)
            .http_status_as_error(false)
            .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build();
        Agent::with_parts(config, DefaultConnector::default(), Remembering::default())
    })
}

/// What the system trusts, so that a company's own authority works as it does for other
/// tools; where the system says nothing, Mozilla's list.
fn root_certs() -> RootCerts {
    let named = std::env::var_os("SSL_CERT_FILE");
    let bundles = named.iter().map(Path::new).chain(BUNDLES.iter().map(Path::new));
    let certs = bundles.filter_map(|path| fs::read(path).ok()).map(|pem| certificates(&pem));
    match { certs }.find(|certs| !certs.is_empty()) {
        Some(certs) => RootCerts::new_with_certs(&certs),
        None => RootCerts::WebPki,
    }
}

fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    ureq::tls::parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect()
}
