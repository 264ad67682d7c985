//! Upstreams that follow git tags: real repositories, served as files, by git's daemon and as plain
//! files over HTTP; archives over HTTP. What is built are scripts.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use super::git_daemon::GitDaemon;
use super::scratch::Scratch;

/// A project with an upstream, and that upstream.
struct World {
    scratch: Scratch,
}

const MATRIX: &str = r#"
axis "app" from="app"
axis "os" {
    value "one"
    value "two"
}
target "app" over="app os" {
    source "app" into="src"
    run "mkdir $OUT/o; sh src/build.sh > $OUT/o/said; echo {os} > $OUT/o/os"
    output "o"
}
target "docs" over="app.major" {
    use "app" into="app"
    run "mkdir $OUT/o; cat app/said > $OUT/o/text"
    output "o"
}
"#;

impl World {
    /// `@GIT@` is the repository, `@HTTP@` what serves the archives.
    fn new(upstream: &str) -> Self {
        let scratch = Scratch::new("");
        let world = Self { scratch };
        for dir in ["repository", "served"] {
            fs::create_dir(world.path(dir)).unwrap();
        }
        let http = format!("http://127.0.0.1:{}", serve(world.path("served")));
        let git = format!("file://{}", world.path("repository").display());
        let upstream = upstream.replace("@GIT@", &git).replace("@HTTP@", &http);
        world.scratch.write("Buildfile.kdl", &format!("{upstream}{MATRIX}"));
        world.git("init --quiet --initial-branch=main");
        world
    }

    /// Archives for the tags `app-…`.
    fn with_archives(more: &str) -> Self {
        Self::new(&format!(
            "upstream \"app\" {{\n    git \"@GIT@\" tag=\"app-{{version}}\"\n    \
             archive \"@HTTP@/app-{{version}}.tar.gz\"\n{more}\n}}\n"
        ))
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.scratch.path(relative)
    }

    fn git(&self, words: &str) -> String {
        tool(Command::new("git").args(words.split(' ')).current_dir(self.path("repository")))
    }

    /// Commits what `build.sh` says, and tags it.
    fn tag(&self, version: &str) {
        self.scratch.write("repository/build.sh", &format!("echo this is {version}\n"));
        self.git("add --all");
        self.git("commit --quiet --allow-empty --message=release");
        self.git(&format!("tag --force app-{version}"));
    }

    /// The same, with an archive of it.
    fn release(&self, version: &str) {
        self.tag(version);
        self.archive(version, &format!("echo this is {version}\n"));
    }

    fn archive(&self, version: &str, script: &str) {
        self.scratch.write(&format!("made/app-{version}/build.sh"), script);
        let archive = self.path(&format!("served/app-{version}.tar.gz"));
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(archive).args(["--mtime=@1700000000", &format!("app-{version}")]);
        tool(tar.current_dir(self.path("made")));
    }

    fn sha256(&self, served: &str) -> String {
        let told = tool(Command::new("sha256sum").arg(served).current_dir(self.path("served")));
        told.split(' ').next().unwrap().to_owned()
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.path("forge.lock")).unwrap_or_default()
    }

    /// The nodes that a plan does not know already.
    fn to_do(&self, words: &str) -> BTreeSet<String> {
        let plan = self.scratch.plan(words);
        let steps = plan.0["steps"].as_array().unwrap().iter();
        let open = steps.filter(|step| step["verdict"] != "hit");
        open.map(|step| step["node"].as_str().unwrap().to_owned()).collect()
    }

    /// Everything that a plan names.
    fn versions(&self, words: &str) -> Vec<String> {
        let plan = self.scratch.plan(words);
        let nodes = plan.0["steps"].as_array().unwrap().iter().map(|step| step["node"].as_str().unwrap());
        let versions = nodes.filter_map(|node| node.strip_prefix("app.source[app=")?.strip_suffix(']'));
        versions.map(str::to_owned).collect()
    }
}

