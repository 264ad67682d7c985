//! A second Docker Engine on this machine, which does not see the files of the tests: what an
//! engine on another machine is to forge.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// Starts dockerd with files, a network and a view of /tmp of its own, and ends it, and all that
/// is left of it, when its standard input ends: so when the process of the tests does.
const SCRIPT: &str = r#"
set -eu
dir=$1; port=$2; bridge=fe$port; shift 2
end() {
    if [ -n "${pid:-}" ]; then kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; fi
    ip link del "$bridge" 2>/dev/null || true
    umount "$dir/tmp" /tmp 2>/dev/null || true
    rm -rf "$dir"
}
trap end EXIT
mkdir -p "$dir"
mount --make-rprivate /
ip link add "$bridge" type bridge
ip address add "10.$((port % 200 + 20)).$((port / 256)).1/24" dev "$bridge"
ip link set "$bridge" up
echo '{}' >"$dir/settings"
mount -t tmpfs none /tmp
DOCKER_TMPDIR="$dir/t" dockerd --config-file "$dir/settings" --data-root "$dir/data" --exec-root "$dir/exec" \
    --pidfile "$dir/pid" --bridge "$bridge" --iptables=false --ip-forward=false --ip-masq=false \
    --storage-driver vfs -H "unix://$dir/socket" "$@" >"$dir/log" 2>&1 &
pid=$!
tries=0
until docker -H "unix://$dir/socket" version >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ] || ! kill -0 "$pid" 2>/dev/null; then tail -5 "$dir/log"; exit 1; fi
    sleep 0.1
done
echo up
cat >/dev/null
"#;

/// The engine; it goes with this, or with the process.
pub struct Engine {
    process: Child,
    dir: PathBuf,
    port: u16,
}

impl Engine {
    /// `options` are more of dockerd's. `{dir}` and `{port}` in them stand for its own.
    pub fn start(options: &[&str]) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Not in /tmp, which it is not to see.
        let dir = PathBuf::from(format!("/var/tmp/forge-engine-{port}"));
        let options = options.iter().map(|option| {
            option.replace("{dir}", dir.to_str().unwrap()).replace("{port}", &port.to_string())
        });
        let mut process = Command::new("unshare")
            .args(["--mount", "sh", "-c", SCRIPT, "engine"])
            .arg(&dir)
            .arg(port.to_string())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs unshare");
        let mut said = String::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        while let Some(line) = lines.next().filter(|line| line != "up") {
            said.push_str(&line);
        }
        let engine = Self { process, dir, port };
        assert!(engine.socket().exists(), "this test needs root, docker.io and iproute2: {said}");
        engine
    }

    /// One that listens on TCP without asking who comes, shared by the tests of this process.
    pub fn shared() -> String {
        static SHARED: OnceLock<Mutex<Engine>> = OnceLock::new();
        let engine = SHARED.get_or_init(|| Mutex::new(Self::start(&["-H", "tcp://127.0.0.1:{port}"])));
        engine.lock().unwrap().tcp()
    }

    pub fn tcp(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// Its socket on this machine; gone when it is.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
