//! Publishing to a bucket that is 20 ms away, and the shared cache, against aptly, the AWS CLI and rclone.
//!
//! All sides use one real S3 server on this machine. Each side's packages, or files, are there before it is timed.

#[path = "../../src/s3/delay_proxy.rs"]
mod delay_proxy;
#[path = "../../src/s3/testing.rs"]
mod server;

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use delay_proxy::DelayProxy;
use forge::store::{Kind, LocalStore};
use server::{ACCESS_KEY, BUCKET, SECRET_KEY, s3_server};

use crate::pairs::{Pairs, compare};
use crate::report::Section;
use crate::tool::run;

/// What each request to the bucket takes longer.
const AWAY: Duration = Duration::from_millis(20);
/// How many packages are published.
const PACKAGES: usize = 500;
/// How long each package's one file is, in bytes that do not compress.
const FILE: u64 = 20_000;
/// How many results are restored.
const RESULTS: usize = 10_000;

/// Publishing.
pub fn publishing() -> Section {
    let mut section = Section::new("Publishing to a bucket", "s3");
    let (rclone, aws) = (tool("rclone"), tool("aws"));
    for peer in [&["aptly", "version"][..], &[&rclone, "version"], &[&aws, "--version"]] {
        section.peer(peer);
    }
    compare_publishing(&mut section, &rclone, &aws);
    section
}

/// The shared cache.
pub fn restoring() -> Section {
    let mut section = Section::new("Restoring from the shared cache", "s3-cache");
    let rclone = tool("rclone");
    section.peer(&[&rclone, "version"]);
    compare_restoring(&mut section, &rclone);
    section
}

fn compare_publishing(section: &mut Section, rclone: &str, aws: &str) {
    let far = DelayProxy::new(&s3_server().endpoint, AWAY);
    let site = Publisher::new(&far);
    let aptly = Aptly::new(&far, &site.pool());
    let counted = |work: &dyn Fn()| {
        let before = far.requests();
        work();
        far.requests() - before
    };
    let (ours, theirs) = (Cell::new(0), Cell::new(0));

    let to_new_place = || site.publish_to(&s3_server().place());
    let first = format!("publish of {PACKAGES} packages, each request {} ms longer", AWAY.as_millis());
    let again = "the same, again, with one package more";
    let requests = |section: &mut Section, work: &str, peer: &str, aim: f64| {
        let ratio = ours.get() as f64 / theirs.get() as f64;
        let (ours, theirs) = (ours.get().to_string(), theirs.get().to_string());
        section.row(&format!("{work}: requests"), peer, &ours, &theirs, ratio, aim);
    };
    let pairs = compare(
        to_new_place,
        |()| ours.set(counted(&|| site.forge("run site"))),
        || s3_server().place(),
        |place| theirs.set(counted(&|| aptly.publish(&place))),
    );
    section.compared(&first, "aptly", &pairs, 1.0);
    requests(section, &first, "aptly", 1.0);
    let place = s3_server().place();
    aptly.publish(&place);
    let pairs = compare(
        || site.add_one(),
        |()| ours.set(counted(&|| site.forge("run site"))),
        || aptly.add(&site.add_one_locally()),
        |()| theirs.set(counted(&|| aptly.update(&place))),
    );
    section.compared(again, "aptly", &pairs, 0.05);
    requests(section, again, "aptly", 1.0);

    for (peer, sync) in [("aws s3 sync", aws), ("rclone sync", rclone)] {
        let sync = |place: &str| sync_to(peer, sync, &far, &site.local(), place);
        let pairs = compare(
            to_new_place,
            |()| ours.set(counted(&|| site.forge("run site"))),
            || s3_server().place(),
            |place| theirs.set(counted(&|| sync(&place))),
        );
        section.compared(&first, peer, &pairs, 1.0);
        requests(section, &first, peer, 1.0);
        let place = s3_server().place();
        sync(&place);
        let pairs = compare(
            || site.add_one(),
            |()| ours.set(counted(&|| site.forge("run site"))),
            || drop(site.add_one_locally()),
            |()| theirs.set(counted(&|| sync(&place))),
        );
        section.compared(again, peer, &pairs, 1.0);
        requests(section, again, peer, 1.0);
    }
    section.note(
        "What is timed is the publish alone: forge's packages are built and indexed, aptly's are in its repository, and what \
         the others copy is the directory that forge published the same packages to. aptly signs with gpg, writes by-hash \
         names and gz and bz2; forge writes by-hash names, xz and gz, and `Contents`. `aws s3 sync` and `rclone sync` do not sign, keep \
         no order, and list the bucket each time.",
    );
    section.note(
        "The aim is a twentieth of aptly's time. aptly makes its requests one after another. forge makes those of a re-publish in \
         six steps, each of which waits for the one before: the state, and beside it the generation that it named last; all that is new; the \
         decision; plain files; `InRelease`; and that all is done. The rest is the start of the program, its plan and the making of the next \
         generation, beside which the service is probed.",
    );
}