fn tool(command: &mut Command) -> String {
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Somebody");
        command.env(format!("GIT_{who}_EMAIL"), "somebody@example.org");
    }
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().expect("tests/prepare installs it");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Serves the files of a directory, as they are when they are asked for.
fn serve(root: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let asked = lines.next().unwrap_or_default();
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let path = asked.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
            let (status, body) = match fs::read(root.join(path.trim_start_matches('/'))) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    port
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn a_new_tag_is_seen_planned_taken_and_built_and_nothing_else() {
    let world = World::with_archives("    keep majors=2");
    for version in ["0.9", "1.0", "1.1", "2.0", "3.0-rc1", "2.0-latest"] {
        world.release(version);
    }
    let first = world.scratch.ok("update").stdout;
    assert!(first.starts_with("app:\n  + 1.1  2023-11-14, commit "), "{first}");
    assert!(first.contains("  + 2.0 ") && first.contains("trusted on first use"), "{first}");
    assert!(first.ends_with("forge.lock is written\n") && !first.contains("0.9"), "{first}");
    let (done, events) = world.scratch.run_with_events("");
    done.ends_with(0);
    assert_eq!(events.nodes("node-started").len(), 8, "2 sources, 4 builds, 2 documents");
    assert_eq!(world.scratch.output_file("app[app=2.0,os=one]", "said"), "this is 2.0\n");
    assert_eq!(world.scratch.ok("update --exit-code").stdout, "no news\n");

    world.release("2.1");
    let before = world.lock();
    let dry = world.scratch.forge("update --dry-run --exit-code").ends_with(2).stdout;
    assert!(dry.contains("  + 2.1 ") && dry.contains("  - 2.0  no longer kept by 'keep majors=2'"), "{dry}");
    assert!(dry.ends_with("forge.lock is left as it is\n"), "{dry}");
    assert_eq!(world.lock(), before);

    let new = set(["app.source[app=2.1]", "app[app=2.1,os=one]", "app[app=2.1,os=two]", "docs[app.major=2]"]);
    assert!(world.to_do("").is_empty(), "the lock has not moved");
    assert_eq!(world.to_do("--update"), new);
    assert_eq!(world.lock(), before);
    let planned = world.scratch.ok("plan --update").stdout;
    assert!(planned.contains("8 nodes: 4 known, 1 to run, 3 may follow"), "{planned}");
    assert!(planned.contains("app 2.0 → 2.1 in forge.lock → app.source → app → docs\n"), "{planned}");

    let taken = world.scratch.forge("update --exit-code").ends_with(2).stdout;
    assert_eq!(taken.replace("is written", "is left as it is"), dry, "what was said is done");
    assert_eq!(world.to_do(""), new);
    let why = world.scratch.ok("why docs[app.major=2]").stdout;
    assert!(why.contains("since app.source[app=2.1]: app 2.0 → 2.1 in forge.lock"), "{why}");
    let (done, events) = world.scratch.run_with_events("");
    done.ends_with(0);
    assert_eq!(events.nodes("node-started").into_iter().collect::<BTreeSet<_>>(), new);
    assert_eq!(world.scratch.output_file("docs[app.major=2]", "text"), "this is 2.1\n");
    // What was published once can be built again.
    assert!(world.to_do("app=2.0").is_empty());
    world.scratch.forge("update --exit-code").ends_with(0);
}

#[test]
fn a_tag_or_an_archive_that_moved_is_never_taken() {
    let world = World::with_archives("");
    world.release("1.0");
    world.scratch.ok("update");
    let before = world.lock();
    let commit = world.git("rev-parse HEAD");
    world.release("1.1");
    world.tag("1.0");
    let said = world.scratch.forge("update --exit-code").ends_with(1).error_text();
    let moved = world.git("rev-parse HEAD");
    assert!(said.contains(&format!("app 1.0 was commit {commit} and is {moved}")), "{said}");
    assert!(said.contains("delete the version from the lock"), "{said}");
    assert_eq!(world.lock(), before, "nor is 1.1 taken");
    world.scratch.forge("plan --update").ends_with(1);

    // The same tag, another archive: told where it is downloaded again.
    world.git(&format!("tag --force app-1.0 {commit}"));
    world.scratch.ok("update");
    fs::remove_dir_all(world.path("cache")).unwrap();
    world.archive("1.0", "echo something else\n");
    let said = world.scratch.forge("run app=1.0").ends_with(3).stderr;
    assert!(said.contains("nothing was stored. If upstream replaced the file, find out why"), "{said}");
}

#[test]
fn an_upstream_that_is_down_leaves_the_whole_lock_as_it_was() {
    let world = World::with_archives("");
    world.release("1.0");
    let daemon = GitDaemon::start(&world.path(""));
    let second = format!(
        "upstream \"other\" {{\n    git \"git://127.0.0.1:{}/repository\" tag=\"app-{{version}}\"\n}}\n",
        daemon.port
    );
    world.scratch.write("Buildfile.kdl", &(world.scratch.read("Buildfile.kdl") + &second));
    let told = world.scratch.ok("update").stdout;
    assert!(told.contains("other:\n  + 1.0 ") && told.contains("from the repository itself"), "{told}");
    let before = world.lock();
    drop(daemon);
    world.release("1.1");
    let said = world.scratch.forge("update --exit-code").ends_with(1).error_text();
    assert!(said.contains("upstream 'other' cannot be asked") && said.contains("ls-remote"), "{said}");
    assert_eq!(world.lock(), before, "app has news, and it is not taken by half");
    world.scratch.ok("plan");
    // Named alone, the other one is not asked.
    world.scratch.forge("update --exit-code app").ends_with(2);
    assert!(world.lock().contains("1.1") && world.lock().contains("upstream other"), "{}", world.lock());
}

#[test]
fn published_checksums_are_held_to() {
    let world = World::with_archives("    checksums \"@HTTP@/app-{version}.sha256\"");
    world.release("1.0");
    world.release("1.1");
    let digest = world.sha256("app-1.0.tar.gz");
    world.scratch.write(
        "served/app-1.0.sha256",
        &format!("{}  other.tar\n{digest}  app-1.0.tar.gz\n", "0".repeat(64)),
    );
    let told = world.scratch.ok("update").stdout;
    assert!(told.contains("checked by checksums"), "{told}");
    assert!(told.contains("upstream publishes no checksums for it: nothing at http"), "{told}");
    assert_eq!(world.lock().matches("checked checksums").count(), 1, "{}", world.lock());

    let before = world.lock();
    world.release("1.2");
    let wrong = "1".repeat(64);
    world.scratch.write("served/app-1.2.sha256", &format!("{wrong}  app-1.2.tar.gz\n"));
    let said = world.scratch.forge("update").ends_with(1).error_text();
    assert!(said.contains("app 1.2: the archive is not what http"), "{said}");
    assert!(said.contains(&wrong) && said.contains(&world.sha256("app-1.2.tar.gz")), "{said}");
    world.scratch.write("served/app-1.2.sha256", &format!("{wrong}  other.tar.gz\n"));
    let said = world.scratch.forge("update").ends_with(1).error_text();
    assert!(said.contains("has no line for 'app-1.2.tar.gz'"), "{said}");
    assert_eq!(world.lock(), before);
}

#[test]
fn a_declared_signature_must_be_there_and_hold() {
    let world = World::with_archives(
        "    signature \"@HTTP@/app-{version}.tar.gz.asc\" key-file=\"keys/upstream.asc\"",
    );
    world.release("1.0");
    let home = world.path("gnupg");
    fs::create_dir(&home).unwrap();
    world.scratch.set_mode("gnupg", 0o700);
    fs::create_dir(world.path("keys")).unwrap();
    let gpg = |words: &str| {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]);
        tool(gpg.args(words.split(' ')).env("GNUPGHOME", &home).current_dir(world.path("")))
    };
    // A primary key that certifies alone, and a subkey that signs: as many projects have it.
    gpg("--quick-generate-key upstream@example.org ed25519 cert never");
    let listed = gpg("--list-keys --with-colons upstream@example.org");
    let print =
        listed.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':').to_owned();
    gpg(&format!("--quick-add-key {print} ed25519 sign never"));
    gpg("--quick-generate-key stranger@example.org ed25519 sign never");
    gpg("--armor --output keys/upstream.asc --export upstream@example.org");
    let sign = |version: &str, who: &str| {
        gpg(&format!(
            "--yes --armor --local-user {who}@example.org --output served/app-{version}.tar.gz.asc \
             --detach-sign served/app-{version}.tar.gz"
        ))
    };

    let said = world.scratch.forge("update").ends_with(1).error_text();
    assert!(said.contains("app 1.0: there is no signature at http"), "{said}");
    sign("1.0", "stranger");
    let said = world.scratch.forge("update").ends_with(1).error_text();
    assert!(said.contains("is not one of the keys in") && said.contains("keys/upstream.asc"), "{said}");
    world.scratch.write("served/app-1.0.tar.gz.asc", "no signature\n");
    let said = world.scratch.forge("update").ends_with(1).error_text();
    assert!(said.contains("holds no detached OpenPGP signature"), "{said}");
    assert_eq!(world.lock(), "");
    sign("1.0", "upstream");
    let told = world.scratch.ok("update").stdout;
    assert!(told.contains("checked by signature"), "{told}");

    // Signed, and changed afterwards.
    world.release("1.1");
    sign("1.1", "upstream");
    world.archive("1.1", "echo something else\n");
    let said = world.scratch.forge("update").ends_with(1).error_text();
    assert!(said.contains("app 1.1: the signature http"), "{said}");
    fs::remove_file(world.path("keys/upstream.asc")).unwrap();
    let said = world.scratch.forge("update").ends_with(1).error_text();
    assert!(said.contains("cannot read OpenPGP public keys from"), "{said}");
    tool(Command::new("gpgconf").args(["--kill", "gpg-agent"]).env("GNUPGHOME", &home));
}

