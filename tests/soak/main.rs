//! Real clients behind a real cache, while what they read is published over and over: forge alone, or beside
//! it aptly.
//!
//!     ./tests/soak/run    # 100 publishes by each publisher, and a table
//!
//! `cargo test` runs the same with few publishes, by forge alone. `FORGE_SOAK` is how many there are to be in the
//! long form.

#[path = "../main/apt.rs"]
mod apt;
mod aptly;
mod builder;
mod cdn;
mod client;
mod clock;
#[path = "../main/dnf.rs"]
mod dnf;
#[path = "../../src/s3/fault_proxy.rs"]
mod fault_proxy;
mod forge;
mod machine;
#[path = "../../src/s3/testing.rs"]
mod s3_server;
#[path = "../main/scratch.rs"]
mod scratch;
mod site;
mod spoilt;
mod table;
mod tally;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use aptly::Aptly;
use cdn::Cdn;
use client::Client;
use clock::{DAY, INTERVAL};
use forge::{Forge, Troubles};
use s3_server::{BUCKET, s3_server};
use site::Publisher;
use table::{Row, table};
use tally::Tally;

/// How many publishes there are in `cargo test`.
const FEW: usize = 12;

#[test]
fn no_client_sees_a_publish_half_done() {
    let many = std::env::var("FORGE_SOAK").ok().map(|text| text.parse().expect("FORGE_SOAK is a number"));
    let publishes = many.unwrap_or(FEW);
    let troubles = Troubles { kills: (publishes / 10).max(2), races: (publishes / 50).max(1) };
    let cdn = Cdn::start(&s3_server().endpoint, BUCKET);
    let mut forge = Forge::new(&cdn.url, troubles);
    let mut rows = soak(&mut forge, publishes, true);
    forge.verify();
    let (hits, misses) = cdn.hits_and_misses();
    if many.is_some() {
        for acquire_by_hash in [false, true] {
            rows.extend(soak(&mut Aptly::new(&cdn.url, acquire_by_hash), publishes, false));
        }
        for row in &rows {
            println!("{} by {}:\n{}", row.publisher, row.clients, row.tally.examples());
        }
    }
    println!(
        "{}\nforge: {:?}; the cache answered {hits} requests, the bucket {misses}",
        table(&rows),
        forge.suffered
    );
    assert!(hits > misses / 4, "a cache that holds nothing proves nothing");
    assert_eq!((forge.suffered.killed, forge.suffered.raced), (troubles.kills, troubles.races));
    for row in rows.iter().filter(|row| row.publisher == "forge") {
        assert!(row.tally.installs > publishes, "{} did too little: {:?}", row.clients, row.tally);
        assert!(row.tally.failures.is_empty(), "{}", row.tally.examples());
    }
}

/// So many publishes while clients live. With `catch_up` each of them is to have the last versions a day later.
fn soak(publisher: &mut dyn Publisher, publishes: usize, catch_up: bool) -> Vec<Row> {
    let site = publisher.begin();
    let mut clients = Client::all(&site);
    let tallies = [Mutex::new(Tally::default()), Mutex::new(Tally::default())];
    let tally_of = |client: &Client| &tallies[usize::from(client.is_dnf())];
    while_clients_live(&mut clients, &tally_of, || {
        let mut published = 0;
        while published < publishes {
            let started = Instant::now();
            published += publisher.publish(published, publishes);
            std::thread::sleep(INTERVAL.saturating_sub(started.elapsed()));
            eprintln!("{}: {published} of {publishes} publishes", publisher.name());
        }
        std::thread::sleep(DAY);
    });
    for client in clients.iter_mut().filter(|_| catch_up) {
        client.round(&AtomicBool::new(true), tally_of(client));
        client.compare(&publisher.versions(), tally_of(client));
    }
    let rows = ["apt", "dnf"].into_iter().zip(tallies).map(|(clients, tally)| Row {
        publisher: publisher.name(),
        clients,
        publishes,
        tally: tally.into_inner().unwrap(),
    });
    rows.filter(|row| row.tally.updates > 0).collect()
}

/// Does something while each client goes round by round.
fn while_clients_live<'a>(
    clients: &mut [Client],
    tally_of: &(impl Fn(&Client) -> &'a Mutex<Tally> + Sync),
    work: impl FnOnce(),
) {
    /// Also if the work fails.
    struct Stops<'a>(&'a AtomicBool);
    impl Drop for Stops<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stops = Stops(&stop);
        for client in clients {
            let tally = tally_of(client);
            scope.spawn(|| client.live(&stop, tally));
        }
        work();
    });
}
