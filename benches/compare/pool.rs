//! A pool of many small packages, each with a name, relations, texts and paths of its own: real `.deb` and `.rpm` files,
//! the same ones each time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use forge::package::{
    Comparison, Compression, Deb, Priority, Relation, Rpm, RpmDependency, RpmGenerated, RpmRelation,
    RpmVersion, Substvars,
};
use forge::store::{Entry, Ingest, Kind, LocalStore, Tree};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rayon::prelude::*;

/// How many packages there are when a measurement begins.
pub const SIZE: usize = 10_000;
/// How many more there are, to come one by one.
const MORE: usize = 8;

/// The date of all packages, in seconds since 1970.
const DATE: u64 = 1_700_000_000;
/// Of how many words the texts are made, and of how many files the payloads.
const WORDS: usize = 900;
const BODIES: usize = 400;

/// Package files.
pub struct Pool {
    /// Holds everything.
    pub dir: tempfile::TempDir,
    /// Those that are there first, below `pool` of `dir`.
    pub first: Vec<PathBuf>,
    /// Those that come later, elsewhere in `dir`.
    pub later: Vec<PathBuf>,
}

/// The pool of `.deb` files.
pub fn debs() -> Pool {
    make("deb", |sample, payload, store| {
        let deb = deb(sample);
        let mut bytes = Vec::new();
        let written = deb.write_on(NonZeroUsize::MIN, payload, &Substvars::default(), store, &mut bytes);
        written.expect("a deb is written");
        (deb.file_name(), bytes)
    })
}

/// The pool of `.rpm` files.
pub fn rpms() -> Pool {
    make("rpm", |sample, payload, store| {
        let rpm = rpm(sample);
        let (generated, mut bytes) = (RpmGenerated::default(), Vec::new());
        let written = rpm.write_on(NonZeroUsize::MIN, payload, &generated, None, store, &mut bytes);
        written.expect("an rpm is written");
        (rpm.file_name(), bytes)
    })
}

fn make(kind: &str, write: impl Fn(&Sample, &Tree, &LocalStore) -> (String, Vec<u8>) + Sync) -> Pool {
    eprintln!("  making {} packages: {kind}", SIZE + MORE);
    let dir = tempfile::tempdir().expect("a directory");
    let maker = Maker::new(dir.path());
    let one = |at: usize| {
        let sample = maker.sample(at);
        let (name, bytes) = write(&sample, &maker.payload(&sample), &maker.store);
        let place = match at < SIZE {
            true => dir.path().join("pool/main").join(&sample.name[..1]).join(&sample.name),
            false => dir.path().join("later"),
        };
        fs::create_dir_all(&place).expect("a directory");
        fs::write(place.join(&name), &bytes).expect("a package file");
        place.join(name)
    };
    let mut first: Vec<PathBuf> = (0..SIZE + MORE).into_par_iter().map(one).collect();
    let later = first.split_off(SIZE);
    Pool { dir, first, later }
}

/// One package, before it has a format.
struct Sample {
    name: String,
    version: String,
    needs: Vec<(String, String)>,
    summary: String,
    description: String,
    changelog: String,
    section: &'static str,
    /// Paths, and which body stands there.
    files: Vec<(String, usize)>,
}

struct Maker {
    words: Vec<String>,
    bodies: Vec<Kind>,
    store: LocalStore,
}

impl Maker {
    fn new(dir: &Path) -> Self {
        let mut rng = StdRng::seed_from_u64(0);
        let words = (0..WORDS).map(|_| word(&mut rng)).collect::<Vec<_>>();
        let store = LocalStore::open(dir.join("made-with")).expect("a store");
        let bodies = dir.join("bodies");
        fs::create_dir(&bodies).expect("a directory");
        for at in 0..BODIES {
            let length = rng.gen_range(5..400);
            fs::write(bodies.join(at.to_string()), text(&words, &mut rng, length)).expect("a file");
        }
        let bodies = store.ingest(&bodies, Ingest::Move).expect("files go into a store");
        let bodies = bodies.entries().iter().map(|entry| entry.kind.clone()).collect();
        Self { words, bodies, store }
    }

