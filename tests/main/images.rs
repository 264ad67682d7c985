//! Images of registries: pinned by digest in the lock, and taken by that.

use std::fs;

use super::registry::Registry;
use super::scratch::Scratch;

/// One image, and one target that shows what is in it.
fn scratch(registry: &Registry, image: &str) -> Scratch {
    let image = image.replace("@REGISTRY@", &registry.address());
    Scratch::new(&format!(
        r#"
image "base" {{
    {image}
}}
target "app" image="base" {{
    run "mkdir $OUT/o; cat /etc/greeting > $OUT/o/text"
    output "o"
}}
"#
    ))
}

const REGISTRY: &str = r#"registry "@REGISTRY@/base:1" platform="linux/amd64""#;

#[test]
fn an_image_stays_what_the_lock_says_until_it_is_updated() {
    let registry = Registry::start();
    let scratch = scratch(&registry, REGISTRY);
    let name = format!("{}/base:1", registry.address());
    let greeting = |text: &str| format!("{text} from {}\n", scratch.name());
    let first = registry.push("base:1", "linux/amd64", &[("etc/greeting", &greeting("first"))]);

    scratch.forge("plan").ends_with(1).says("the lock does not say what base is made of");
    let said = scratch.ok("update").stdout;
    assert_eq!(said, format!("{name} linux/amd64: {first}\nforge.lock is written\n"));
    let locked = format!("registry \"{name}\" platform=\"linux/amd64\" digest={first}\n");
    assert!(scratch.read("forge.lock").ends_with(&locked), "{}", scratch.read("forge.lock"));
    scratch.ok("run");
    assert_eq!(scratch.output_file("app", "text"), greeting("first"));

    let second = registry.push("base:1", "linux/amd64", &[("etc/greeting", &greeting("second"))]);
    assert_ne!(first, second);
    let plan = scratch.plan("");
    assert_eq!((plan.verdict("base"), plan.verdict("app")), ("hit", "hit"));

    assert_eq!(scratch.forge("update --dry-run --exit-code").ends_with(2).stdout, {
        format!("{name} linux/amd64: {second}, which was {first}\nforge.lock is left as it is\n")
    });
    assert!(scratch.read("forge.lock").contains(&first));
    scratch.ok("update");
    assert!(scratch.read("forge.lock").ends_with(&locked.replace(&first, &second)));
    assert_eq!(scratch.forge("update --exit-code").ends_with(0).stdout, "no news\n");

    let plan = scratch.plan("");
    let change = &plan.step("base")["changes"][0];
    let told = [&change["field"], &change["before"], &change["after"]];
    assert_eq!(told, [&"digest".into(), &serde_json::json!(first), &serde_json::json!(second)]);
    scratch.ok("run");
    assert_eq!(scratch.output_file("app", "text"), greeting("second"));
}

#[test]
fn a_version_that_is_added_moves_no_image_and_brings_those_that_it_needs() {
    let registry = Registry::start();
    let scratch = Scratch::new(
        &r#"
upstream "tool" {
    version "1.0" sha256="0000000000000000000000000000000000000000000000000000000000000000"
    version "1.1" sha256="0000000000000000000000000000000000000000000000000000000000000000"
    archive "https://example.org/tool-{version}.tar.gz"
}
axis "tool" from="tool"
axis "os" {
    value "old"
    value "new"
}
image "base" over="os" {
    registry "@REGISTRY@/{os}:1" platform="linux/amd64"
}
"#
        .replace("@REGISTRY@", &registry.address()),
    );
    let push =
        |os: &str, text: &str| registry.push(&format!("{os}:1"), "linux/amd64", &[("etc/greeting", text)]);
    let old = push("old", "old");
    scratch.ok("update os=old");
    push("old", "moved");
    let new = push("new", "new");
    let said = scratch.ok("update tool=1.0").stdout;
    assert!(said.contains(&new) && !said.contains("/old:1"), "{said}");
    let lock = scratch.read("forge.lock");
    assert!(lock.contains(&old) && lock.contains(&new), "{lock}");
}

