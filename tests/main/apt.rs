//! Real apt and dpkg, with a system of their own: the machine's is left alone.

#![allow(dead_code, reason = "several test programs use it, each a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A system into which packages are installed.
pub struct System {
    root: PathBuf,
}

impl System {
    pub fn new(root: PathBuf) -> Self {
        for dir in ["etc/apt/sources.list.d", "lib/lists/partial", "cache/archives/partial", "log"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for dir in ["info", "updates", "triggers"] {
            fs::create_dir_all(root.join("target/var/lib/dpkg").join(dir)).unwrap();
        }
        fs::write(root.join("target/var/lib/dpkg/status"), "").unwrap();
        let at = root.display();
        let settings = format!(
            "Dir::State \"{at}/lib\"; Dir::State::status \"{at}/target/var/lib/dpkg/status\";\n\
             Dir::Cache \"{at}/cache\"; Dir::Etc \"{at}/etc/apt\"; Dir::Etc::main \"/dev/null\";\n\
             Dir::Etc::parts \"/dev/null\"; Dir::Etc::trusted \"/dev/null\"; Dir::Etc::trustedparts \"/dev/null\";\n\
             Dir::Log \"{at}/log\"; Acquire::Languages \"none\"; APT::Sandbox::User \"root\";\n\
             APT::Architecture \"amd64\"; APT::Architectures {{ \"amd64\"; }};\n\
             DPkg::Options {{ \"--root={at}/target\"; \"--force-not-root\"; \"--log=/dev/null\"; }};\n"
        );
        fs::write(root.join("apt.conf"), settings).unwrap();
        Self { root }
    }

    /// Puts a file where apt looks for its sources.
    pub fn source(&self, name: &str, text: &str) {
        fs::write(self.root.join("etc/apt/sources.list.d").join(name), text).unwrap();
    }

    /// `apt-get update` in which every warning, and every question, is a failure.
    pub fn update(&self) {
        self.try_update().unwrap();
    }

    pub fn get(&self, arguments: &[&str]) {
        self.try_get(arguments).unwrap();
    }

    /// The same as [`System::update`]; the error is what apt said.
    pub fn try_update(&self) -> Result<(), String> {
        let said = self.try_get(&["--error-on=any", "update"])?;
        let complaint =
            said.lines().any(|line| line.starts_with(['W', 'E', 'N']) && line[1..].starts_with(':'));
        if complaint { Err(said) } else { Ok(()) }
    }

    /// What apt said, whether it succeeded or not.
    pub fn try_get(&self, arguments: &[&str]) -> Result<String, String> {
        let mut apt = Command::new("apt-get");
        apt.args(["-y", "--no-install-recommends"]).args(arguments).stdin(Stdio::null());
        apt.env("APT_CONFIG", self.root.join("apt.conf"))
            .env("LC_ALL", "C.UTF-8")
            .env("no_proxy", "127.0.0.1");
        let output = apt.env("DEBIAN_FRONTEND", "noninteractive").env_remove("http_proxy").output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    /// The text of an installed file.
    pub fn read(&self, path: &str) -> String {
        self.try_read(path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The same; an error if it is not installed.
    pub fn try_read(&self, path: &str) -> std::io::Result<String> {
        fs::read_to_string(self.root.join("target").join(path))
    }
}

/// A place for a web server, known before what it serves.
pub struct Server {
    process: std::cell::OnceCell<Child>,
    port: u16,
    pub url: String,
}

impl Server {
    /// A free port.
    pub fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { process: std::cell::OnceCell::new(), port, url: format!("http://127.0.0.1:{port}") }
    }

    pub fn serve(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        let mut server = Command::new("python3");
        server
            .args(["-m", "http.server", "--bind", "127.0.0.1", &self.port.to_string(), "--directory"])
            .arg(dir);
        let process = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.process.set(process.expect("python3 is needed: apt-get install python3")).unwrap();
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the HTTP server does not start");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = self.process.get_mut() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
