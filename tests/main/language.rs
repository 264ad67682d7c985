//! Every message of the language, as the user sees it. The program itself runs, in a directory of
//! its own.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What the cases build on; a line of it is line 1 of no snapshot, since they stand before it.
const BASE: &str = include_str!("language/base.kdl");

/// What the program said, in a directory with these files.
fn forge(files: &[(&str, &[u8])], words: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    run(dir.path(), words)
}

fn run(dir: &Path, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_forge"))
        .args(words)
        .current_dir(dir)
        .env_remove("FORGE_PROFILE")
        .env_remove("FORGE_STORE")
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    format!("exit {code}\n{}{}", text(&output.stdout), text(&output.stderr))
}

/// Of a Buildfile made of a snippet and, after it, the base.
fn graph(snippet: &str, words: &[&str]) -> String {
    let text = format!("{}\n{BASE}", snippet.trim_start_matches('\n'));
    forge(&[("Buildfile.kdl", text.as_bytes())], &[&["graph"], words].concat())
}

/// One snapshot for each: a snippet in front of the base, and words for `forge graph`.
macro_rules! told {
    ($($name:ident: $snippet:expr $(, $word:expr)*;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), graph($snippet, &[$($word),*]));
        })*
    };
}

told! {
    unknown_node: r#"targt "x""#;
    unknown_node_inside: r#"target "x" { rnu "make"; output "root"; run "a" }"#;
    unknown_property: r#"target "x" ovr="otp" { run "make"; output "root" }"#;
    node_written_as_property: r#"target "x" timeout="1h" { run "make"; output "root" }"#;
    property_written_as_node: r#"target "x" { over "otp"; run "make"; output "root" }"#;
    property_written_as_arguments: r#"target "x" over "otp" { run "make"; output "root" }"#;
    property_given_twice: r#"target "x" over="otp" over="arch" { run "make"; output "root" }"#;
    block_where_none_belongs: r#"target "x" { run "make" { y }; output "root" }"#;

    unknown_axis_in_over: r#"target "x" over="otp distr arch" { run "make"; output "root" }"#;
    unknown_attribute_in_over: r#"target "x" over="distro otp.majr" { run "make"; output "root" }"#;
    axis_spanned_twice: r#"target "x" over="otp arch otp.major arch" { run "make"; output "root" }"#;
    unknown_axis_in_exclude: r#"exclude arhc="arm64""#;
    unknown_attribute_in_where: r#"target "x" over="distro" { where distro.fromat="deb"; run "make"; output "root" }"#;
    unknown_value_in_exclude: r#"exclude distro="debian-13,debian-21""#;
    unknown_value_of_attribute: r#"exclude distro.format="dbe""#;
    filter_on_an_axis_not_spanned: r#"target "x" over="otp" { where distro.format="deb"; run "make"; output "root" }"#;
    not_a_condition: r#"exclude otp="26,,27""#;
    exclude_without_condition: "exclude";
    exclude_of_nothing: r#"exclude otp="<26" distro="debian-12""#, "otp.source";

    unknown_upstream_of_axis: r#"axis "elixir" from="elxir""#;
    unknown_upstream_of_source: r#"target "x" over="otp" { source "opt" into="src"; run "make"; output "root" }"#;
    unknown_target: r#"target "x" over="distro arch otp" { use "erlan" at="/opt"; run "make"; output "root" }"#;
    unknown_image: r#"target "x" over="distro arch" image="toolchian" { run "make"; output "root" }"#;
    unknown_test: r#"target "x" over="distro arch" { requires "smok"; run "make"; output "root" }"#;
    unknown_output: r#"target "x" over="distro arch" { use "erlang" output="rot" at="/opt"; run "make"; output "root" }"#;
    output_must_be_said: r#"
target "two" { run "make"; output "root" "doc" }
target "x" { use "two" at="/opt"; run "make"; output "root" }
"#;
    no_tests_to_require: r#"target "x" { requires "erlang"; run "make"; output "root" }"#;
    target_where_an_image_belongs: r#"target "x" over="distro arch otp" image="erlang" { run "make"; output "root" }"#;
    target_where_a_package_belongs: r#"index "apt" { packages "erlang"; suite "stable" }"#;
    test_where_a_target_belongs: r#"target "x" over="distro arch" { use "smoke" at="/opt"; run "make"; output "root" }"#;

    missing_name: r#"target over="otp" { run "make"; output "root" }"#;
    missing_argument: r#"target "x" { run; env "A"; output "root" }"#;
    missing_property: r#"package "x" { version "1"; maintainer "M <m@x.org>"; summary "s" }"#;
    surplus_argument: r#"target "x" { run "make" "install" "now"; output "root" }"#;
    name_that_cannot_be_one: r#"target "x[y]" { run "make"; output "root" }"#;
    axis_that_cannot_be_named_in_a_template: r#"axis "OS" { value "a,b" Form="x" }"#;

    number_expected: r#"target "x" { run "make"; output "root"; resources cpu="two" memory="3GB"; timeout 90 }"#;
    boolean_expected: r#"target "x" network="yes" { run "make"; output "root" }"#;
    text_expected: r#"target "x" { run #true; env "A" #null; output "root" }"#;
    no_cores: r#"target "x" { run "make"; output "root"; resources cpu=0 }"#;
    tag_without_version: r#"upstream "x" { git "https://example.org/x" tag="v" }"#;
    upstream_without_origin: r#"upstream "x" { strip 1 }"#;
    upstream_with_two_origins: r#"upstream "x" { path "x"; git "https://example.org/x" tag="v{version}" }"#;
    strip_is_no_number: r#"upstream "x" { path "x"; strip "one" }"#;
    tag_with_two_versions: r#"upstream "x" { git "https://example.org/x" tag="{version}-{version}" }"#;
    keep_of_both: r#"upstream "x" { git "https://example.org/x" tag="v{version}"; keep majors=2 newest=3 }"#;
    keep_of_nothing: r#"upstream "x" { git "https://example.org/x" tag="v{version}"; keep majors=0; keep }"#;
    range_that_is_none: r#"upstream "x" { git "https://example.org/x" tag="v{version}"; versions ">=25" "<" }"#;
    hold_without_a_reason: r#"upstream "x" { git "https://example.org/x" tag="v{version}"; hold "1.2" }"#;
    pinned_and_held: r#"
upstream "x" {
    git "https://example.org/x" tag="v{version}"
    pin "1.2" reason="customers have it"
    hold "1.2" reason="it bites"
}
"#;
    checksums_of_no_archive: r#"
upstream "x" {
    git "https://example.org/x" tag="v{version}"
    checksums "https://example.org/{version}/SHA256"
    signature "https://example.org/{version}.asc"
}
"#;
    policy_of_a_directory: r#"upstream "x" { path "x"; keep newest=1; hold "1" reason="why" }"#;
    hole_in_a_signatures_address: r#"
upstream "x" {
    git "https://example.org/x" tag="v{version}"
    archive "https://example.org/x-{version}.tar"
    signature "https://example.org/x-{major}.asc" key-file="keys/x.asc"
}
"#;
    not_a_sha256: r#"upstream "x" { version "1" sha256="abc" }"#;

    unclosed_block: "target \"x\" {\n    run \"make\"\n";
    unclosed_string: "target \"x\" {\n    run \"make\n}\n";
    stray_brace: "target \"x\" { run \"make\" }\n}\n";
    bad_multi_line_string: "target \"x\" {\n    run \"\"\"\n  make\n        \"\"\"\n}\n";
    bad_escape: "target \"x\" {\n    run \"grep \\d\"\n}\n";
    value_missing: "target \"x\" over= {\n}\n";
    block_on_its_own_line: "target \"x\"\n{\n    run \"make\"\n}\n";
    text_without_blank: "target \"x\"over=\"otp\"";
    bare_true: "target \"x\" network=true";

    duplicate_target: r#"
target "erlang" { run "make"; output "root" }
"#;
    duplicate_axis_and_value: r#"
axis "libc" { value "musl"; value "glibc"; value "musl" }
axis "arch" { value "s390x" platform="linux/s390x" }
"#;
    name_of_an_added_step: r#"target "otp.source" { run "make"; output "root" }"#;
    circle: r#"
target "a" { use "b" at="/b"; run "make"; output "root" }
target "b" { use "c" at="/c"; run "make"; output "root" }
target "c" { use "a" at="/a"; run "make"; output "root" }
"#;
    circle_of_one: r#"target "a" { use "a" at="/a"; run "make"; output "root" }"#;

    unknown_attribute_in_a_script: r##"
target "x" over="otp distro" {
    run #"""
        echo "{otp}"
        echo "{distro.codenam}" "${shell}"
        """#
    output "root"
}
"##;
    axis_not_spanned_in_a_script: r#"
target "x" over="otp" {
    run """
        make ARCH={arch}
        """
    output "root"
}
"#;
    misspelt_axis_in_a_template: r#"target "x" over="otp" { run "make {opt}"; output "root" }"#;
    unknown_word_in_a_template: r#"target "x" { run "make {prefix} {jobs}"; output "root" }"#;
    whole_axis_where_a_group_is_spanned: r#"target "x" over="otp.major" { run "make {otp}"; output "root" }"#;
    jobs_outside_a_script: r#"target "x" { env "J" "{jobs}"; run "make"; output "root" }"#;
    hole_in_an_archives_address: r#"upstream "x" { git "https://example.org/x" tag="v{version}"; archive "https://example.org/{major}/x-{version}.tar" }"#;
    attribute_that_one_value_lacks: r#"target "x" over="distro" { run "echo {distro.codename}"; output "root" }"#;
    attribute_that_one_value_lacks_in_globs_and_places: r#"
target "x" over="distro" { files "{distro.codename}/*" into="."; env "NAME" "{distro.codename}"; run "make"; output "root" }
target "y" over="distro" { files "*" into="{distro.codename}"; run "make"; output "root" }
package "zz" over="distro" format="deb" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; copyright "c"; files "{distro.codename}.txt" to="/" }
"#;
    no_cell_agrees: r#"
image "narrow" over="distro arch" { where arch="amd64"; bootstrap "stable" arch="{arch}" }
target "x" over="otp distro arch" image="narrow" { run "make"; output "root" }
"#;

    empty_selection: r#"exclude arch="amd64,arm64""#, "distro=rocky-9";
    unknown_value_selected: "", "distro=debian-21";
    unknown_version_selected: "", "otp=27.3.5";
    unknown_axis_selected: "", "dsitro=debian-12";
    unknown_attribute_selected: "", "distro.codenam=bookworm";
    nothing_left_selected: "", "distro=debian-12", "distro=rocky-9";
    not_a_selection: "", "otp=";
    unknown_goal: "", "erlan";
    unknown_node_as_goal: "", "erlang[otp=27.3.4,distro=debian-12,arch=amd46]";

    include_of_nothing: r#"include "parts/*.kdl""#;
    include_of_a_missing_file: r#"include "tests.kdl""#;
    include_from_outside: r#"include "../other/*.kdl""#;
    include_that_is_no_glob: r#"include "parts/[.kdl""#;

    unknown_profile: r#"profile "quick" {}"#, "--profile", "qick";
    no_profiles_at_all: "", "--profile", "quick";
    unknown_base: r#"profile "quick" base="archiv" {}
profile "archive" {}"#;
    profile_based_on_itself: r#"
profile "a" base="b" {}
profile "b" base="a" {}
"#;
    duplicate_profile: r#"
profile "a" {}
profile "a" {}
"#;
    profile_and_include_inside_a_profile: r#"profile "a" { profile "b" {}; include "x.kdl" }"#;
    fault_in_a_profile_that_is_not_selected: r#"
profile "quick" {
    choose distro="debian-21" otpp="27"
    target "erlang" over="otp distro arch" image="toolchain" {
        run "make {otpp}"
        output "fast"
    }
}
"#;

    two_places_for_an_input: r#"target "x" over="otp" { source "otp" into="src" at="/src"; run "make"; output "root" }"#;
    no_place_for_an_input: r#"target "x" over="otp" { source "otp"; run "make"; output "root" }"#;
    image_made_in_no_way: r#"
image "x" over="distro" {}
target "y" over="distro" image="x" { run "make"; output "root" }
"#;
    image_made_in_two_ways: r#"
image "x" {
    bootstrap "stable" arch="amd64"
    dockerfile "Dockerfile" platform="linux/amd64"
}
"#;
    bracket_left_open: r#"target "x" { use "erlang[arch=amd64" at="/x"; run "make"; output "root" }"#;
    fixed_by_no_condition: r#"target "x" { use "erlang[arch]" at="/x"; run "make"; output "root" }"#;
    fixed_on_an_unknown_axis: r#"target "x" { use "erlang[arc=amd64]" at="/x"; run "make"; output "root" }"#;
    fixed_to_an_unknown_value: r#"target "x" { use "erlang[arch=amd46]" at="/x"; run "make"; output "root" }"#;
    fixed_on_an_axis_that_is_not_spanned: r#"target "x" image="toolchain[otp=27]" { run "make"; output "root" }"#;
    fixed_where_no_cell_is: r#"
        exclude otp="26.2.5" distro="debian-13"
        target "x" { use "erlang[otp=26,distro=debian-13]" at="/x"; run "make"; output "root" }
    "#;
    unknown_alternative: r#"target "x" { use "erlang" "erlang-cros" at="/x"; run "make"; output "root" }
        target "erlang-cross" { run "make"; output "root" }"#;
    no_alternative_agrees: r#"
        target "native" over="arch" { where arch="amd64"; run "make"; output "root" }
        target "cross" over="arch" { where arch="amd64"; run "make"; output "root" }
        target "x" over="arch" { use "native" "cross" at="/x"; run "make"; output "root" }
    "#;
    no_image_in_alternatives: r#"target "x" image=" " { run "make"; output "root" }"#;
    image_without_the_libraries_of_a_package: r#"
        image "tools" { bootstrap "bookworm" arch="amd64" { foreign "armhf" } }
        package "hello" over="arch" image="tools" arch="{arch}" {
            version "1"; maintainer "M <m@x.org>"; summary "s"; depends "auto"; copyright "c"; files "c" to="/"
        }
    "#;
    image_whose_name_is_none: r#"
image "x" over="distro" { registry "example.org/{distro.format}:{distro}/x" platform="linux/amd64" }
target "y" over="distro" image="x" { run "make"; output "root" }
"#;
    image_whose_name_lacks_a_value: r#"
image "x" over="distro" { registry "debian:{distro.codename}" platform="linux/amd64" }
target "y" over="distro" image="x" { run "make"; output "root" }
"#;
    base_whose_name_is_none: r#"
image "x" { dockerfile "Dockerfile" platform="linux/amd64" { base "base" "debian@sha256:12" } }
target "y" image="x" { run "make"; output "root" }
"#;
    registry_without_a_platform: r#"image "x" { registry "debian:bookworm" }"#;
    argument_given_twice: r#"
image "x" { dockerfile "Dockerfile" platform="linux/amd64" { arg "base" "a"; base "base" "debian:bookworm" } }
"#;
    base_without_an_image: r#"
image "x" { dockerfile "Dockerfile" platform="linux/amd64" { base "base"; bsae "other" "debian:bookworm" } }
"#;
    image_called_host: r#"image "host" { bootstrap "stable" arch="amd64" }"#;
    target_without_anything: r#"target "x""#;
    test_with_an_output: r#"test "x" { run "make"; output "root" }"#;
    script_given_twice: r#"target "x" { run "a"; run "b"; output "root" }"#;
    axis_without_values: r#"axis "x""#;
    axis_with_values_from_two_places: r#"axis "x" from="otp" { value "a" }"#;
    package_without_anything: r#"package "x""#;
    package_that_asks_no_image: r#"package "x" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; depends "auto" }"#;
    unknown_maintainer_script: r#"package "x" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; script "post-inst" "true"; compression "xs" }"#;
    package_with_a_node_in_the_wrong_format: r#"package "x" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; deb { license "MIT"; }; rpm { section "misc"; conflcts "y"; }; supplements "z"; }"#;
    package_signed_by_two_keys: r#"package "x" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; sign "a"; rpm { sign "b"; sign "c"; } }"#;
    package_that_asks_no_image_in_one_format: r#"package "x" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; rpm { depends "auto"; } }"#;
    package_with_an_unknown_hole_in_one_format: r#"package "x" over="distro" arch="all" format="{distro.format}" { version "1" dist="{distro.codenam}"; maintainer "M <m@x.org>"; summary "s"; rpm { license "{license}"; } }"#;
    index_without_anything: r#"index "x""#;
    index_of_an_unknown_format: r#"index "x" format="yum" { packages "pk" }
package "pk" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; copyright "c"; files "x" to="/" }"#;
    rpm_index_with_settings_of_apt: r#"index "x" format="rpm" { packages "pk"; suite "s"; component "c"; alias "a" of="s"; contents #false; label "l"; compresion "gz" }
package "pk" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; copyright "c"; files "x" to="/" }"#;
    apt_index_with_advisories: r#"index "x" { packages "pk"; suite "s"; updateinfo "u.xml" }
package "pk" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; copyright "c"; files "x" to="/" }"#;
    unknown_compression_of_an_rpm_index: r#"index "x" format="rpm" { packages "pk"; compression "zst" }
package "pk" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; copyright "c"; files "x" to="/" }"#;
    rpm_index_of_other_packages: r#"index "x" format="rpm" { packages "pk" }
package "pk" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; copyright "c"; files "x" to="/" }"#;
    rpm_repository_without_url: r#"key "k" { file "k" }
publish "x" to="public" { index "yum"; sign "k" }
index "yum" format="rpm" { packages "pk" }
package "pk" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; copyright "c"; files "x" to="/" }"#;
    url_that_is_none: r#"key "k" { file "k" }
publish "x" to="public" { index "apt"; sign "k"; url "packages.example.org" }
index "apt" { packages "pk"; suite "s" }
package "pk" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; copyright "c"; files "x" to="/" }"#;
    publish_to_a_directory_behind_cloudfront: r#"key "k" { file "k" }
publish "x" to="public" { index "apt"; sign "k"; cloudfront "E2QWRUHEXAMPLE" }
index "apt" { packages "pk"; suite "s" }
package "pk" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; copyright "c"; files "x" to="/" }"#;
    distribution_by_its_domain_name: r#"key "k" { file "k" }
publish "x" to="s3://packages" { index "apt"; sign "k"; cloudfront "d111111abcdef8.cloudfront.net" }
index "apt" { packages "pk"; suite "s" }
package "pk" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; copyright "c"; files "x" to="/" }"#;
    keep_without_anything: r#"index "x" { packages "p"; suite "s"; keep }
package "p" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; files "x" to="/" }"#;
    keep_of_no_version: r#"index "x" { packages "p"; suite "s"; keep versions=0; keep days=3 }
package "p" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; files "x" to="/" }"#;
    publish_without_anything: r#"publish "x""#;
    publish_without_key: r#"publish "x" to="public" { index "apt"; sign }
index "apt" { packages "p"; suite "s" }
package "p" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; files "x" to="/" }"#;
    publish_with_an_unknown_key: r#"publish "x" to="public" { index "apt"; sign "archiv" }
key "archive" { file "archive.asc" }
index "apt" { packages "p"; suite "s" }
package "p" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; files "x" to="/" }"#;
    publish_with_what_is_no_key: r#"publish "x" to="public" { index "apt"; sign "apt" }
index "apt" { packages "p"; suite "s" }
package "p" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; files "x" to="/" }"#;
    key_from_two_places: r#"key "x" { file "a"; env "B" }"#;
    key_from_nowhere: r#"key "x" { passphrase-env "B" }"#;
    newest_of_what_is_no_version: r#"
package "p" over="distro" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; files "x" to="/" }
index "x" { packages "p"; suite "s"; newest "distro" }
"#;
    newest_of_what_no_package_spans: r#"
package "p" over="distro" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; files "x" to="/" }
index "x" { packages "p"; suite "s"; newest "otp.major" }
"#;
    newest_of_what_the_index_spans: r#"
package "p" over="otp" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; files "x" to="/" }
index "x" over="otp.major" { packages "p"; suite "s"; newest "otp.major" }
"#;
    newest_of_an_unknown_attribute: r#"
package "p" over="otp" arch="all" { version "1"; maintainer "M <m@x.org>"; summary "s"; files "x" to="/" }
index "x" { packages "p"; suite "s"; newest "otp.mayor" }
"#;
    alias_of_no_suite: r#"
package "pk" over="distro" arch="all" { where distro.format="deb"; version "1"; maintainer "M <m@x.org>"; summary "s"; copyright "x"; files "x" to="/" }
index "x" { packages "pk"; suite "{distro.codename}"; alias "stable" of="bookwurm" }
"#;
}

#[test]
fn several_errors_in_several_files() {
    let main = format!("include \"parts/*.kdl\"\ntarget \"a\" over=\"opt\" {{ run \"make\" }}\n{BASE}");
    let files: [(&str, &[u8]); 3] = [
        ("Buildfile.kdl", main.as_bytes()),
        ("parts/one.kdl", b"target \"b\" { use \"c\" at=\"/c\"; output \"root\" }\ntarget \"erlang\" { run \"x\"; output \"root\" }\n"),
        ("parts/two.kdl", b"pakage \"d\"\ninclude \"more.kdl\"\n"),
    ];
    insta::assert_snapshot!(forge(&files, &["graph"]));
}

#[test]
fn syntax_errors_in_several_files() {
    let files: [(&str, &[u8]); 3] = [
        ("Buildfile.kdl", b"include \"parts/*.kdl\"\n"),
        ("parts/one.kdl", b"target \"b\" over=\ntarget \"c\" network=true {\n"),
        ("parts/two.kdl", b"\xff\xfe"),
    ];
    insta::assert_snapshot!(forge(&files, &["graph"]));
}

#[test]
fn formatting_what_is_no_kdl() {
    insta::assert_snapshot!(forge(&[("Buildfile.kdl", b"target \"a\" {\n")], &["fmt"]));
}

#[test]
fn buildfile_that_is_absent() {
    insta::assert_snapshot!(forge(&[], &["graph"]));
}

#[test]
fn buildfile_that_is_a_directory() {
    let answer = forge(&[("Buildfile.kdl/x", b"")], &["graph"]);
    insta::assert_snapshot!(answer);
}

#[test]
fn buildfile_that_is_empty() {
    insta::assert_snapshot!(forge(&[("Buildfile.kdl", b"// nothing yet\n")], &["graph"]));
}

#[test]
fn buildfile_that_is_not_utf8() {
    insta::assert_snapshot!(forge(&[("Buildfile.kdl", b"// one\n// caf\xe9\n")], &["graph"]));
}

#[test]
fn base_has_no_fault() {
    assert!(graph("", &[]).starts_with("exit 0\ndigraph"), "{}", graph("", &[]));
}

#[test]
fn formatting_writes_the_canonical_form_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("Buildfile.kdl");
    fs::write(&file, "a   1;b {\n\n c  }").unwrap();
    assert_eq!(run(dir.path(), &["fmt", "--check"]), "exit 1\nBuildfile.kdl\n");
    assert_eq!(run(dir.path(), &["fmt"]), "exit 0\nBuildfile.kdl\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "a 1\nb {\n    c\n}\n");
    assert_eq!(run(dir.path(), &["fmt"]), "exit 0\n");
}

/// The blocks of KDL in the reference, and whether each is a Buildfile of its own.
fn examples() -> Vec<(bool, String)> {
    let text = include_str!("../../docs/buildfile.md");
    let blocks = text.split("\n```kdl").skip(1).filter_map(|block| {
        let (kind, rest) = block.split_once('\n')?;
        Some((kind.trim() == "complete", rest.split_once("```")?.0.to_owned()))
    });
    blocks.collect()
}

#[test]
fn complete_examples_of_the_reference_are_buildfiles() {
    let complete: Vec<String> =
        examples().into_iter().filter(|(complete, _)| *complete).map(|e| e.1).collect();
    assert!(complete.len() >= 3);
    for example in complete {
        let answer = forge(&[("Buildfile.kdl", example.as_bytes())], &["graph"]);
        assert!(answer.starts_with("exit 0\ndigraph") && !answer.contains('⚠'), "{example}\n{answer}");
    }
}

#[test]
fn examples_of_the_reference_are_in_the_canonical_form() {
    for (_, example) in examples() {
        let answer = forge(&[("Buildfile.kdl", example.as_bytes())], &["fmt", "--check", "Buildfile.kdl"]);
        assert_eq!(answer, "exit 0\n", "{example}");
    }
}

#[test]
fn the_join_of_the_reference_is_the_join() {
    let (_, example) = examples().into_iter().find(|(_, text)| text.contains("target \"docs\"")).unwrap();
    let answer = forge(&[("Buildfile.kdl", example.as_bytes())], &["graph", "docs[otp.major=27]"]);
    let into_docs: Vec<&str> = answer.lines().filter(|line| line.contains("-> \"docs")).collect();
    assert_eq!(into_docs, [r#"  "build[otp=27.10,distro=debian-12]" -> "docs[otp.major=27]";"#]);
    assert!(answer.contains(r#""tools[distro=debian-12]" -> "build[otp=27.10,distro=debian-12]";"#));
}

#[test]
fn the_profile_of_the_reference_can_be_overridden() {
    let (_, example) = examples().into_iter().find(|(_, text)| text.contains("base=\"one\"")).unwrap();
    let nodes =
        |words: &[&str]| forge(&[("Buildfile.kdl", example.as_bytes())], &[&["graph"], words].concat());
    let quick = nodes(&["--profile", "quick"]);
    assert!(quick.contains("debian-12") && !quick.contains("debian-13"), "{quick}");
    let other = nodes(&["--profile", "quick", "distro=debian-13"]);
    assert!(other.contains("debian-13") && !other.contains("debian-12"), "{other}");
}
