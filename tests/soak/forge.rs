//! forge as a publisher, on two machines; some of its publishes are killed, some race.

use rand::Rng;
use rustix::process::Signal;

use super::builder::Builder;
use super::clock::{BEGINNING, Clock};
use super::s3_server::s3_server;
use super::scratch::Running;
use super::site::{OWN_SUITES, PACKAGES, Publisher, Site, Versions};

/// What is to happen to publishes, beside going well.
#[derive(Clone, Copy, Debug, Default)]
pub struct Troubles {
    /// How many are killed at one of their requests.
    pub kills: usize,
    /// How often two are at it.
    pub races: usize,
}

/// What happened to them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Suffered {
    /// How many were killed.
    pub killed: usize,
    /// How many of these had decided a generation that not all clients could see yet.
    pub killed_half_done: usize,
    /// How often two were at it.
    pub raced: usize,
    /// How many were told that they lost, and tried again.
    pub lost: usize,
}

/// forge, with the same Buildfile on two machines.
pub struct Forge {
    clock: Clock,
    place: String,
    url: String,
    builders: [Builder; 2],
    versions: Versions,
    troubles: Troubles,
    /// How many requests the last publish made that nothing happened to.
    requests: usize,
    pub suffered: Suffered,
}

impl Forge {
    /// Clients find the bucket's objects at `url`.
    pub fn new(url: &str, troubles: Troubles) -> Self {
        let place = s3_server().place();
        let builders = [(); 2].map(|()| Builder::new());
        let key = ["key", "new", "keys/archive.asc", "--user-id", "Archive <archive@example.org>"];
        let [first, second] = &builders;
        let mut make = first.scratch.command("");
        let made = make.args(key).env("SOURCE_DATE_EPOCH", BEGINNING.to_string()).output();
        assert!(made.unwrap().status.success());
        second.scratch.write("keys/archive.asc", &first.scratch.read("keys/archive.asc"));
        Self {
            clock: Clock::start(),
            url: format!("{url}/{place}"),
            place,
            builders,
            versions: Versions::default(),
            troubles,
            requests: 0,
            suffered: Suffered::default(),
        }
    }

    /// The prefix of all its objects.
    pub fn place(&self) -> String {
        self.place.clone()
    }

    /// Every file that clients may ask for has to be there, as it is listed.
    pub fn verify(&self) {
        self.builders[0].scratch.ok("publish verify");
    }

    /// Starts a run on a builder whose Buildfile has the versions of now.
    fn start(&mut self, builder: usize, words: &str) -> Running {
        let builder = &mut self.builders[builder];
        builder.write(self.versions, &self.place, &self.url);
        builder.scratch.env("SOURCE_DATE_EPOCH", self.clock.now());
        builder.scratch.start(words)
    }

    /// A publish that nothing happens to.
    fn whole(&mut self, words: &str) {
        let before = self.builders[0].requests();
        let run = self.start(0, words);
        self.builders[0].must_end_well(run);
        self.requests = self.builders[0].requests() - before;
    }

    /// One that is killed as soon as it has begun a request chosen at random.
    fn killed(&mut self) {
        let written = |forge: &Self| {
            ["apt", "rpm"].map(|prefix| forge.builders[0].states_written(&forge.place, prefix))
        };
        let (before, at) = (written(self), self.some_request());
        let mut run = self.start(0, "run");
        if !self.builders[0].reaches(at, &mut run) {
            return self.builders[0].must_end_well(run);
        }
        run.kill();
        self.suffered.killed += 1;
        let is_half_done = before.iter().zip(written(self)).any(|(before, after)| after - before == 1);
        self.suffered.killed_half_done += usize::from(is_half_done);
    }

    /// Two at once: one stops in its middle while the other, with another version besides, goes on. Gives how
    /// many publishes that were.
    fn raced(&mut self) -> usize {
        let (at, until) = (self.some_request(), self.some_request());
        let mut first = self.start(0, "run --publish-retries 3");
        let was_there = self.builders[0].reaches(at, &mut first);
        if was_there {
            first.signal(Signal::STOP);
        }
        self.versions.raise(1);
        let mut second = self.start(1, "run --publish-retries 3");
        self.builders[1].reaches(until, &mut second);
        if was_there {
            first.signal(Signal::CONT);
        }
        self.builders[0].must_end_well(first);
        self.builders[1].must_end_well(second);
        self.suffered.raced += usize::from(was_there);
        self.suffered.lost += self.builders.iter().filter(|builder| builder.lost()).count();
        2
    }

    /// How many requests a publish may have made.
    fn some_request(&self) -> usize {
        rand::thread_rng().gen_range(1..self.requests)
    }
}

impl Publisher for Forge {
    fn name(&self) -> String {
        "forge".to_owned()
    }

    fn begin(&mut self) -> Site {
        self.whole("run");
        let (status, _, key) = s3_server().anonymous(&format!("{}/apt/key.asc", self.place));
        assert_eq!(status, 200);
        let file = self.builders[0].scratch.path("archive.asc");
        std::fs::write(&file, key).unwrap();
        Site { apt: format!("{}/apt", self.url), key: file, rpm: Some(format!("{}/rpm", self.url)) }
    }

    fn publish(&mut self, at: usize, of: usize) -> usize {
        let is_due = |suffered, wanted| suffered * of < wanted * at;
        let (kill, race) = (
            is_due(self.suffered.killed, self.troubles.kills),
            is_due(self.suffered.raced, self.troubles.races),
        );
        self.versions.raise(0);
        match of - at {
            // The last one is whole, so that it is known what clients should have in the end.
            2.. if kill => self.killed(),
            3.. if race => return self.raced(),
            2.. if at % 3 == 2 => self.whole(&format!("run os={}", OWN_SUITES[1])),
            _ => {
                self.versions.raise(1);
                self.whole("run");
            }
        }
        1
    }

    fn versions(&self) -> [String; PACKAGES.len()] {
        self.versions.texts()
    }
}
