use std::collections::BTreeSet;

use super::fault_proxy::{Fault, FaultProxy};
use super::testing::{ACCESS_KEY, BUCKET, SECRET_KEY, s3_server};
use super::*;

fn service() -> Service {
    Service { endpoint: Some(s3_server().endpoint.clone()), path_style: true, ..Service::default() }
}

fn location() -> Location {
    Location { bucket: BUCKET.to_owned(), prefix: s3_server().place(), service: service() }
}

fn bucket() -> Bucket {
    wait(Bucket::open_as(location(), ACCESS_KEY, SECRET_KEY)).unwrap()
}

fn put(name: &str, bytes: &[u8], condition: Condition) -> Put {
    let (name, body) = (name.to_owned(), Body::Bytes(bytes.to_vec()));
    Put { name, body, content_type: "text/plain", cache_control: Some("max-age=60"), condition }
}

/// A request of the bucket, waited for.
macro_rules! ask {
    ($bucket:expr, $($call:tt)+) => {{
        let bucket = $bucket.clone();
        wait(async move { bucket.$($call)+.await })
    }};
}

#[test]
fn what_is_written_is_read_and_served_with_its_headers() {
    let bucket = bucket();
    let name = "pool/h/hello_1%3a27+x~1_amd64.deb";
    assert!(ask!(bucket, get(name)).unwrap().is_none());
    assert!(ask!(bucket, head(name)).unwrap().is_none());
    let Written::Done(etag) = ask!(bucket, put(put(name, b"bytes", Condition::Always))).unwrap() else {
        panic!("refused")
    };
    let found = ask!(bucket, get(name)).unwrap().unwrap();
    assert_eq!((found.bytes.as_slice(), &found.etag), (&b"bytes"[..], &etag));
    assert!(ask!(bucket, touch(name, "text/plain")).unwrap());
    let (listed, same) = ask!(bucket, head(name)).unwrap().unwrap();
    assert_eq!((listed.size, same), (5, etag));
    assert!(!ask!(bucket, touch("absent", "text/plain")).unwrap());

    ask!(bucket, put(put("plain", b"x", Condition::Always))).unwrap();
    let (status, head, body) = s3_server().anonymous(&bucket.location().key("plain"));
    assert_eq!((status, body.as_slice()), (200, &b"x"[..]));
    assert!(head.to_lowercase().contains("cache-control: max-age=60"), "{head}");
    assert!(bucket.traffic().requests >= 8 && bucket.traffic().sent == 6, "{:?}", bucket.traffic());
}

#[test]
fn a_condition_that_does_not_hold_writes_nothing() {
    let bucket = bucket();
    let Written::Done(first) = ask!(bucket, put(put("a", b"1", Condition::Absent))).unwrap() else {
        panic!("refused")
    };
    assert_eq!(ask!(bucket, put(put("a", b"2", Condition::Absent))).unwrap(), Written::Refused);
    let matching = put("a", b"3", Condition::Matches(first.clone()));
    let Written::Done(second) = ask!(bucket, put(matching)).unwrap() else { panic!("refused") };
    assert_ne!(first, second);
    assert_eq!(ask!(bucket, put(put("a", b"4", Condition::Matches(first)))).unwrap(), Written::Refused);
    assert_eq!(ask!(bucket, put(put("gone", b"4", Condition::Matches(second)))).unwrap(), Written::Refused);
    assert_eq!(ask!(bucket, get("a")).unwrap().unwrap().bytes, b"3");
}

#[test]
fn of_eight_that_create_one_wins() {
    let bucket = bucket();
    let writers = (0..8_u8).map(|at| {
        let bucket = bucket.clone();
        spawn(async move { bucket.put(put("race", &[at], Condition::Absent)).await })
    });
    let writers: Vec<_> = writers.collect();
    let written = wait(async move {
        let mut all = Vec::new();
        for writer in writers {
            all.push(writer.await.unwrap().unwrap());
        }
        all
    });
    assert_eq!(
        written.iter().filter(|written| matches!(written, Written::Done(_))).count(),
        1,
        "{written:?}"
    );
}

