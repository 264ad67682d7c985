//! A repository in a bucket of a real S3 server, by the program.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sha2::{Digest as _, Sha256};

use super::delay_proxy::DelayProxy;
use super::fault_proxy::{Fault, FaultProxy};
use super::repository::{new_key, with_key};
use super::s3_server::{ACCESS_KEY, BUCKET, SECRET_KEY, s3_server};
use super::scratch::{Scratch, files_below};
use super::services::{Distribution, Service};

/// The matrix of a repository, published into a place of its own in the bucket.
fn in_bucket() -> (Scratch, String) {
    in_bucket_of(&s3_server().endpoint, "")
}

/// The same by the service at `endpoint`, with more words for it.
fn in_bucket_of(endpoint: &str, words: &str) -> (Scratch, String) {
    let mut scratch = with_key(&new_key());
    let place = s3_server().place();
    let to =
        format!("to=\"s3://{BUCKET}/{place}\" {{\n    s3 endpoint=\"{endpoint}\" path-style=#true {words}");
    scratch.edit("Buildfile.kdl", "to=\"public\" {", &to);
    scratch.env("AWS_ACCESS_KEY_ID", ACCESS_KEY);
    scratch.env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    scratch.env("AWS_EC2_METADATA_DISABLED", "true");
    (scratch, place)
}

#[test]
fn a_matrix_is_published_into_a_bucket_and_looked_at() {
    let (mut scratch, place) = in_bucket();
    let site = format!("s3://{BUCKET}/{place}/apt");
    let plan = scratch.ok("plan").stdout;
    assert!(plan.contains(&format!("{site}: 6 added, 0 replaced, 0 dropped, 0 kept")), "{plan}");
    // What is not built cannot be rehearsed.
    let said = scratch.forge("run --dry-run").ends_with(1);
    assert!(said.stderr.contains("not built yet"), "{}", said.stderr);
    scratch.ok("run apt readable");
    let requests = scratch.ok("run --dry-run").stdout;
    assert!(requests.contains(&format!("PUT {site}/dists/trixie/InRelease (")), "{requests}");
    assert_eq!(s3_server().anonymous(&format!("{place}/apt/dists/trixie/InRelease")).0, 404);
    scratch.ok("run");
    let (status, _, release) = s3_server().anonymous(&format!("{place}/apt/dists/trixie/InRelease"));
    assert_eq!(status, 200);
    assert!(String::from_utf8_lossy(&release).contains("Codename: trixie"));
    scratch.forge("plan --exit-code").ends_with(0);

    let verified = scratch.ok("publish verify").stdout;
    assert!(verified.contains(&format!("{site}: ")) && verified.contains("files read"), "{verified}");
    scratch.edit("Buildfile.kdl", "version \"2.0\"", "version \"2.1\"");
    scratch.env("SOURCE_DATE_EPOCH", 1_750_000_100);
    scratch.ok("run --publish-retries 3");
    let history = scratch.ok("publish history site").stdout;
    let lines: Vec<_> = history.lines().collect();
    assert_eq!((lines[0], lines.len()), (site.as_str(), 3), "{history}");
    assert!(
        lines[1].contains("live") && lines[1].contains("0 added, 3 replaced, 0 dropped, 6 kept"),
        "{history}"
    );
    let first = lines[2].split_whitespace().next().unwrap();
    let said = scratch.ok(&format!("publish rollback {first}")).stdout;
    assert!(said.contains("is live: 0 added, 0 replaced, 3 dropped, 6 kept"), "{said}");
    assert!(scratch.ok("publish gc").stdout.contains("0 removed"));
    scratch.ok("publish verify");
    scratch.forge("publish rollback never").ends_with(1);
}

#[test]
fn a_bucket_that_cannot_be_reached_is_told_before_anything_is_built() {
    let (mut scratch, _) = in_bucket();
    scratch.env("AWS_SECRET_ACCESS_KEY", "wrong");
    let said = scratch.forge("run").ends_with(1).error_text();
    assert!(said.contains("AWS_ACCESS_KEY_ID"), "{said}");
}

#[test]
fn a_service_without_a_bucket_is_a_fault_of_the_buildfile() {
    let scratch = with_key(&new_key());
    scratch.edit("Buildfile.kdl", "to=\"public\" {", "to=\"public\" {\n    s3 region=\"eu-west-1\"");
    let said = scratch.forge("plan").ends_with(1).error_text();
    assert!(said.contains("repositories go to a directory"), "{said}");
    scratch.edit("Buildfile.kdl", "to=\"public\"", "to=\"s3://Public\"");
    let said = scratch.forge("plan").ends_with(1).error_text();
    assert!(said.contains("is no place in a bucket"), "{said}");
}