#[test]
fn holds_pins_and_ranges_say_what_stands_on_the_axis() {
    let world = World::with_archives("    keep newest=1\n    // rules");
    for version in ["1.0", "1.1", "1.2"] {
        world.release(version);
    }
    let rules = |rules: &str| {
        let text = world.scratch.read("Buildfile.kdl");
        let (before, after) = text.split_once("    keep newest=1\n").unwrap();
        let after = after.split_once("\n}\n").unwrap().1;
        world.scratch.write("Buildfile.kdl", &format!("{before}    keep newest=1\n{rules}\n}}\n{after}"));
    };
    rules("    hold \"1.2\" reason=\"it bites\"\n    pin \"1.0\" reason=\"customers\"");
    let told = world.scratch.ok("update").stdout;
    assert!(told.contains("  + 1.0 ") && told.contains("  + 1.1 ") && !told.contains("+ 1.2"), "{told}");
    assert!(told.contains("  ! 1.2  held: it bites"), "{told}");
    assert_eq!(world.versions(""), ["1.0", "1.1"]);
    let again = world.scratch.forge("update --exit-code").ends_with(0).stdout;
    assert!(again.contains("held: it bites") && again.ends_with("no news\n"), "{again}");
    let said = world.scratch.forge("plan app=1.2").ends_with(1).error_text();
    assert!(said.contains("app 1.2 is held: it bites"), "{said}");

    rules("");
    let told = world.scratch.ok("update").stdout;
    assert!(told.contains("  + 1.2 ") && told.contains("  - 1.1  no longer kept"), "{told}");
    assert_eq!(world.versions(""), ["1.2"]);
    assert_eq!(world.versions("app=1.0"), ["1.0"], "beyond the rules, out of the lock");
    assert_eq!(world.versions("app=1.0,1.1"), ["1.0", "1.1"]);
    rules("    versions \"<1.2\" \"!1.0\"");
    assert_eq!(world.versions(""), ["1.1"], "the rules hold for what is locked, without an update");
    rules("    versions \">9\"");
    let said = world.scratch.forge("plan").ends_with(1).error_text();
    assert!(said.contains("none of the 3 locked versions of upstream 'app' is to be built"), "{said}");
    rules("    pin \"1.7\" reason=\"a slip\"");
    let said = world.scratch.forge("update").ends_with(1).error_text();
    assert!(said.contains("upstream 'app' has no version 1.7, which is pinned at Buildfile.kdl:"), "{said}");
}

