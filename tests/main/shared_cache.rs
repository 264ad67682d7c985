use std::process::Command;
use std::time::Duration;

use forge::store::{Kind, LocalStore};
use rustix::process::Signal;

use super::disk::Mounted;
use super::fault_proxy::{Fault, FaultProxy};
use super::repository;
use super::s3_server::{ACCESS_KEY, BUCKET, SECRET_KEY, s3_server};
use super::scratch::Scratch;

/// Its results are larger than what goes into a record.
pub const CHAIN: &str = r#"
axis "n" {
    value "1"
    value "2"
}
target "a" {
    files "source.txt" into="."
    env "LEVEL" "low"
    run "mkdir $OUT/o; cat source.txt > $OUT/o/a; seq 9999 > $OUT/o/more; head -c 300000 /dev/zero > $OUT/o/large; echo a was here"
    output "o"
}
target "b" over="n" {
    use "a" into="a"
    run "mkdir $OUT/o; cat a/a > $OUT/o/b; seq 9999 > $OUT/o/more; echo {n} >> $OUT/o/b"
    output "o"
}
target "c" over="n" {
    use "b" into="b"
    run "mkdir $OUT/o; seq 9999 > $OUT/o/more; cat b/b > $OUT/o/c"
    output "o"
}
"#;

/// The node that names a cache at a new place, of the service at `endpoint`.
fn cache(endpoint: &str, place: &str, properties: &str) -> String {
    format!(
        "cache \"s3://{BUCKET}/{place}\" {properties} {{\n    s3 endpoint=\"{endpoint}\" region=\"us-east-1\" path-style=#true\n}}\n"
    )
}

pub fn with_cache(buildfile: &str, endpoint: &str, place: &str) -> Scratch {
    let mut scratch = Scratch::new(&(cache(endpoint, place, "") + buildfile));
    scratch.write("source.txt", "one\n");
    log_in(&mut scratch, ACCESS_KEY, SECRET_KEY);
    scratch
}

fn log_in(scratch: &mut Scratch, access: &str, secret: &str) {
    scratch.env("AWS_ACCESS_KEY_ID", access);
    scratch.env("AWS_SECRET_ACCESS_KEY", secret);
}

/// The chain, and what machine `a` built of it is in the cache.
fn shared_chain() -> Scratch {
    let scratch = with_cache(CHAIN, &s3_server().endpoint, &s3_server().place());
    let said = scratch.ok("run --store a").stderr;
    assert!(said.contains("s3: 5 results up"), "{said}");
    scratch
}

/// A file of a node's output, as the local store `store` has it.
fn output_file(scratch: &Scratch, store: &str, node: &str, path: &str) -> String {
    let key = scratch.plan(&format!("--store {store} {node}")).key(node).unwrap().parse().unwrap();
    let store = LocalStore::open(scratch.path(store)).unwrap();
    let tree = store.tree(store.result(key).unwrap().outputs["o"]).unwrap();
    let Kind::File { object, .. } = tree.get(path).unwrap().kind else { panic!("{path} is no file") };
    String::from_utf8(store.get(object).unwrap()).unwrap()
}

#[test]
fn a_fresh_machine_knows_all_and_runs_nothing() {
    let scratch = shared_chain();
    let plan = scratch.ok("plan --store b").stdout;
    assert!(plan.starts_with("nothing to do: 5 nodes known (5 from s3)"), "{plan}");
    let plan = scratch.plan("--store b");
    assert_eq!((plan.verdict("c[n=1]"), &plan.step("c[n=1]")["place"]), ("hit", &"s3".into()));
    let (done, events) = scratch.run_with_events("--store b");
    let said = done.ends_with(0).stderr;
    assert!(said.contains("nothing to do: 5 nodes known") && said.contains("s3: "), "{said}");
    assert!(events.nodes("node-started").is_empty());
    let plan = scratch.plan("--store b");
    assert_eq!(plan.step("c[n=1]")["place"], "local", "what was asked for is here now");
    assert_eq!(plan.step("a")["place"], "s3", "and nothing else is");
    assert_eq!(scratch.ok("log --store b a").stdout, "a was here\n");
    scratch.ok("cache verify --store b");
}

#[test]
fn a_fresh_machine_explains_from_what_others_built() {
    let scratch = shared_chain();
    scratch.edit("Buildfile.kdl", "low", "high");
    let why = scratch.ok("why --store b a").stdout;
    assert!(why.contains("cause: env.LEVEL: 'low' → 'high'"), "{why}");
    assert!(scratch.ok("why --store c --cache-access off a").stdout.contains("cause: never built"));
    assert!(scratch.ok("plan --store b").stdout.contains(", about "), "durations are known too");
}

