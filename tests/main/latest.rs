//! One repository for each major release and one for the newest, and clients that follow them.

use super::apt::{Server, System};
use super::repository::new_key;
use super::scratch::Scratch;

const BUILDFILE: &str = r#"
upstream "tool" {
    @VERSIONS@
    archive "https://example.org/tool-{version}.tar.gz"
}
axis "tool" from="tool"
axis "os" {
    value "bookworm"
    value "trixie"
}
target "built" over="tool os" {
    env "N" "@NAME@"
    run "mkdir -p $OUT/root/usr/share/tool; echo {tool} on {os} > $OUT/root/usr/share/tool/version"
    output "root"
}
package "tool" over="tool os" arch="all" {
    version "{tool}" iteration="1"
    maintainer "Somebody <somebody@example.org>"
    summary "a tool of several major releases"
    files from="built" to="/"
    copyright "copyright"
}
package "tool-docs" over="os" arch="all" {
    version "1"
    maintainer "Somebody <somebody@example.org>"
    summary "what is the same for all of them"
    files "copyright" to="/usr/share/tool-docs"
    copyright "copyright"
}
package "tool-keyring" over="os" arch="all" {
    version "1"
    maintainer "Somebody <somebody@example.org>"
    summary "the key that signs all of it"
    files from="archive" to="/usr/share/keyrings"
    copyright "copyright"
}
index "apt" over="tool.major" {
    packages "tool" "tool-docs"
    suite "{os}"
    label "Tool {tool.major}"
}
index "apt-latest" {
    packages "tool" "tool-docs" "tool-keyring"
    newest "tool.major"
    suite "{os}"
    label "Tool"
}
key "archive" {
    file "keys/archive.asc"
}
publish "site" to="public" {
    url "@URL@"
    index "apt" at="apt/{tool.major}"
    index "apt-latest" at="apt/latest"
    sign "archive"
}
"#;

fn versions(all: &[&str]) -> String {
    let line =
        |version: &&str| format!("version \"{version}\" sha256=\"{}\" date=1750000000\n", "0".repeat(64));
    all.iter().map(line).collect()
}

fn scratch(all: &[&str], url: &str) -> Scratch {
    let scratch = Scratch::new(&BUILDFILE.replace("@VERSIONS@", &versions(all)).replace("@URL@", url));
    scratch.write("copyright", "Do with it what you like.\n");
    scratch.write("keys/archive.asc", &new_key());
    scratch
}

fn subscribe(scratch: &Scratch, name: &str, repository: &str) -> System {
    let system = System::new(scratch.path(name));
    // What a person does: one file, and nothing else.
    system.source("tool.sources", &scratch.read(&format!("{repository}/bookworm.sources")));
    system.update();
    system.get(&["install", "tool"]);
    system
}

#[test]
fn apt_follows_the_newest_major_release_without_complaint_and_stays_on_its_own_elsewhere() {
    let server = Server::start();
    let scratch = scratch(&["27.3", "28.1"], &server.url);
    server.serve(&scratch.path("public"));
    scratch.ok("run");
    let latest = subscribe(&scratch, "latest", "public/apt/latest");
    let own = subscribe(&scratch, "own", "public/apt/28");
    for system in [&latest, &own] {
        assert_eq!(system.read("usr/share/tool/version"), "28.1 on bookworm\n");
    }

    scratch.edit("Buildfile.kdl", &versions(&["28.1"]), &versions(&["28.1", "28.2", "29.0"]));
    let plan = scratch.ok("plan").stdout;
    let expected = "public/apt/latest: 0 added, 2 replaced, 0 dropped, 6 kept\n  ~ tool 28.1-1 → 29.0-1    bookworm trixie (all)\n";
    assert!(plan.contains(expected), "{plan}");
    scratch.ok("run");
    for (system, version) in [(&latest, "29.0"), (&own, "28.2")] {
        system.update();
        system.get(&["upgrade"]);
        assert_eq!(system.read("usr/share/tool/version"), format!("{version} on bookworm\n"));
    }
    // The earlier ones stay installable.
    latest.get(&["install", "--allow-downgrades", "tool=28.1-1"]);
    assert_eq!(latest.read("usr/share/tool/version"), "28.1 on bookworm\n");
    assert_eq!(scratch.packages("public/apt/27", "trixie"), ["tool 27.3-1", "tool-docs 1"]);
}

