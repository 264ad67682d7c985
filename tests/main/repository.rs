use super::scratch::Scratch;

/// When everything is signed and dated, so that two runs can be compared.
const DATE: u64 = 1_750_000_000;

/// A matrix that ends in a signed repository: sources, a fan-in, packages, index, publish.
pub fn scratch() -> Scratch {
    let mut scratch = Scratch::new(
        r#"
axis "part" {
    value "a"
    value "b"
    value "c"
    value "d"
}
axis "os" {
    value "bookworm"
    value "trixie"
    value "forky"
}
target "part" over="part os" {
    files "in.txt" into="."
    env "N" "@NAME@"
    run """
        sleep 0.0$(( $(printf '{part}{os}' | cksum | cut -c 1-2) % 10 ))
        mkdir -p $OUT/root/usr/share/{part}
        for n in 1 2 3 4 5; do echo {part} {os} $n; cat in.txt; done > $OUT/root/usr/share/{part}/text
        ln -s text $OUT/root/usr/share/{part}/link
        echo 'not in the package' > $OUT/notes
        """
    output "root" "notes"
}
target "joined" over="os" {
    PARTS
    env "N" "@NAME@"
    run "sleep 0.1; mkdir $OUT/root; cp -a in-a/. in-b/. in-c/. in-d/. $OUT/root"
    output "root"
}
package "joined-tools" over="os" arch="all" {
    version "1.0" iteration="1"
    maintainer "Somebody <somebody@example.org>"
    summary "tools that are joined"
    files from="joined" to="/"
    copyright "copyright"
    compression "gzip"
}
package "extra-tools" over="os" arch="all" {
    version "2.0"
    maintainer "Somebody <somebody@example.org>"
    summary "tools of one part"
    files from="part-of-d" to="/"
    copyright "copyright"
    compression "gzip"
}
target "part-of-d" over="os" {
    use "d" output="root" into="d"
    run "mkdir $OUT/root; cp -a d/. $OUT/root"
    output "root"
}
index "apt" {
    packages "joined-tools" "extra-tools"
    suite "{os}"
}
test "readable" {
    use "apt" at="/srv/apt"
    run "[ $(find /srv/apt -name '*.deb' | wc -l) = 6 ]; grep -q joined-tools /srv/apt/dists/trixie/main/binary-*/Packages"
}
key "archive" {
    file "keys/archive.asc"
}
publish "site" to="public" {
    index "apt" at="apt"
    sign "archive"
    requires "readable"
}
"#,
    );
    split_parts(&scratch);
    scratch.env("SOURCE_DATE_EPOCH", DATE);
    scratch.write("copyright", "Do with it what you like.\n");
    scratch.write("in.txt", &"a line of some source\n".repeat(200));
    scratch
}

/// One target for each part, so that all of them can be inputs of one.
fn split_parts(scratch: &Scratch) {
    let text = scratch.read("Buildfile.kdl");
    let (before, rest) = text.split_once("target \"part\"").unwrap();
    let (part, after) = rest.split_once("\ntarget").unwrap();
    let before = before.split_once("axis \"os\"").unwrap().1;
    let parts = ["a", "b", "c", "d"].map(|name| {
        let part = part.replace("over=\"part os\"", "over=\"os\"").replace("{part}", name);
        format!("target \"{name}\"{part}\n")
    });
    let uses = ["a", "b", "c", "d"].map(|name| format!("use \"{name}\" output=\"root\" into=\"in-{name}\""));
    let after = after.replace("PARTS", &uses.join("\n    "));
    scratch.write("Buildfile.kdl", &format!("axis \"os\"{before}{}target{after}", parts.concat()));
}

/// The same with a key to sign with, which is made once and copied.
pub fn with_key(key: &str) -> Scratch {
    let scratch = scratch();
    scratch.write("keys/archive.asc", key);
    scratch
}

/// A key made by forge itself.
pub fn new_key() -> String {
    let scratch = scratch();
    let id = ["key", "new", "keys/archive.asc", "--user-id", "Archive <archive@example.org>"];
    let output = scratch.command("").args(id).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    scratch.read("keys/archive.asc")
}