#[test]
fn a_service_that_heeds_no_conditions_is_refused_before_anything_is_written() {
    let buckets = tempfile::tempdir().unwrap();
    fs::create_dir(buckets.path().join(BUCKET)).unwrap();
    let rclone = Service::rclone(buckets.path());
    let (scratch, place) = in_bucket_of(&rclone.endpoint, "");
    let said = scratch.forge("run").ends_with(3).error_text();
    let refusal = format!(
        "nothing is published to s3://{BUCKET}/{place}: it ignores If-Match, so two publishers at once could \
         not be told apart; publish to a service that heeds conditions on writes, or to a directory that is copied \
         there"
    );
    assert!(said.contains(&refusal), "{said}");
    let left: Vec<String> = files_below(buckets.path()).into_keys().collect();
    assert_eq!(left, [format!("{BUCKET}/{place}/.forge/probe")]);
    // Once more: what the first try left behind changes nothing.
    assert!(scratch.forge("run").ends_with(3).error_text().contains(&refusal));
}

#[test]
fn a_distribution_is_told_what_changed_and_where_it_was_not_the_next_publish_tells_it() {
    let distribution = Distribution::new();
    let (mut scratch, place) = in_bucket();
    let settings =
        format!("cloudfront \"{}\"\n    url \"https://example.org/base\"\n    index", distribution.id);
    scratch.edit("Buildfile.kdl", "index \"apt\" at", &(settings + " \"apt\" at"));
    scratch.env("AWS_ENDPOINT_URL_CLOUDFRONT", distribution.endpoint());
    scratch.ok("run apt readable");
    let rehearsed = scratch.ok("run --dry-run").stdout;
    let post = format!("POST CloudFront distribution {} (", distribution.id);
    let promised = rehearsed.lines().find_map(|line| line.strip_prefix(&post)).expect(&rehearsed);
    let promised: Vec<&str> = promised.trim_end_matches(')').split("; ").collect();
    assert!(distribution.invalidations().is_empty(), "a rehearsal tells nobody");
    scratch.ok("run");
    assert_eq!(distribution.invalidations().concat(), promised);
    for path in &promised {
        let name = path.strip_prefix("/base").unwrap();
        let (status, head, _) = s3_server().anonymous(&format!("{place}{name}"));
        assert!(status == 200 && head.contains("must-revalidate"), "{path}: {head}");
    }
    let is_told = |path: &str| promised.contains(&path);
    assert!(is_told("/base/apt/dists/trixie/InRelease") && is_told("/base/apt/dists/forky/Release.gpg"));

    scratch.edit("Buildfile.kdl", "version \"2.0\"", "version \"2.1\"");
    scratch.env("SOURCE_DATE_EPOCH", 1_750_000_100);
    scratch.env("AWS_ENDPOINT_URL_CLOUDFRONT", "http://127.0.0.1:1");
    let said = scratch.ok("run").stderr;
    let warning = format!("cannot invalidate files of CloudFront distribution {}: ", distribution.id);
    assert!(said.contains(&warning) && said.contains("until the next publish tries again"), "{said}");
    scratch.ok("publish verify");
    let plan = scratch.ok("plan").stdout;
    let cause = format!("CloudFront distribution {} was not told of the last publish", distribution.id);
    assert!(plan.contains(&cause), "{plan}");
    scratch.env("AWS_ENDPOINT_URL_CLOUDFRONT", distribution.endpoint());
    scratch.ok("run");
    let told = distribution.invalidations();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains(&"/base/apt/dists/trixie/InRelease".to_owned()), "{told:?}");
    assert!(
        !told[1].contains(&"/base/apt/key.asc".to_owned()),
        "what stayed the same is left alone: {told:?}"
    );
    scratch.forge("plan --exit-code").ends_with(0);
    scratch.ok("run");
    assert_eq!(distribution.invalidations(), told);
}

#[test]
fn a_bucket_behind_tls_is_published_to_where_its_authority_is_named() {
    let (scratch, place) = in_bucket_of(&s3_server().tls_endpoint, "ca=\"ca.pem\"");
    fs::copy(s3_server().ca(), scratch.path("ca.pem")).unwrap();
    scratch.ok("run");
    assert_eq!(s3_server().anonymous(&format!("{place}/apt/dists/trixie/InRelease")).0, 200);
    scratch.ok("publish verify");

    let (scratch, _) = in_bucket_of(&s3_server().tls_endpoint, "");
    let said = scratch.forge("run").ends_with(1).error_text();
    assert!(said.contains("UnknownIssuer") && said.contains("`ca` in its s3 node"), "{said}");
}

