//! OTP for arm64, cross-compiled on amd64, packaged, published, and installed and run on a system of arm64 by
//! emulation. With the store of `first_light` the amd64 build of OTP, which it needs, is there already.

use std::fs;
use std::process::Command;

use super::first_light::lintian_finds_no_error;
use super::project::Project;

const INSTALL: &str = "install[otp.major=27,distro=debian-12,arch=arm64]";
const CLEAN: &str = "clean[distro=debian-12,arch=arm64]";

#[test]
fn erlang_is_cross_compiled_and_runs_on_a_system_of_arm64() {
    let project = Project::new("quick");
    project.forge(&["update", "arch=arm64"]);
    let said = project.forge(&["run", "publish", "arch=arm64", "--events", "first.json"]);
    assert!(said.contains(&format!("start   {INSTALL}, emulated")), "{said}");
    let built = project.built("first.json");
    for target in
        ["cross", "clean", "erlang-cross", "esl-erlang.depends", "install", "install-elixir", "publish"]
    {
        assert!(built.contains(target), "{target} was not built: {built:?}");
    }

    the_package_is_of_arm64(&project);
    let log = project.forge(&["log", INSTALL, "arch=arm64"]);
    for part in ["jit", "handshake tlsv1.3", "otp-smoke: ok"] {
        assert!(log.contains(part), "no '{part}' in:\n{log}");
    }
    lintian_finds_no_error(&project);
    assert!(project.forge(&["run", "publish", "arch=arm64"]).contains("nothing to do"));
    an_emulated_image_is_the_same_again(&project);
}

fn the_package_is_of_arm64(project: &Project) {
    let debs = project.debs("27");
    let name = "esl-erlang_27.3.4.1-1_arm64.deb";
    let deb = debs.iter().find(|deb| deb.ends_with(name)).unwrap_or_else(|| panic!("no {name} in {debs:?}"));
    let field = Command::new("dpkg-deb").arg("--field").arg(deb).arg("Depends").output().unwrap();
    let depends = String::from_utf8(field.stdout).unwrap();
    for library in ["libc6 (>=", "libssl3 (>=", "libstdc++6 (>=", "libtinfo6 (>="] {
        assert!(depends.contains(library), "no '{library}' in: {depends}");
    }
    let tree = project.path().join("arm64");
    assert!(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&tree).status().unwrap().success());
    let emulator = walkdir::WalkDir::new(&tree).into_iter().map(Result::unwrap);
    let emulator = emulator.into_iter().find(|entry| entry.file_name() == "beam.smp").unwrap();
    let header = fs::read(emulator.path()).unwrap();
    assert_eq!(header[18..20], 183_u16.to_le_bytes(), "the emulator is of another processor (e_machine)");
}

/// Its result is forgotten, and made again.
fn an_emulated_image_is_the_same_again(project: &Project) {
    let why = project.forge(&["why", "--json", CLEAN, "arch=arm64"]);
    let why: serde_json::Value = serde_json::from_str(why.trim()).unwrap();
    let key = why["key"].as_str().unwrap();
    project.forget(key);
    project.forge(&["run", CLEAN, "arch=arm64"]);
    // What was tested on it is known: the image is the same to the byte.
    assert!(project.try_forge(&["plan", INSTALL, "arch=arm64", "--exit-code"]).status.success());
}
