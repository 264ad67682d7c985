use super::super::codec;
use super::super::push::SendError;
use super::super::record::{Name, Record};
use super::support::{Machine, files, machine, machine_by};
use crate::digest::{Digest, Field, key_of_fields};
use crate::s3::testing::s3_server;
use crate::s3::{S3Fault, wait};

fn shared() -> (String, Machine, Digest) {
    let place = s3_server().place();
    let a = machine(&place);
    let key = a.build("node", &files());
    a.send(key).unwrap();
    (place, a, key)
}

fn pack_of(machine: &Machine) -> Name {
    machine.names().into_iter().find(|name| matches!(name, Name::Pack(_))).unwrap()
}

#[test]
fn a_result_cannot_pass_for_that_of_another_action() {
    let (place, a, key) = shared();
    let wanted = key_of_fields(&[Field { path: "run".to_owned(), value: "make something else".to_owned() }]);
    a.write(Name::Result(wanted), a.read(Name::Result(key)));
    let b = machine(&place);
    assert!(!b.finds(wanted));
    assert!(b.notices()[0].contains("the result of another action; it is not believed"));
    // Nor can a history make it known.
    let mut record = Record::read(&a.read(Name::Result(key)), key).unwrap();
    record.result.node = "victim".to_owned();
    let entry = crate::store::Earlier { key: wanted, at: 1, result: record.result };
    let forged = super::super::record::RemoteHistory { entries: vec![entry] };
    a.write(Name::history("victim"), codec::encode(&forged).unwrap());
    let remote = b.remote.clone();
    wait(async move { remote.recall(vec!["victim".to_owned()]).await });
    assert!(!b.local.remembers("victim"));
}

#[test]
fn nonsense_is_a_miss() {
    let (place, a, key) = shared();
    let whole = a.read(Name::Result(key));
    for bytes in [b"nonsense".to_vec(), Vec::new(), whole[..whole.len() / 2].to_vec()] {
        a.write(Name::Result(key), bytes);
        let b = machine(&place);
        assert!(!b.finds(key));
        assert_eq!(b.remote.traffic().faults, 1);
        b.assert_sound();
    }
}

#[test]
fn a_poisoned_pack_is_refused_and_whoever_builds_again_heals_it() {
    let (place, a, key) = shared();
    let pack = pack_of(&a);
    let sound = a.read(pack);
    let mut plain = codec::decompress(&sound, 1 << 20).unwrap();
    *plain.last_mut().unwrap() ^= 1;
    let poisoned = codec::compress(&plain).unwrap();
    let bomb = codec::compress(&vec![0; 32 << 20]).unwrap();
    for bytes in [poisoned, sound[..sound.len() - 4].to_vec(), bomb, Vec::new()] {
        a.write(pack, bytes);
        let b = machine(&place);
        assert!(b.finds(key));
        let error = b.bring(key).unwrap_err();
        assert!(error.contains("/packs/"), "{error}");
        assert!(!b.remote.can_give(key) && b.notices().iter().any(|text| text.contains("not believed")));
        let tree = b.local.tree(b.outputs(key)["o"]).unwrap();
        assert!(!b.local.contains(tree.files().find(|(_, size)| *size == 5).unwrap().0));
        // It builds the node after all, and what it has takes the place of what is bad.
        b.build("node", &files());
        b.send(key).unwrap();
        let c = machine(&place);
        assert!(c.finds(key));
        c.bring(key).unwrap();
        c.assert_sound();
    }
}

#[test]
fn a_poisoned_object_is_refused() {
    let (place, a, key) = shared();
    for name in a.names().into_iter().filter(|name| matches!(name, Name::Object(..))) {
        let sound = a.read(name);
        let mut flipped = sound.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        let is_log = sound.len() < 1000 && !name.to_string().ends_with(".zst");
        for bytes in [flipped, sound[..sound.len() - 1].to_vec(), [sound.clone(), sound.clone()].concat()] {
            a.write(name, bytes);
            let b = machine(&place);
            assert!(b.finds(key));
            assert_eq!(b.bring(key).is_ok(), is_log, "{name}");
            assert!(is_log || b.notices().iter().any(|text| text.contains("it is not believed")), "{name}");
            assert!(!b.local.holds_tree(b.outputs(key)["o"]) || is_log);
            assert!(b.local.verify().unwrap().damaged.is_empty());
        }
        a.write(name, sound);
    }
    let b = machine(&place);
    assert!(b.finds(key));
    b.bring(key).unwrap();
}

#[test]
fn a_reader_reads_and_is_told_once_that_it_cannot_write() {
    let (place, _a, key) = shared();
    let reader = machine_by(&s3_server().endpoint, &place, "AKREADER", "SKREADER", None);
    assert!(reader.finds(key));
    reader.bring(key).unwrap();
    let own = [reader.build("own", &files()), reader.build("own2", &[("x", b"x".to_vec())])];
    let Err(SendError::Service(error)) = reader.send(own[0]) else { panic!("it could") };
    assert_eq!(error.fault, S3Fault::Denied);
    assert!(matches!(reader.send(own[1]), Err(SendError::Closed)));
    let notices = reader.notices();
    assert!(notices.len() == 1 && notices[0].contains("nothing more is written"), "{notices:?}");
    assert!(reader.remote.is_read() && !reader.remote.is_written());
    assert!(!machine(&place).finds(own[0]));
}

#[test]
fn damage_that_happened_here_does_not_go_up() {
    let whole = machine(&s3_server().place());
    let key = whole.build("node", &files());
    let tree = whole.local.tree(whole.outputs(key)["o"]).unwrap();
    // In an empty one is nothing that could be damaged.
    for (object, _) in tree.files().filter(|(_, size)| *size > 0) {
        let a = machine(&s3_server().place());
        a.build("node", &files());
        a.local.damage(object);
        assert!(matches!(a.send(key), Err(SendError::Here(_))), "{object}");
        assert!(!a.names().contains(&Name::Result(key)));
    }
    whole.send(key).unwrap();
}
