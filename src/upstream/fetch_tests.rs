//! Against a real HTTP peer: a listener that speaks ranges, and breaks off, lies or fails as told.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use super::*;

/// How the peer answers one request.
#[derive(Clone)]
enum Answer {
    /// The whole file, or the range that was asked for.
    Serve,
    /// The whole file, whatever was asked for.
    ServeWithoutRanges,
    /// Announces everything, closes after this many bytes.
    Truncate(usize),
    /// Announces everything, resets the connection after this many bytes.
    Reset(usize),
    /// Announces everything, sends this many bytes and then nothing more.
    Stall(usize),
    /// Only this status.
    Status(u16),
}

struct Peer {
    url: String,
    /// The `Range` and `If-Range` headers of each request.
    requests: Receiver<(Option<String>, Option<String>)>,
}

impl Peer {
    /// Answers as told, one after another; the last answer for ever.
    fn start(file: &[u8], answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/dir/file-1.0.tar", listener.local_addr().unwrap());
        let (tell, requests) = channel();
        let (file, answers) = (file.to_vec(), answers.to_vec());
        std::thread::spawn(move || {
            for (at, stream) in listener.incoming().enumerate() {
                let answer = &answers[at.min(answers.len() - 1)];
                let headers = reply(stream.unwrap(), &file, answer);
                let _ = tell.send(headers);
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<(Option<String>, Option<String>)> {
        // The peer tells of a request after it answered, which the client may not wait for.
        std::thread::sleep(Duration::from_millis(30));
        self.requests.try_iter().collect()
    }
}

fn reply(mut stream: TcpStream, file: &[u8], answer: &Answer) -> (Option<String>, Option<String>) {
    let request = peek_request(&stream);
    let header = |name: &str| {
        let mut lines = request.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let (range, if_range) = (header("range"), header("if-range"));
    if !matches!(answer, Answer::Reset(_)) {
        stream.read_exact(&mut vec![0; request.len()]).unwrap();
    }
    let tag = format!("\"{}\"", Sha256::of(file));
    let offset = range.as_ref().filter(|_| !matches!(answer, Answer::ServeWithoutRanges));
    let offset = offset.filter(|_| if_range.as_ref().is_none_or(|told| *told == tag));
    let offset: Option<usize> = offset.and_then(|range| range[6..].trim_end_matches('-').parse().ok());
    let body = &file[offset.unwrap_or(0).min(file.len())..];
    let head = match (offset, answer) {
        (_, Answer::Status(status)) => format!("HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n"),
        (Some(offset), _) if offset >= file.len() => "HTTP/1.1 416 Told\r\nContent-Length: 0\r\n".to_owned(),
        (Some(offset), _) => format!(
            "HTTP/1.1 206 Part\r\nContent-Length: {}\r\nContent-Range: bytes {offset}-{}/{}\r\n",
            body.len(),
            file.len() - 1,
            file.len()
        ),
        (None, _) => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len()),
    };
    let _ = stream.write_all(format!("{head}ETag: {tag}\r\nConnection: close\r\n\r\n").as_bytes());
    match answer {
        Answer::Status(_) => {}
        Answer::Serve | Answer::ServeWithoutRanges => drop(stream.write_all(body)),
        Answer::Truncate(bytes) => drop(stream.write_all(&body[..*bytes])),
        Answer::Reset(bytes) => {
            let _ = stream.write_all(&body[..*bytes]);
            // Time for the bytes to arrive; what the client has not read yet, the reset takes along.
            std::thread::sleep(Duration::from_millis(50));
        }
        Answer::Stall(bytes) => {
            let _ = stream.write_all(&body[..*bytes]);
            // Held open for as long as the process lives.
            std::mem::forget(stream);
        }
    }
    (range, if_range)
}

/// The request, left in the socket: closing with it unread sends RST instead of FIN.
fn peek_request(stream: &TcpStream) -> String {
    let mut bytes = vec![0; 8192];
    loop {
        let read = stream.peek(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..read]);
        if text.ends_with("\r\n\r\n") {
            return text.into_owned();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

struct Bench {
    dir: tempfile::TempDir,
    store: LocalStore,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        Self { dir, store }
    }

    fn fetch(&self, urls: &[&str], file: &[u8]) -> Result<Fetched, FetchError> {
        self.fetch_expecting(urls, &expected(file), None)
    }

    fn fetch_expecting(
        &self,
        urls: &[&str],
        expected: &Expected,
        distdir: Option<&Path>,
    ) -> Result<Fetched, FetchError> {
        let urls: Vec<String> = urls.iter().map(|&url| url.to_owned()).collect();
        let patience = Patience { tries: 3, pause: Duration::from_millis(1) };
        fetch_with(&self.store, &urls, expected, distdir, patience, &mut |_, _| {})
    }

    /// No object, no record, no part.
    fn is_empty(&self) -> bool {
        let downloads = fs::read_dir(self.store.root().join("downloads"));
        self.store.stats().objects == 0
            && !self.store.root().join("sha256").exists()
            && downloads.is_ok_and(|mut parts| parts.next().is_none())
    }
}

fn expected(file: &[u8]) -> Expected {
    Expected { sha256: Sha256::of(file), size: Some(file.len() as u64) }
}

/// Larger than every buffer on the way.
fn file() -> Vec<u8> {
    (0..1_000_000u32).flat_map(|n| n.to_le_bytes()).collect()
}

#[test]
fn a_file_is_fetched_once_and_then_known() {
    let (bench, file) = (Bench::new(), file());
    let peer = Peer::start(&file, &[Answer::Serve]);
    let fetched = bench.fetch(&[&peer.url], &file).unwrap();
    assert_eq!((fetched.size, &fetched.origin), (4_000_000, &Origin::Url(peer.url.clone())));
    assert!(bench.store.get(fetched.object).unwrap() == file);
    assert_eq!(bench.fetch(&[&peer.url], &file).unwrap().origin, Origin::Store);
    assert_eq!(peer.requests().len(), 1);
    // Without the object, the record is not believed.
    bench.store.lose(fetched.object);
    assert_eq!(bench.fetch(&[&peer.url], &file).unwrap().origin, Origin::Url(peer.url.clone()));
}

#[test]
fn a_truncated_download_goes_on_where_it_ended() {
    let (bench, file) = (Bench::new(), file());
    let peer = Peer::start(&file, &[Answer::Truncate(1_000), Answer::Reset(500_000), Answer::Serve]);
    bench.fetch(&[&peer.url], &file).unwrap();
    let tag = Some(format!("\"{}\"", Sha256::of(&file)));
    let requests = peer.requests();
    assert_eq!(requests[0], (None, None));
    assert_eq!(requests[1], (Some("bytes=1000-".into()), tag.clone()));
    // A reset may take bytes with it that were on the way.
    assert!(requests[2].0.as_ref().unwrap().starts_with("bytes=") && requests[2].1 == tag, "{requests:?}");
    assert_eq!(requests.len(), 3);
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let (bench, file) = (Bench::new(), file());
    let peer = Peer::start(&file, &[Answer::Truncate(1_000), Answer::ServeWithoutRanges]);
    let fetched = bench.fetch(&[&peer.url], &file).unwrap();
    assert!(bench.store.get(fetched.object).unwrap() == file);
}

#[test]
fn a_file_that_changed_meanwhile_is_sent_whole() {
    let (bench, file) = (Bench::new(), file());
    let old = vec![7; file.len()];
    let peer = Peer::start(&old, &[Answer::Truncate(1_000), Answer::Status(500)]);
    bench.fetch(&[&peer.url], &file).unwrap_err();
    let peer = Peer::start(&file, &[Answer::Serve]);
    // The part came from another URL, so nothing tells that it is of another file but the hash.
    bench.fetch(&[&peer.url], &file).unwrap();
    let ranges: Vec<_> = peer.requests().into_iter().map(|(range, _)| range.is_some()).collect();
    assert_eq!(ranges, [true, false]);
}

#[test]
fn wrong_bytes_are_refused_and_nothing_is_stored() {
    let bench = Bench::new();
    let peer = Peer::start(b"wrong", &[Answer::Serve]);
    let error = bench.fetch(&[&peer.url], b"right").unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, FetchError::WrongContent { .. }));
    for part in [&peer.url, &Sha256::of(b"wrong").to_string(), &Sha256::of(b"right").to_string()] {
        assert!(told.contains(part), "{told}");
    }
    assert!(bench.is_empty());
}

#[test]
fn a_wrong_length_is_refused_before_the_download() {
    let (bench, file) = (Bench::new(), file());
    let peer = Peer::start(&file, &[Answer::Serve]);
    let error = bench.fetch(&[&peer.url], b"short").unwrap_err();
    assert!(error.to_string().contains("expected 5 bytes, got 4000000"), "{error}");
    assert!(bench.is_empty());
}

#[test]
fn a_mirror_with_wrong_bytes_is_passed_over_and_told() {
    let bench = Bench::new();
    let (bad, good) = (Peer::start(b"wrong", &[Answer::Serve]), Peer::start(b"right", &[Answer::Serve]));
    let fetched = bench.fetch(&[&bad.url, &good.url], b"right").unwrap();
    assert_eq!(fetched.origin, Origin::Url(good.url.clone()));
    assert!(matches!(fetched.faults[..], [Fault { kind: FaultKind::Mismatch { .. }, .. }]));
}

#[test]
fn what_no_url_has_is_told_as_such_and_at_once() {
    let bench = Bench::new();
    let (one, two) = (Peer::start(b"", &[Answer::Status(404)]), Peer::start(b"", &[Answer::Status(410)]));
    match bench.fetch(&[&one.url, &two.url], b"file").unwrap_err() {
        FetchError::NotFound { urls } => assert_eq!(urls, [one.url.clone(), two.url.clone()]),
        other => panic!("{other}"),
    }
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
    assert!(bench.is_empty());
}

#[test]
fn a_server_that_is_down_for_a_moment_is_asked_again() {
    let bench = Bench::new();
    let peer = Peer::start(b"file", &[Answer::Status(503), Answer::Status(429), Answer::Serve]);
    bench.fetch(&[&peer.url], b"file").unwrap();
    assert_eq!(peer.requests().len(), 3);
}

#[test]
fn a_server_that_stays_down_is_given_up_for_the_next() {
    let bench = Bench::new();
    let (down, up) = (Peer::start(b"", &[Answer::Status(500)]), Peer::start(b"file", &[Answer::Serve]));
    let fetched = bench.fetch(&[&down.url, &up.url], b"file").unwrap();
    assert_eq!(fetched.faults, [Fault { place: down.url.clone(), kind: FaultKind::Status(500) }]);
    assert_eq!(down.requests().len(), 3);
    match Bench::new().fetch(&[&down.url], b"file").unwrap_err() {
        FetchError::Unreachable { faults } => assert_eq!(faults, fetched.faults),
        other => panic!("{other}"),
    }
}

#[test]
fn nobody_listening_is_a_network_fault() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    match Bench::new().fetch(&[&format!("http://{address}/file")], b"file").unwrap_err() {
        FetchError::Unreachable { faults } => assert!(matches!(faults[0].kind, FaultKind::Network(_))),
        other => panic!("{other}"),
    }
}

#[test]
fn a_distfile_is_taken_if_it_is_the_right_one() {
    let bench = Bench::new();
    let path = bench.dir.path().join("file 1.tar");
    let url = format!("file:{}/absent/file%201.tar", bench.dir.path().display());
    fs::write(&path, "wrong").unwrap();
    let distdir = Some(bench.dir.path());
    let error = bench.fetch_expecting(&[&url], &expected(b"right"), distdir).unwrap_err();
    assert!(matches!(error, FetchError::WrongContent { .. }), "{error}");
    fs::write(&path, "right").unwrap();
    let fetched = bench.fetch_expecting(&[&url], &expected(b"right"), distdir).unwrap();
    assert_eq!(fetched.origin, Origin::Distdir(path));
}

#[test]
fn a_file_url_is_read_and_checked() {
    let bench = Bench::new();
    let path = bench.dir.path().join("a b");
    fs::write(&path, "right").unwrap();
    let url = format!("file://{}/a%20b", bench.dir.path().display());
    assert_eq!(bench.fetch(&[&url], b"right").unwrap().origin, Origin::Url(url.clone()));
    assert!(matches!(bench.fetch(&[&url], b"other"), Err(FetchError::WrongContent { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(bench.fetch(&[&url], b"third"), Err(FetchError::NotFound { .. })));
}

#[test]
fn two_at_once_download_once() {
    let (bench, file) = (Bench::new(), file());
    let peer = Peer::start(&file, &[Answer::Serve]);
    let origins: Vec<Origin> = std::thread::scope(|scope| {
        let fetch = || bench.fetch(&[&peer.url], &file).unwrap().origin;
        let threads = [scope.spawn(fetch), scope.spawn(fetch)];
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(origins.contains(&Origin::Store), "{origins:?}");
    assert_eq!(peer.requests().len(), 1);
}

/// What [`a_killed_download_goes_on`] runs in a process of its own.
#[test]
fn helper_process_that_downloads() {
    let Ok(root) = std::env::var("FORGE_TEST_FETCH_STORE") else { return };
    let url = std::env::var("FORGE_TEST_FETCH_URL").unwrap();
    let store = LocalStore::open(root).unwrap();
    let _ = fetch(&store, &[url], &expected(&file()), None, &mut |_, _| {});
}

#[test]
fn a_killed_download_goes_on() {
    let (bench, file) = (Bench::new(), file());
    let peer = Peer::start(&file, &[Answer::Stall(3_000_000), Answer::Serve]);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "upstream::fetch::tests::helper_process_that_downloads"])
        .env("FORGE_TEST_FETCH_STORE", bench.store.root())
        .env("FORGE_TEST_FETCH_URL", &peer.url)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let part = bench.store.root().join(format!("downloads/{}.part", Sha256::of(&file)));
    let deadline = Instant::now() + Duration::from_secs(30);
    while fs::metadata(&part).map_or(0, |metadata| metadata.len()) < 3_000_000 {
        assert!(Instant::now() < deadline, "the child downloads nothing");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let fetched = bench.fetch(&[&peer.url], &file).unwrap();
    assert!(bench.store.get(fetched.object).unwrap() == file);
    assert_eq!(peer.requests()[1].0.as_deref(), Some("bytes=3000000-"));
    assert!(!part.exists());
}

#[test]
fn names_in_urls_stay_in_the_directory() {
    assert_eq!(file_name("http://host/a/b%20c.tar?x=/y"), "b c.tar");
    assert_eq!(file_name("http://host/a/..%2f..%2fetc"), ".._.._etc");
    assert_eq!(percent_decode("100%"), "100%");
}
