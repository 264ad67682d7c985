//! A library and a program of C, packed from one description for dpkg and for rpm, their needs found by each
//! distribution's own generator in a real image, and installed by a real dnf from a repository.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::scratch::Scratch;

const BUILDFILE: &str = r#"
axis "format" {
    value "deb"
    value "rpm"
}
image "toolchain" {
    bootstrap "bookworm" arch="amd64" {
        packages "gcc" "libc6-dev" "binutils" "dpkg-dev" "rpm" "file"
    }
}
target "build" image="toolchain" {
    files "greet.c" "hello.c" into="."
    env "N" "@NAME@"
    run """
        mkdir -p $OUT/root/usr/bin $OUT/root/usr/lib/x86_64-linux-gnu
        gcc -shared -fPIC -Wl,-soname,libgreet.so.1 -o $OUT/root/usr/lib/x86_64-linux-gnu/libgreet.so.1 greet.c
        gcc -o $OUT/root/usr/bin/hello hello.c $OUT/root/usr/lib/x86_64-linux-gnu/libgreet.so.1 -lm
        printf '#!/bin/sh\nexec hello\n' > $OUT/root/usr/bin/hello.sh
        chmod 755 $OUT/root/usr/bin/hello.sh
        """
    output "root"
}
package "hello" over="format" image="toolchain" arch="amd64" format="{format}" {
    version "1.0" iteration="1" dist="el9"
    maintainer "Somebody <somebody@example.org>"
    summary "Greets"
    copyright "copyright"
    depends "auto"
    files from="build" to="/"
    files from="build" path="usr/bin/hello.sh" to="/usr/lib/hello/greet's.sh"
    rpm { license "MIT"; }
}
// What a system of the family would have: this image's own libraries, with what they provide.
package "base" image="toolchain" arch="amd64" format="rpm" {
    version "1" iteration="1"
    maintainer "Somebody <somebody@example.org>"
    summary "Libraries and a shell"
    depends "auto"
    provides "/bin/sh" "rtld(GNU_HASH)"
    rpm { license "MIT"; }
    files from="toolchain" path="usr/lib/x86_64-linux-gnu/libc.so.6" to="/lib/x86_64-linux-gnu/libc.so.6"
    files from="toolchain" path="usr/lib/x86_64-linux-gnu/libm.so.6" to="/lib/x86_64-linux-gnu/libm.so.6"
    files from="toolchain" path="usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" to="/lib64/ld-linux-x86-64.so.2"
    files from="toolchain" path="usr/bin/dash" to="/bin/sh"
}
"#;

#[test]
fn needs_are_found_in_the_image_and_met_by_a_real_solver() {
    let scratch = Scratch::new(BUILDFILE);
    scratch.write("copyright", "Do with it what you like.\n");
    scratch
        .write("greet.c", "#include <stdio.h>\nvoid greet(double to) { printf(\"hello %.1f\\n\", to); }\n");
    scratch.write(
        "hello.c",
        "#include <math.h>\nvoid greet(double);\nint main(int n, char **a) { greet(sqrt(n + 3)); }\n",
    );
    real(&scratch, "update");
    real(&scratch, "run");

    let control = run(Command::new("dpkg-deb").arg("--field").arg(package(&scratch, "hello[format=deb]")));
    assert!(control.contains("\nDepends: libc6 (>= 2.34)\n"), "{control}");

    let rpm = package(&scratch, "hello[format=rpm]");
    let ask = |what: &str| run(Command::new("rpm").args(["-qp", what]).arg(&rpm));
    let generated = generated_by_rpmbuild(&scratch);
    let own = ["(none)", "rpmlib("];
    let is_generated = |line: &&str| !own.iter().any(|own| line.starts_with(own));
    let requires = ask("--requires");
    let requires: Vec<&str> = requires.lines().filter(is_generated).collect();
    assert_eq!(requires, generated.0.lines().filter(is_generated).collect::<Vec<_>>());
    assert!(requires.contains(&"libgreet.so.1()(64bit)") && requires.contains(&"/bin/sh"), "{requires:?}");
    assert_eq!(ask("--provides"), generated.1);

    let repository = scratch.path("repository");
    fs::create_dir(&repository).unwrap();
    for node in ["hello[format=rpm]", "base"] {
        let package = package(&scratch, node);
        fs::copy(&package, repository.join(package.file_name().unwrap())).unwrap();
    }
    run(Command::new("createrepo_c").arg("--quiet").arg(&repository));
    let root = scratch.path("root");
    for dir in ["log", "cache"] {
        fs::create_dir_all(scratch.path(dir)).unwrap();
    }
    run(Command::new("dnf")
        .args(["-y", "--releasever=9", "--setopt=reposdir=/nonexistent", "--nogpgcheck"])
        .arg(format!("--installroot={}", root.display()))
        .arg(format!("--repofrompath=base,file://{}", repository.display()))
        .arg(format!("--setopt=logdir={}", scratch.path("log").display()))
        .arg(format!("--setopt=cachedir={}", scratch.path("cache").display()))
        .args(["install", "hello"])
        .env("HOME", scratch.path("home")));
    assert_eq!(run(Command::new("chroot").arg(&root).args(["/bin/sh", "-c", "hello.sh"])), "hello 2.0\n");
    assert!(root.join("usr/lib/hello/greet's.sh").exists());
}

/// What rpmbuild finds in the same payload, on this machine.
fn generated_by_rpmbuild(scratch: &Scratch) -> (String, String) {
    let top = scratch.path("rpmbuild");
    fs::create_dir_all(&top).unwrap();
    let root = scratch.path("payload");
    let tree = scratch.outputs("build")["root"];
    let store = scratch.store();
    store.materialize(&store.tree(tree).unwrap(), &root, 1_700_000_000).unwrap();
    let spec = format!(
        "Name: hello\nVersion: 1.0\nRelease: 1.el9\nSummary: x\nLicense: x\n%description\nx\n\
         %install\ncp -a {}/. %{{buildroot}}/\n%files\n/usr/bin/*\n/usr/lib/x86_64-linux-gnu/*\n",
        root.display()
    );
    fs::write(top.join("hello.spec"), spec).unwrap();
    run(Command::new("rpmbuild")
        .args(["-bb", "--define", &format!("_topdir {}", top.display())])
        .args(["--define", "__os_install_post %{nil}", "--define", "debug_package %{nil}"])
        .args(["--define", "_build_id_links none"])
        .arg(top.join("hello.spec")));
    let package = top.join("RPMS/x86_64/hello-1.0-1.el9.x86_64.rpm");
    let ask = |what: &str| run(Command::new("rpm").args(["-qp", what]).arg(&package));
    (ask("--requires"), ask("--provides"))
}

/// Images and their packages take longer than a test of forge alone.
fn real(scratch: &Scratch, words: &str) {
    let output = scratch.command(words).output().unwrap();
    assert!(output.status.success(), "forge {words}: {}", String::from_utf8_lossy(&output.stderr));
}

fn package(scratch: &Scratch, node: &str) -> std::path::PathBuf {
    let store = scratch.store();
    let tree = store.tree(scratch.outputs(node)["package"]).unwrap();
    let path = scratch.path(&tree.entries()[0].path);
    let (object, _) = tree.files().next().unwrap();
    fs::write(&path, store.get(object).unwrap()).unwrap();
    Path::new(&path).to_owned()
}

fn run(command: &mut Command) -> String {
    let output = command.env("LC_ALL", "C.UTF-8").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
