use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread::sleep;

use super::fetch::{Fault, FaultKind, FetchError, Patience, distfiles, file_path, remember};
use super::{Fetched, Origin, Sha256, http};
use crate::store::{LocalStore, StoreError};

/// Brings a file of which nothing is known into the store, from `distdir` or else from the first of
/// `urls` that gives it: its digest is believed this once, and is what it must be from then on.
pub fn fetch_unknown(
    store: &LocalStore,
    urls: &[String],
    distdir: Option<&Path>,
) -> Result<(Sha256, Fetched), FetchError> {
    let mut faults = Vec::new();
    for path in distfiles(distdir, urls) {
        let place = path.display().to_string();
        match File::open(&path).map_err(|error| FaultKind::Unusable(error.to_string())) {
            Ok(file) => {
                return admit(store, file, None, Origin::Distdir(path))?
                    .map_err(|kind| FetchError::Unreachable { faults: vec![Fault { place, kind }] });
            }
            Err(kind) => faults.push(Fault { place, kind }),
        }
    }
    for url in urls {
        match download(store, url)? {
            Ok(fetched) => return Ok(fetched),
            Err(kind) => faults.push(Fault { place: url.clone(), kind }),
        }
    }
    match faults.iter().all(|fault| fault.kind == FaultKind::NotFound) {
        true => Err(FetchError::NotFound { urls: urls.to_vec() }),
        false => Err(FetchError::Unreachable { faults }),
    }
}

type Attempt = Result<(Sha256, Fetched), FaultKind>;

/// Nothing tells whether a part that came before is of the same file: each try begins anew.
fn download(store: &LocalStore, url: &str) -> Result<Attempt, StoreError> {
    let patience = Patience::default();
    let (mut tries, mut pause) = (1, patience.pause);
    loop {
        match attempt(store, url)? {
            Err(kind) if kind.is_passing() && tries < patience.tries => {
                sleep(pause);
                (tries, pause) = (tries + 1, pause * 2);
            }
            done => return Ok(done),
        }
    }
}

fn attempt(store: &LocalStore, url: &str) -> Result<Attempt, StoreError> {
    let origin = Origin::Url(url.to_owned());
    if let Some(path) = url.strip_prefix("file:") {
        return match File::open(file_path(path)) {
            Ok(file) => admit(store, file, None, origin),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err(FaultKind::NotFound)),
            Err(error) => Ok(Err(FaultKind::Unusable(error.to_string()))),
        };
    }
    match http::get(url, 0, None) {
        Ok(answer) => admit(store, answer.body, answer.length, origin),
        Err(kind) => Ok(Err(kind)),
    }
}

fn admit(
    store: &LocalStore,
    mut from: impl Read,
    length: Option<u64>,
    origin: Origin,
) -> Result<Attempt, StoreError> {
    let mut writer = store.writer()?;
    let mut told = Told { from: &mut from, fault: None };
    let copied = Sha256::copy(&mut told, &mut writer);
    let fault = told.fault;
    let (sha256, size) = match (copied, fault) {
        (Ok(copied), None) => copied,
        (_, Some(fault)) => return Ok(Err(FaultKind::Network(fault))),
        (Err(error), None) => return Err(StoreError::io("write", "an object")(error)),
    };
    if let Some(length) = length.filter(|length| *length != size) {
        let fault = format!("the connection ended after {size} of {length} bytes");
        return Ok(Err(FaultKind::Network(fault)));
    }
    writer.flush().map_err(StoreError::io("write", "an object"))?;
    let object = writer.finish()?;
    remember(store, sha256, object)?;
    Ok(Ok((sha256, Fetched { object, size, origin, faults: Vec::new() })))
}

/// Tells the network's errors from those of the store.
struct Told<'a, R> {
    from: &'a mut R,
    fault: Option<String>,
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer);
        if let Err(error) = &read
            && error.kind() != io::ErrorKind::Interrupted
        {
            self.fault = Some(error.to_string());
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    /// Answers one request after another with these bytes, and closes.
    fn serve(answers: &'static [&'static [u8]]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a.tar", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for (stream, answer) in listener.incoming().zip(answers) {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer);
            }
        });
        url
    }

    #[test]
    fn the_bytes_that_come_first_are_believed_and_half_of_them_never() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let url = serve(&[
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhal",
            b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole",
        ]);
        let (sha256, fetched) = fetch_unknown(&store, &[url], None).unwrap();
        assert_eq!((sha256, fetched.size), (Sha256::of(b"whole"), 5));
        assert_eq!(store.get(fetched.object).unwrap(), b"whole");
        let known = super::super::Expected { sha256, size: None };
        let again = super::super::fetch(&store, &[], &known, None, &mut |_, _| {}).unwrap();
        assert_eq!((again.origin, again.object), (Origin::Store, fetched.object));
    }

    #[test]
    fn what_is_not_there_is_told_apart_from_what_cannot_be_reached() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let absent = serve(&[b"HTTP/1.1 404 None\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]);
        let error = fetch_unknown(&store, &[absent], None).unwrap_err();
        assert!(matches!(error, FetchError::NotFound { .. }), "{error}");
        let refused = serve(&[b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]);
        let error = fetch_unknown(&store, &[refused], None).unwrap_err();
        assert!(matches!(error, FetchError::Unreachable { .. }), "{error}");
        let distdir = dir.path().join("dist");
        std::fs::create_dir(&distdir).unwrap();
        std::fs::write(distdir.join("a.tar"), "by other means").unwrap();
        let urls = ["http://127.0.0.1:9/a.tar".to_owned()];
        let (sha256, _) = fetch_unknown(&store, &urls, Some(&distdir)).unwrap();
        assert_eq!(sha256, Sha256::of(b"by other means"));
    }
}