#[test]
fn the_plan_tells_what_a_publish_will_do_and_the_run_does_it() {
    let scratch = with_key(&new_key());
    let plan = scratch.ok("plan").stdout;
    assert!(plan.contains("public/apt: 6 added, 0 replaced, 0 dropped, 0 kept"), "{plan}");
    assert!(plan.contains("+ joined-tools 1.0-1    bookworm forky trixie (all)"), "{plan}");
    assert!(plan.contains("a[os=bookworm]: never built; and 2 alike"), "{plan}");
    scratch.ok("run");
    assert!(scratch.path("public/apt/dists/trixie/InRelease").exists());
    assert!(scratch.ok("plan").stdout.contains("public/apt: stays as it is, 6 packages"));
    scratch.forge("plan --exit-code").ends_with(0);

    scratch.edit("Buildfile.kdl", "version \"2.0\"", "version \"2.1\"");
    let plan = scratch.plan("");
    let suite = &plan.0["repositories"][0]["suites"][0];
    assert_eq!((&suite["suite"], &suite["architecture"]), (&"bookworm".into(), &"all".into()));
    let cause = "extra-tools[os=bookworm]: version: '2.0' → '2.1'";
    let replaced = serde_json::json!([{ "name": "extra-tools", "from": "2.0", "to": "2.1", "cause": cause }]);
    assert_eq!(suite["replaced"], replaced);
    assert_eq!((&suite["kept"], &suite["dropped"]), (&2.into(), &serde_json::json!([])));
    let (done, events) = scratch.run_with_events("");
    done.ends_with(0);
    assert!(!events.nodes("node-started").contains(&"joined-tools[os=trixie]".to_owned()));
    assert_eq!(
        scratch.packages("public/apt", "trixie"),
        ["extra-tools 2.0", "extra-tools 2.1", "joined-tools 1.0-1"]
    );
}

#[test]
fn a_part_of_the_matrix_is_published_beside_the_rest() {
    let scratch = with_key(&new_key());
    scratch.edit(
        "Buildfile.kdl",
        "    suite \"{os}\"",
        "    suite \"{os}\"\n    alias \"stable\" of=\"forky\"",
    );
    scratch.edit("Buildfile.kdl", "wc -l) = 6 ]", "wc -l) -gt 1 ]");
    scratch.ok("run");
    let published = scratch.path("public/apt/dists").read_link().unwrap();
    let (done, events) = scratch.run_with_events("os=trixie");
    done.ends_with(0);
    assert_eq!(events.nodes("node-started"), ["apt", "readable"], "the index of a part is another one");
    assert_eq!(scratch.path("public/apt/dists").read_link().unwrap(), published);
    scratch.forge("plan --exit-code os=trixie").ends_with(0);
    scratch.edit("Buildfile.kdl", "version \"2.0\"", "version \"2.1\"");
    scratch.edit("Buildfile.kdl", "suite \"{os}\"", "suite \"{os}\"; keep versions=1");
    let plan = scratch.ok("plan os=trixie").stdout;
    assert!(plan.contains("public/apt: 0 added, 1 replaced, 1 dropped, 7 kept"), "{plan}");
    assert!(
        plan.contains("- extra-tools 2.0    trixie (all)\n      keep versions=1: 1 is newer\n"),
        "{plan}"
    );
    scratch.ok("run os=trixie");
    assert_eq!(scratch.packages("public/apt", "trixie"), ["extra-tools 2.1", "joined-tools 1.0-1"]);
    for suite in ["bookworm", "forky", "stable"] {
        assert_eq!(
            scratch.packages("public/apt", suite),
            ["extra-tools 2.0", "joined-tools 1.0-1"],
            "{suite}"
        );
    }
    scratch.ok("run");
    assert_eq!(scratch.packages("public/apt", "stable"), ["extra-tools 2.1", "joined-tools 1.0-1"]);
    scratch.forge("plan --exit-code").ends_with(0);
}

