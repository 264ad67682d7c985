//! One description of a package gives a deb and an rpm, over an axis.

use std::path::PathBuf;
use std::process::Command;

use super::scratch::Scratch;

const BUILDFILE: &str = r##"
upstream "sample" {
    version "28.0-rc1" sha256="0000000000000000000000000000000000000000000000000000000000000028" date=1700000000
    archive "https://example.org/sample-{version}.tar.gz"
}
axis "sample" from="sample"
axis "distro" {
    value "debian-12" format="deb" codename="bookworm"
    value "rocky-9" format="rpm" codename="el9"
}
target "build" {
    env "N" "@NAME@"
    run """
        mkdir -p $OUT/root/etc $OUT/root/usr/bin $OUT/root/usr/share/doc/sample
        echo 'answer = 42' > $OUT/root/etc/sample.conf
        echo 'echo hello' > $OUT/root/usr/bin/sample
        chmod 755 $OUT/root/usr/bin/sample
        echo 'read me' > $OUT/root/usr/share/doc/sample/README
        """
    output "root"
}
package "sample-tools" over="sample distro" arch="amd64" format="{distro.format}" {
    version "{sample}" epoch=1 iteration="1" dist="{distro.codename}"
    maintainer "Somebody <somebody@example.org>"
    summary "Tools of a sample"
    homepage "https://example.org/"
    copyright "copyright"
    files from="build" to="/"
    conffiles "/etc/sample.conf"
    depends "adduser" "sample-data (>= 1:{sample}) | sample-data-min"
    recommends "sample-doc"
    script "postinst" "echo \"$1\""
    deb {
        conflicts "sample-base"
        section "devel"
        lintian-overrides "sample-tools: no-manual-page *"
    }
    rpm {
        conflicts "sample-rpms"
        license "Apache-2.0"
        group "Development/Tools"
        compression "zstd"
        supplements "(a and b)"
        script "postinst" "#!/usr/bin/sample\nrpm $1"
    }
    sign "site"
}
key "site" {
    file "keys/archive.asc"
}
"##;
const DEB: &str = "sample-tools[sample=28.0-rc1,distro=debian-12]";
const RPM: &str = "sample-tools[sample=28.0-rc1,distro=rocky-9]";

fn scratch() -> Scratch {
    let scratch = Scratch::new(BUILDFILE);
    scratch.write("copyright", "Do with it what you like.\n");
    scratch
}

fn with_key(file: &str) -> Scratch {
    let scratch = scratch();
    new_key(&scratch, file);
    scratch
}

fn new_key(scratch: &Scratch, file: &str) {
    let id = ["key", "new", file, "--user-id", "Archive <archive@example.org>"];
    assert!(scratch.command("").args(id).status().unwrap().success());
}

/// The package that a node gave, as a file of its own.
fn package(scratch: &Scratch, node: &str, file: &str) -> PathBuf {
    let store = scratch.store();
    let tree = store.tree(scratch.outputs(node)["package"]).unwrap();
    assert_eq!(tree.entries()[0].path, file);
    let (object, _) = tree.files().next().unwrap();
    let path = scratch.path(file);
    std::fs::write(&path, store.get(object).unwrap()).unwrap();
    path
}

