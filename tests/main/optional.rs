//! Cells that fail: what they keep out of a repository, and what goes on without them.

use super::scratch::{Done, Scratch};

/// Three systems, a package for each, and a test for each that the index requires. The file
/// `bad` says in which cell something fails, and what.
fn scratch(rules: &str) -> Scratch {
    let scratch = Scratch::new(&format!(
        r#"
{rules}
axis "os" {{
    value "bookworm"
    value "trixie"
    value "forky"
}}
target "tool" over="os" {{
    files "bad" into="."
    run "if grep -qx 'build {{os}}' bad; then exit 1; fi; mkdir $OUT/root; echo {{os}} > $OUT/root/tool"
    output "root"
}}
package "tool-deb" over="os" arch="all" {{
    name "tool"
    version "1.0"
    maintainer "Somebody <somebody@example.org>"
    summary "a tool"
    files from="tool" to="/usr/share/tool"
    copyright "copyright"
}}
index "candidate" over="os" {{
    packages "tool-deb"
    suite "{{os}}"
}}
test "install" over="os" {{
    use "candidate" at="/srv/apt"
    files "bad" into="."
    run "echo testing {{os}}; if grep -qx 'test {{os}}' bad; then exit 1; fi; test -d /srv/apt/dists/{{os}}"
}}
index "apt" {{
    packages "tool-deb"
    requires "install"
    suite "{{os}}"
}}
key "archive" {{
    file "keys/archive.asc"
}}
publish "site" to="public" {{
    index "apt"
    sign "archive"
}}
"#
    ));
    scratch.write("copyright", "Do with it what you like.\n");
    scratch.write("bad", "nothing\n");
    let id = ["key", "new", "keys/archive.asc", "--user-id", "Archive <archive@example.org>"];
    assert!(scratch.command("").args(id).output().unwrap().status.success());
    scratch
}

/// The suites that hold a package.
fn published(scratch: &Scratch) -> Vec<String> {
    let Ok(suites) = std::fs::read_dir(scratch.path("public/pool")) else { return Vec::new() };
    let mut suites: Vec<_> = suites.map(|suite| suite.unwrap().file_name().into_string().unwrap()).collect();
    suites.sort();
    suites
}

fn run(scratch: &Scratch, words: &str) -> Done {
    scratch.forge(&format!("run site {words}"))
}

#[test]
fn what_a_failed_test_speaks_of_is_not_published_and_neither_is_the_rest() {
    let scratch = scratch("");
    scratch.write("bad", "test trixie\n");
    let done = run(&scratch, "--keep-going").ends_with(3);
    assert_eq!(published(&scratch), [""; 0]);
    assert!(done.stderr.contains("install[os=trixie]"), "{}", done.stderr);
    assert!(done.stderr.contains("by os: trixie 1 of 1"), "{}", done.stderr);
    // The others were tested all the same, and the log of each test is kept.
    assert!(scratch.ok("log install[os=bookworm]").stdout.contains("testing bookworm"));
    assert!(scratch.ok("log install[os=trixie]").stdout.contains("testing trixie"));
}

#[test]
fn an_optional_cell_stays_out_and_the_rest_is_published() {
    for bad in ["test trixie\n", "build trixie\n"] {
        let scratch = scratch("optional os=\"trixie\"");
        scratch.write("bad", bad);
        let done = run(&scratch, "").ends_with(0);
        assert_eq!(published(&scratch), ["bookworm", "forky"], "{bad}");
        assert!(done.stderr.contains("1 node failed"), "{}", done.stderr);
        assert!(
            done.stderr.contains("gone without, as it is optional: tool-deb.for-apt[os=trixie]"),
            "{}",
            done.stderr
        );
        // It is not forgotten: the next plan has it, and once it is well it is published.
        scratch.forge("plan site --exit-code").ends_with(2);
        scratch.write("bad", "nothing\n");
        run(&scratch, "").ends_with(0);
        assert_eq!(published(&scratch), ["bookworm", "forky", "trixie"], "{bad}");
        scratch.forge("plan site --exit-code").ends_with(0);
    }
}

#[test]
fn a_cell_that_is_not_optional_still_stops_publishing() {
    let scratch = scratch("optional os=\"trixie\"");
    scratch.write("bad", "test trixie\ntest forky\n");
    run(&scratch, "--keep-going").ends_with(3);
    assert_eq!(published(&scratch), [""; 0]);
}

#[test]
fn where_all_cells_are_optional_and_fail_nothing_is_published() {
    let scratch = scratch("optional os=\"bookworm,trixie,forky\"");
    scratch.write("bad", "build trixie\nbuild forky\nbuild bookworm\n");
    run(&scratch, "--keep-going").ends_with(3);
    assert_eq!(published(&scratch), [""; 0]);
}

#[test]
fn a_goal_that_is_optional_and_fails_is_a_failure() {
    let scratch = scratch("optional os=\"trixie\"");
    scratch.write("bad", "build trixie\n");
    scratch.forge("run tool --keep-going").ends_with(3);
}

#[test]
fn an_optional_rule_needs_conditions_and_known_names() {
    scratch("optional").forge("plan").ends_with(1).says("'optional' needs conditions");
    scratch("optional os=\"trixi\"").forge("plan").ends_with(1).says("os has no value 'trixi'");
}