    fn sample(&self, at: usize) -> Sample {
        let mut rng = StdRng::seed_from_u64(1 + at as u64);
        let words = &self.words;
        let name = name(words, at);
        let needs = (0..rng.gen_range(0..7)).map(|_| {
            let version = format!("{}.{}", rng.gen_range(0..9), rng.gen_range(0..30));
            (self::name(words, rng.gen_range(0..SIZE)), version)
        });
        let needs: BTreeMap<String, String> = needs.collect();
        let file = |rng: &mut StdRng| {
            let parts: Vec<&str> = (0..rng.gen_range(1..4)).map(|_| pick(words, rng)).collect();
            (format!("usr/share/{name}/{}", parts.join("/")), rng.gen_range(0..self.bodies.len()))
        };
        // The last word is numbered, so that no path leads through another.
        let files = (0..rng.gen_range(2..9)).map(|_| file(&mut rng)).enumerate();
        let files = files.map(|(at, (path, body))| (format!("{path}.{at}"), body)).collect();
        Sample {
            version: format!("{}.{}.{}", rng.gen_range(0..20), rng.gen_range(0..40), rng.gen_range(0..10)),
            needs: needs.into_iter().filter(|(other, _)| *other != name).collect(),
            summary: text(words, &mut rng, 6).trim_end().replace('\n', " "),
            description: {
                let length = rng.gen_range(15..60);
                text(words, &mut rng, length)
            },
            changelog: {
                let length = rng.gen_range(8..40);
                text(words, &mut rng, length)
            },
            section: ["libs", "devel", "net", "utils", "text", "admin"][rng.gen_range(0..6)],
            files,
            name,
        }
    }

    fn payload(&self, sample: &Sample) -> Tree {
        let file = |(path, body): &(String, usize)| Entry {
            path: path.clone(),
            mode: 0o644,
            kind: self.bodies[*body].clone(),
        };
        Tree::new(sample.files.iter().map(file).collect())
    }
}

fn name(words: &[String], at: usize) -> String {
    let lib = if at.is_multiple_of(4) { "lib" } else { "" };
    format!("{lib}{}-{}{at}", words[at * 7 % words.len()], words[at / 3 % words.len()])
}

fn word(rng: &mut StdRng) -> String {
    const HEADS: [&str; 16] =
        ["b", "c", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "st", "tr", "v"];
    const TAILS: [&str; 12] = ["a", "e", "i", "o", "u", "an", "er", "ing", "ol", "ul", "at", "ion"];
    let syllable = |rng: &mut StdRng| {
        format!("{}{}", HEADS[rng.gen_range(0..HEADS.len())], TAILS[rng.gen_range(0..TAILS.len())])
    };
    (0..rng.gen_range(1..5)).map(|_| syllable(rng)).collect()
}

/// Common words more often than others.
fn pick<'a>(words: &'a [String], rng: &mut StdRng) -> &'a str {
    &words[rng.gen_range(0..words.len()).min(rng.gen_range(0..words.len()))]
}

/// Lines of this many words.
fn text(words: &[String], rng: &mut StdRng, length: usize) -> String {
    let mut text = String::new();
    for at in 1..=length {
        text.push_str(pick(words, rng));
        text.push(if at % 11 == 0 || at == length { '\n' } else { ' ' });
    }
    text
}

fn deb(sample: &Sample) -> Deb {
    let needs = sample.needs.iter().map(|(name, version)| format!("{name} (>= {version})"));
    Deb {
        name: sample.name.parse().expect("a name"),
        version: format!("{}-1", sample.version).parse().expect("a version"),
        architecture: "amd64".parse().expect("an architecture"),
        maintainer: "Forge Sample <sample@example.org>".into(),
        section: sample.section.into(),
        priority: Priority::Optional,
        homepage: Some(format!("https://example.org/{}", sample.name)),
        summary: sample.summary.clone(),
        description: sample.description.clone(),
        relations: BTreeMap::from([(Relation::Depends, needs.collect())]),
        scripts: BTreeMap::new(),
        conffiles: Vec::new(),
        triggers: Vec::new(),
        changelog: sample.changelog.clone(),
        copyright: format!("Copyright 2026 {}\n", sample.name),
        lintian_overrides: Vec::new(),
        compression: Compression::Xz { level: 0 },
        source_date_epoch: DATE,
    }
}

fn rpm(sample: &Sample) -> Rpm {
    let needs = sample.needs.iter().map(|(name, version)| RpmDependency {
        name: name.clone(),
        version: Some((Comparison::GreaterOrEqual, version.clone())),
        pre: false,
    });
    Rpm {
        name: sample.name.parse().expect("a name"),
        version: RpmVersion::new(None, &sample.version, "1").expect("a version"),
        architecture: "x86_64".parse().expect("an architecture"),
        packager: "Forge Sample <sample@example.org>".into(),
        vendor: None,
        license: "MIT".into(),
        group: None,
        homepage: Some(format!("https://example.org/{}", sample.name)),
        summary: sample.summary.clone(),
        description: sample.description.clone(),
        relations: BTreeMap::from([(RpmRelation::Requires, needs.collect())]),
        generated: BTreeSet::new(),
        scripts: BTreeMap::new(),
        conffiles: Vec::new(),
        changelog: sample.changelog.clone(),
        copyright: Some(format!("Copyright 2026 {}\n", sample.name)),
        compression: Compression::Xz { level: 0 },
        source_date_epoch: DATE,
    }
}
