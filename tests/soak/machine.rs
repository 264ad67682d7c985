//! Machines with apt or dnf that are subscribed to what is published.

use std::path::{Path, PathBuf};

use super::apt::System;
use super::dnf::Dnf;
use super::site::PACKAGES;

/// To what a machine is subscribed.
pub enum Subscription {
    /// One suite of the apt repository at a URL, signed by the key in a file.
    Apt { url: String, suite: &'static str, key: PathBuf },
    /// The rpm repository at a URL, by its list of mirrors.
    Rpm { url: String },
}

/// A machine.
pub enum Machine {
    Apt(System),
    Dnf(Dnf),
}

impl Machine {
    /// One that knows nothing yet, with its system below `root`.
    pub fn new(subscription: &Subscription, root: &Path) -> Self {
        match subscription {
            Subscription::Apt { url, suite, key } => {
                let system = System::new(root.to_owned());
                let source = format!("deb [signed-by={}] {url} {suite} main\n", key.display());
                system.source("site.list", &source);
                Self::Apt(system)
            }
            Subscription::Rpm { url } => Self::Dnf(Dnf::new(root.to_owned(), url)),
        }
    }

    /// Brings metadata up to date; the error is what the machine said.
    pub fn update(&self) -> Result<(), String> {
        match self {
            Self::Apt(apt) => apt.try_update(),
            Self::Dnf(dnf) => dnf.run(&["--refresh", "makecache"]).map(drop),
        }
    }

    /// Installs the newest versions that it knows of, or upgrades to them.
    pub fn install(&self) -> Result<(), String> {
        let words = ["install", PACKAGES[0], PACKAGES[1]];
        match self {
            Self::Apt(apt) => apt.try_get(&words).map(drop),
            // What is installed it leaves as it is.
            Self::Dnf(dnf) => dnf.run(&words).and_then(|_| dnf.run(&["upgrade"])).map(drop),
        }
    }

    /// The versions that are installed; nothing for what is not.
    pub fn installed(&self) -> [String; PACKAGES.len()] {
        PACKAGES.map(|package| {
            let file = format!("usr/share/{package}/{package}.txt");
            let text = match self {
                Self::Apt(apt) => apt.try_read(&file),
                Self::Dnf(dnf) => dnf.try_read(&file),
            };
            text.unwrap_or_default()
        })
    }
}
