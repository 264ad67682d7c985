//! What tests that sign share.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{KeySource, Secret, SigningKeys, generate_key};

/// 2026-01-01: later than the keys, earlier than any clock that runs these tests.
pub const NOW: u64 = 1_767_225_600;
pub const KEY_TIME: u64 = 1_700_000_000;

pub fn new_key() -> String {
    generate_key("Test <test@example.org>", KEY_TIME, None).unwrap()
}

pub fn source(path: PathBuf) -> KeySource {
    KeySource { key: Secret::File(path), passphrase: None }
}

pub fn load_key(dir: &Path, name: &str, armored: &str) -> SigningKeys {
    let path = dir.join(name);
    fs::write(&path, armored).unwrap();
    SigningKeys::load(&[source(path)], NOW).unwrap()
}

pub fn gpgv(key: &Path, arguments: &[&Path]) -> String {
    let mut gpgv = Command::new("gpgv");
    run(gpgv.args(["--status-fd", "1", "--keyring"]).arg(key).args(arguments))
}

/// Runs a tool that must succeed and gives its standard output.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// GnuPG with a home of its own; its agent ends with it.
pub struct Gpg {
    pub dir: tempfile::TempDir,
}

impl Gpg {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { dir }
    }

    pub fn run(&self, arguments: &[&str]) -> String {
        let mut gpg = Command::new("gpg");
        let time = format!("{KEY_TIME}!");
        gpg.args(["--batch", "--yes", "--pinentry-mode=loopback", "--faked-system-time", &time]);
        run(gpg.arg("--homedir").arg(self.dir.path()).args(arguments))
    }

    /// Makes a key and gives its secret part in a file.
    pub fn make(&self, passphrase: &str, algorithm: &str, usage: &str, expire: &str) -> PathBuf {
        let key = [
            "--passphrase",
            passphrase,
            "--quick-generate-key",
            "Me <me@example.org>",
            algorithm,
            usage,
            expire,
        ];
        self.run(&key);
        self.export(passphrase)
    }

    pub fn export(&self, passphrase: &str) -> PathBuf {
        let path = self.path("secret.asc");
        self.run(&["--passphrase", passphrase, "--armor", "--output", &path, "--export-secret-keys"]);
        path.into()
    }

    pub fn fingerprints(&self) -> Vec<String> {
        let list = self.run(&["--with-colons", "--with-subkey-fingerprint", "--list-keys"]);
        let field = |line: &str| line.split(':').nth(9).map(str::to_owned);
        list.lines().filter(|line| line.starts_with("fpr:")).filter_map(field).collect()
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ =
            Command::new("gpgconf").arg("--homedir").arg(self.dir.path()).args(["--kill", "all"]).status();
    }
}
