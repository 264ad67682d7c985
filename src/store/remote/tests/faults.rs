use std::time::Duration;

use super::super::push::SendError;
use super::support::{Machine, files, machine, machine_by};
use crate::digest::Digest;
use crate::s3::fault_proxy::{Fault, FaultProxy};
use crate::s3::testing::{ACCESS_KEY, SECRET_KEY, s3_server};

/// A result in the bucket, and a machine that sees it through a proxy.
struct Unwell {
    place: String,
    key: Digest,
    proxy: FaultProxy,
    machine: Machine,
}

fn unwell() -> Unwell {
    let place = s3_server().place();
    let a = machine(&place);
    let key = a.build("node", &files());
    a.send(key).unwrap();
    let proxy = FaultProxy::new(&s3_server().endpoint);
    let machine = machine_by(&proxy.endpoint, &place, ACCESS_KEY, SECRET_KEY, None);
    Unwell { place, key, proxy, machine }
}

impl Unwell {
    /// What is spoilt for a moment only does no harm.
    fn is_borne(&self) {
        assert!(self.machine.finds(self.key), "{:?}", self.machine.notices());
        self.machine.bring(self.key).unwrap();
        self.machine.assert_sound();
        assert_eq!(self.machine.remote.traffic().faults, 0);
    }

    /// What stays spoilt makes a miss that is counted, and nothing wrong is stored.
    fn is_told(&self) {
        let is_lost = !self.machine.finds(self.key) || self.machine.bring(self.key).is_err();
        assert!(is_lost);
        let traffic = self.machine.remote.traffic();
        assert!(traffic.faults > 0 && traffic.first_fault.is_some());
        let report = self.machine.local.verify().unwrap();
        assert!(report.damaged.is_empty());
    }
}

#[test]
fn errors_of_the_server_are_borne() {
    for (status, code) in [(500, "InternalError"), (503, "SlowDown")] {
        let it = unwell();
        it.proxy.spoil("GET /", Fault::Status(status, code), 2);
        it.is_borne();
    }
}

#[test]
fn a_service_that_stays_unwell_is_left_alone() {
    let it = unwell();
    it.proxy.spoil(" /", Fault::Status(503, "SlowDown"), usize::MAX);
    let keys: Vec<Digest> = (0..200_u8).map(|at| Digest::of(&[at])).collect();
    let remote = it.machine.remote.clone();
    crate::s3::wait(async move { remote.look_up(keys).await });
    assert!(!it.machine.remote.is_read());
    assert!(it.proxy.requests("GET") <= 15, "{} requests", it.proxy.requests("GET"));
    let notices = it.machine.notices();
    assert!(notices.len() == 1 && notices[0].contains("is not read any more in this run"), "{notices:?}");
}

#[test]
fn a_connection_that_breaks_in_the_middle_is_made_again() {
    let it = unwell();
    it.proxy.spoil("/results/", Fault::Reset, 1);
    it.proxy.spoil("/packs/", Fault::Reset, 1);
    it.proxy.spoil("/objects/", Fault::Reset, 2);
    assert!(it.machine.finds(it.key) || it.machine.finds(it.key));
    it.machine.bring(it.key).unwrap();
    it.machine.assert_sound();
}

#[test]
fn truncated_bytes_are_fetched_again_or_refused() {
    let it = unwell();
    it.proxy.spoil("/packs/", Fault::Truncated, 1);
    it.proxy.spoil("/objects/", Fault::Truncated, 1);
    it.is_borne();
    for room in ["/results/", "/packs/", "/objects/"] {
        let it = unwell();
        it.proxy.spoil(room, Fault::Truncated, usize::MAX);
        it.is_told();
    }
}

#[test]
fn flipped_bits_are_fetched_again_or_refused() {
    let it = unwell();
    it.proxy.spoil("/packs/", Fault::BitFlip, 1);
    it.proxy.spoil("/objects/", Fault::BitFlip, 1);
    it.is_borne();
    for room in ["/results/", "/packs/", "/objects/"] {
        let it = unwell();
        it.proxy.spoil(room, Fault::BitFlip, usize::MAX);
        it.is_told();
    }
}

#[test]
fn a_stall_ends() {
    let it = unwell();
    it.proxy.spoil("/objects/", Fault::Stall(Duration::from_secs(60)), 1);
    it.is_borne();
}

#[test]
fn expired_credentials_end_the_asking_at_once() {
    let it = unwell();
    it.proxy.spoil(" /", Fault::Status(400, "ExpiredToken"), usize::MAX);
    assert!(!it.machine.finds(it.key) && !it.machine.remote.is_read());
    let notices = it.machine.notices();
    assert!(notices.len() == 1 && notices[0].contains("ExpiredToken"), "{notices:?}");
    assert!(notices[0].contains("AWS_ACCESS_KEY_ID"), "{notices:?}");
}

#[test]
fn a_clock_that_is_wrong_ends_reading_and_writing() {
    let it = unwell();
    it.proxy.spoil(" /", Fault::Status(403, "RequestTimeTooSkewed"), usize::MAX);
    assert!(!it.machine.finds(it.key));
    assert!(!it.machine.remote.is_read() && !it.machine.remote.is_written());
    assert!(it.machine.notices().iter().all(|text| text.contains("set this machine's clock")));
}

#[test]
fn a_result_that_cannot_go_up_is_counted_and_never_half_there() {
    let it = unwell();
    let own = it.machine.build("own", &[("x", vec![7; 300_000]), ("y", b"y".to_vec())]);
    for room in ["PUT /forge", "PUT"] {
        it.proxy.spoil(room, Fault::Status(403, "AccessDenied"), 1);
    }
    assert!(matches!(it.machine.send(own), Err(SendError::Service(_))));
    assert!(!machine(&it.place).finds(own));
    it.proxy.heal();
    let again = machine_by(&it.proxy.endpoint, &it.place, ACCESS_KEY, SECRET_KEY, None);
    again.build("own", &[("x", vec![7; 300_000]), ("y", b"y".to_vec())]);
    it.proxy.spoil("PUT", Fault::Status(503, "SlowDown"), 2);
    again.send(own).unwrap();
    let b = machine(&it.place);
    assert!(b.finds(own));
    b.bring(own).unwrap();
}