#[test]
fn a_run_for_an_older_release_is_not_taken_for_the_newest() {
    let scratch = scratch(&["27.3", "28.1"], "https://packages.example.org");
    let names = |words: &str| -> Vec<String> {
        let plan = scratch.plan(words).0;
        let repositories = plan["repositories"].as_array().unwrap();
        let name = |one: &serde_json::Value| {
            one["repository"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
        };
        repositories.iter().map(name).collect()
    };
    assert_eq!(names(""), ["27", "28", "latest"]);
    assert_eq!(names("tool=28 os=trixie"), ["28", "latest"]);
    assert_eq!(names("tool=27"), ["27"]);
    scratch.ok("run tool=27");
    assert!(!scratch.path("public/apt/latest").exists());
    // What is left out for good is not waited for.
    scratch.edit("Buildfile.kdl", "index \"apt-latest\" {", "exclude tool=\"28\"\nindex \"apt-latest\" {");
    assert_eq!(names("tool=27"), ["27", "latest"]);
    // A choice of the profile is what the profile builds.
    let choice = "profile \"old\" {\n    choose tool=\"27\"\n}\nindex \"apt-latest\" {";
    scratch.edit("Buildfile.kdl", "exclude tool=\"28\"\nindex \"apt-latest\" {", choice);
    assert_eq!(names("--profile old"), ["27", "latest"]);
    assert_eq!(names("--profile old tool=28"), ["28", "latest"]);
}

#[test]
fn the_keyring_package_holds_what_clients_check_by() {
    let scratch = scratch(&["28.1"], "https://packages.example.org");
    scratch.ok("run");
    let system = System::new(scratch.path("system"));
    let text = scratch.read("public/apt/latest/bookworm.sources");
    assert!(text.starts_with(
        "Types: deb\nURIs: https://packages.example.org/apt/latest\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN"
    ));
    let here = format!("file:{}", scratch.path("public").display());
    system.source("tool.sources", &text.replace("https://packages.example.org", &here));
    system.update();
    system.get(&["install", "tool-keyring"]);
    let keyring = scratch.path("system/target/usr/share/keyrings/archive");
    for ending in ["asc", "gpg"] {
        let published = std::fs::read(scratch.path(&format!("public/apt/latest/key.{ending}"))).unwrap();
        assert_eq!(std::fs::read(keyring.with_extension(ending)).unwrap(), published);
    }
    let signed_by = format!("Signed-By: {}\n", keyring.with_extension("gpg").display());
    let before = text.split("Signed-By").next().unwrap().replace("https://packages.example.org", &here);
    system.source("tool.sources", &(before + &signed_by));
    system.update();

    // The key's node is keyed by what is public of it.
    let action = scratch.ok("why archive").stdout;
    assert!(action.contains("fingerprint") && !action.contains("PRIVATE"), "{action}");
    scratch.write("keys/archive.asc", &new_key());
    let plan = scratch.plan("tool-keyring").0;
    let step = plan["steps"].as_array().unwrap().iter().find(|step| step["node"] == "archive").unwrap();
    assert_eq!(step["verdict"], "run");
    std::fs::remove_file(scratch.path("keys/archive.asc")).unwrap();
    let said = scratch.forge("plan tool-keyring").ends_with(1).error_text();
    assert!(said.contains("cannot read the signing key") && said.contains("declared here"), "{said}");
    scratch.ok("plan tool");
}

#[test]
fn an_alias_may_wait_for_its_suite_and_is_an_error_where_none_can_come() {
    let scratch = scratch(&["28.1"], "https://packages.example.org");
    let alias =
        |of: &str| format!("    suite \"{{os}}\"\n    alias \"stable\" of=\"{of}\"\n    label \"Tool\"");
    scratch.edit("Buildfile.kdl", "    suite \"{os}\"\n    label \"Tool\"", &alias("trixie"));
    scratch.ok("run os=bookworm");
    assert!(!scratch.path("public/apt/latest/dists/stable").exists());
    scratch.ok("run");
    assert!(scratch.path("public/apt/latest/stable.sources").exists());
    assert_eq!(
        scratch.packages("public/apt/latest", "stable"),
        ["tool 28.1-1", "tool-docs 1", "tool-keyring 1"]
    );
    scratch.edit("Buildfile.kdl", &alias("trixie"), &alias("trixi"));
    let said = scratch.forge("plan os=bookworm").ends_with(1).error_text();
    assert!(said.contains("no package of this index is ever in suite 'trixi'"), "{said}");
    // Dropping it is told, and its file goes.
    scratch.edit("Buildfile.kdl", &alias("trixi"), "    suite \"{os}\"\n    label \"Tool\"");
    let plan = scratch.ok("plan os=bookworm").stdout;
    assert!(plan.contains("- tool 28.1-1    stable (all)\n      'stable' is no alias any more"), "{plan}");
    scratch.ok("run os=bookworm");
    assert!(!scratch.path("public/apt/latest/stable.sources").is_symlink());
}
