use std::io::Read;

use ureq::http::{HeaderName, Response, header};

use super::fetch::FaultKind;
use crate::http::agent;

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
