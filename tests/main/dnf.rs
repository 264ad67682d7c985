//! Real dnf and rpm, with a system of their own: the machine's is left alone.

#![allow(dead_code, reason = "several test programs use it, each a part of it")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A system into which packages are installed.
pub struct Dnf {
    root: PathBuf,
}

impl Dnf {
    /// One that is subscribed to the signed repository at `url`, by its list of mirrors.
    pub fn new(root: PathBuf, url: &str) -> Self {
        for below in ["target", "log"] {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        let at = root.display();
        let settings = format!(
            "[main]\ncachedir={at}/cache\nlogdir={at}/log\npersistdir={at}/persist\nreposdir=/dev/null\n\
             varsdir=/dev/null\nplugins=0\n[site]\nname=site\nmirrorlist={url}/mirrorlist\nrepo_gpgcheck=1\n\
             gpgcheck=0\ngpgkey={url}/key.asc\n"
        );
        fs::write(root.join("dnf.conf"), settings).unwrap();
        Self { root }
    }

    /// What dnf said, whether it succeeded or not.
    pub fn run(&self, words: &[&str]) -> Result<String, String> {
        let mut dnf = Command::new("dnf");
        dnf.args(["-y", "--releasever=9", "-c"]).arg(self.root.join("dnf.conf"));
        dnf.arg(format!("--installroot={}/target", self.root.display())).args(words);
        dnf.env("LC_ALL", "C.UTF-8").env_remove("http_proxy").env("no_proxy", "127.0.0.1");
        let Output { status, stdout, stderr } = dnf.output().expect("dnf is installed (tests/prepare)");
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        if status.success() { Ok(said) } else { Err(said) }
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
