//! Engines that see nothing of this machine's files, over TCP, TLS and ssh.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::engine::Engine;
use super::registry::Registry;
use super::scratch::Scratch;

/// A tool, what is made with it from a file, and an image built on the first.
fn scratch(registry: &Registry) -> Scratch {
    let scratch = Scratch::new(
        &r#"
image "base" {
    registry "@REGISTRY@/base:1" platform="linux/amd64"
}
image "built" {
    dockerfile "Dockerfile" platform="linux/amd64" {
        base "base" "@REGISTRY@/base:1"
    }
}
target "tool" image="base" {
    env "MARK" "@NAME@"
    run "mkdir -p $OUT/tool/bin; echo 'cat $1' > $OUT/tool/bin/show"
    output "tool"
}
target "app" image="built" {
    use "tool" at="/opt/tool"
    files "in.txt" into="."
    env "MARK" "@NAME@"
    run """
        mkdir $OUT/o
        sh /opt/tool/bin/show in.txt > $OUT/o/text
        cat /etc/greeting /etc/hosts /etc/hostname >> $OUT/o/text
        """
    output "o"
}
target "slow" image="base" {
    use "tool" at="/opt/tool"
    env "MARK" "@NAME@"
    run "mkdir $OUT/o; echo up; while :; do read -t 1 line </dev/zero || true; done"
    output "o"
}
"#
        .replace("@REGISTRY@", &registry.address()),
    );
    scratch.write("in.txt", "read by the tool\n");
    scratch.write("Dockerfile", "ARG base\nFROM ${base}\nRUN echo built >> /etc/greeting\n");
    let greeting = format!("from {}\n", scratch.name());
    registry.push("base:1", "linux/amd64", &[("etc/greeting", &greeting)]);
    scratch.ok("update");
    scratch
}