#[test]
fn a_selected_version_that_the_lock_has_not_is_looked_up() {
    let world = World::with_archives("    keep newest=1");
    for version in ["1.0", "1.1", "2.0", "2.1", "3.0"] {
        world.release(version);
    }
    world.scratch.ok("update");
    let before = world.lock();
    let planned = world.scratch.ok("plan app=2.0");
    assert!(
        planned.stderr.contains("app=2.0 is not met by forge.lock: looking upstream"),
        "{}",
        planned.stderr
    );
    let found = "app 2.0 is not in forge.lock, and was found upstream: 2023-11-14, commit ";
    assert!(planned.stderr.contains(found), "{}", planned.stderr);
    assert_eq!(world.versions("app=1"), ["1.1"], "the newest of the line");
    assert_eq!(world.versions("app.major=2"), ["2.1"]);
    assert_eq!(world.lock(), before, "a plan writes nothing");

    // The plan that was saved is the one that is run.
    world.scratch.ok("plan --out saved.json app=2.0");
    let (done, events) = world.scratch.run_with_events("--plan saved.json");
    done.ends_with(0).says("forge.lock: added app 2.0");
    assert_eq!(events.nodes("node-started").len(), 4);
    assert!(world.lock().contains("2.0"));
    assert_eq!(world.versions(""), ["3.0"], "it stands on no axis by itself");
    assert!(!world.scratch.ok("plan app=2.0").stderr.contains("looking upstream"));
    world.scratch.ok("update app=1.0");
    let versions: Vec<String> = world
        .lock()
        .lines()
        .filter_map(|line| line.strip_prefix("    version "))
        .map(str::to_owned)
        .collect();
    assert_eq!(versions, ["\"1.0\" {", "\"2.0\" {", "\"3.0\" {"]);

    let said = world.scratch.forge("plan app=4").ends_with(1).error_text();
    assert!(
        said.contains("upstream 'app' has no version 4, which is selected by app=4; the newest is 3.0"),
        "{said}"
    );
    fs::rename(world.path("repository"), world.path("away")).unwrap();
    let said = world.scratch.forge("plan app=1.1").ends_with(1).error_text();
    assert!(
        said.contains("forge.lock has nothing for app=1.1") && said.contains("select one of: 3.0, 2.0"),
        "{said}"
    );
    world.scratch.ok("plan app=2");
}