const SUITES: [&str; 3] = ["bookworm", "forky", "trixie"];

/// What a client that fetches by hash finds in a suite: the signature, all that is signed, and every package. Gives
/// the packages with their versions.
fn seen(scratch: &Scratch, place: &str, suite: &str) -> BTreeSet<String> {
    let get = |path: &str| {
        let (status, _, bytes) = s3_server().anonymous(&format!("{place}/apt/{path}"));
        assert_eq!(status, 200, "{path}");
        bytes
    };
    let get_as = |path: &str, hash: &str| {
        let bytes = get(path);
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, hash, "{path}");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    for (name, path) in [("key.gpg", "key.gpg".to_owned()), ("InRelease", format!("dists/{suite}/InRelease"))]
    {
        fs::write(scratch.path(name), get(&path)).unwrap();
    }
    let mut gpgv = Command::new("gpgv");
    gpgv.arg("--keyring").args([scratch.path("key.gpg"), scratch.path("InRelease")]);
    let output = gpgv.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut packages = BTreeSet::new();
    for line in scratch.read("InRelease").lines() {
        let [hash, _, path] = line.split_whitespace().collect::<Vec<_>>()[..] else { continue };
        let (dir, name) = path.rsplit_once('/').unwrap_or_default();
        if hash.len() != 64 {
            continue;
        }
        let index = get_as(&format!("dists/{suite}/{dir}/by-hash/SHA256/{hash}"), hash);
        for stanza in index.split("\n\n").filter(|stanza| name == "Packages" && !stanza.is_empty()) {
            let field = |name: &str| {
                let mut lines = stanza.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                lines.next().unwrap_or_else(|| panic!("no {name} in {stanza}"))
            };
            if packages.insert(format!("{} {}", field("Package"), field("Version"))) {
                get_as(field("Filename"), field("SHA256"));
            }
        }
    }
    packages
}

#[test]
fn killed_at_any_moment_it_leaves_whole_suites_and_the_next_run_finishes() {
    const ROUNDS: u32 = 8;
    // Far enough that there are moments between requests.
    let far = DelayProxy::new(&s3_server().endpoint, Duration::from_millis(10));
    let (scratch, place) = in_bucket_of(&far.endpoint, "");
    let packages = |versions: u32| -> BTreeSet<String> {
        let extra = (0..=versions).map(|version| format!("extra-tools 2.{version}"));
        extra.chain(["joined-tools 1.0-1".to_owned()]).collect()
    };
    let build = |version: u32| {
        let before = version.saturating_sub(1);
        scratch.edit("Buildfile.kdl", &format!("\"2.{before}\""), &format!("\"2.{version}\""));
        scratch.ok("run apt readable");
    };
    scratch.ok("run");
    build(1);
    let started = Instant::now();
    scratch.ok("run");
    let whole = started.elapsed();
    let mut old_ones = 0;
    for round in 1..=ROUNDS {
        build(round + 1);
        let run = scratch.start("run");
        std::thread::sleep(whole.mul_f64((f64::from(round) - rand::random::<f64>()) / f64::from(ROUNDS)));
        run.kill();
        for suite in SUITES {
            let found = seen(&scratch, &place, suite);
            assert!(found == packages(round) || found == packages(round + 1), "{suite}: {found:?}");
            old_ones += usize::from(found == packages(round));
        }
        scratch.ok("run");
        SUITES.iter().for_each(|suite| assert_eq!(seen(&scratch, &place, suite), packages(round + 1)));
        scratch.ok("publish verify");
        scratch.forge("plan --exit-code").ends_with(0);
    }
    eprintln!("{old_ones} of {} suites were the old ones after a kill", 3 * ROUNDS);
    assert!(old_ones > 0, "not once it was killed before its end");
}

#[test]
fn an_interrupt_while_packages_go_up_ends_it_and_nobody_sees_anything() {
    let proxy = FaultProxy::new(&s3_server().endpoint);
    let (scratch, place) = in_bucket_of(&proxy.endpoint, "");
    scratch.ok("run apt readable");
    let upload = format!("PUT /{BUCKET}/{place}/apt/pool/");
    proxy.spoil(&upload, Fault::Late(Duration::from_secs(60)), usize::MAX);
    let run = scratch.start("run");
    scratch.wait_until("an upload", || proxy.requests(&upload) > 0);
    run.signal(Signal::INT);
    let (code, took) = run.end();
    assert_eq!(code, Some(130), "{}", scratch.read("out"));
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(s3_server().anonymous(&format!("{place}/apt/dists/trixie/InRelease")).0, 404);
    proxy.heal();
    scratch.ok("run");
    scratch.ok("publish verify");
}
