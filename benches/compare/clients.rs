//! Whether clients of several releases read an index of many pieces: real apt, each in a root of its own release.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use forge::index::{AptIndex, IndexCompression, PackageFile, Settings};
use forge::store::{LocalStore, Tree};

use super::apt::{PACKAGES, settings};
use super::ours::{self, SUITE};
use super::pool;
use super::report::Section;
use super::tool::{output, run};

const RELEASES: [&str; 4] = ["bullseye", "bookworm", "trixie", "forky"];

const NOTE: &str = "No time is compared here: an index of the pool for apt is served by http, with one compressed form of `Packages` at a time, and how \
    many packages apt knows after `apt-get update` is counted. Each apt runs in a root that mmdebstrap makes of its release, and has to \
    have fetched the form by its digest.";

pub fn measure() -> Section {
    let mut section = Section::new("Indices of many pieces, and the apt of four releases", "clients");
    section.peer(&["mmdebstrap", "--version"]);
    let pool = pool::debs();
    let store = LocalStore::open(pool.dir.path().join("store")).expect("a store");
    let files = ours::built(&pool.first, SUITE, &store);
    let server = Server::start(&pool.dir.path().join("served"));
    for compression in [IndexCompression::Gz, IndexCompression::Xz, IndexCompression::Zst] {
        let site = server.root.join(compression.extension());
        let sha256 = serve(compression, &files, &site, &store);
        for release in RELEASES {
            let root = root(release);
            let version = output(Command::new("chroot").arg(&root).args(["apt-get", "--version"]));
            let version = version.split_whitespace().nth(1).unwrap_or_default().to_owned();
            let known = known(&root, &format!("{}/{}", server.uri, compression.extension()));
            assert!(server.log().contains(&sha256), "apt fetched `Packages` in this form");
            let work = format!(
                "packages in `Packages.{}` of {}",
                compression.extension(),
                pieces(&site, compression)
            );
            let peer = format!("apt {version} ({release})");
            section.row(
                &work,
                &peer,
                &pool::SIZE.to_string(),
                &known.to_string(),
                pool::SIZE as f64 / known as f64,
                1.0,
            );
            assert_eq!(known, pool::SIZE, "{peer} reads all of {work}");
        }
    }
    section.note(NOTE);
    section
}

/// Writes `dists` of an index with one compressed form, and gives the digest of that.
fn serve(compression: IndexCompression, files: &[PackageFile], site: &Path, store: &LocalStore) -> String {
    let Settings::Apt(index) = settings() else { panic!("it is for apt") };
    let settings = Settings::Apt(AptIndex { compressions: vec![compression], ..index });
    let (tree, _) = ours::index(&settings, files, store);
    let dists = tree.entries().iter().filter(|entry| entry.path.starts_with("dists/")).cloned();
    store.materialize(&Tree::new(dists.collect()), site, ours::DATE).expect("it is written");
    let packages = site.join(format!("{PACKAGES}.{}", compression.extension()));
    let told = output(Command::new("sha256sum").arg(packages));
    told.split_whitespace().next().expect("a digest").to_owned()
}

/// Of how many pieces a compressed `Packages` is made, as the tools of its format tell.
fn pieces(site: &Path, compression: IndexCompression) -> String {
    let packages = site.join(format!("{PACKAGES}.{}", compression.extension()));
    match compression {
        IndexCompression::Xz => {
            let told = output(Command::new("xz").args(["--robot", "--list"]).arg(packages));
            let blocks = told.lines().find_map(|line| line.strip_prefix("file\t1\t")?.split('\t').next());
            format!("one stream, {} blocks", blocks.expect("xz tells the number of blocks"))
        }
        IndexCompression::Zst => {
            let told = output(Command::new("zstd").arg("--list").arg(packages));
            let frames = told.lines().nth(1).and_then(|line| line.split_whitespace().next());
            format!("{} frames", frames.expect("zstd tells the number of frames"))
        }
        IndexCompression::Gz => "several members".to_owned(),
    }
}

/// A root with the apt of a release. It is made once.
fn root(release: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("roots").join(release);
    if !root.exists() {
        eprintln!("  making a root of {release}");
        let targets = output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
        ]));
        let mirror = targets.lines().find(|uri| !uri.contains("security")).expect("apt has a mirror");
        let part = root.with_extension("part");
        let _ = fs::remove_dir_all(&part);
        fs::create_dir_all(root.parent().expect("it has a parent")).expect("a directory");
        let mut make = Command::new("mmdebstrap");
        make.args(["--mode=root", "--variant=apt", "--format=directory"]);
        // A mirror may be frozen.
        make.args(["--aptopt=Acquire::Check-Valid-Until \"false\"", release]);
        run(make.arg(&part).arg(mirror));
        fs::rename(part, &root).expect("the root is finished");
    }
    root
}

/// How many packages the apt of a root knows, once it has fetched the index at `uri`.
fn known(root: &Path, uri: &str) -> usize {
    let work = tempfile::tempdir_in(root.join("tmp")).expect("a directory");
    for dir in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(work.path().join(dir)).expect("a directory");
    }
    let at = format!("/tmp/{}", work.path().file_name().expect("it has a name").to_string_lossy());
    fs::write(work.path().join("sources.list"), format!("deb [trusted=yes] {uri} x main\n")).expect("a file");
    let settings = [
        format!("Dir::Etc::sourcelist={at}/sources.list"),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State::lists={at}/lists"),
        format!("Dir::Cache={at}/cache"),
        "Dir::State::status=/dev/null".to_owned(),
        "Acquire::Languages=none".to_owned(),
        "Acquire::http::Proxy=DIRECT".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
    ];
    let apt = |program: &str| {
        let mut command = Command::new("chroot");
        command.arg(root).arg(program).env("LC_ALL", "C");
        for setting in &settings {
            command.args(["-o", setting]);
        }
        command
    };
    run(apt("apt-get").arg("update"));
    output(apt("apt-cache").arg("pkgnames")).lines().count()
}

/// A web server.
struct Server {
    root: PathBuf,
    uri: String,
    child: Child,
}

impl Server {
    fn start(root: &Path) -> Self {
        fs::create_dir_all(root).expect("a directory");
        let log = fs::File::create(root.join("log")).expect("a file");
        let mut server = Command::new("python3");
        server.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0", "-d"]).arg(root);
        let child = server.stdout(Stdio::piped()).stderr(log).spawn();
        let mut child = child.expect("python3 is needed, see tests/prepare");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("it says where it is");
        let port = line.split_whitespace().skip_while(|word| *word != "port").nth(1).expect("a port");
        Self { root: root.to_owned(), uri: format!("http://127.0.0.1:{port}"), child }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root.join("log")).expect("a log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