#[test]
fn only_what_is_needed_comes() {
    let scratch = shared_chain();
    scratch.edit("Buildfile.kdl", "cat b/b > $OUT/o/c", "cat < b/b > $OUT/o/c");
    let (done, events) = scratch.run_with_events("--store b c[n=1]");
    done.ends_with(0);
    assert_eq!(events.nodes("node-started"), ["c[n=1]"]);
    assert_eq!(output_file(&scratch, "b", "c[n=1]", "c"), "one\n1\n");
    let plan = scratch.plan("--store b c[n=1]");
    assert_eq!(plan.step("b[n=1]")["place"], "local");
    assert_eq!(plan.step("a")["place"], "s3");
    let finished: Vec<_> = events.of("run-finished").collect();
    assert_eq!(finished[0]["remote"]["results_sent"], 1, "{finished:?}");
    assert_eq!(events.nodes("result-sent"), ["c[n=1]"]);
}

#[test]
fn objects_that_are_gone_are_built_again_in_the_middle_of_a_run() {
    let (proxy, place) = (FaultProxy::new(&s3_server().endpoint), s3_server().place());
    let scratch = with_cache(CHAIN, &proxy.endpoint, &place);
    scratch.ok("run --store a");
    // The plan knows b; when it is needed, nothing that it is made of is to be had.
    proxy.spoil(&format!("GET /{BUCKET}/{place}/packs/"), Fault::Status(404, "NoSuchKey"), usize::MAX);
    scratch.edit("Buildfile.kdl", "cat b/b > $OUT/o/c", "cat < b/b > $OUT/o/c");
    assert_eq!(scratch.plan("--store b").verdict("b[n=1]"), "hit");
    let (done, events) = scratch.run_with_events("--store b");
    let said = done.ends_with(0).stderr;
    assert!(said.contains("b[n=1] is run, since its result cannot be had"), "{said}");
    let mut started = events.nodes("node-started");
    started.sort();
    assert_eq!(started, ["a", "b[n=1]", "b[n=2]", "c[n=1]", "c[n=2]"]);
    assert_eq!(output_file(&scratch, "b", "c[n=2]", "c"), "one\n2\n");
    // The goals themselves likewise, where there is nothing else to do.
    let (done, events) = scratch.run_with_events("--store c c");
    done.ends_with(0);
    let mut started = events.nodes("node-started");
    started.sort();
    // What b gives has the bytes that c lacks.
    assert_eq!(started, ["a", "b[n=1]", "b[n=2]"]);
    proxy.heal();
    let said = scratch.ok("run --store d").stderr;
    assert!(said.contains("nothing to do"), "what was gone is there again: {said}");
}

#[test]
fn many_wait_for_one_that_is_built_again() {
    let (proxy, place) = (FaultProxy::new(&s3_server().endpoint), s3_server().place());
    let many =
        CHAIN.replace("value \"2\"", "value \"2\"; value \"3\"; value \"4\"; value \"5\"; value \"6\"");
    let scratch = with_cache(&many, &proxy.endpoint, &place);
    scratch.ok("run --store a");
    proxy.spoil(&format!("GET /{BUCKET}/{place}/packs/"), Fault::Status(404, "NoSuchKey"), usize::MAX);
    scratch.edit("Buildfile.kdl", "cat a/a > $OUT/o/b", "cat < a/a > $OUT/o/b");
    let (done, events) = scratch.run_with_events("--store b --jobs 1 b");
    done.ends_with(0);
    assert_eq!(events.nodes("node-started").len(), 7, "a once, and each b");
    assert_eq!(output_file(&scratch, "b", "b[n=6]", "b"), "one\n6\n");
}

#[test]
fn one_who_may_only_read_builds_and_is_told() {
    let mut scratch = shared_chain();
    log_in(&mut scratch, "AKREADER", "SKREADER");
    scratch.edit("source.txt", "one", "two");
    let said = scratch.ok("run --store b").stderr;
    assert_eq!(said.matches("nothing more is written to the shared cache").count(), 1, "{said}");
    assert!(said.contains("s3: ") && said.contains("fault"), "{said}");
    assert_eq!(output_file(&scratch, "b", "c[n=1]", "c"), "two\n1\n");
    assert_eq!(scratch.plan("--store c").verdict("a"), "run", "nothing of it is there");
    // Who knows that he may not does not try.
    let said = scratch.ok("run --store d --cache-access read").stderr;
    assert!(!said.contains("shared cache"), "{said}");
}

#[test]
fn a_service_that_does_not_answer_fails_no_build() {
    let scratch = with_cache(CHAIN, "http://127.0.0.1:1", "nothing");
    let said = scratch.ok("run").stderr;
    assert_eq!(said.matches("the shared cache is not read any more in this run").count(), 1, "{said}");
    assert!(
        said.contains("s3: ") && said.contains("faults, the first: cannot read s3://forge/nothing"),
        "{said}"
    );
    assert!(said.contains("5 run, 0 known"), "{said}");
    let said = scratch.ok("run --cache-access off").stderr;
    assert!(said.contains("nothing to do") && !said.contains("s3"), "{said}");
}