#[test]
fn an_image_is_one_tree_for_both_runners_and_holds_nothing_of_the_engines() {
    let registry = Registry::start();
    let mut scratch = scratch(&registry, REGISTRY);
    registry.push("base:1", "linux/amd64", &[("etc/greeting", &scratch.name()), ("srv/deep/file", "deep")]);
    scratch.ok("update");
    scratch.ok("run --runner sandbox");
    let in_sandbox = (scratch.outputs("base"), scratch.outputs("app"), scratch.plan("").keys());
    let tree = scratch.store().tree(in_sandbox.0["root"]).unwrap();
    let paths: Vec<&str> = tree.entries().iter().map(|entry| entry.path.as_str()).collect();
    let bin = ["bin", "bin/busybox", "bin/cat", "bin/cp", "bin/mkdir", "bin/sh"];
    let rest = ["etc", "etc/greeting", "srv", "srv/deep", "srv/deep/file"];
    assert_eq!(paths, [&bin[..], &rest[..]].concat());

    fs::rename(scratch.path("cache"), scratch.path("cache-of-sandbox")).unwrap();
    scratch.env("FORGE_RUNNER", "docker");
    scratch.ok("run");
    assert_eq!((scratch.outputs("base"), scratch.outputs("app"), scratch.plan("").keys()), in_sandbox);
}

#[test]
fn the_base_of_a_dockerfile_is_pinned_too() {
    let registry = Registry::start();
    let scratch = scratch(
        &registry,
        r#"dockerfile "Dockerfile" platform="linux/amd64" {
        arg "word" "said"
        base "base" "@REGISTRY@/base:1"
        base "other" "@REGISTRY@/other:1"
    }"#,
    );
    let dockerfile = "ARG base\nARG other\nFROM ${other} AS other\nFROM ${base}\nARG word\nARG base\n\
                      COPY --from=other /etc/other /etc/other\n\
                      RUN echo $word $base $(cat /etc/other) >> /etc/greeting\n";
    scratch.write("Dockerfile", dockerfile);
    let (address, greeting) = (registry.address(), format!("hello {}\n", scratch.name()));
    let base = registry.push("base:1", "linux/amd64", &[("etc/greeting", &greeting)]);
    let other = registry.push("other:1", "linux/amd64", &[("etc/other", "other")]);
    scratch.forge("run").ends_with(1).says("the lock does not say what base is made of");
    let said = scratch.ok("update base").stdout;
    assert_eq!(
        said,
        format!(
            "{address}/base:1 linux/amd64: {base}\n{address}/other:1 linux/amd64: {other}\nforge.lock is written\n"
        )
    );
    scratch.ok("run");
    let expected = format!("{greeting}said {address}/base@{base} other\n");
    assert_eq!(scratch.output_file("app", "text"), expected);

    let moved = registry.push("other:1", "linux/amd64", &[("etc/other", "moved")]);
    assert_eq!(scratch.plan("").verdict("base"), "hit");
    scratch.ok("update");
    let plan = scratch.plan("");
    assert_eq!(plan.verdict("base"), "run");
    let changes = plan.step("base")["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0]["field"], "base.other");
    assert_eq!(changes[0]["after"], format!("{address}/other@{moved}"));
    scratch.ok("run");
    assert_eq!(scratch.output_file("app", "text"), expected.replace(" other\n", " moved\n"));
}

#[test]
fn a_registry_that_is_down_and_a_tag_that_is_not_there_leave_the_lock_as_it_was() {
    let mut registry = Registry::start();
    let scratch = scratch(&registry, REGISTRY);
    registry.push("base:1", "linux/amd64", &[("etc/greeting", &scratch.name())]);
    scratch.ok("update");
    let lock = scratch.read("forge.lock");
    let name = format!("{}/base:1", registry.address());

    registry.go_down();
    let done = scratch.forge("run").ends_with(3);
    assert!(done.stderr.contains("cannot be taken from its registry"), "{}", done.stderr);
    assert_eq!(scratch.plan("").step("base")["cause"], "never built");
    let error = scratch.forge("update").ends_with(1).error_text();
    let expected = format!("{name}: its registry ({}) cannot be asked:", registry.address());
    assert!(error.contains(&expected) && error.contains("connection refused"), "{error}");
    assert_eq!(scratch.read("forge.lock"), lock);

    registry.go_up();
    scratch.ok("run");
    registry.go_down();
    assert_eq!(scratch.plan("").verdict("app"), "hit");

    registry.go_up();
    scratch.edit("Buildfile.kdl", "base:1", "base:2");
    let error = scratch.forge("update").ends_with(1).error_text();
    let expected = format!("{}: its registry", name.replace(":1", ":2"));
    assert!(error.contains(&expected) && error.contains("docker login"), "{error}");
    assert_eq!(scratch.read("forge.lock"), lock);
    scratch.forge("plan").ends_with(1).says("run `forge update`");
}

