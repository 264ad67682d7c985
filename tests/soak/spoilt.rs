//! That clients find faults at all, and that each counts as what it is.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::client::Client;
use super::forge::{Forge, Troubles};
use super::s3_server::{ACCESS_KEY, BUCKET, SECRET_KEY, s3_server};
use super::site::Publisher;
use super::tally::{Kind, Tally};

/// How a file is spoilt.
#[derive(Clone, Copy)]
enum Spoilt {
    /// Another byte in its middle.
    Changed,
    /// Its last byte is missing.
    Shorter,
    /// It is not there.
    Gone,
}

impl Spoilt {
    fn of(self, sound: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = sound.to_vec();
        match self {
            Self::Changed => bytes[sound.len() / 2] ^= 1,
            Self::Shorter => drop(bytes.pop()),
            Self::Gone => return None,
        }
        Some(bytes)
    }
}

/// Puts these bytes into the bucket, or takes away what is there.
fn put(key: &str, bytes: Option<&[u8]>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, bytes.unwrap_or_default()).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:s3"]);
    curl.args(["--user", &format!("{ACCESS_KEY}:{SECRET_KEY}")]);
    match bytes {
        Some(_) => curl.arg("--upload-file").arg(file.path()),
        None => curl.args(["--request", "DELETE"]),
    };
    assert!(curl.arg(format!("{}/{BUCKET}/{key}", s3_server().endpoint)).status().unwrap().success());
}

#[test]
fn each_fault_that_a_client_meets_is_counted_as_what_it_is() {
    let mut forge = Forge::new(&format!("{}/{BUCKET}", s3_server().endpoint), Troubles::default());
    let site = forge.begin();
    let place = forge.place();
    let (_, _, mirrors) = s3_server().anonymous(&format!("{place}/rpm/mirrorlist"));
    let mirrors = String::from_utf8(mirrors).unwrap();
    let generation = mirrors.trim_end().trim_end_matches('/').rsplit_once("/gen/").unwrap().1;
    let repomd = format!("rpm/gen/{generation}/repodata/repomd.xml");
    let (deb, rpm) =
        ("apt/pool/trixie/main/t/tool/tool_1.0-1_all.deb", "rpm/packages/t/tool-1.0-1.noarch.rpm");
    let release = "apt/dists/trixie/InRelease";
    let cases = [
        (deb, Spoilt::Changed, Kind::HashMismatch),
        (deb, Spoilt::Shorter, Kind::UnexpectedSize),
        (deb, Spoilt::Gone, Kind::NotFound),
        (release, Spoilt::Changed, Kind::BadSignature),
        (rpm, Spoilt::Changed, Kind::HashMismatch),
        (rpm, Spoilt::Gone, Kind::NotFound),
        (&repomd, Spoilt::Changed, Kind::BadSignature),
    ];
    let mut clients = Client::all(&site);
    for (path, spoilt, kind) in cases {
        let key = format!("{place}/{path}");
        let (status, _, sound) = s3_server().anonymous(&key);
        assert_eq!(status, 200, "{key}");
        let client =
            clients.iter_mut().find(|client| client.is_new() && client.is_dnf() == path.starts_with("rpm"));
        let client = client.unwrap();
        put(&key, spoilt.of(&sound).as_deref());
        let tally = Mutex::new(Tally::default());
        client.round(&AtomicBool::new(true), &tally);
        put(&key, Some(&sound));
        let tally = tally.into_inner().unwrap();
        assert_eq!((tally.failures.len(), tally.count(kind)), (1, 1), "{path}:\n{}", tally.examples());
    }
    for client in &mut clients {
        let tally = Mutex::new(Tally::default());
        client.round(&AtomicBool::new(true), &tally);
        client.compare(&forge.versions(), &tally);
        assert_eq!(tally.into_inner().unwrap().examples(), "");
    }
}