#[test]
fn a_full_disk_while_objects_come_is_a_miss() {
    let scratch = shared_chain();
    let Some(disk) = Mounted::tmpfs(scratch.path("b"), "size=1m") else { return };
    // Only the large file of `a` does not fit.
    assert!(
        Command::new("dd")
            .args(["if=/dev/zero", "bs=1024", "count=750", "status=none"])
            .arg(format!("of={}", scratch.path("b/filler").display()))
            .status()
            .unwrap()
            .success()
    );
    let done = scratch.forge("run --store b a");
    let said = &done.stderr;
    assert!(said.contains("No space left on device") && said.contains("fault"), "{said}");
    std::fs::remove_file(scratch.path("b/filler")).unwrap();
    scratch.ok("cache verify --store b");
    scratch.ok("run --store b a");
    drop(disk);
}

#[test]
fn results_are_sent_and_fetched_by_hand() {
    let place = s3_server().place();
    let scratch = with_cache(CHAIN, &s3_server().endpoint, &place);
    scratch.ok("run --store a --cache-access off");
    let sent = scratch.ok("cache push --store a b[n=1]").stdout;
    assert!(sent.starts_with("2 results sent"), "with what it needs: {sent}");
    let sent = scratch.ok("cache push --store a").stdout;
    assert!(sent.starts_with("3 results sent") && sent.contains("2 were there"), "{sent}");
    let fetched = scratch.ok("cache pull --store b a b").stdout;
    assert!(fetched.starts_with("3 results fetched; 0 were here; 0 are not known"), "{fetched}");
    assert_eq!(scratch.plan("--store b --cache-access off a").verdict("a"), "hit");
    assert!(scratch.ok("cache pull --store b a").stdout.starts_with("0 results fetched; 1 were here"));
    let stats: serde_json::Value =
        serde_json::from_str(&scratch.ok("cache stats --remote --json").stdout).unwrap();
    assert_eq!((&stats["results"], &stats["histories"]), (&5.into(), &5.into()));
    assert!(scratch.ok("cache verify --remote").stdout.starts_with("5 results and "));
    assert!(scratch.ok("cache gc --remote").stdout.starts_with("removed 0 results and 0 objects"));
    assert!(scratch.ok("cache gc --remote --days 0").stdout.starts_with("removed 5 results"));
    assert_eq!(scratch.plan("--store c").verdict("a"), "run");
    scratch.edit("Buildfile.kdl", "cache \"s3", "// \"s3");
    scratch.forge("cache push").ends_with(1);
}

#[test]
fn a_profile_has_a_cache_in_place_of_another() {
    let (place, endpoint) = (s3_server().place(), &s3_server().endpoint);
    let ci = format!("profile \"ci\" {{\n{}}}\n", cache(endpoint, &place, ""));
    let mut scratch = Scratch::new(&(cache(endpoint, &place, "write=#false") + CHAIN + &ci));
    scratch.write("source.txt", "one\n");
    log_in(&mut scratch, ACCESS_KEY, SECRET_KEY);
    assert!(!scratch.ok("run --store a").stderr.contains("s3:"));
    assert!(scratch.ok("run --store b --profile ci").stderr.contains("s3: 5 results up"));
    assert!(scratch.ok("plan --store c").stdout.contains("(5 from s3)"));
    let two = cache(endpoint, &place, "") + &cache(endpoint, "elsewhere", "") + CHAIN;
    Scratch::new(&two).forge("plan").ends_with(1).says("'cache' is given twice");
}

#[test]
fn what_another_machine_built_is_published() {
    let mut scratch = repository::with_key(&repository::new_key());
    let buildfile = scratch.read("Buildfile.kdl");
    scratch.write("Buildfile.kdl", &(cache(&s3_server().endpoint, &s3_server().place(), "") + &buildfile));
    log_in(&mut scratch, ACCESS_KEY, SECRET_KEY);
    scratch.ok("run --store a apt readable");
    let plan = scratch.plan("--store b");
    assert_eq!((plan.verdict("apt"), plan.verdict("site")), ("hit", "run"));
    let (done, events) = scratch.run_with_events("--store b");
    done.ends_with(0);
    let mut started = events.nodes("node-started");
    started.sort();
    // A key is no result that others share: what is public of it is made where it is.
    started.retain(|node| node != "archive");
    assert_eq!(started, ["site"]);
    assert_eq!(scratch.packages("public/apt", "trixie").len(), 2);
    scratch.forge("plan --exit-code --store c").ends_with(0);
}