/// What an engine has of these tests.
fn left(engine: &str, what: &[&str]) -> String {
    let output = Command::new("docker").args(["-H", engine]).args(what).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn assert_nothing_left(engine: &str) {
    assert_eq!(left(engine, &["ps", "--all", "--quiet"]), "");
    assert_eq!(left(engine, &["volume", "ls", "--quiet"]), "");
}

#[test]
fn an_engine_elsewhere_makes_the_same_bytes_under_the_same_keys() {
    let (registry, engine) = (Registry::start(), Engine::start(&["-H", "tcp://127.0.0.1:{port}"]));
    let mut scratch = scratch(&registry);
    scratch.ok("run app --runner sandbox");
    let made =
        |scratch: &Scratch| (scratch.plan("app").keys(), scratch.outputs("tool"), scratch.outputs("app"));
    let here = made(&scratch);
    let text = scratch.output_file("app", "text");
    assert!(text.starts_with("read by the tool\n") && text.contains("\nbuilt\n127.0.0.1\t"), "{text}");

    fs::rename(scratch.path("cache"), scratch.path("cache-of-sandbox")).unwrap();
    let done = scratch.ok(&format!("run app --runner sandbox --engine linux/amd64={}", engine.tcp()));
    let notice = format!(" at {}\n", engine.tcp());
    assert!(done.stderr.contains("linux/amd64: as asked for; Docker ") && done.stderr.contains(&notice));
    assert_eq!(made(&scratch), here);
    assert_nothing_left(&engine.tcp());

    fs::rename(scratch.path("cache"), scratch.path("cache-of-engine")).unwrap();
    scratch.env("DOCKER_HOST", engine.tcp());
    scratch.ok("run app --runner docker");
    assert_eq!(made(&scratch), here);
    assert_nothing_left(&engine.tcp());
}

#[test]
fn what_belongs_to_another_platform_or_to_this_machine_stays_here() {
    let scratch = Scratch::new("target \"here\" { run \"mkdir $OUT/o\"; output \"o\" }");
    let engine = Engine::shared();
    let done = scratch.ok(&format!("run --engine linux/amd64={engine}"));
    assert!(done.stderr.contains("done    here"), "{}", done.stderr);
}

#[test]
fn what_a_killed_forge_left_on_an_engine_is_swept() {
    let (registry, engine) = (Registry::start(), Engine::start(&["-H", "tcp://127.0.0.1:{port}"]));
    let mut scratch = scratch(&registry);
    scratch.env("FORGE_ENGINES", format!(" ,linux/amd64={},", engine.tcp()));
    scratch.ok("run tool");
    let running = scratch.start("run slow");
    let holds = |count: usize| left(&engine.tcp(), &["ps", "--all", "--quiet"]).lines().count() == count;
    scratch.wait_until("the command", || !left(&engine.tcp(), &["ps", "--quiet"]).is_empty());
    // The command's own, and the one that holds the tool.
    assert!(holds(2));
    running.kill();
    assert!(holds(2));
    scratch.ok("run app");
    assert_nothing_left(&engine.tcp());

    let interrupted = scratch.start("run slow");
    scratch.wait_until("the command", || !left(&engine.tcp(), &["ps", "--quiet"]).is_empty());
    interrupted.signal(rustix::process::Signal::INT);
    assert_eq!(interrupted.end().0, Some(130));
    assert_nothing_left(&engine.tcp());
}

#[test]
fn an_engine_that_cannot_be_had_is_told_with_its_address() {
    let registry = Registry::start();
    let scratch = scratch(&registry);
    let down = "linux/amd64=tcp://127.0.0.1:1";
    let error = scratch.forge(&format!("run app --engine {down}")).ends_with(1).error_text();
    assert!(error.contains("the Docker engine at tcp://127.0.0.1:1 cannot be reached"), "{error}");
    let twice = format!("run app --engine linux/amd64={0} --engine linux/amd64={0}", Engine::shared());
    let error = scratch.forge(&twice).ends_with(1).error_text();
    assert!(error.contains("linux/amd64 has two engines"), "{error}");
    scratch.forge("run app --engine builder").ends_with(1).says("expected PLATFORM=ADDRESS");
    let mut elsewhere = scratch;
    elsewhere.env("DOCKER_HOST", "builder:2375");
    let error = elsewhere.forge("run app --runner docker").ends_with(1).error_text();
    assert!(error.contains("DOCKER_HOST: 'builder:2375' is no address of an engine"), "{error}");
}

/// Certificates of an authority that nobody else knows.
fn make_certificates(dir: &Path) {
    let script = r#"
        sign() { openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.pem"; }
        openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=authority -days 2 -keyout ca-key.pem -out ca.pem
        for name in server client; do
            openssl req -new -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$name-key.pem" -out "$name.csr"
        done
        printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' > server.ext
        printf 'extendedKeyUsage=clientAuth\n' > client.ext
        sign server
        sign client
        mkdir config
        cp ca.pem config/ca.pem
        cp client.pem config/cert.pem
        cp client-key.pem config/key.pem
    "#;
    let output = Command::new("sh").args(["-euc", script]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_engine_that_asks_for_certificates_gets_those_of_docker() {
    let certificates = tempfile::Builder::new().prefix("forge-tls-").tempdir_in("/var/tmp").unwrap();
    make_certificates(certificates.path());
    let file = |name: &str| certificates.path().join(name).display().to_string();
    let engine = Engine::start(&[
        "--tlsverify",
        "--tlscacert",
        &file("ca.pem"),
        "--tlscert",
        &file("server.pem"),
        "--tlskey",
        &file("server-key.pem"),
        "-H",
        "tcp://127.0.0.1:{port}",
    ]);
    let registry = Registry::start();
    let mut scratch = scratch(&registry);
    let run = format!("run app --engine linux/amd64={}", engine.tcp());
    scratch.forge(&run).ends_with(1).says("cannot be reached");
    scratch.env("DOCKER_CERT_PATH", file("config"));
    scratch.ok(&run);
    assert!(scratch.output_file("app", "text").starts_with("read by the tool\n"));
}

/// The system's ssh server, on a port of its own, and an `ssh` that knows it as `builder`.
struct Sshd {
    dir: tempfile::TempDir,
    process: Child,
}

impl Sshd {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("forge-sshd-").tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = r#"
            mkdir -p /run/sshd bin
            for key in host user; do ssh-keygen -q -t ed25519 -N '' -f "$key"; done
            cp user.pub authorized
            echo "[127.0.0.1]:$1 $(cat host.pub)" > known
            printf '%s\n' "ListenAddress 127.0.0.1:$1" "HostKey $PWD/host" "AuthorizedKeysFile $PWD/authorized" \
                'StrictModes no' 'PidFile none' 'PermitRootLogin prohibit-password' > server
            printf '%s\n' 'Host builder' 'HostName 127.0.0.1' "Port $1" "IdentityFile $PWD/user" \
                "UserKnownHostsFile $PWD/known" 'IdentitiesOnly yes' > client
            printf '#!/bin/sh\nexec /usr/bin/ssh -F %s "$@"\n' "$PWD/client" > bin/ssh
            chmod 755 bin/ssh
        "#;
        let made = Command::new("sh")
            .args(["-euc", script, "sshd", &port.to_string()])
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let process = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.path().join("server"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("this test needs openssh-server ({error}): run tests/prepare"));
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Self { dir, process }
    }

    /// A search path with the `ssh` that knows the server.
    fn path(&self) -> String {
        format!("{}:{}", self.dir.path().join("bin").display(), std::env::var("PATH").unwrap())
    }

    /// Ends every connection, and not the server.
    fn cut(&self) {
        let children = format!("/proc/{0}/task/{0}/children", self.process.id());
        for pid in fs::read_to_string(children).unwrap().split_whitespace() {
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_engine_is_reached_by_ssh_with_the_users_own_settings() {
    let (registry, engine, sshd) = (Registry::start(), Engine::start(&[]), Sshd::start());
    let mut scratch = scratch(&registry);
    scratch.env("PATH", sshd.path());
    let address = format!("ssh://builder{}", engine.socket().display());
    let local = format!("unix://{}", engine.socket().display());
    let done = scratch.ok(&format!("run app --engine linux/amd64={address}"));
    assert!(done.stderr.contains(&format!(" at {address}\n")), "{}", done.stderr);
    assert!(scratch.output_file("app", "text").starts_with("read by the tool\n"));
    assert_nothing_left(&local);

    // A connection that breaks is made again, and the command with it.
    scratch.env("FORGE_ENGINES", format!("linux/amd64={address}"));
    let running = scratch.start("run slow --events events.jsonl");
    scratch.wait_until("the command", || !left(&local, &["ps", "--quiet"]).is_empty());
    let first = left(&local, &["ps", "--quiet"]);
    sshd.cut();
    scratch.await_event("events.jsonl", "node-retried", "slow");
    scratch.wait_until("the command, again", || {
        let now = left(&local, &["ps", "--quiet"]);
        !now.is_empty() && !now.contains(first.trim())
    });
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.end().0, Some(130));
    assert_nothing_left(&local);
    assert_eq!(tunnels(&sshd), Vec::<PathBuf>::new());

    let error =
        scratch.forge("run slow --engine linux/amd64=ssh://no-such-user@builder").ends_with(1).error_text();
    assert!(
        error.contains("ssh does not reach no-such-user@builder: ") && error.contains("Permission denied"),
        "{error}"
    );
}

/// Clients of this server that are still there.
fn tunnels(sshd: &Sshd) -> Vec<PathBuf> {
    let client = sshd.dir.path().join("client").display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_client = |path: &PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&client)
    };
    processes.filter(is_client).collect()
}