#[test]
fn what_clients_would_refuse_is_told_before_anything_is_built() {
    let scratch = with_key(&new_key());
    scratch.ok("run");
    let published = scratch.path("public/apt/dists").read_link().unwrap();
    scratch.edit("Buildfile.kdl", "    suite \"{os}\"", "    suite \"{os}\"\n    label \"other\"");
    let said = scratch.forge("plan").ends_with(1).error_text();
    assert!(said.contains("would change its Label from 'apt' to 'other', which apt refuses"), "{said}");
    scratch.edit("Buildfile.kdl", "\n    label \"other\"", "");
    // The same version with other contents.
    scratch.edit("Buildfile.kdl", "summary \"tools of one part\"", "summary \"tools of a part\"");
    let said = scratch.forge("run").error_text();
    assert!(said.contains("raise the package's iteration"), "{said}");
    assert!(scratch.forge("plan").ends_with(1).error_text().contains("raise the package's iteration"));
    assert_eq!(scratch.path("public/apt/dists").read_link().unwrap(), published);
}

#[test]
fn a_key_that_is_not_there_is_told_before_anything_is_built() {
    let scratch = scratch();
    for words in ["plan", "run"] {
        let said = scratch.forge(words).ends_with(1).error_text();
        assert!(said.contains("archive.asc"), "{said}");
    }
    scratch.ok("run apt");
}

#[test]
fn a_saved_plan_is_refused_when_the_repository_has_moved() {
    let scratch = with_key(&new_key());
    scratch.ok("run");
    scratch.edit("Buildfile.kdl", "version \"2.0\"", "version \"2.1\"");
    scratch.ok("plan --out saved.json");
    // Somebody else publishes from another store in the meantime.
    scratch.edit("Buildfile.kdl", "version \"1.0\"", "version \"1.1\"");
    scratch.ok("run --store elsewhere");
    scratch.edit("Buildfile.kdl", "version \"1.1\"", "version \"1.0\"");
    let said = scratch.forge("run --plan saved.json").ends_with(1).error_text();
    assert!(
        said.contains("the world has moved") && said.contains("public/apt would change in another way"),
        "{said}"
    );
}

#[test]
fn a_package_without_a_copyright_is_told_before_anything_is_built() {
    let scratch = with_key(&new_key());
    scratch.edit("Buildfile.kdl", "    copyright \"copyright\"\n    compression", "    compression");
    let done = scratch.forge("plan").ends_with(1);
    assert!(done.error_text().contains("a Debian package carries its copyright"), "{}", done.stderr);
    assert!(done.stderr.contains("2 errors"), "one for each package, not for each cell:\n{}", done.stderr);
}

#[test]
fn a_test_that_fails_keeps_everything_from_being_published() {
    let scratch = with_key(&new_key());
    scratch.edit("Buildfile.kdl", "wc -l) = 6 ]", "wc -l) = 7 ]");
    let (done, events) = scratch.run_with_events("");
    done.ends_with(3);
    assert_eq!(events.nodes("node-skipped"), ["site"]);
    assert!(!scratch.path("public").exists());
}

#[test]
fn packages_are_published_where_no_runner_works() {
    let mut scratch = Scratch::new(
        r#"
package "sample" arch="all" {
    name "sample"
    version "1.0"
    maintainer "Somebody <somebody@example.org>"
    summary "a sample"
    copyright "copyright"
    files "data" to="/usr/share/sample"
}
index "apt" {
    packages "sample"
    suite "stable"
}
key "archive" { file "keys/archive.asc" }
publish "site" to="public" {
    index "apt" at="apt"
    sign "archive"
}
target "script" { run "echo > $OUT/o"; output "o" }
"#,
    );
    scratch.write("copyright", "Do with it what you like.\n");
    scratch.write("data", "data\n");
    scratch.deny_namespaces();
    scratch.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    scratch.ok("key new keys/archive.asc --user-id test@example.org");
    let (done, events) = scratch.run_with_events("site");
    done.ends_with(0).says("3 run");
    assert!(events.of("run-started").next().unwrap()["runner"].is_null());
    assert!(scratch.path("public/apt/dists/stable/Release").exists());
    // What needs one is told before anything is run.
    scratch.edit("Buildfile.kdl", "\"1.0\"", "\"1.1\"");
    let error = scratch.forge("run").ends_with(1).error_text();
    assert!(error.contains("no runner works here"), "{error}");
    assert_eq!(scratch.plan("sample").verdict("sample"), "run");
}
