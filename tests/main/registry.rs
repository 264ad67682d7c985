use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Who may use a registry that asks, and with which password: by bcrypt, and by base64.
const HASHED: &str = "reader:$2b$04$QWrdzVQCLt663W9oXi.kO.WbDnzWUv5SMVJydf9L2OLyVjcfQfxOe";
const ENCODED: &str = "cmVhZGVyOm9wZW4gc2VzYW1l";

/// Docker's registry, of Debian's package, on a port of its own. The engine takes plain HTTP from
/// loopback addresses.
pub struct Registry {
    process: Option<Child>,
    dir: tempfile::TempDir,
    port: u16,
    is_private: bool,
}

impl Registry {
    pub fn start() -> Self {
        Self::with(false)
    }

    /// One that asks who it is.
    pub fn start_private() -> Self {
        Self::with(true)
    }

    fn with(is_private: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("forge-registry-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut registry = Self { process: None, dir, port, is_private };
        registry.write_settings();
        registry.go_up();
        registry
    }

    fn write_settings(&self) {
        let dir = self.dir.path().display();
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {dir}/htpasswd}}}}\n");
        let settings = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {dir}/data}}}}\n\
             http: {{addr: \"{}\"}}\n{}",
            self.address(),
            if self.is_private { &auth } else { "" }
        );
        fs::write(self.dir.path().join("settings.yml"), settings).unwrap();
        fs::write(self.dir.path().join("htpasswd"), format!("{HASHED}\n")).unwrap();
    }

    pub fn go_up(&mut self) {
        let log = fs::File::create(self.dir.path().join("log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(self.dir.path().join("settings.yml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("this test needs docker-registry ({error}): run tests/prepare"));
        self.process = Some(process);
        let started = Instant::now();
        while TcpStream::connect(self.address()).is_err() {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(30), "the registry does not start: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn go_down(&mut self) {
        let mut process = self.process.take().expect("it is up");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Puts an image under `name:tag`: busybox, and these files. Gives its digest, `sha256:…`.
    pub fn push(&self, name_and_tag: &str, platform: &str, files: &[(&str, &str)]) -> String {
        let name = format!("{}/{name_and_tag}", self.address());
        let docker = |words: &[&str], stdin: &[u8]| docker(&self.docker_config(), words, stdin);
        docker(&["import", "--platform", platform, "-", &name], &layer(files));
        let said = docker(&["push", &name], &[]);
        // The registry is to be asked for it again.
        docker(&["image", "rm", "--force", &name], &[]);
        let digest = said.rsplit_once("digest: ").expect("a digest is told").1;
        digest.split_whitespace().next().unwrap().to_owned()
    }

    /// Puts a list of manifests under `name:tag`: of each its platform and its digest.
    pub fn push_list(&self, name: &str, tag: &str, images: &[(&str, &str)]) -> String {
        let kind = "application/vnd.docker.distribution.manifest.list.v2+json";
        let manifests = images.iter().map(|(platform, digest)| {
            let (os, architecture) = platform.split_once('/').unwrap();
            serde_json::json!({
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "size": fs::metadata(self.blob(digest)).unwrap().len(),
                "digest": digest,
                "platform": { "os": os, "architecture": architecture },
            })
        });
        let manifests: Vec<_> = manifests.collect();
        let list = serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests });
        let url = format!("http://{}/v2/{name}/manifests/{tag}", self.address());
        let answer = ureq::put(&url).header("content-type", kind).send(list.to_string()).unwrap();
        answer.headers()["docker-content-digest"].to_str().unwrap().to_owned()
    }

    /// The file that holds the blob of this digest.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.dir.path().join("data/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// The digest of an image's settings, which name its layers.
    pub fn settings_of(&self, image: &str) -> String {
        let manifest = fs::read(self.blob(image)).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        manifest["config"]["digest"].as_str().unwrap().to_owned()
    }

    /// A directory as `docker login` leaves it.
    pub fn docker_config(&self) -> PathBuf {
        let dir = self.dir.path().join("docker");
        fs::create_dir_all(&dir).unwrap();
        let auth = serde_json::json!({ "auths": { self.address(): { "auth": ENCODED } } });
        fs::write(dir.join("config.json"), auth.to_string()).unwrap();
        dir
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.go_down();
        }
    }
}

fn docker(config: &PathBuf, words: &[&str], stdin: &[u8]) -> String {
    let mut child = Command::new("docker")
        .args(words)
        .env("DOCKER_CONFIG", config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs docker ({error}): run tests/prepare"));
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "docker {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A root with a shell, as a tar.
fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find_map(|path| fs::read(path).ok());
    let busybox = busybox.expect("this test needs busybox-static: run tests/prepare");
    let mut archive = tar::Builder::new(Vec::new());
    // A directory that no layer names gets another mode from every engine.
    let parents = files.iter().flat_map(|(path, _)| Path::new(path).ancestors().skip(1));
    let dirs: BTreeSet<&Path> = parents.chain([Path::new("bin")]).collect();
    for dir in dirs.into_iter().filter(|dir| !dir.as_os_str().is_empty()) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        archive.append_data(&mut header, dir.join(""), std::io::empty()).unwrap();
    }
    let mut add = |path: &str, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, bytes).unwrap();
    };
    add("bin/busybox", 0o755, &busybox);
    files.iter().for_each(|(path, text)| add(path, 0o644, text.as_bytes()));
    for applet in ["sh", "cat", "cp", "mkdir"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    archive.into_inner().unwrap()
}
