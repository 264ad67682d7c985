//! Another processor than this machine's: compiled for by a cross compiler, and run by emulation.

use std::process::Command;

use super::scratch::{Done, Scratch};

/// A program in C that is built natively, and for the other processor with the native build's help;
/// packaged, and installed on a system of its processor.
const BUILDFILE: &str = r##"
axis "arch" {
    value "amd64" build="native" platform="linux/amd64"
    value "arm64" build="cross" platform="linux/arm64"
}

image "tools" {
    bootstrap "bookworm" arch="amd64" {
        foreign "arm64"
        packages "gcc" "gcc-aarch64-linux-gnu" "libc6-dev" "zlib1g-dev:arm64" "zlib1g-dev" "dpkg-dev"
    }
}

image "clean" over="arch" {
    bootstrap "bookworm" arch="{arch}"
}

target "hello" over="arch" image="tools" {
    where arch.build="native"
    files "hello.c" into="."
    run "mkdir -p $OUT/root/usr/bin; gcc -O2 -o $OUT/root/usr/bin/hello hello.c -lz"
    output "root"
}

// What the native program prints is compiled in: it ran here.
target "hello-cross" over="arch" image="tools" {
    where arch.build="cross"
    use "hello[arch=amd64]" at="/opt/native"
    files "hello.c" into="."
    run #"""
        built_by=$(/opt/native/usr/bin/hello)
        mkdir -p $OUT/root/usr/bin
        aarch64-linux-gnu-gcc -O2 -DBUILT_BY="\"$built_by\"" -o $OUT/root/usr/bin/hello hello.c -lz
        """#
    output "root"
}

package "hello-deb" over="arch" image="tools" arch="{arch}" {
    name "hello"
    version "1.0" iteration="1"
    maintainer "Nobody <nobody@localhost>"
    summary "a greeting"
    copyright "hello.c"
    depends "auto"
    files from="hello hello-cross" to="/"
}

test "smoke" over="arch" image="clean" {
    use "hello-deb" at="/srv/package"
    run """
        dpkg --install /srv/package/*.deb
        echo "it says: $(hello)"
        test "$(hello)" = "hello from $(uname -m), built by hello from x86_64, built by nobody"
        """
}

test "processor" over="arch" image="clean" {
    run "test \"$(dpkg --print-architecture) $(uname -m)\" = 'arm64 aarch64'"
}
"##;

const HELLO: &str = r#"
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <zlib.h>
#ifndef BUILT_BY
#define BUILT_BY "nobody"
#endif
int main(void) {
    struct utsname system;
    if (uname(&system) != 0 || strncmp(zlibVersion(), "1.", 2) != 0) return 1;
    printf("hello from %s, built by %s\n", system.machine, BUILT_BY);
    return 0;
}
"#;

#[test]
fn a_program_is_cross_compiled_packaged_and_run_by_emulation() {
    let scratch = Scratch::new(BUILDFILE);
    scratch.write("hello.c", HELLO);
    let told = scratch.ok("update arch=arm64").stdout;
    assert!(told.contains("tools: ") && told.contains("clean[arch=arm64]: "), "{told}");
    assert!(!told.contains("clean[arch=amd64]"), "the selection leaves it out: {told}");
    assert!(scratch.read("forge.lock").contains("foreign=arm64"));

    the_selection_limits_goals_and_not_what_they_are_made_with(&scratch);
    let (done, events) = scratch.run_with_events("smoke arch=arm64");
    let done = done.ends_with(0).says("start   smoke[arch=arm64], emulated");
    assert!(!done.stderr.contains("hello-cross[arch=arm64], emulated"), "{}", done.stderr);
    let emulated: Vec<&str> = events
        .of("node-started")
        .filter(|event| event["emulated"] == true)
        .map(|event| event["node"].as_str().unwrap())
        .collect();
    assert_eq!(emulated, ["clean[arch=arm64]", "smoke[arch=arm64]"]);

    the_package_is_of_arm64_and_needs_its_libraries(&scratch);
    // A store that has the image: so nothing is built but what runs in the engine.
    let (done, events) = scratch.run_with_events("--runner docker processor arch=arm64");
    done.ends_with(0).says("start   processor[arch=arm64], emulated");
    assert_eq!(events.nodes("node-started"), ["processor[arch=arm64]"]);
}

fn the_selection_limits_goals_and_not_what_they_are_made_with(scratch: &Scratch) {
    let plan = scratch.plan("smoke arch=arm64");
    let nodes: Vec<String> = plan.keys().into_keys().collect();
    let expected = [
        "clean[arch=arm64]",
        "hello-cross[arch=arm64]",
        "hello-deb.depends[arch=arm64]",
        "hello-deb[arch=arm64]",
        "hello[arch=amd64]",
        "smoke[arch=arm64]",
        "tools",
    ];
    assert_eq!(nodes, expected);
    // It is there for its user alone: nobody asked for it.
    scratch
        .forge("plan hello arch=arm64")
        .ends_with(1)
        .says("no target 'hello' with a cell in this selection");
    let key = plan.key("hello[arch=amd64]").map(str::to_owned);
    assert_eq!(scratch.plan("hello arch=amd64").key("hello[arch=amd64]").map(str::to_owned), key);
}

fn the_package_is_of_arm64_and_needs_its_libraries(scratch: &Scratch) {
    let fields = |field: &str| {
        let tree = scratch.outputs("hello-deb[arch=arm64]")["package"];
        let store = scratch.store();
        let checkout = store.checkout(tree).unwrap();
        let deb = checkout.join("hello_1.0-1_arm64.deb");
        let said = Command::new("dpkg-deb").arg("--field").arg(deb).arg(field).output().unwrap();
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(fields("Architecture"), "arm64");
    let depends = fields("Depends");
    assert!(depends.contains("libc6 (>= 2.") && depends.contains("zlib1g (>= 1:"), "{depends}");
}

/// forge in a world without emulators, or with those that `register` makes.
fn without_emulators(scratch: &Scratch, register: &str, words: &str) -> Done {
    let forge = env!("CARGO_BIN_EXE_forge");
    let script = format!(
        "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc || exit 99\n{register}\nexec {forge} {words}"
    );
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .current_dir(scratch.path(""))
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let done = Done { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
    assert_ne!(done.code, Some(99), "this test needs Linux 6.7 or newer: {}", done.stderr);
    done
}

#[test]
fn an_emulator_that_is_missing_is_told_before_anything_runs() {
    let scratch = Scratch::new(
        r#"
image "other" { dockerfile "Dockerfile" platform="linux/arm64" }
target "long" { run "mkdir $OUT/o"; output "o" }
test "late" image="other" {
    use "long" at="/opt/long"
    run "uname -m"
}
"#,
    );
    scratch.write("Dockerfile", "FROM scratch\n");
    let said = |done: Done| done.ends_with(1).error_text();
    let text = said(without_emulators(&scratch, "", "run"));
    for part in [
        "other and 1 more cannot run here: linux/amd64 runs no program of linux/arm64",
        "no emulator is registered with the kernel",
        "apt-get install qemu-user-static binfmt-support && update-binfmts --enable qemu-aarch64",
    ] {
        assert!(text.contains(part), "no '{part}' in: {text}");
    }
    assert_eq!(scratch.plan("long").verdict("long"), "run", "nothing was run");

    let emulator = r"printf '%s' ':a:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:' > /proc/sys/fs/binfmt_misc/register";
    let text = said(without_emulators(&scratch, emulator, "run"));
    assert!(text.contains("registered without the flag F"), "{text}");

    // A plan may be for another machine: it is told, and made.
    let plan = without_emulators(&scratch, "", "plan").ends_with(0);
    plan.says("cannot run here");
    // What needs no other processor is not kept from anything.
    let plan = without_emulators(&scratch, "", "plan long").ends_with(0);
    assert!(!plan.stderr.contains("cannot run here"), "{}", plan.stderr);
}