#[test]
fn what_is_built_of_a_source_has_its_date_whatever_it_is_built_with() {
    let world = World::with_archives("");
    world.archive("1.0", "echo 1.0");
    let buildfile = world.scratch.read("Buildfile.kdl");
    let http = &buildfile[buildfile.find("http://").unwrap()..buildfile.find("/app-{version}").unwrap()];
    let listed = |name: &str, date: u64| {
        let sha256 = world.sha256("app-1.0.tar.gz");
        format!(
            "upstream \"{name}\" {{\n    archive \"{http}/app-{{version}}.tar.gz\"\n    \
             version \"1.0\" sha256=\"{sha256}\" date={date}\n}}\naxis \"{name}\" from=\"{name}\"\n"
        )
    };
    let targets = "target \"compiler\" over=\"tool\" {\n    source \"tool\" into=\"src\"\n    \
                   run \"mkdir $OUT/o; echo $SOURCE_DATE_EPOCH > $OUT/o/date\"\n    output \"o\"\n}\n\
                   target \"program\" over=\"tool app\" {\n    source \"app\" into=\"src\"\n    use \"compiler\" into=\"tool\"\n    \
                   run \"mkdir $OUT/o; echo $SOURCE_DATE_EPOCH > $OUT/o/date\"\n    output \"o\"\n}\n\
                   target \"tested\" over=\"tool app\" {\n    use \"program\" into=\"program\"\n    \
                   run \"mkdir $OUT/o; echo $SOURCE_DATE_EPOCH > $OUT/o/date; cat program/date > $OUT/o/of\"\n    output \"o\"\n}\n";
    let write = |tool: u64| {
        let text = listed("app", 1_700_000_000) + &listed("tool", tool) + targets;
        world.scratch.write("Buildfile.kdl", &text);
    };
    write(1_600_000_000);
    world.scratch.ok("run tested");
    write(1_750_000_000);
    let (done, events) = world.scratch.run_with_events("tested");
    done.ends_with(0);
    // The program is compiled again, and comes out the same: what is behind it stays known.
    let run: BTreeSet<String> = events.nodes("node-started").into_iter().collect();
    assert_eq!(run, set(["compiler[tool=1.0]", "program[app=1.0,tool=1.0]"]));
}

