use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// What a bucket was asked for and did not give.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {url}: {message}")]
pub struct S3Error {
    /// What was tried, such as `read`.
    pub action: &'static str,
    /// What it was tried on.
    pub url: String,
    /// Which kind of trouble it is.
    pub fault: S3Fault,
    /// What the service said, or why it could not be asked, and what helps.
    pub message: String,
}

/// Kinds of trouble, by what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Fault {
    /// The credentials are missing, wrong or expired, or do not allow it.
    Denied,
    /// The bucket is not there.
    NoBucket,
    /// The certificate that the service shows is of no authority that is trusted, or not its own.
    Untrusted,
    /// The clock of this machine and that of the service differ by too much.
    Clock,
    /// The service does not answer, or answers that it is unwell. Asking again later may help.
    Unavailable,
    /// The bytes that came are not those that were promised.
    Damaged,
    /// Something on this machine: a file that cannot be read, say.
    Local,
    /// What the service refuses for a reason of its own.
    Refused,
}

impl S3Error {
    /// From what the SDK says.
    pub(super) fn new<E>(action: &'static str, url: String, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let fault = fault_of(error);
        let said = match (error.code(), untrusted(error)) {
            (Some(code), _) => format!("{code}: {}", error.message().unwrap_or("no more is said")),
            (None, Some(reason)) => reason,
            (None, None) => DisplayErrorContext(error).to_string(),
        };
        Self::told(action, url, fault, said)
    }

    /// What was said, and what helps.
    pub(super) fn told(action: &'static str, url: String, fault: S3Fault, said: String) -> Self {
        let message = match hint(fault) {
            Some(hint) => format!("{}; {hint}", said.trim_end_matches('.')),
            None => said,
        };
        Self { action, url, fault, message }
    }

    /// Of something that this machine could not do.
    pub(super) fn local(action: &'static str, url: String, error: &std::io::Error) -> Self {
        Self { action, url, fault: S3Fault::Local, message: error.to_string() }
    }

    /// Whether the same request may succeed later, with nothing else done.
    pub fn is_passing(&self) -> bool {
        matches!(self.fault, S3Fault::Unavailable | S3Fault::Damaged)
    }
}

/// The status of the answer, if there was one.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// What is wrong with the certificate of a service. The SDK passes it on as text alone.
fn untrusted(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    causes.find(|cause| cause.starts_with("invalid peer certificate"))
}

fn fault_of<E>(error: &SdkError<E, HttpResponse>) -> S3Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code().unwrap_or_default(), status(error)) {
        (code, Some(status)) => fault_of_answer(code, status),
        // No answer: no connection, or no credentials to ask with.
        (_, None) => match error {
            _ if untrusted(error).is_some() => S3Fault::Untrusted,
            SdkError::ConstructionFailure(_) => S3Fault::Denied,
            SdkError::DispatchFailure(failure) if failure.as_connector_error().is_none() => S3Fault::Denied,
            _ => S3Fault::Unavailable,
        },
    }
}

/// By the code of an error and the status of its answer.
pub(super) fn fault_of_answer(code: &str, status: u16) -> S3Fault {
    match (code, status) {
        ("NoSuchBucket", _) => S3Fault::NoBucket,
        ("RequestTimeTooSkewed", _) => S3Fault::Clock,
        ("ExpiredToken" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AccessDenied", _) => {
            S3Fault::Denied
        }
        ("BadDigest" | "XAmzContentChecksumMismatch" | "IncompleteBody", _) => S3Fault::Damaged,
        (_, 401 | 403) => S3Fault::Denied,
        (_, 408 | 409 | 429 | 500..=599) => S3Fault::Unavailable,
        _ => S3Fault::Refused,
    }
}

fn hint(fault: S3Fault) -> Option<&'static str> {
    match fault {
        S3Fault::Denied => Some(
            "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role",
        ),
        S3Fault::NoBucket => Some("create it, or name another"),
        S3Fault::Untrusted => Some("`ca` in its s3 node names the authority to trust, as a file in PEM"),
        S3Fault::Clock => Some("set this machine's clock"),
        S3Fault::Unavailable | S3Fault::Damaged | S3Fault::Local | S3Fault::Refused => None,
    }
}