/// forge, and a matrix of small packages, for a bucket and for a directory.
struct Publisher {
    dir: tempfile::TempDir,
    endpoint: String,
    /// The version of the package that is another each time.
    version: Cell<u32>,
    local_version: Cell<u32>,
    place: RefCell<String>,
}

impl Publisher {
    fn new(far: &DelayProxy) -> Self {
        let dir = tempfile::Builder::new().prefix("forge-bench-").tempdir().unwrap();
        let publisher = Self {
            dir,
            endpoint: far.endpoint.clone(),
            version: Cell::new(0),
            local_version: Cell::new(0),
            place: RefCell::new(s3_server().place()),
        };
        fs::write(publisher.path("copyright"), "Do with it what you like.\n").unwrap();
        noise(&publisher.path("data"), FILE);
        publisher.write();
        let output =
            publisher.command("key new keys/archive.asc --user-id bench@example.org").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        publisher.forge("run local apt");
        publisher
    }

    fn write(&self) {
        let values = (0..PACKAGES).map(|at| {
            let version = if at == 0 { self.version.get().max(self.local_version.get()) } else { 0 };
            format!("    value \"{at:03}\" version=\"1.{version}\"\n")
        });
        let text = format!(
            r#"axis "n" {{
{}}}
package "sample" over="n" arch="amd64" {{
    name "sample-{{n}}"
    version "{{n.version}}"
    maintainer "Somebody <somebody@example.org>"
    summary "a sample"
    copyright "copyright"
    files "data" to="/usr/share/sample"
}}
index "apt" {{
    packages "sample"
    suite "stable"
}}
key "archive" {{
    file "keys/archive.asc"
}}
publish "site" to="s3://{BUCKET}/{}" {{
    s3 endpoint="{}" path-style=#true
    index "apt" at="apt"
    sign "archive"
}}
publish "local" to="public" {{
    index "apt" at="apt"
    sign "archive"
}}
"#,
            values.collect::<String>(),
            self.place.borrow(),
            self.endpoint,
        );
        fs::write(self.path("Buildfile.kdl"), text).unwrap();
    }

    /// The next publish is the first one there.
    fn publish_to(&self, place: &str) {
        *self.place.borrow_mut() = place.to_owned();
        self.write();
    }

    /// A package more, built and indexed.
    fn add_one(&self) {
        self.version.set(self.version.get().max(self.local_version.get()) + 1);
        self.write();
        self.forge("run apt");
    }

    /// The same, published in the directory. Gives the package.
    fn add_one_locally(&self) -> PathBuf {
        let version = self.version.get().max(self.local_version.get()) + 1;
        self.local_version.set(version);
        self.write();
        self.forge("run local");
        let name = format!("sample-000_1.{version}_amd64.deb");
        let mut files = walkdir::WalkDir::new(self.pool()).into_iter().map(Result::unwrap);
        files.find(|file| file.file_name() == name.as_str()).expect("it was published").into_path()
    }

    fn local(&self) -> PathBuf {
        self.path("public/apt")
    }

    fn pool(&self) -> PathBuf {
        self.local().join("pool")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, words: &str) -> Command {
        forge(self.dir.path(), words)
    }

    fn forge(&self, words: &str) {
        run(&mut self.command(words));
    }
}

/// aptly with a repository of the same packages.
struct Aptly {
    dir: tempfile::TempDir,
}

