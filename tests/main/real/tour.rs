//! The tour of the README: one Buildfile, two architectures, both kinds of repository.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

#[test]
fn the_example_is_built_published_and_then_there_is_nothing_to_do() {
    let dir = tempfile::Builder::new().prefix("forge-tour-").tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tree");
    for file in ["Buildfile.kdl", "copyright"] {
        fs::copy(example.join(file), dir.path().join(file)).unwrap();
    }
    let call = |words: &[&str]| -> Output {
        let mut forge = Command::new(env!("CARGO_BIN_EXE_forge"));
        forge.current_dir(dir.path()).args(words).env_remove("FORGE_PROFILE").output().unwrap()
    };
    let forge = |words: &[&str]| {
        let output = call(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    forge(&["fmt", "--check"]);
    forge(&["key", "new", "keys/archive.asc", "--user-id", "Example <packages@example.org>"]);
    forge(&["update"]);
    assert_eq!(call(&["plan", "publish", "--exit-code"]).status.code(), Some(2));
    forge(&["run", "publish"]);
    forge(&["plan", "publish", "--exit-code"]);

    let mut packages: Vec<String> = walkdir::WalkDir::new(dir.path().join("public"))
        .into_iter()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
        .filter(|name| name.ends_with(".deb") || name.ends_with(".rpm"))
        .collect();
    packages.sort();
    let endings = ["-1.aarch64.rpm", "-1.x86_64.rpm", "-1_amd64.deb", "-1_arm64.deb"];
    assert_eq!(packages.len(), endings.len(), "{packages:?}");
    for (package, ending) in packages.iter().zip(endings) {
        assert!(package.starts_with("tree") && package.ends_with(ending), "{packages:?}");
    }
    rpm_knows_its_signature(&dir.path().join("public/rpm/arm64"));
}

fn rpm_knows_its_signature(repository: &Path) {
    let base = tempfile::tempdir().unwrap();
    let rpm = |words: &[&str], file: &Path| {
        let output = Command::new("rpmkeys").arg("--dbpath").arg(base.path()).args(words).arg(file).output();
        let output = output.expect("rpm is needed: apt-get install rpm");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    rpm(&["--import"], &repository.join("key.asc"));
    let files = walkdir::WalkDir::new(repository.join("packages")).into_iter().map(|entry| entry.unwrap());
    let file = files.into_iter().find(|entry| entry.file_type().is_file()).unwrap();
    let checked = rpm(&["--checksig", "--verbose"], file.path());
    assert!(checked.contains("Signature") && !checked.contains("NOKEY"), "{checked}");
}
