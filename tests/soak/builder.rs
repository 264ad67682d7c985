//! A machine on which forge builds and publishes.

use std::time::Duration;

use super::fault_proxy::FaultProxy;
use super::s3_server::{ACCESS_KEY, BUCKET, SECRET_KEY, s3_server};
use super::scratch::{Running, Scratch};
use super::site::{ALIAS, KEEP, OWN_SUITES, PACKAGES, Versions};

/// Packages that forge writes itself, so that a publish is quick: nothing is built in a sandbox.
const BUILDFILE: &str = r#"
axis "os" {
    SUITES
    value "el9" format="rpm"
}
PACKAGES
index "apt" {
    packages "tool" "tool-data"
    suite "{os}"
    alias "ALIAS" of="ALIASED"
    keep versions=KEEP
}
index "rpm" format="rpm" over="os" {
    where os.format="rpm"
    packages "tool" "tool-data"
    compression "gz"
    keep versions=KEEP
}
key "archive" {
    file "keys/archive.asc"
}
publish "site" to="s3://BUCKET/PLACE" {
    s3 endpoint="ENDPOINT" path-style=#true
    url "URL"
    index "apt" at="apt"
    index "rpm" at="rpm"
    sign "archive"
    retention days=2
}
"#;

const PACKAGE: &str = r#"
package "NAME" over="os" arch="all" format="{os.format}" {
    version "VERSION" iteration="1"
    maintainer "Somebody <somebody@example.org>"
    summary "something small"
    license "MIT"
    copyright "copyright"
    files "NAME.txt" to="/usr/share/NAME"
}
"#;

/// A directory with a Buildfile and a store. Its requests to the bucket are counted on their way.
pub struct Builder {
    pub scratch: Scratch,
    wire: FaultProxy,
}

impl Builder {
    /// One that knows the bucket.
    pub fn new() -> Self {
        let mut scratch = Scratch::new("");
        scratch.env("AWS_ACCESS_KEY_ID", ACCESS_KEY);
        scratch.env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        scratch.env("AWS_EC2_METADATA_DISABLED", "true");
        scratch.write("copyright", "Do with it what you like.\n");
        Self { scratch, wire: FaultProxy::new(&s3_server().endpoint) }
    }

    /// Writes the Buildfile and what belongs to it. `place` is where objects go, `url` where clients find them.
    pub fn write(&self, versions: Versions, place: &str, url: &str) {
        let suites = OWN_SUITES.map(|suite| format!("value \"{suite}\" format=\"deb\"\n"));
        let mut packages = String::new();
        for (name, version) in PACKAGES.iter().zip(versions.texts()) {
            self.scratch.write(&format!("{name}.txt"), &version);
            packages += &PACKAGE.replace("NAME", name).replace("VERSION", &version);
        }
        let text = BUILDFILE
            .replace("SUITES", &suites.concat())
            .replace("PACKAGES", &packages)
            .replace("ALIASED", ALIAS.0)
            .replace("ALIAS", ALIAS.1)
            .replace("KEEP", &KEEP.to_string())
            .replace("BUCKET", BUCKET)
            .replace("PLACE", place)
            .replace("ENDPOINT", &self.wire.endpoint)
            .replace("URL", url);
        self.scratch.write("Buildfile.kdl", &text);
    }

    /// How many requests it has made.
    pub fn requests(&self) -> usize {
        self.wire.requests("")
    }

    /// Waits until a run has begun so many requests; `false` if it ended before.
    pub fn reaches(&self, requests: usize, run: &mut Running) -> bool {
        let at = self.requests() + requests;
        while !run.is_over() {
            if self.requests() >= at {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// Waits for the end of a run, which has to be a good one.
    pub fn must_end_well(&self, run: Running) {
        let (code, _) = run.end();
        assert_eq!(code, Some(0), "forge said:\n{}", self.scratch.read("out"));
    }

    /// How often it has written the state of a repository at `place`: a publish does it to decide, and to say that all
    /// is done.
    pub fn states_written(&self, place: &str, prefix: &str) -> usize {
        self.wire.requests(&format!("PUT /{BUCKET}/{place}/{prefix}/.forge/state.json"))
    }

    /// Whether its last run was told that somebody else published.
    pub fn lost(&self) -> bool {
        self.scratch.read("out").contains("somebody else published")
    }
}