fn told(program: &str, arguments: &[&str], package: &PathBuf) -> String {
    let output =
        Command::new(program).args(arguments).arg(package).env("LC_ALL", "C.UTF-8").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn one_description_gives_a_deb_and_an_rpm() {
    let scratch = with_key("keys/archive.asc");
    scratch.ok("run");
    let deb = package(&scratch, DEB, "sample-tools_28.0~rc1-1_amd64.deb");
    let control = told("dpkg-deb", &["--field"], &deb);
    for line in [
        "Version: 1:28.0~rc1-1",
        "Architecture: amd64",
        "Depends: adduser, sample-data (>= 1:28.0~rc1) | sample-data-min",
        "Recommends: sample-doc",
        "Conflicts: sample-base",
        "Section: devel",
    ] {
        assert!(control.lines().any(|told| told == line), "{line}\n{control}");
    }
    assert_eq!(told("dpkg-deb", &["--info"], &deb).matches("postinst").count(), 1);
    assert!(!told("dpkg-deb", &["--info"], &deb).contains("sample-rpms"));
    assert_eq!(told("dpkg-deb", &["-I"], &deb).matches("#!/bin/sh").count(), 1);

    let rpm = package(&scratch, RPM, "sample-tools-28.0~rc1-1.el9.x86_64.rpm");
    let names =
        told("rpm", &["-qp", "--qf", "%{EVR} %{ARCH} %{LICENSE} %{GROUP} %{PAYLOADCOMPRESSOR}"], &rpm);
    assert!(names.contains("1:28.0~rc1-1.el9 x86_64 Apache-2.0 Development/Tools zstd"), "{names}");
    let requires = told("rpm", &["-qp", "--requires"], &rpm);
    for line in [
        "adduser",
        "(sample-data >= 1:28.0~rc1 or sample-data-min)",
        "/usr/bin/sample",
        "rpmlib(TildeInVersions) <= 4.10.0-1",
    ] {
        assert!(requires.lines().any(|told| told == line), "{line}\n{requires}");
    }
    assert!(told("rpm", &["-qp", "--conflicts"], &rpm).contains("sample-rpms\n"));
    assert!(!told("rpm", &["-qp", "--conflicts"], &rpm).contains("sample-base"));
    assert!(told("rpm", &["-qp", "--supplements"], &rpm).contains("(a and b)\n"));
    assert!(told("rpm", &["-qp", "--configfiles"], &rpm).contains("/etc/sample.conf\n"));
    let docs = told("rpm", &["-qp", "--docfiles", "--licensefiles"], &rpm);
    assert!(
        docs.contains("/usr/share/doc/sample/README\n")
            && docs.contains("/usr/share/licenses/sample-tools/copyright\n"),
        "{docs}"
    );
    let scripts = told("rpm", &["-qp", "--scripts"], &rpm);
    assert!(scripts.contains("postinstall scriptlet (using /usr/bin/sample):\nrpm $1"), "{scripts}");
    // Directories of the system are not the package's.
    assert!(!told("rpm", &["-qpl"], &rpm).lines().any(|path| path == "/usr/bin" || path == "/etc"));
}

#[test]
fn an_rpm_is_signed_by_the_key_of_which_the_action_knows_the_fingerprint_alone() {
    let scratch = with_key("keys/archive.asc");
    scratch.ok("run");
    let rpm = package(&scratch, RPM, "sample-tools-28.0~rc1-1.el9.x86_64.rpm");
    let home = scratch.path("home");
    std::fs::create_dir(&home).unwrap();
    let gpg = |arguments: &[&str]| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(&home)
            .args(["--batch", "--quiet"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    gpg(&["--import", &scratch.path("keys/archive.asc").display().to_string()]);
    let public = scratch.path("public.asc");
    std::fs::write(&public, gpg(&["--armor", "--export"])).unwrap();
    let db = format!("_dbpath {}", scratch.path("rpmdb").display());
    assert!(told("rpmkeys", &["--define", &db, "-K"], &rpm).contains("SIGNATURES NOT OK"));
    assert_eq!(told("rpmkeys", &["--define", &db, "--import"], &public), "");
    let checked = told("rpmkeys", &["--define", &db, "-Kv"], &rpm);
    assert!(
        checked.contains("Header V4 EdDSA/SHA512 Signature")
            && checked.contains(": OK")
            && !checked.contains("NOT"),
        "{checked}"
    );
    let _ = Command::new("gpgconf").arg("--homedir").arg(&home).args(["--kill", "all"]).status();

    let why = scratch.ok(&format!("why {RPM}")).stdout;
    let keys = gpg(&["--with-colons", "--list-keys"]);
    let fingerprint = keys
        .lines()
        .find_map(|line| line.strip_prefix("fpr:::::::::"))
        .unwrap()
        .trim_end_matches(':')
        .to_owned();
    let _ = Command::new("gpgconf").arg("--homedir").arg(&home).args(["--kill", "all"]).status();
    assert!(why.contains(&format!("signed by: {fingerprint}")), "{why}");
    assert!(!scratch.ok(&format!("why {DEB}")).stdout.contains("signed by"));
    // Neither the key nor where it is stands in what is kept.
    let secret = scratch.read("keys/archive.asc");
    let line = secret.lines().nth(3).unwrap();
    let kept = super::scratch::files_below(&scratch.path("cache"));
    for (path, bytes) in kept {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(line) && !text.contains("archive.asc"), "{path}");
    }

    // The same key gives the same bytes; another key is another package.
    let key = |scratch: &Scratch| scratch.plan("").key(RPM).unwrap().to_owned();
    let (before, bytes) = (key(&scratch), std::fs::read(&rpm).unwrap());
    scratch.ok("run --store elsewhere");
    scratch.ok("cache verify");
    scratch.forge("plan --exit-code").ends_with(0);
    new_key(&scratch, "keys/other.asc");
    scratch.edit("Buildfile.kdl", "keys/archive.asc", "keys/other.asc");
    assert_ne!(key(&scratch), before);
    scratch.ok("run");
    assert_ne!(
        std::fs::read(package(&scratch, RPM, "sample-tools-28.0~rc1-1.el9.x86_64.rpm")).unwrap(),
        bytes
    );
    // The same key at another place changes nothing.
    std::fs::copy(scratch.path("keys/archive.asc"), scratch.path("moved.asc")).unwrap();
    scratch.edit("Buildfile.kdl", "keys/other.asc", "moved.asc");
    assert_eq!(key(&scratch), before);
    scratch.forge("plan --exit-code").ends_with(0);
}

#[test]
fn a_key_that_cannot_sign_is_told_where_it_is_named_before_anything_is_built() {
    let scratch = scratch();
    for words in ["plan", "run"] {
        let said = scratch.forge(words).ends_with(1).error_text();
        assert!(said.contains("archive.asc") && said.contains("Buildfile.kdl"), "{said}");
        assert!(said.contains("key \"site\""), "{said}");
    }
    // It is not needed for what it does not sign.
    scratch.ok("run sample-tools distro.format=deb");
    scratch.write("keys/archive.asc", "no key\n");
    let said = scratch.forge("plan").ends_with(1).error_text();
    assert!(said.contains("holds no OpenPGP key"), "{said}");
}

#[test]
fn what_an_rpm_needs_and_a_deb_does_not_is_told_once() {
    let scratch = with_key("keys/archive.asc");
    let text = scratch.read("Buildfile.kdl");
    for (from, to, said) in [
        ("license \"Apache-2.0\"", "", "an rpm package names its license"),
        (" iteration=\"1\"", "", "an rpm package has a release"),
        ("sample-rpms", "sample-rpms >= 2", "'sample-rpms >= 2' is no name"),
        ("{distro.format}\"", "apk\"", "there are no packages of format 'apk'"),
    ] {
        scratch.edit("Buildfile.kdl", from, to);
        let done = scratch.forge("plan").ends_with(1);
        assert!(done.error_text().contains(said), "{}", done.stderr);
        scratch.write("Buildfile.kdl", &text);
    }
    // A deb has no need of these.
    scratch.edit("Buildfile.kdl", "license \"Apache-2.0\"", "");
    scratch.ok("run sample-tools distro.format=deb");
    // An rpm may go without a copyright file.
    scratch.write("Buildfile.kdl", &text.replace("    copyright \"copyright\"\n", ""));
    let said = scratch.forge("plan").ends_with(1).error_text();
    assert!(said.contains("a Debian package carries its copyright"), "{said}");
    scratch.ok("run distro.format=rpm");
}