#[test]
fn a_selection_of_one_upstream_starts_a_lock_of_all() {
    let world = World::with_archives("");
    for version in ["1.0", "1.1"] {
        world.release(version);
    }
    let second = "upstream \"other\" {\n    git \"@GIT@\" tag=\"app-{version}\"\n}\naxis \"other\" from=\"other\"\n\
                  target \"pair\" over=\"app other\" {\n    run \"mkdir $OUT/o\"\n    output \"o\"\n}\n";
    let git = format!("file://{}", world.path("repository").display());
    let before = world.scratch.read("Buildfile.kdl");
    world.scratch.write("Buildfile.kdl", &(before + &second.replace("@GIT@", &git)));
    let told = world.scratch.ok("update app=1.0").stdout;
    assert!(told.contains("app:\n  + 1.0 ") && told.contains("other:\n  + 1.0 "), "{told}");
    world.scratch.ok("plan app=1.0");
    world.release("1.2");
    let told = world.scratch.ok("update app=1.1").stdout;
    assert!(told.contains("app:\n  + 1.1 ") && !told.contains("other"), "what the lock has stays: {told}");
}

#[test]
fn the_tag_s_own_tree_is_the_source_where_there_is_no_archive() {
    let world = World::new("upstream \"app\" {\n    git \"@PLAIN@\" tag=\"app-{version}\"\n}\n");
    let plain = format!("http://127.0.0.1:{}/", serve(world.path("repository/.git")));
    world.scratch.edit("Buildfile.kdl", "@PLAIN@", &plain);
    world.tag("1.0");
    world.git("update-server-info");
    let told = world.scratch.ok("update").stdout;
    assert!(told.contains("from the repository itself"), "{told}");
    let commit = world.git("rev-parse HEAD");
    assert!(world.lock().contains(&commit) && world.lock().contains("        tree "), "{}", world.lock());
    world.scratch.ok("run");
    assert_eq!(world.scratch.output_file("app[app=1.0,os=two]", "said"), "this is 1.0\n");

    // On another machine it is fetched again; its key is the content.
    let keys = world.scratch.plan("").keys();
    fs::remove_dir_all(world.path("cache")).unwrap();
    assert_eq!(world.scratch.plan("").keys()["app.source[app=1.0]"], keys["app.source[app=1.0]"]);
    world.scratch.ok("run");
    assert_eq!(world.scratch.plan("").keys(), keys);
    fs::remove_dir_all(world.path("cache")).unwrap();
    world.tag("1.0");
    world.git("commit --quiet --allow-empty --message=moved");
    world.git("tag --force app-1.0");
    world.git("update-server-info");
    let said = world.scratch.forge("run").ends_with(3).stderr;
    assert!(said.contains("was at commit") && said.contains(&commit), "{said}");
}