#[test]
fn a_cache_behind_tls_is_used_where_its_authority_is_named() {
    let scratch = with_cache(CHAIN, &s3_server().tls_endpoint, &s3_server().place());
    scratch.edit("Buildfile.kdl", "path-style=#true", "path-style=#true ca=\"ca.pem\"");
    std::fs::copy(s3_server().ca(), scratch.path("ca.pem")).unwrap();
    scratch.ok("run --store a --cache-access off");
    assert!(scratch.ok("cache push --store a").stdout.starts_with("5 results sent"));
    assert!(scratch.ok("cache pull --store b a b").stdout.starts_with("3 results fetched"));
    assert_eq!(output_file(&scratch, "b", "a", "a"), "one\n");

    scratch.edit("Buildfile.kdl", " ca=\"ca.pem\"", "");
    let said = scratch.ok("run --store c").stderr;
    assert!(said.contains("UnknownIssuer") && said.contains("`ca` in its s3 node"), "{said}");
    assert!(said.contains("5 run, 0 known"), "{said}");
    scratch.edit("Buildfile.kdl", "path-style=#true", "path-style=#true ca=\"source.txt\"");
    let said = scratch.ok("run --store c").stderr;
    assert!(said.contains("source.txt holds no certificate in PEM"), "{said}");
}

#[test]
fn an_interrupt_while_results_go_up_ends_the_run_and_they_can_be_sent_later() {
    let proxy = FaultProxy::new(&s3_server().endpoint);
    let scratch = with_cache(CHAIN, &proxy.endpoint, &s3_server().place());
    proxy.spoil("PUT /", Fault::Late(Duration::from_secs(60)), usize::MAX);
    let run = scratch.start("run");
    scratch.wait_until("the last node", || {
        scratch.read("out").contains("sending 5 results to the shared cache")
    });
    run.signal(Signal::INT);
    let (code, took) = run.end();
    let said = scratch.read("out");
    assert_eq!(code, Some(130), "{said}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(said.contains("5 results are not in the shared cache; `forge cache push` sends them"), "{said}");
    proxy.heal();
    assert!(scratch.ok("cache push").stdout.starts_with("5 results sent"));
}

/// `second` waits for both cores; meanwhile what it needs is gone, is run again, and fails.
#[test]
fn who_starts_after_what_it_needs_was_lost_is_not_run() {
    let (proxy, place) = (FaultProxy::new(&s3_server().endpoint), s3_server().place());
    let buildfile = r#"
target "source" network=#true {
    run "curl -sf ENDPOINT/healthz > /dev/null; mkdir $OUT/o; seq 9999 > $OUT/o/more; echo source > $OUT/o/source"
    output "o"
}
target "slow" {
    run "sleep 3; mkdir $OUT/o; echo one"
    output "o"
}
target "first" {
    use "source" into="source"
    run "sleep 1; mkdir $OUT/o; cat source/source > $OUT/o/first; echo one"
    output "o"
}
target "second" {
    use "source" into="source"
    resources cpu=2
    run "mkdir $OUT/o; cat source/source > $OUT/o/second; echo one"
    output "o"
}
target "third" {
    use "second" into="second"
    run "cp -r second $OUT/o"
    output "o"
}
"#;
    let buildfile = buildfile.replace("ENDPOINT", &proxy.endpoint);
    let scratch = with_cache(&buildfile, &proxy.endpoint, &place);
    scratch.ok("run --store a --jobs 2");
    proxy.spoil(&format!("GET /{BUCKET}/{place}/packs/"), Fault::Status(404, "NoSuchKey"), usize::MAX);
    proxy.spoil("GET /healthz", Fault::Status(503, "SlowDown"), usize::MAX);
    scratch.edit("Buildfile.kdl", "echo one", "echo two");
    let (done, events) = scratch.run_with_events("--store b --jobs 2 --keep-going");
    let said = done.ends_with(3).stderr;
    assert!(said.contains("source is run, since its result cannot be had"), "{said}");
    assert_eq!(events.nodes("node-failed"), ["source"], "{said}");
    let skipped: Vec<_> = events
        .of("node-skipped")
        .map(|line| (line["node"].as_str().unwrap(), line["because"].as_str().unwrap()))
        .collect();
    assert_eq!(skipped, [("first", "source"), ("second", "source"), ("third", "second")], "{said}");
    assert!(events.place("node-finished", "slow") < events.place("node-skipped", "second"));
    proxy.heal();
    let (done, events) = scratch.run_with_events("--store b --failed");
    done.ends_with(0);
    let mut started = events.nodes("node-started");
    started.sort();
    assert_eq!(started, ["first", "second"], "what the others give is known again");
    assert_eq!(events.outcome("third"), Some("hit"));
}
