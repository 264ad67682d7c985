use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderName, Response, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;

use super::dns::Remembering;
use super::fetch::FaultKind;

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

/// An answer that carries bytes of the file.
pub(super) struct Answer {
    /// The offset of the first byte that comes.
    pub(super) start: u64,
    /// How many bytes come, if told.
    pub(super) length: Option<u64>,
    /// What a later request can use to ask whether the file is still the same.
    pub(super) validator: Option<String>,
    /// The bytes.
    pub(super) body: Box<dyn Read>,
}

/// Asks `url` for everything from `offset` on. The answer may start at 0 all the same: where
/// the server knows no ranges, or where the file is no longer the one `validator` names.
pub(super) fn get(url: &str, offset: u64, validator: Option<&str>) -> Result<Answer, FaultKind> {
    let mut request = agent().get(url).header(header::ACCEPT_ENCODING, "identity");
    if offset > 0 {
        request = request.header(header::RANGE, format!("bytes={offset}-"));
        if let Some(validator) = validator {
            request = request.header(header::IF_RANGE, validator);
        }
    }
    let response = request.call().map_err(fault)?;
    let start = match response.status().as_u16() {
        200 => 0,
        206 => range_start(&response).ok_or(FaultKind::BadRange)?,
        404 | 410 => return Err(FaultKind::NotFound),
        416 => return Err(FaultKind::BadRange),
        status => return Err(FaultKind::Status(status)),
    };
    if start != 0 && start != offset {
        return Err(FaultKind::BadRange);
    }
    Ok(Answer {
        start,
        length: text(&response, header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        validator: strong_validator(&response),
        body: Box::new(response.into_body().into_reader()),
    })
}

/// One agent for all threads, so that connections are used again.
fn agent() -> &'static Agent {
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

/// Whether it is worth another try depends on whose fault it is.
fn fault(error: ureq::Error) -> FaultKind {
    use ureq::Error as E;
    match error {
        E::Io(_) | E::Timeout(_) | E::HostNotFound | E::ConnectionFailed | E::Protocol(_) => {
            FaultKind::Network(error.to_string())
        }
        _ => FaultKind::Unusable(error.to_string()),
    }
}

/// `Content-Range: bytes 100-199/200` (RFC 9110, 14.4).
fn range_start<B>(response: &Response<B>) -> Option<u64> {
    let range = text(response, header::CONTENT_RANGE)?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// `If-Range` takes a strong ETag or a date, never a weak ETag (RFC 9110, 13.1.5).
fn strong_validator<B>(response: &Response<B>) -> Option<String> {
    text(response, header::ETAG)
        .filter(|tag| !tag.starts_with("W/"))
        .or_else(|| text(response, header::LAST_MODIFIED))
        .map(str::to_owned)
}

fn text<B>(response: &Response<B>, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}
