//! What stands between the bucket and its clients: Varnish, which keeps each object for a time of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::clock::DAY;

/// In how many places it has a cache of its own.
const PLACES: usize = 2;

/// Caches that take no notice of headers, neither those of the bucket nor those of clients. Each time one of them
/// fetches an object it draws a time between nothing and a day, and gives out what it fetched until that is over.
/// Each request comes to any of them, so that a client may see time go backwards.
pub struct Cdn {
    /// Where clients find the bucket's objects: below it their keys.
    pub url: String,
    /// Ends with this process, by the end of its input.
    process: Child,
    dir: tempfile::TempDir,
}

impl Cdn {
    /// Before the server at `endpoint`, for objects of `bucket`.
    pub fn start(endpoint: &str, bucket: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("forge-cdn-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::write(dir.path().join("cdn.vcl"), configuration(endpoint)).unwrap();
        let process = start(dir.path(), port);
        let cdn = Self { url: format!("http://127.0.0.1:{port}/{bucket}"), process, dir };
        cdn.wait_until_it_listens(port);
        cdn
    }

    fn wait_until_it_listens(&self, port: u16) {
        for _ in 0..400 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        panic!("varnish does not start; it is needed: tests/prepare installs it\n{log}");
    }

    /// How many requests it answered from what it held, and how many it asked the bucket for.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        let mut stat = Command::new("varnishstat");
        let output = stat.arg("-n").arg(self.dir.path().join("work")).arg("-1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let count = |name: &str| {
            let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let line = lines.find(|line| line.first() == Some(&name));
            line.unwrap_or_else(|| panic!("no {name} in {text}"))[1].parse().unwrap()
        };
        (count("MAIN.cache_hit"), count("MAIN.cache_miss"))
    }
}

impl Drop for Cdn {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// A 404 is kept for ten seconds of a day, as CloudFront does unless told otherwise. What goes wrong between
/// cache and bucket is tried again, as it does too, and reaches a client only if it stays.
fn configuration(endpoint: &str) -> String {
    let (host, port) = endpoint.strip_prefix("http://").unwrap().split_once(':').unwrap();
    let day = DAY.as_secs_f64();
    let of_errors = day * 10.0 / 86_400.0;
    format!(
        r#"vcl 4.1;
import std;
backend bucket {{ .host = "{host}"; .port = "{port}"; }}
sub vcl_recv {{
    return (hash);
}}
sub vcl_hash {{
    hash_data(req.url);
    hash_data("in place " + std.integer(real = std.random(0.0, {PLACES}.0)));
    return (lookup);
}}
sub vcl_backend_response {{
    if (beresp.status >= 500 && bereq.retries < 3) {{
        return (retry);
    }}
    # A client gets the whole of an object or none of it.
    set beresp.do_stream = false;
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    if (beresp.status == 200) {{
        set beresp.ttl = std.duration(real = std.random(0.0, {day:.3}));
    }} else {{
        set beresp.ttl = {of_errors:.3}s;
    }}
    return (deliver);
}}
sub vcl_backend_error {{
    if (bereq.retries < 3) {{
        return (retry);
    }}
}}
"#
    )
}

fn start(dir: &Path, port: u16) -> Child {
    // When the test process ends, however it does, its end of the pipe closes.
    let script = "\"$@\" < /dev/null & child=$!; cat > /dev/null; kill $child; wait $child";
    let log = fs::File::create(dir.join("log")).unwrap();
    Command::new("sh")
        .args(["-c", script, "sh", "/usr/sbin/varnishd", "-F", "-j", "none", "-T", "none"])
        .arg("-n")
        .arg(dir.join("work"))
        .args(["-a", &format!("127.0.0.1:{port}"), "-s", "malloc,128m"])
        // The bucket's server would compress, and a cache that unpacks again is another thing.
        .args(["-p", "http_gzip_support=off"])
        .arg("-f")
        .arg(dir.join("cdn.vcl"))
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("there is a shell")
}