impl Aptly {
    fn new(far: &DelayProxy, pool: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("aptly-bench-").tempdir().unwrap();
        let at = dir.path().display();
        let endpoint = format!(
            r#"{{"region": "us-east-1", "bucket": "{BUCKET}", "endpoint": "{}", "awsAccessKeyID": "{ACCESS_KEY}",
                "awsSecretAccessKey": "{SECRET_KEY}", "acl": "private"}}"#,
            far.endpoint
        );
        let config = format!(r#"{{"rootDir": "{at}/aptly", "S3PublishEndpoints": {{"far": {endpoint}}}}}"#);
        fs::write(dir.path().join("aptly.conf"), config).unwrap();
        let aptly = Self { dir };
        fs::create_dir(aptly.dir.path().join("gnupg")).unwrap();
        run(Command::new("chmod").args(["700"]).arg(aptly.dir.path().join("gnupg")));
        let mut gpg = aptly.prepared(Command::new("gpg"));
        run(gpg.args([
            "--batch",
            "--passphrase",
            "",
            "--quick-generate-key",
            "bench@example.org",
            "default",
        ]));
        run(&mut aptly.aptly(&["repo", "create", "-distribution=stable", "-component=main", "bench"]));
        aptly.add(pool);
        aptly
    }

    fn add(&self, packages: &Path) {
        run(self.aptly(&["repo", "add", "bench"]).arg(packages));
    }

    /// Publishes for the first time.
    fn publish(&self, place: &str) {
        let words = ["publish", "repo", "-batch", "-acquire-by-hash", "-architectures=amd64", "bench"];
        run(self.aptly(&words).arg(format!("s3:far:{place}")));
    }

    fn update(&self, place: &str) {
        run(self.aptly(&["publish", "update", "-batch", "stable"]).arg(format!("s3:far:{place}")));
    }

    fn aptly(&self, words: &[&str]) -> Command {
        let mut command = self.prepared(Command::new("aptly"));
        command.arg(format!("-config={}", self.dir.path().join("aptly.conf").display())).args(words);
        command
    }

    fn prepared(&self, mut command: Command) -> Command {
        command.env("GNUPGHOME", self.dir.path().join("gnupg"));
        command
    }
}

/// What clients find of the directory `from` comes into the bucket.
fn sync_to(peer: &str, program: &str, far: &DelayProxy, from: &Path, place: &str) {
    let mut command = match peer {
        "rclone sync" => {
            let mut command = rclone(program, &far.endpoint);
            command.args(["sync", "--copy-links", "--exclude", ".generations/**"]).arg(from);
            command.arg(format!(":s3:{BUCKET}/{place}"));
            command
        }
        _ => {
            let mut command = Command::new(program);
            command.args([
                "s3",
                "sync",
                "--quiet",
                "--exclude",
                ".generations/*",
                "--endpoint-url",
                &far.endpoint,
            ]);
            command.arg(from).arg(format!("s3://{BUCKET}/{place}"));
            command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
            command.env("AWS_DEFAULT_REGION", "us-east-1");
            command
        }
    };
    run(&mut command);
}

fn rclone(program: &str, endpoint: &str) -> Command {
    let mut command = Command::new(program);
    command.args([
        "--config",
        "",
        "--s3-provider",
        "SeaweedFS",
        "--s3-endpoint",
        endpoint,
        "--s3-region",
        "us-east-1",
    ]);
    command.args(["--s3-access-key-id", ACCESS_KEY, "--s3-secret-access-key", SECRET_KEY, "--quiet"]);
    command
}

