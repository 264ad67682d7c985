//! Debian's aptly, publishing the same packages to the same server.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::s3_server::{ACCESS_KEY, BUCKET, SECRET_KEY, s3_server};
use super::site::{ALIAS, KEEP, OWN_SUITES, PACKAGES, Publisher, Site, Versions};

/// aptly as a publisher. It is not killed and does not race.
pub struct Aptly {
    acquire_by_hash: bool,
    dir: tempfile::TempDir,
    place: String,
    url: String,
    versions: Versions,
    /// The versions of each package in each suite, oldest first.
    held: BTreeMap<(&'static str, usize), Vec<String>>,
}

impl Aptly {
    /// Clients find the bucket's objects at `url`.
    pub fn new(url: &str, acquire_by_hash: bool) -> Self {
        let place = s3_server().place();
        let dir = tempfile::Builder::new().prefix("forge-aptly-").tempdir().unwrap();
        let url = format!("{url}/{place}");
        let (versions, held) = (Versions::default(), BTreeMap::new());
        let aptly = Self { acquire_by_hash, dir, place, url, versions, held };
        aptly.configure();
        aptly
    }

    fn configure(&self) {
        let configuration = serde_json::json!({
            "rootDir": self.path("root"),
            "gpgProvider": "gpg",
            "S3PublishEndpoints": { "soak": {
                "region": "us-east-1",
                "bucket": BUCKET,
                "endpoint": s3_server().endpoint,
                "prefix": self.place,
                "acl": "private",
                "awsAccessKeyID": ACCESS_KEY,
                "awsSecretAccessKey": SECRET_KEY,
            } },
        });
        fs::write(self.path("aptly.conf"), configuration.to_string()).unwrap();
        fs::create_dir(self.path("gnupg")).unwrap();
        fs::set_permissions(self.path("gnupg"), fs::Permissions::from_mode(0o700)).unwrap();
        let identity = "Archive <archive@example.org>";
        let generate = ["--batch", "--passphrase", "", "--quick-generate-key", identity, "ed25519", "sign"];
        self.run("gpg", &generate);
        let key = self.path("archive.asc");
        self.run("gpg", &["--armor", "--output", key.to_str().unwrap(), "--export"]);
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Runs a program that has to succeed.
    fn run(&self, program: &str, words: &[&str]) {
        let mut command = Command::new(program);
        command.args(words).current_dir(self.dir.path()).env("GNUPGHOME", self.path("gnupg"));
        command.env_remove("http_proxy").env("no_proxy", "127.0.0.1").env("LC_ALL", "C.UTF-8");
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{program} is needed, run tests/soak/run: {error}"));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{program} {words:?}: {said}");
    }

    fn aptly(&self, words: &[&str]) {
        self.run("aptly", &[&["-config=aptly.conf"], words].concat());
    }

    /// Puts the newest version of a package into the repositories of these suites, and takes out what is not
    /// to be kept.
    fn add(&mut self, package: usize, suites: &[&'static str]) {
        let name = PACKAGES[package];
        let deb = self.build(package);
        for suite in suites {
            self.aptly(&["repo", "add", suite, &deb]);
            let held = self.held.entry((suite, package)).or_default();
            held.push(self.versions.texts()[package].clone());
            if held.len() > KEEP {
                let dropped = held.remove(0);
                self.aptly(&["repo", "remove", suite, &format!("{name} (= {dropped}-1)")]);
            }
        }
    }

    /// The newest version of a package; gives the name of its file.
    fn build(&self, package: usize) -> String {
        let (name, version) = (PACKAGES[package], &self.versions.texts()[package]);
        let (tree, deb) = (format!("{name}-{version}"), format!("{name}_{version}-1_all.deb"));
        let share = self.path(&tree).join("usr/share").join(name);
        fs::create_dir_all(&share).unwrap();
        fs::write(share.join(format!("{name}.txt")), version).unwrap();
        fs::create_dir(self.path(&tree).join("DEBIAN")).unwrap();
        let control = format!(
            "Package: {name}\nVersion: {version}-1\nArchitecture: all\nSection: misc\nPriority: optional\n\
             Maintainer: Somebody <somebody@example.org>\nDescription: something small\n"
        );
        fs::write(self.path(&tree).join("DEBIAN/control"), control).unwrap();
        self.run("dpkg-deb", &["--root-owner-group", "--build", &tree, &deb]);
        deb
    }

    /// Publishes these suites anew, and the alias where it is of one of them.
    fn update(&self, suites: &[&str]) {
        let alias = suites.contains(&ALIAS.0).then_some(ALIAS.1);
        for suite in suites.iter().copied().chain(alias) {
            self.aptly(&["publish", "update", "-batch", suite, "s3:soak:"]);
        }
    }
}

impl Publisher for Aptly {
    fn name(&self) -> String {
        format!("aptly{}", if self.acquire_by_hash { " -acquire-by-hash" } else { "" })
    }

    fn begin(&mut self) -> Site {
        OWN_SUITES.iter().for_each(|suite| self.aptly(&["repo", "create", suite]));
        (0..PACKAGES.len()).for_each(|package| self.add(package, &OWN_SUITES));
        for (repository, suite) in OWN_SUITES.map(|suite| (suite, suite)).into_iter().chain([ALIAS]) {
            let (distribution, by_hash) =
                (format!("-distribution={suite}"), format!("-acquire-by-hash={}", self.acquire_by_hash));
            let architectures = "-architectures=amd64,all";
            let words =
                ["publish", "repo", "-batch", architectures, &distribution, &by_hash, repository, "s3:soak:"];
            self.aptly(&words);
        }
        Site { apt: self.url.clone(), key: self.path("archive.asc"), rpm: None }
    }

    fn publish(&mut self, at: usize, of: usize) -> usize {
        self.versions.raise(0);
        let suites = match at % 3 == 2 && at + 1 < of {
            true => &OWN_SUITES[1..],
            false => {
                self.versions.raise(1);
                self.add(1, &OWN_SUITES);
                &OWN_SUITES[..]
            }
        };
        self.add(0, suites);
        self.update(suites);
        1
    }

    fn versions(&self) -> [String; PACKAGES.len()] {
        self.versions.texts()
    }
}

impl Drop for Aptly {
    fn drop(&mut self) {
        // gpg leaves something that keeps its keys.
        let mut gpgconf = Command::new("gpgconf");
        let _ = gpgconf.args(["--kill", "all"]).env("GNUPGHOME", self.path("gnupg")).status();
    }
}
