//! A real S3 server for tests: SeaweedFS, one for each test process, with a place of its own for each test.

#![allow(dead_code, reason = "several test programs use it, each a part of it")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Whom the server knows.
pub const ACCESS_KEY: &str = "AKFORGE";
/// By which secret.
pub const SECRET_KEY: &str = "SKFORGE";
/// The bucket of all tests. Everybody may read it.
pub const BUCKET: &str = "forge";

static SERVER: LazyLock<S3Server> = LazyLock::new(S3Server::start);

/// The server of this process.
pub fn s3_server() -> &'static S3Server {
    &SERVER
}

/// A running server.
pub struct S3Server {
    /// Such as `http://127.0.0.1:1234`.
    pub endpoint: String,
    /// The same by TLS, with a certificate of an authority that nobody else knows.
    pub tls_endpoint: String,
    places: AtomicUsize,
    /// Ends with this process, by the end of its input.
    _process: Child,
    dir: tempfile::TempDir,
}

impl S3Server {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("forge-s3-").tempdir().unwrap();
        let identities = format!(
            r#"{{"identities":[
                {{"name":"forge","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],
                  "actions":["Admin","Read","Write","List","Tagging"]}},
                {{"name":"reader","credentials":[{{"accessKey":"AKREADER","secretKey":"SKREADER"}}],
                  "actions":["Read:{BUCKET}","List:{BUCKET}"]}},
                {{"name":"anonymous","actions":["Read:{BUCKET}"]}}]}}"#
        );
        fs::write(dir.path().join("s3.json"), identities).unwrap();
        make_certificates(dir.path());
        let ports = free_ports();
        let process = start(dir.path(), ports);
        let endpoint = format!("http://127.0.0.1:{}", ports[0]);
        let tls_endpoint = format!("https://127.0.0.1:{}", ports[1]);
        let server = Self { endpoint, tls_endpoint, places: AtomicUsize::new(0), _process: process, dir };
        server.wait_until_it_answers(ports[0]);
        server
    }

    /// Creates the bucket, which works as soon as everything of the server is up.
    fn wait_until_it_answers(&self, port: u16) {
        let started = Instant::now();
        loop {
            let created = Command::new("curl")
                .args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "5"])
                .args(["--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:s3"])
                .args(["--user", &format!("{ACCESS_KEY}:{SECRET_KEY}"), "--request", "PUT"])
                .arg(format!("http://127.0.0.1:{port}/{BUCKET}"))
                .output()
                .expect("curl is needed: apt-get install curl");
            // A bucket is no use before something can be written into it.
            if created.stdout == b"200" || created.stdout == b"409" {
                return;
            }
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(60), "the S3 server does not start:\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The certificate of the authority by which the server proves itself, in PEM.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A prefix that nobody else uses, such as `test-7`.
    pub fn place(&self) -> String {
        format!("{}-{}", std::process::id(), self.places.fetch_add(1, Ordering::Relaxed))
    }

    /// What anybody gets who asks for `key` over plain HTTP: status, headers and body.
    pub fn anonymous(&self, key: &str) -> (u16, String, Vec<u8>) {
        let address = self.endpoint.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /{BUCKET}/{key} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, answer[end + 4..].to_vec())
    }
}

fn make_certificates(dir: &Path) {
    let script = "
        new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        openssl req -x509 $new -subj /CN=authority -days 2 -keyout ca-key.pem -out ca.pem
        openssl req -new $new -subj /CN=s3 -keyout key.pem -out server.csr
        echo subjectAltName=IP:127.0.0.1 > server.ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 \
            -extfile server.ext -out cert.pem";
    let output = Command::new("sh").args(["-euc", script]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn start(dir: &Path, [s3, tls, master, volume, filer]: [u16; 5]) -> Child {
    let weed = weed();
    // When the test process ends, however it does, its end of the pipe closes.
    let script = "\"$@\" < /dev/null & child=$!; cat > /dev/null; kill -9 $child";
    let log = fs::File::create(dir.join("log")).unwrap();
    fs::create_dir(dir.join("data")).unwrap();
    Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(weed)
        .args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"])
        .arg(format!("-dir={}", dir.join("data").display()))
        .arg(format!("-s3.config={}", dir.join("s3.json").display()))
        .args([format!("-s3.port={s3}"), format!("-s3.port.grpc={}", other(s3))])
        .args([format!("-s3.port.https={tls}"), format!("-s3.cert.file={}", dir.join("cert.pem").display())])
        .arg(format!("-s3.key.file={}", dir.join("key.pem").display()))
        .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
        .args([format!("-master.port={master}"), format!("-master.port.grpc={}", other(master))])
        .args([format!("-volume.port={volume}"), format!("-volume.port.grpc={}", other(volume))])
        .args([format!("-filer.port={filer}"), format!("-filer.port.grpc={}", other(filer))])
        .args(["-master.volumeSizeLimitMB=512", "-volume.max=40"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("there is a shell")
}

/// The program, where `tests/prepare` puts it.
fn weed() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/weed");
    assert!(path.is_file(), "this test needs an S3 server, {}: run tests/prepare", path.display());
    path
}

/// Free ports, each with another one that is free.
fn free_ports<const N: usize>() -> [u16; N] {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut found = Vec::new();
    let seed = std::process::id() as u16;
    let mut port = 20_000 + seed % 5_000;
    while found.len() < N {
        if free(port) && free(other(port)) {
            found.push(port);
        }
        port += 1;
    }
    found.try_into().expect("there are as many")
}

/// Below the ports that the kernel gives away by itself.
fn other(port: u16) -> u16 {
    port - 10_000
}
