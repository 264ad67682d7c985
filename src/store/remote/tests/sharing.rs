use super::super::codec;
use super::super::record::{Encoding, Name};
use super::support::{files, machine, noise};
use crate::s3::testing::s3_server;
use crate::s3::wait;
use crate::store::Tree;

#[test]
fn what_one_machine_sends_another_one_has() {
    let place = s3_server().place();
    let (a, b) = (machine(&place), machine(&place));
    let key = a.build("node", &files());
    assert!(!b.finds(key));
    let sent = a.send(key).unwrap();
    assert!(!sent.was_there && sent.bytes > 700_000 && sent.bytes < 1_000_000, "{sent:?}");
    assert!(a.send(key).unwrap().was_there);
    let names = a.names();
    let count = |is: fn(&Name) -> bool| names.iter().filter(|name| is(name)).count();
    assert_eq!(count(|name| matches!(name, Name::Pack(_))), 1, "{names:?}");
    assert_eq!(count(|name| matches!(name, Name::Object(_, Encoding::Zstd))), 1);
    assert_eq!(count(|name| matches!(name, Name::Object(_, Encoding::Plain))), 2, "the noise and the log");

    assert!(b.finds(key) && b.remote.can_give(key));
    assert_eq!(b.local.result(key), a.local.result(key));
    let tree = *b.outputs(key).values().next().unwrap();
    assert!(b.local.tree(tree).is_ok() && !b.local.holds_tree(tree), "the manifest came, and no file");
    b.bring(key).unwrap();
    assert!(b.local.holds_tree(tree) && !b.local.is_elsewhere(key));
    let log = b.local.result(key).unwrap().log.unwrap();
    assert!(!b.local.contains(log), "nobody asked for it");
    b.assert_sound();
    let traffic = b.remote.traffic();
    assert_eq!((traffic.hits, traffic.faults), (1, 0), "{traffic:?}");
}

#[test]
fn small_objects_come_with_the_record_by_one_request() {
    let place = s3_server().place();
    let (a, b) = (machine(&place), machine(&place));
    let key = a.build("small", &[("x", b"x".to_vec()), ("empty", Vec::new())]);
    a.send(key).unwrap();
    assert!(!a.names().iter().any(|name| matches!(name, Name::Pack(_))), "{:?}", a.names());
    assert!(b.finds(key));
    assert_eq!(b.remote.0.bucket.traffic().requests, 1);
    assert!(b.local.holds_tree(b.outputs(key)["o"]) && !b.local.is_elsewhere(key));
    b.assert_sound();

    let both = a.build("both", &[("x", b"y".to_vec()), ("large", noise(300_000, 5))]);
    a.send(both).unwrap();
    assert!(b.finds(both) && b.local.is_elsewhere(both));
    // It may be gone again when it is needed.
    b.local.lose(crate::digest::Digest::of(b"y"));
    b.bring(both).unwrap();
    b.assert_sound();

    let mut plain = codec::decompress(&a.read(Name::Result(key)), 1 << 20).unwrap();
    *plain.last_mut().unwrap() ^= 1;
    a.write(Name::Result(key), codec::compress(&plain).unwrap());
    let c = machine(&place);
    assert!(!c.finds(key) && c.notices()[0].contains("not those of that digest"), "{:?}", c.notices());
    c.assert_sound();
}

#[test]
fn a_log_comes_when_somebody_asks_for_it() {
    let place = s3_server().place();
    let (a, b) = (machine(&place), machine(&place));
    let key = a.build("node", &files());
    a.send(key).unwrap();
    assert!(b.finds(key));
    let log = b.local.result(key).unwrap().log.unwrap();
    let remote = b.remote.clone();
    wait(async move { remote.bring_log(key, log).await });
    assert_eq!(b.local.get(log).unwrap(), b"log of node");
}

#[test]
fn thousands_of_small_files_take_a_few_requests() {
    let place = s3_server().place();
    let (a, b) = (machine(&place), machine(&place));
    let names: Vec<String> = (0..3000).map(|at| format!("dir{}/file{at}", at % 50)).collect();
    let files: Vec<(&str, Vec<u8>)> =
        names.iter().enumerate().map(|(at, name)| (name.as_str(), noise(1000, at as u64))).collect();
    let key = a.build("many", &files);
    a.send(key).unwrap();
    assert!(a.remote.0.bucket.traffic().requests < 20, "{:?}", a.remote.0.bucket.traffic());
    assert!(b.finds(key));
    assert!(b.local.tree(*b.outputs(key).values().next().unwrap()).is_err(), "a long manifest comes later");
    b.bring(key).unwrap();
    assert!(b.remote.0.bucket.traffic().requests < 10, "{:?}", b.remote.0.bucket.traffic());
    b.assert_sound();
}

#[test]
fn results_go_up_behind_and_objects_are_shared() {
    let place = s3_server().place();
    let (a, b) = (machine(&place), machine(&place));
    let keys: Vec<_> = (0..20)
        .map(|at| {
            let name = format!("n{at}");
            a.build(&name, &[("own", name.clone().into_bytes()), ("shared", noise(300_000, 7))])
        })
        .collect();
    keys.iter().for_each(|key| a.remote.send_later(*key));
    let remote = a.remote.clone();
    wait(async move { remote.finish_sending().await });
    assert_eq!((a.remote.waiting(), a.remote.traffic().results_sent), (0, 20));
    assert!(a.remote.traffic().sent < 8 * 300_000, "{:?}", a.remote.traffic());
    let remote = b.remote.clone();
    let asked = keys.clone();
    wait(async move { remote.look_up(asked).await });
    assert!(keys.iter().all(|key| b.remote.can_give(*key)));
    keys.iter().for_each(|key| b.bring(*key).unwrap());
    b.assert_sound();
    assert_eq!(b.local.tree(b.outputs(keys[3])["o"]).map(|tree: Tree| tree.entries().len()).unwrap(), 2);
}

#[test]
fn a_fresh_machine_knows_what_came_before() {
    let place = s3_server().place();
    let (a, b, c) = (machine(&place), machine(&place), machine(&place));
    let key = a.build("node", &files());
    a.send(key).unwrap();
    // Two machines write the history of one node.
    let mut other = a.local.result(key).unwrap();
    other.action[0].value.push_str(" differently");
    let second = crate::digest::key_of_fields(&other.action);
    assert!(c.finds(key));
    c.bring(key).unwrap();
    c.local.put_result(second, &other).unwrap();
    c.send(second).unwrap();
    let remote = b.remote.clone();
    wait(async move { remote.recall(vec!["node".to_owned(), "unknown".to_owned()]).await });
    let earlier: Vec<_> = b.local.earlier("node").collect();
    assert_eq!(earlier.iter().map(|one| one.key).collect::<Vec<_>>(), [second, key], "the latest first");
    assert_eq!(earlier[0].result, other);
    assert!(b.local.result(second).is_none(), "it is told, and not yet known as a result");
    assert!(!b.local.remembers("unknown"));
}