fn compare_restoring(section: &mut Section, rclone_program: &str) {
    let dir = tempfile::Builder::new().prefix("forge-bench-").tempdir().unwrap();
    let far = DelayProxy::new(&s3_server().endpoint, Duration::ZERO);
    let near = &s3_server().endpoint;
    let (small, large) = (s3_server().place(), s3_server().place());
    let write = |endpoint: &str, place: &str, results: usize| {
        let values: String = (0..results).map(|at| format!("    value \"{at:05}\"\n")).collect();
        let text = format!(
            r#"cache "s3://{BUCKET}/{place}" {{
    s3 endpoint="{endpoint}" path-style=#true
}}
axis "n" {{
{values}}}
package "sample" over="n" arch="amd64" {{
    name "sample-{{n}}"
    version "1.0"
    maintainer "Somebody <somebody@example.org>"
    summary "a sample"
    copyright "copyright"
    files "copyright" to="/usr/share/sample"
    compression "gzip"
}}
target "tree" {{
    run """
        mkdir $OUT/o
        for at in $(seq 2000); do head -c 100000 /dev/urandom > $OUT/o/small-$at; done
        for at in $(seq 10); do head -c 10000000 /dev/urandom > $OUT/o/large-$at; done
        """
    output "o"
}}
"#
        );
        fs::write(dir.path().join("Buildfile.kdl"), text).unwrap();
    };
    fs::write(dir.path().join("copyright"), "Do with it what you like.\n").unwrap();

    write(near, &small, RESULTS);
    run(&mut forge(dir.path(), "run sample --store full --jobs 64"));
    write(near, &large, 1);
    run(&mut forge(dir.path(), "run tree --store full"));

    // The same bytes as plain objects, for rclone.
    for (results, place, words) in [(RESULTS, &small, "sample"), (1, &large, "tree")] {
        write(near, place, results);
        let plain = dir.path().join("plain");
        write_outputs(dir.path(), &plain, words);
        let mut upload = rclone(rclone_program, near);
        run(upload
            .args(["copy", "--transfers", "16"])
            .arg(&plain)
            .arg(format!(":s3:{BUCKET}/{place}-plain")));
        fs::remove_dir_all(&plain).unwrap();
        // Each into a directory of its own, and none is removed meanwhile: for minutes after that ext4 without a
        // journal looks at every inode that was freed before it takes one, so that whoever comes later pays for the one before.
        let count = Cell::new(0);
        let new = || {
            count.set(count.get() + 1);
            format!("{words}-{}", count.get())
        };
        let pairs: Pairs = compare(
            new,
            |store| run(&mut forge(dir.path(), &format!("cache pull --store {store} {words}"))),
            new,
            |to| {
                let mut copy = rclone(rclone_program, near);
                run(copy.arg("copy").arg(format!(":s3:{BUCKET}/{place}-plain")).arg(dir.path().join(to)));
            },
        );
        let work = match words {
            "sample" => format!("restore of {RESULTS} small results"),
            _ => "restore of one tree of 300 MB, 2010 files".to_owned(),
        };
        section.compared(&work, "rclone copy", &pairs, 1.2);
    }

    write(&far.endpoint, &small, 1000);
    far.set_delay(AWAY);
    let (before, started) = (far.requests(), Instant::now());
    run(&mut forge(dir.path(), "plan --store nothing sample"));
    let (requests, took) = (far.requests() - before, started.elapsed());
    section.note(&format!(
        "`forge plan` of 1000 nodes on a machine that has nothing, with the cache {} ms away: {:.2} s, {requests} requests.",
        AWAY.as_millis(),
        took.as_secs_f64()
    ));
}

/// The files of all outputs of a target's nodes, as the store `full` has them.
fn write_outputs(dir: &Path, to: &Path, target: &str) {
    let store = LocalStore::open(dir.join("full")).unwrap();
    let plan = forge(dir, &format!("plan --json --store full {target}")).output().unwrap().stdout;
    let plan: serde_json::Value = serde_json::from_slice(&plan).unwrap();
    fs::create_dir(to).unwrap();
    for step in plan["steps"].as_array().unwrap() {
        let result = store.result(step["key"].as_str().unwrap().parse().unwrap()).expect("it was built");
        for tree in result.outputs.values() {
            for entry in store.tree(*tree).unwrap().entries() {
                if let Kind::File { object, .. } = entry.kind {
                    fs::write(to.join(&entry.path), store.get(object).unwrap()).unwrap();
                }
            }
        }
    }
}

fn forge(dir: &Path, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
    command.args(words.split(' ')).current_dir(dir).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    command
}

fn noise(path: &Path, length: u64) {
    let mut random = fs::File::open("/dev/urandom").unwrap().take(length);
    std::io::copy(&mut random, &mut fs::File::create(path).unwrap()).unwrap();
}

/// A peer, where `benches/run` puts it, seen from where that runs.
fn tool(name: &str) -> String {
    let path = format!("target/tools/bin/{name}");
    assert!(Path::new(&path).is_file(), "{path} is needed: see benches/run");
    path
}