#[test]
fn large_objects_go_in_parts_and_come_back_whole() {
    let bucket = bucket();
    let bytes: Vec<u8> = (0..40_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large");
    std::fs::write(&path, &bytes).unwrap();
    let large = Put { body: Body::File(path), ..put("large", b"", Condition::Absent) };
    let again = large.clone();
    assert!(matches!(ask!(bucket, put(again)).unwrap(), Written::Done(_)));
    assert_eq!(ask!(bucket, get("large")).unwrap().unwrap().bytes, bytes);
    assert_eq!(ask!(bucket, put(large)).unwrap(), Written::Refused);
    std::fs::remove_file(dir.path().join("large")).unwrap();
    let gone = Put { body: Body::File(dir.path().join("large")), ..put("gone", b"", Condition::Always) };
    assert_eq!(ask!(bucket, put(gone)).unwrap_err().fault, S3Fault::Local);
}

#[test]
fn listing_goes_over_pages_and_deleting_too() {
    let bucket = bucket();
    let names: BTreeSet<String> = (0..1_050).map(|at| format!("many/{at:04}")).collect();
    let all = names.clone();
    let writer = bucket.clone();
    wait(async move {
        use futures_util::FutureExt;
        use futures_util::{StreamExt, stream};
        let puts: Vec<_> =
            all.iter().map(|name| writer.put(put(name, b"", Condition::Always)).boxed()).collect();
        let written: Vec<_> = stream::iter(puts).buffer_unordered(16).collect().await;
        assert!(written.iter().all(Result::is_ok));
    });
    ask!(bucket, put(put("other", b"", Condition::Always))).unwrap();
    let listed = ask!(bucket, list("many/")).unwrap();
    assert_eq!(listed.iter().map(|one| one.name.clone()).collect::<BTreeSet<_>>(), names);
    let names: Vec<String> = names.into_iter().chain(["never was".to_owned()]).collect();
    ask!(bucket, delete(&names)).unwrap();
    let left = ask!(bucket, list("")).unwrap();
    assert_eq!(left.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["other"]);
}

#[test]
fn what_is_wrong_is_told_by_its_kind() {
    let denied = wait(Bucket::open_as(location(), ACCESS_KEY, "wrong")).unwrap();
    let error = ask!(denied, get("a")).unwrap_err();
    assert_eq!(error.fault, S3Fault::Denied);
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
    let reader = wait(Bucket::open_as(location(), "AKREADER", "SKREADER")).unwrap();
    let error = ask!(reader, put(put("a", b"", Condition::Always))).unwrap_err();
    assert_eq!(error.fault, S3Fault::Denied);

    let absent = Location { bucket: "no-such-bucket".to_owned(), ..location() };
    let absent = wait(Bucket::open_as(absent, ACCESS_KEY, SECRET_KEY)).unwrap();
    assert_eq!(ask!(absent, get("a")).unwrap_err().fault, S3Fault::NoBucket);

    let closed = Service { endpoint: Some("http://127.0.0.1:1".to_owned()), ..service() };
    let closed =
        wait(Bucket::open_as(Location { service: closed, ..location() }, ACCESS_KEY, SECRET_KEY)).unwrap();
    assert_eq!(ask!(closed, get("a")).unwrap_err().fault, S3Fault::Unavailable);

    let no_ca = Service { ca: Some("/nonexistent.pem".into()), ..service() };
    let error =
        wait(Bucket::open_as(Location { service: no_ca, ..location() }, ACCESS_KEY, SECRET_KEY)).unwrap_err();
    assert!(error.to_string().contains("/nonexistent.pem"), "{error}");
}

#[test]
fn a_condition_that_cannot_be_decided_at_the_moment_is_asked_again() {
    let proxy = FaultProxy::new(&s3_server().endpoint);
    let service = Service { endpoint: Some(proxy.endpoint.clone()), ..service() };
    let location = Location { service, ..location() };
    let bucket = wait(Bucket::open_as(location, ACCESS_KEY, SECRET_KEY)).unwrap();
    proxy.spoil("PUT /", Fault::Status(409, "ConditionalRequestConflict"), 2);
    assert!(matches!(ask!(bucket, put(put("a", b"1", Condition::Absent))).unwrap(), Written::Done(_)));
    assert_eq!(ask!(bucket, put(put("a", b"2", Condition::Absent))).unwrap(), Written::Refused);
}

#[test]
fn a_service_that_heeds_conditions_is_fit() {
    let bucket = bucket();
    let probe = |known| match ask!(bucket, probe("probe", known)).unwrap() {
        Fitness::Fit(etag) => etag,
        unfit => panic!("{unfit:?}"),
    };
    let etag = probe(None);
    assert_eq!(probe(None), etag);
    let before = bucket.traffic().requests;
    assert_eq!(probe(Some(etag.clone())), etag);
    assert_eq!(bucket.traffic().requests - before, 3, "all at once");
    assert_eq!(probe(Some(Etag::new("another"))), etag);
    ask!(bucket, delete(&["probe".to_owned()])).unwrap();
    assert_eq!(probe(Some(etag.clone())), etag, "it is made again");
}
