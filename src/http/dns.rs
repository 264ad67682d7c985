use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Shorter than the life of any sensible record.
const FRESH: Duration = Duration::from_secs(60);

/// Asks for an address once, however many connections are opened to it: hundreds of packages
/// come from one mirror, and a name server that drops one question costs five seconds.
#[derive(Debug, Default)]
pub(super) struct Remembering {
    asked: DefaultResolver,
    known: Mutex<HashMap<String, Arc<Mutex<Option<Known>>>>>,
}

#[derive(Debug)]
struct Known {
    addresses: ResolvedSocketAddrs,
    at: Instant,
}

impl Resolver for Remembering {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = format!("{:?} {:?}", uri.scheme_str(), uri.authority());
        let place =
            Arc::clone(self.known.lock().unwrap_or_else(PoisonError::into_inner).entry(host).or_default());
        // Held while asking: whoever wants the same address meanwhile gets it from here.
        let mut known = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref().filter(|known| known.at.elapsed() < FRESH) {
            return Ok(known.addresses.clone());
        }
        let addresses = self.asked.resolve(uri, config, timeout)?;
        *known = Some(Known { addresses: addresses.clone(), at: Instant::now() });
        Ok(addresses)
    }
}
