use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forge::digest::Digest;

use super::repository;
use super::scratch::{Scratch, files_below};

/// Everything a run leaves: the published bytes, and the output trees of all nodes.
#[derive(PartialEq)]
struct Left {
    published: BTreeMap<String, Vec<u8>>,
    outputs: BTreeMap<String, BTreeMap<String, Digest>>,
}

impl Left {
    fn of(scratch: &Scratch) -> Self {
        let store = scratch.store();
        let keys = scratch.plan("").keys().into_iter().filter(|(node, _)| node != "site");
        let outputs = keys.map(|(node, key)| {
            let result = store.result(key.parse().unwrap()).unwrap_or_else(|| panic!("{node} has a result"));
            assert!(store.is_complete(&result), "{node}");
            (node, result.outputs)
        });
        Self { outputs: outputs.collect(), published: files_below(&scratch.path("public")) }
    }

    fn assert_equals(&self, other: &Self) {
        assert_eq!(self.outputs, other.outputs);
        assert_eq!(self.published.keys().collect::<Vec<_>>(), other.published.keys().collect::<Vec<_>>());
        let differing = self.published.iter().find(|(path, bytes)| other.published[*path] != **bytes);
        assert!(differing.is_none(), "{} differs", differing.unwrap().0);
    }
}

/// Kills a run after `delay`, and looks at what is left.
fn kill_after(scratch: &Scratch, delay: Duration) {
    let run = scratch.start("run --events ev");
    std::thread::sleep(delay);
    run.kill();
    scratch.assert_no_process();
    // What a killed run left is taken away by the next, if nothing holds it any longer.
    scratch.assert_store_let_go();
    assert_eq!(scratch.store().verify().unwrap().damaged, [], "after {delay:?}");
}

/// A share of `longest` that is another each time.
fn some_of(longest: Duration) -> Duration {
    longest.mul_f64(rand::random::<f64>())
}

#[test]
fn killed_at_any_moment_the_next_run_ends_with_the_same_bytes() {
    let key = repository::new_key();
    let undisturbed = repository::with_key(&key);
    let started = Instant::now();
    undisturbed.ok("run");
    let whole = started.elapsed();
    let expected = Left::of(&undisturbed);
    assert!(expected.outputs.len() > 24 && expected.published.len() > 20);

    let scratch = repository::with_key(&key);
    for _ in 0..12 {
        kill_after(&scratch, some_of(whole / 4));
    }
    // On a machine that is busy now and was not then, a quarter may not do for anything.
    let mut delay = whole / 4;
    while scratch.store().stats().results == 0 {
        delay *= 2;
        kill_after(&scratch, delay);
    }
    let done = scratch.ok("run");
    assert!(!done.stderr.contains(": 0 known"), "nothing of twelve runs was kept:\n{}", done.stderr);
    expected.assert_equals(&Left::of(&scratch));
    scratch.assert_no_process();
    assert!(scratch.scratch_files().is_empty(), "{:?}", scratch.scratch_files());
    scratch.forge("plan --exit-code").ends_with(0);
}

#[test]
fn killed_while_it_publishes_the_next_run_ends_with_the_same_bytes() {
    let key = repository::new_key();
    let undisturbed = repository::with_key(&key);
    undisturbed.ok("run");
    let expected = Left::of(&undisturbed);
    let scratch = repository::with_key(&key);
    scratch.ok("run apt readable");
    let started = Instant::now();
    scratch.ok("run");
    let publishing = started.elapsed();
    for _ in 0..10 {
        std::fs::remove_dir_all(scratch.path("public")).unwrap_or_default();
        kill_after(&scratch, some_of(publishing * 2));
        scratch.ok("run");
        expected.assert_equals(&Left::of(&scratch));
        scratch.assert_no_process();
    }
}