#[test]
fn an_image_is_chosen_by_platform_from_a_list() {
    let registry = Registry::start();
    let scratch = Scratch::new(
        &r#"
axis "arch" {
    value "amd64" platform="linux/amd64"
    value "arm64" platform="linux/arm64"
}
image "base" over="arch" {
    registry "@REGISTRY@/base:1" platform="{arch.platform}"
}
"#
        .replace("@REGISTRY@", &registry.address()),
    );
    let push = |arch: &str| {
        let text = format!("{arch} {}\n", scratch.name());
        registry.push(&format!("base:{arch}"), &format!("linux/{arch}"), &[("etc/greeting", &text)])
    };
    let (amd64, arm64) = (push("amd64"), push("arm64"));
    let list = registry.push_list("base", "1", &[("linux/amd64", &amd64), ("linux/arm64", &arm64)]);
    scratch.ok("update");
    let lock = scratch.read("forge.lock");
    let line = |platform: &str| {
        format!("registry \"{}/base:1\" platform=\"{platform}\" digest={list}\n", registry.address())
    };
    assert!(lock.ends_with(&format!("{}{}", line("linux/amd64"), line("linux/arm64"))), "{lock}");
    scratch.ok("run base");
    for arch in ["amd64", "arm64"] {
        let text = scratch.output_file(&format!("base[arch={arch}]"), "etc/greeting");
        assert_eq!(text, format!("{arch} {}\n", scratch.name()));
    }

    scratch.edit("Buildfile.kdl", "linux/arm64", "linux/riscv64");
    let error = scratch.forge("update").ends_with(1).error_text();
    assert!(error.contains("there is none for linux/riscv64; its registry has linux/amd64,"), "{error}");
    assert_eq!(scratch.read("forge.lock"), lock);
}

#[test]
fn a_digest_in_the_buildfile_needs_no_lock_and_has_the_same_key() {
    let registry = Registry::start();
    let scratch = scratch(&registry, REGISTRY);
    let digest = registry.push("base:1", "linux/amd64", &[("etc/greeting", &scratch.name())]);
    scratch.ok("update");
    let key = scratch.plan("").keys()["base"].clone();
    scratch.edit("Buildfile.kdl", "base:1", &format!("base@{digest}"));
    fs::remove_file(scratch.path("forge.lock")).unwrap();
    assert_eq!(scratch.ok("update").stdout, "no news\n");
    assert_eq!(scratch.plan("").keys()["base"], key);
    scratch.ok("run");
    assert_eq!(scratch.output_file("app", "text"), scratch.name());
}

#[test]
fn bytes_that_are_not_those_of_the_digest_are_refused() {
    let registry = Registry::start();
    let scratch = scratch(&registry, REGISTRY);
    let digest = registry.push("base:1", "linux/amd64", &[("etc/greeting", &scratch.name())]);
    scratch.ok("update");
    // An engine tries a layer again for a minute, and what names the layers not at all.
    let settings = registry.blob(&registry.settings_of(&digest));
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replacen("linux", "xinul", 1)).unwrap();
    let done = scratch.forge("run").ends_with(3);
    assert!(done.stderr.contains("unexpected commit digest"), "{}", done.stderr);
    assert_eq!(scratch.plan("").verdict("app"), "unknown");
}

#[test]
fn a_private_registry_is_read_with_what_docker_login_left() {
    let registry = Registry::start_private();
    let mut scratch = scratch(&registry, REGISTRY);
    registry.push("base:1", "linux/amd64", &[("etc/greeting", &scratch.name())]);
    scratch.env("DOCKER_CONFIG", scratch.path("nothing").display().to_string());
    let error = scratch.forge("update").ends_with(1).error_text();
    assert!(error.contains(&format!("docker login {}", registry.address())), "{error}");
    scratch.env("DOCKER_CONFIG", registry.docker_config().display());
    scratch.ok("update");
    scratch.ok("run");
    assert_eq!(scratch.output_file("app", "text"), scratch.name());

    scratch.write("config/config.json", "{");
    scratch.env("DOCKER_CONFIG", scratch.path("config").display().to_string());
    let error = scratch.forge("update").ends_with(1).error_text();
    assert!(error.contains("config.json does not give the credentials for"), "{error}");
}
