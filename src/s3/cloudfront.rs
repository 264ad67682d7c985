//! CloudFront before a bucket, asked for the one thing that forge wants of it. The SDK's crate for it is of the
//! size of that for S3.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, ProvideCredentials};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::tls::TlsContext;
use quick_xml::escape::{escape, unescape};
use quick_xml::events::Event;

use super::client::settings;
use super::error::fault_of_answer;
use super::{S3Error, S3Fault};
use crate::http::agent;

/// CloudFront is one service for all regions, signed for as if it were in this one.
const REGION: &str = "us-east-1";
/// Where it is, unless `AWS_ENDPOINT_URL_CLOUDFRONT` or `AWS_ENDPOINT_URL` say another place.
const ENDPOINT: &str = "https://cloudfront.amazonaws.com";
/// The version of its API, in every path.
const API: &str = "2020-05-31";
/// How often a request is made in all before its fault is told.
const ATTEMPTS: u32 = 3;

/// A distribution of CloudFront: what clients ask in place of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution(String);

impl Distribution {
    /// Reads an ID, such as `E2QWRUHEXAMPLE`; `None` where the text is none.
    pub fn parse(id: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        (!id.is_empty() && id.bytes().all(fits)).then(|| Self(id.to_owned()))
    }

    /// Has it forget what it holds of `paths`, each of which begins with a slash and is as it is in a URL; one may
    /// end in `*`. With the same `reference` the same paths are forgotten once, however often that is asked for.
    /// Amazon charges by the number of paths.
    ///
    /// Credentials are those of the SDK's usual chain, and have to allow `cloudfront:CreateInvalidation`.
    pub async fn invalidate(&self, reference: &str, paths: &[String]) -> Result<(), S3Error> {
        let tls = TlsContext::builder().build().map_err(|error| self.error(S3Fault::Local, error))?;
        let shared = settings(tls).region(Region::from_static(REGION)).load().await;
        let provider = shared.credentials_provider();
        let provider = provider.ok_or_else(|| self.error(S3Fault::Denied, "there are no credentials"))?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|error| self.error(S3Fault::Denied, error))?;
        let url = format!("{}/{API}/distribution/{}/invalidation", endpoint(&shared), self.0);
        let (own, body) = (self.clone(), batch(reference, paths));
        let sent = tokio::task::spawn_blocking(move || own.send(&url, &body, credentials)).await;
        sent.unwrap_or_else(|stopped| std::panic::resume_unwind(stopped.into_panic()))
    }

    fn send(&self, url: &str, body: &str, credentials: Credentials) -> Result<(), S3Error> {
        let mut attempt = 1;
        loop {
            match self.send_once(url, body, credentials.clone()) {
                Err(error) if error.is_passing() && attempt < ATTEMPTS => {
                    std::thread::sleep(Duration::from_secs(attempt.into()));
                    attempt += 1;
                }
                sent => return sent,
            }
        }
    }

    fn send_once(&self, url: &str, body: &str, credentials: Credentials) -> Result<(), S3Error> {
        let local = |error: &dyn fmt::Display| self.error(S3Fault::Local, error);
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name("cloudfront")
            .time(SystemTime::now())
            .settings(SigningSettings::default());
        let parameters = parameters.build().map_err(|error| local(&error))?.into();
        let signable = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new("POST", url, std::iter::empty(), signable);
        let signed = signable.and_then(|signable| sign(signable, &parameters));
        let (instructions, _) = signed.map_err(|error| local(&error))?.into_parts();
        let request = ureq::http::Request::post(url).header("Content-Type", "application/xml");
        let mut request = request.body(body.to_owned()).map_err(|error| local(&error))?;
        instructions.apply_to_request_http1x(&mut request);
        let answer = agent().run(request).map_err(|error| self.error(S3Fault::Unavailable, error))?;
        if answer.status().is_success() {
            return Ok(());
        }
        let status = answer.status().as_u16();
        let text = answer.into_body().read_to_string().unwrap_or_default();
        let code = element(&text, "Code").unwrap_or_else(|| format!("status {status}"));
        let message = element(&text, "Message").unwrap_or_else(|| "no more is said".to_owned());
        Err(self.error(fault_of_answer(&code, status), format!("{code}: {message}")))
    }

    fn error(&self, fault: S3Fault, said: impl ToString) -> S3Error {
        S3Error::told("invalidate files of", self.to_string(), fault, said.to_string())
    }
}

/// `CloudFront distribution E2QWRUHEXAMPLE`
impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudFront distribution {}", self.0)
    }
}

fn endpoint(shared: &SdkConfig) -> String {
    let own = std::env::var("AWS_ENDPOINT_URL_CLOUDFRONT").ok().filter(|url| !url.is_empty());
    let endpoint = own.as_deref().or(shared.endpoint_url()).unwrap_or(ENDPOINT);
    endpoint.trim_end_matches('/').to_owned()
}

/// The body of `CreateInvalidation`.
fn batch(reference: &str, paths: &[String]) -> String {
    let items: String = paths.iter().map(|path| format!("<Path>{}</Path>", escape(path))).collect();
    format!(
        "<InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/{API}/\"><Paths><Quantity>{}</Quantity>\
         <Items>{items}</Items></Paths><CallerReference>{}</CallerReference></InvalidationBatch>",
        paths.len(),
        escape(reference)
    )
}

/// The text of the first element of this name.
fn element(xml: &str, name: &str) -> Option<String> {
    let mut reader = quick_xml::Reader::from_str(xml);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) if start.name().as_ref() == name => {
                let text = reader.read_text(start.name()).ok()?.html_content().into_owned();
                return Some(unescape(&text).map(Cow::into_owned).unwrap_or(text));
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}
