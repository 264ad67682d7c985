use std::time::Duration;

use super::super::record::Name;
use super::support::{files, machine, machine_by, noise};
use crate::s3::testing::{ACCESS_KEY, SECRET_KEY, s3_server};
use crate::s3::wait;

/// Times in the bucket are whole seconds.
const A_MOMENT: Duration = Duration::from_millis(2200);
const LONG: Duration = Duration::from_secs(86_400);

#[test]
fn what_the_lifecycle_took_is_a_miss() {
    let place = s3_server().place();
    let a = machine(&place);
    let key = a.build("node", &files());
    a.send(key).unwrap();
    for name in a.names().into_iter().filter(|name| matches!(name, Name::Pack(_) | Name::Object(..))) {
        let bytes = a.read(name);
        a.delete(name);
        let b = machine(&place);
        assert!(b.finds(key));
        let is_log = bytes == b"log of node";
        assert_eq!(b.bring(key).is_ok(), is_log, "{name}");
        assert!(!b.remote.can_give(key));
        assert_eq!(b.remote.traffic().faults, 0, "it is nobody's fault");
        a.write(name, bytes);
    }
    a.delete(Name::Result(key));
    assert!(!machine(&place).finds(key));
    assert!(!a.send(key).unwrap().was_there);
}

#[test]
fn what_is_used_is_touched_before_it_expires() {
    let place = s3_server().place();
    let expires = Some(Duration::from_secs(2));
    let a = machine_by(&s3_server().endpoint, &place, ACCESS_KEY, SECRET_KEY, expires);
    let key = a.build("node", &files());
    a.send(key).unwrap();
    let times = || {
        let bucket = a.bucket();
        let listed = wait(async move { bucket.list("").await }).unwrap();
        let listed = listed.into_iter().filter(|one| !one.name.starts_with("history"));
        listed.map(|one| (one.name, one.modified.unwrap())).collect::<Vec<_>>()
    };
    let before = times();
    std::thread::sleep(A_MOMENT);
    let b = machine_by(&s3_server().endpoint, &place, ACCESS_KEY, SECRET_KEY, expires);
    assert!(b.finds(key));
    let after = times();
    assert_eq!(before.len(), after.len());
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        assert!(after > before, "{name}");
    }
    b.bring(key).unwrap();
    b.assert_sound();
    // What is gone cannot be touched, which makes a miss before anybody relies on it.
    let pack = a.names().into_iter().find(|name| matches!(name, Name::Pack(_))).unwrap();
    a.delete(pack);
    std::thread::sleep(A_MOMENT);
    let c = machine_by(&s3_server().endpoint, &place, ACCESS_KEY, SECRET_KEY, expires);
    assert!(!c.finds(key));
}

#[test]
fn gc_takes_what_is_old_and_what_nothing_names() {
    let place = s3_server().place();
    let a = machine(&place);
    let keys =
        [a.build("old", &files()), a.build("new", &[("noise", noise(700_000, 1)), ("x", b"x".to_vec())])];
    a.send(keys[0]).unwrap();
    std::thread::sleep(A_MOMENT);
    a.send(keys[1]).unwrap();
    let gc = |age, young| {
        let remote = a.remote.clone();
        wait(async move { remote.gc_here(age, young).await }).unwrap()
    };
    let all = a.names();
    assert_eq!((gc(LONG, LONG).results, a.names()), (0, all));
    let report = gc(Duration::from_millis(1500), LONG);
    assert_eq!((report.results, report.objects), (1, 0), "objects are too young to be left over");
    let report = gc(LONG, Duration::ZERO);
    // The pack, the text and the log of the old one; the noise is the new one's too.
    assert_eq!((report.results, report.objects), (0, 3), "{report:?}");
    let b = machine(&place);
    assert!(!b.finds(keys[0]) && b.finds(keys[1]));
    b.bring(keys[1]).unwrap();
}

#[test]
fn verify_finds_what_is_damaged_or_gone_and_removes_it() {
    let place = s3_server().place();
    let a = machine(&place);
    let keys = [a.build("one", &files()), a.build("two", &[("noise", noise(700_000, 2))])];
    keys.iter().for_each(|key| assert!(!a.send(*key).unwrap().was_there));
    let verify = |machine: &super::support::Machine| {
        let remote = machine.remote.clone();
        wait(async move { remote.verify().await }).unwrap()
    };
    let report = verify(&a);
    assert_eq!((report.results, report.damaged.len(), report.incomplete), (2, 0, 0), "{report:?}");
    assert_eq!(report.objects, 6);
    let stats = wait({
        let remote = a.remote.clone();
        async move { remote.stats().await }
    });
    let stats = stats.unwrap();
    assert_eq!((stats.results, stats.objects, stats.packs, stats.histories), (2, 5, 1, 2), "{stats:?}");

    let pack = a.names().into_iter().find(|name| matches!(name, Name::Pack(_))).unwrap();
    let mut bytes = a.read(pack);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    a.write(pack, bytes);
    let reader = machine_by(&s3_server().endpoint, &place, "AKREADER", "SKREADER", None);
    assert!(
        wait({
            let remote = reader.remote.clone();
            async move { remote.verify().await }
        })
        .is_err(),
        "it may not remove what it finds"
    );
    let report = verify(&a);
    assert_eq!((report.damaged.len(), report.incomplete, report.is_removed), (1, 1, true), "{report:?}");
    let b = machine(&place);
    assert!(!b.finds(keys[0]) && b.finds(keys[1]));
    assert_eq!(verify(&a).incomplete, 0);
}