#[test]
fn an_archive_that_is_not_there_costs_only_what_needs_it() {
    let world = World::with_archives("    keep majors=2");
    world.release("1.0");
    world.release("2.0");
    world.tag("2.1");
    let told = world.scratch.ok("update").stdout;
    assert!(told.contains("  ? 2.1  listed upstream, but not there: no such file at http"), "{told}");
    assert!(told.contains("  + 2.0 "), "the next best stands in: {told}");
    assert_eq!(world.versions(""), ["1.0", "2.0"]);
    world.scratch.ok("run");
    let said = world.scratch.forge("plan app=2.1").ends_with(1).error_text();
    assert!(said.contains("app 2.1 is listed upstream, but its archive was not there"), "{said}");
    let again = world.scratch.forge("update --exit-code").ends_with(0).stdout;
    assert!(again.contains("  ? 2.1 "), "{again}");
    world.release("2.1");
    // Released anew, the tag has another commit than the one that was noted.
    world.scratch.forge("update").ends_with(1).says("2.1");
    let noted = world
        .lock()
        .lines()
        .filter_map(|line| line.strip_prefix("        commit "))
        .next_back()
        .unwrap()
        .to_owned();
    world.git(&format!("tag --force app-2.1 {}", noted.trim_matches('"')));
    let told = world.scratch.ok("update").stdout;
    assert!(told.contains("  + 2.1 "), "{told}");
    assert_eq!(world.versions(""), ["1.0", "2.1"]);
}

#[test]
fn what_git_and_the_words_may_get_wrong_is_told() {
    let world = World::with_archives("");
    let said = world.scratch.forge("update").ends_with(1).error_text();
    assert!(said.contains("none of the 0 tags of file://"), "{said}");
    world.tag("one");
    let said = world.scratch.forge("update").ends_with(1).error_text();
    assert!(said.contains("is a version of the form 'app-{version}'; one of them is 'app-one'"), "{said}");
    world.release("1.0");
    let said = world.scratch.forge("update ap").ends_with(1).error_text();
    assert!(
        said.contains("there is no upstream or image 'ap'") && said.contains("did you mean 'app'?"),
        "{said}"
    );
    world.scratch.forge("plan --update --out saved.json").ends_with(1).says("cannot be used with");
    let mut without_git = world.scratch.command("update");
    let output = without_git.env("PATH", world.path("served")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("git is not installed"), "{said}");
}

#[test]
fn rules_hold_for_versions_that_are_listed_too() {
    let scratch = Scratch::new(
        r#"
upstream "app" {
    version "1.0" sha256="0000000000000000000000000000000000000000000000000000000000000010"
    version "1.1" sha256="0000000000000000000000000000000000000000000000000000000000000011"
    version "2.0-rc1" sha256="0000000000000000000000000000000000000000000000000000000000000020"
    archive "https://example.org/app-{version}.tar"
    keep majors=1
}
axis "app" from="app"
target "app" over="app" {
    source "app" into="src"
    run "cp -r src $OUT/o"
    output "o"
}
"#,
    );
    let nodes = |words: &str| {
        let graph: serde_json::Value =
            serde_json::from_str(&scratch.ok(&format!("graph --json {words}")).stdout).unwrap();
        let nodes =
            graph["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned());
        nodes.filter(|name| name.starts_with("app[")).collect::<Vec<_>>()
    };
    assert_eq!(nodes(""), ["app[app=2.0-rc1]"], "who lists a pre-release means it");
    assert_eq!(nodes("app=1"), ["app[app=1.1]"]);
    scratch.edit("Buildfile.kdl", "keep majors=1", "keep majors=1\n    pre-releases #false");
    assert_eq!(nodes(""), ["app[app=1.1]"]);
}
