use std::fs;
use std::path::PathBuf;

use forge::store::Kind;

use super::scratch::Scratch;

fn scratch() -> Scratch {
    Scratch::new(
        r#"
axis "n" {
    value "1"
    value "2"
    value "3"
    value "4"
    value "5"
    value "6"
}
target "base" {
    run "sleep 0.2; mkdir $OUT/o; echo base > $OUT/o/base"
    output "o"
}
target "cell" over="n" {
    use "base" into="base"
    run "sleep 0.1; mkdir $OUT/o; cat base/base > $OUT/o/cell; echo {n} >> $OUT/o/cell"
    output "o"
}
target "mounts" over="n" {
    use "cell" at="/srv/cell"
    run "mkdir $OUT/o; cat /srv/cell/cell > $OUT/o/seen"
    output "o"
}
"#,
    )
}

/// Where the store has the object of a file of a node's output.
fn object(scratch: &Scratch, node: &str, path: &str) -> PathBuf {
    let store = scratch.store();
    let tree = store.tree(*scratch.outputs(node).values().next().unwrap()).unwrap();
    let Kind::File { object, .. } = tree.get(path).unwrap().kind else { panic!("{path} is no file") };
    store.object_path(object)
}

fn flip_a_bit(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn two_at_once_build_each_node_once() {
    let scratch = scratch();
    let one = scratch.start("run --events one");
    let two = scratch.start("run --events two");
    assert_eq!((one.end().0, two.end().0), (Some(0), Some(0)), "{}", scratch.read("out"));
    let mut started = scratch.events("one").nodes("node-started");
    started.extend(scratch.events("two").nodes("node-started"));
    started.sort();
    let all = started.clone();
    started.dedup();
    assert_eq!((all.len(), started.len()), (13, 13), "{all:?}");
    let waits =
        scratch.events("one").of("node-waits").count() + scratch.events("two").of("node-waits").count();
    assert!(waits > 0, "they did work at the same time");
    assert!(scratch.ok("plan").stdout.starts_with("nothing to do: 13 nodes known"));
}

#[test]
fn gc_beside_a_run_takes_nothing() {
    let scratch = scratch();
    scratch.ok("run base");
    scratch.edit("Buildfile.kdl", "sleep 0.1", "sleep 1");
    let run = scratch.start("run --events ev");
    scratch.await_event("ev", "node-started", "cell[n=1]");
    scratch
        .forge("cache gc --days 0")
        .ends_with(1)
        .says("another forge uses this store; nothing was removed");
    assert_eq!(run.end().0, Some(0));
    assert!(scratch.ok("plan").stdout.starts_with("nothing to do"));
    let gone = scratch.ok("cache gc --days 0").stdout;
    assert!(gone.contains("removed 13 results"), "{gone}");
    assert_eq!(fs::read_dir(scratch.path("cache/locks")).unwrap().count(), 1, "only the store's own lock");
    let (done, events) = scratch.run_with_events("base");
    done.ends_with(0);
    assert_eq!(events.nodes("node-started"), ["base"]);
}

#[test]
fn a_flipped_bit_is_found_and_built_again() {
    let scratch = scratch();
    scratch.ok("run");
    assert!(scratch.ok("cache verify").stdout.contains("objects read"));
    flip_a_bit(&object(&scratch, "cell[n=3]", "cell"));
    let done = scratch.forge("cache verify").ends_with(1);
    assert!(done.stdout.contains("damaged, removed: "), "{}", done.stdout);
    let plan = scratch.plan("");
    assert_eq!((plan.verdict("cell[n=3]"), plan.verdict("cell[n=2]")), ("run", "hit"));
    let (done, events) = scratch.run_with_events("");
    done.ends_with(0);
    assert!(events.nodes("node-started").contains(&"cell[n=3]".to_owned()));
    assert_eq!(scratch.output_file("mounts[n=3]", "seen"), "base\n3\n");
    scratch.ok("cache verify");
}

#[test]
fn a_flipped_bit_in_a_checkout_is_found_too() {
    let scratch = scratch();
    scratch.ok("run");
    let tree = *scratch.outputs("cell[n=3]").values().next().unwrap();
    flip_a_bit(&scratch.path(&format!("cache/trees/{tree}/cell")));
    assert!(scratch.forge("cache verify").ends_with(1).stdout.contains("1 checked-out trees were damaged"));
    scratch.edit("Buildfile.kdl", "cat /srv", "cat < /srv");
    scratch.ok("run");
    assert_eq!(scratch.output_file("mounts[n=3]", "seen"), "base\n3\n");
}

#[test]
fn an_object_that_is_gone_is_a_miss_where_it_is_needed() {
    let scratch = scratch();
    scratch.ok("run");
    fs::remove_file(object(&scratch, "cell[n=3]", "cell")).unwrap();
    // cell[n=3] and mounts[n=3] give the same bytes: what was asked for is not there any more.
    let plan = scratch.plan("");
    assert_eq!(plan.verdict("mounts[n=3]"), "run");
    assert_eq!(plan.step("mounts[n=3]")["cause"], "objects of its result are gone from the store");
    scratch.ok("run");
    assert_eq!(scratch.output_file("mounts[n=3]", "seen"), "base\n3\n");

    // What nobody needs may be gone.
    fs::remove_file(object(&scratch, "base", "base")).unwrap();
    scratch.forge("plan --exit-code").ends_with(0);
    // As soon as somebody needs it, it is built again.
    scratch.edit("Buildfile.kdl", "echo {n}", "echo no {n}");
    let plan = scratch.plan("cell[n=1]");
    assert_eq!((plan.verdict("base"), plan.verdict("cell[n=1]")), ("run", "run"));
    scratch.ok("run");
    assert_eq!(scratch.output_file("mounts[n=1]", "seen"), "base\nno 1\n");
}

#[test]
fn a_manifest_that_is_gone_is_a_miss() {
    let scratch = scratch();
    scratch.ok("run base");
    let tree = *scratch.outputs("base").values().next().unwrap();
    // It is small, and stands with others that are.
    let others = scratch.store().object_path(tree).with_file_name("small");
    fs::remove_file(others).unwrap();
    assert_eq!(scratch.plan("base").verdict("base"), "run");
    scratch.ok("run");
}

#[test]
fn the_store_counts_what_it_has() {
    let scratch = scratch();
    scratch.ok("run");
    let stats: serde_json::Value = serde_json::from_str(&scratch.ok("cache stats --json").stdout).unwrap();
    assert_eq!((&stats["results"], &stats["trees"]), (&13.into(), &6.into()));
    assert!(stats["objects"].as_u64().unwrap() >= 13 && stats["object_bytes"].as_u64().unwrap() > 0);
    let words = scratch.ok("cache stats").stdout;
    assert!(words.lines().any(|line| line.split_whitespace().eq(["results", "13"])), "{words}");
}
