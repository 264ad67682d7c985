//! A repository in a bucket of a real S3 server, by the program.

use super::repository::{new_key, with_key};
use super::s3_server::{ACCESS_KEY, BUCKET, SECRET_KEY, s3_server};
use super::scratch::Scratch;

/// The matrix of a repository, published into a place of its own in the bucket.
fn in_bucket() -> (Scratch, String) {
    let mut scratch = with_key(&new_key());
    let (place, endpoint) = (s3_server().place(), &s3_server().endpoint);
    let to = format!("to=\"s3://{BUCKET}/{place}\" {{\n    s3 endpoint=\"{endpoint}\" path-style=#true");
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
