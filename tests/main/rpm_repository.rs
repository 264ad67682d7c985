//! An rpm repository, from the Buildfile to a dnf that installs from it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::dnf::Dnf;
use super::repository::new_key;
use super::scratch::Scratch;

const BUILDFILE: &str = r#"
axis "os" {
    value "bookworm" format="deb"
    value "el9" format="rpm"
}
target "payload" over="os" {
    files "in.txt" into="."
    run "mkdir -p $OUT/root/usr/share/tools; cp in.txt $OUT/root/usr/share/tools/text"
    output "root"
}
package "tools" over="os" arch="all" format="{os.format}" {
    version "1.0" epoch=1 iteration="1"
    maintainer "Somebody <somebody@example.org>"
    summary "tools"
    license "MIT"
    copyright "copyright"
    files from="payload" to="/"
}
package "more-tools" over="os" arch="all" format="{os.format}" {
    version "1.0" iteration="1"
    maintainer "Somebody <somebody@example.org>"
    summary "tools that need others"
    license "MIT"
    copyright "copyright"
    depends "tools"
    files "in.txt" to="/usr/share/more-tools"
}
index "apt" {
    packages "tools" "more-tools"
    suite "{os}"
}
index "yum" over="os" format="rpm" {
    where os.format="rpm"
    packages "tools" "more-tools"
    compression "gz"
    updateinfo "updateinfo.xml"
}
test "readable" over="os" {
    where os.format="rpm"
    use "yum" at="/srv/yum"
    run "cd /srv/yum; ls repodata/*-updateinfo.xml.gz gen/next/repodata/*-primary.xml.gz; gzip -dc repodata/*-primary.xml.gz | grep 'packages=.2.'"
}
key "archive" {
    file "keys/archive.asc"
}
publish "site" to="public" {
    url "URL"
    index "apt" at="apt"
    index "yum" at="rpm/{os}"
    sign "archive"
    requires "readable"
}
"#;

/// A web server for what is published.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(root: PathBuf) -> Self {
        fs::create_dir_all(&root).unwrap();
        let mut python = Command::new("python3");
        python.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]).current_dir(root);
        let mut process = python.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split_whitespace().nth(5).unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { process, url: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn scratch(url: &str) -> Scratch {
    let scratch = Scratch::new(&BUILDFILE.replace("URL", url));
    scratch.write("copyright", "Do with it what you like.\n");
    scratch.write("in.txt", "a text\n");
    scratch.write("updateinfo.xml", "<?xml version=\"1.0\"?>\n<updates></updates>\n");
    scratch.write("keys/archive.asc", &new_key());
    scratch
}

#[test]
fn dnf_installs_what_the_buildfile_says_and_upgrades_to_the_next_version() {
    let scratch = Scratch::new("");
    let server = Server::start(scratch.path("public"));
    let own = self::scratch(&server.url);
    // The server's directory is made before its URL is known.
    for file in ["Buildfile.kdl", "copyright", "in.txt", "updateinfo.xml", "keys/archive.asc"] {
        scratch.write(file, &own.read(file));
    }
    let plan = scratch.ok("plan").stdout;
    for line in [
        "public/rpm/el9: 2 added",
        "public/apt: 2 added",
        "+ tools 1:1.0-1    noarch",
        "+ tools 1:1.0-1    bookworm (all)",
    ] {
        assert!(plan.contains(line), "no '{line}' in:\n{plan}");
    }
    scratch.ok("run");
    let dnf = Dnf::new(scratch.path("dnf"), &format!("{}/rpm/el9", server.url));
    let installed = |file: &str| dnf.read(&format!("usr/share/{file}"));
    dnf.run(&["--refresh", "install", "more-tools"]).unwrap();
    assert_eq!(installed("tools/text"), "a text\n");
    assert_eq!(installed("more-tools/in.txt"), "a text\n");
    // Each index took the packages of its format.
    let apt = fs::read_to_string(scratch.path("public/apt/dists/bookworm/main/binary-all/Packages")).unwrap();
    assert_eq!(apt.matches("Package: ").count(), 2);
    let suites =
        fs::read_dir(scratch.path("public/apt/dists")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(suites.collect::<Vec<_>>(), ["bookworm"]);

    scratch.forge("plan --exit-code").ends_with(0);
    scratch.edit("Buildfile.kdl", "version \"1.0\" epoch=1", "version \"1.1\" epoch=1");
    scratch.write("in.txt", "another text\n");
    let plan = scratch.plan("");
    let effect = plan.0["repositories"].as_array().unwrap().iter();
    let mut effect = effect.filter(|one| one["repository"].as_str().unwrap().ends_with("public/rpm/el9"));
    let suite = &effect.next().unwrap()["suites"][0];
    assert_eq!((&suite["suite"], &suite["architecture"]), (&"".into(), &"noarch".into()), "{suite}");
    let replaced = &suite["replaced"][0];
    assert_eq!((&replaced["from"], &replaced["to"]), (&"1:1.0-1".into(), &"1:1.1-1".into()), "{suite}");
    // The file of the other package changed under one version.
    let said = scratch.forge("run").ends_with(3).stderr;
    assert!(said.contains("is already published with other bytes"), "{said}");
    scratch.edit("Buildfile.kdl", "version \"1.0\" iteration=\"1\"", "version \"1.0\" iteration=\"2\"");
    scratch.ok("run");
    dnf.run(&["--refresh", "upgrade"]).unwrap();
    assert_eq!(installed("tools/text"), "another text\n");
    dnf.run(&["--refresh", "downgrade", "tools-1:1.0-1"]).unwrap();
    assert_eq!(installed("tools/text"), "a text\n");
}

#[test]
fn a_change_of_the_advisories_makes_the_index_and_the_publish_alone() {
    let scratch = scratch("https://packages.example.org");
    scratch.ok("run");
    let mirrors = |scratch: &Scratch| scratch.read("public/rpm/el9/mirrorlist");
    let before = mirrors(&scratch);
    assert!(before.starts_with("https://packages.example.org/rpm/el9/gen/"), "{before}");
    scratch.write("updateinfo.xml", "<?xml version=\"1.0\"?>\n<updates><update/></updates>\n");
    let (done, events) = scratch.run_with_events("");
    done.ends_with(0);
    assert_eq!(events.nodes("node-started"), ["yum[os=el9]", "readable[os=el9]", "site"]);
    let after = mirrors(&scratch);
    assert_ne!(before, after);
    // What it is called elsewhere is a matter of publishing alone.
    scratch.edit("Buildfile.kdl", "https://packages.example.org", "https://mirror.example.org/x/");
    let (done, events) = scratch.run_with_events("");
    done.ends_with(0);
    assert_eq!(events.nodes("node-started"), ["site"]);
    assert!(mirrors(&scratch).starts_with("https://mirror.example.org/x/rpm/el9/gen/"));

    scratch.write("updateinfo.xml", "<html></html>");
    let said = scratch.forge("run").ends_with(3).stderr;
    assert!(said.contains("its root is 'html'"), "{said}");
    fs::remove_file(scratch.path("updateinfo.xml")).unwrap();
    let said = scratch.forge("plan").ends_with(1).error_text();
    assert!(said.contains("updateinfo.xml"), "{said}");
}
