use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::support::{NOW, URL, World, check_whole, listing, sha256, source};
use crate::buildfile::Retention;
use crate::index::apt::fixture::{alias, index, run, suite};
use crate::index::rpm::fixture::rpm_index;
use crate::index::{AptIndex, IndexedPackage, IndexedRpm, Settings};
use crate::keys::SigningKeys;
use crate::publish::{DirectoryTarget, Edition, Outcome, Progress, PublishError, Repository};
use crate::store::LocalStore;

/// Tells the test below to be the publisher that is killed.
const CHILD: &str = "FORGE_TEST_PUBLISHER";

/// What is published in a test.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    /// Several suites, one of them an alias.
    Suites,
    /// One suite in few files.
    Suite,
    Rpm,
}

impl Case {
    const ALL: [Self; 3] = [Self::Suites, Self::Suite, Self::Rpm];

    fn settings(self) -> Settings {
        match self {
            Self::Suites => Settings::Apt(settings()),
            Self::Suite => Settings::Apt(single()),
            Self::Rpm => Settings::Rpm(rpm_index()),
        }
    }

    /// Packages of these versions, small ones and, with `large`, a large one: so that a kill hits
    /// copies as well as renames.
    fn repository(self, world: &World, versions: &[&str], large: bool) -> Repository {
        let packages = |version: &&str| match large {
            true => packages(world, version),
            false => vec![world.fixture.deb("hello-forge", version, "amd64", "x", version)],
        };
        match self {
            Self::Suites => {
                world.repository("site", &settings(), &versions.iter().flat_map(packages).collect::<Vec<_>>())
            }
            Self::Suite => {
                world.repository("site", &single(), &versions.iter().flat_map(packages).collect::<Vec<_>>())
            }
            Self::Rpm => {
                let rpms = versions.iter().flat_map(|version| rpms(world, version, large));
                world.rpm_repository("site", &rpm_index(), &rpms.collect::<Vec<_>>())
            }
        }
    }
}

fn settings() -> AptIndex {
    index(vec![suite("x"), suite("y"), alias("latest", "x")])
}

/// One suite in few files.
fn single() -> AptIndex {
    AptIndex { contents: false, ..index(vec![suite("x")]) }
}

/// Drops what is older than the newest version, so that a publish drops as well as adds.
const KEEP: Option<Retention> = Some(Retention { versions: 1, days: 0 });

/// Bytes that stay as long when they are compressed.
fn incompressible(version: &str) -> impl FnMut(usize) -> String {
    let mut rng = StdRng::seed_from_u64(version.len() as u64 + u64::from(version.as_bytes()[0]));
    move |length| (0..length).map(|_| char::from(rng.gen_range(b' '..b'~'))).collect()
}

fn packages(world: &World, version: &str) -> Vec<IndexedPackage> {
    let mut incompressible = incompressible(version);
    let mut all: Vec<_> = (0..8)
        .map(|at| {
            let suite = if at % 2 == 0 { "x" } else { "y" };
            let content = incompressible(100_000);
            world.fixture.deb(&format!("small-{at}"), version, "amd64", suite, &content)
        })
        .collect();
    all.push(world.fixture.deb("large", version, "amd64", "x", &incompressible(6_000_000)));
    all
}

fn rpms(world: &World, version: &str, large: bool) -> Vec<IndexedRpm> {
    let mut incompressible = incompressible(version);
    let sizes: &[usize] = if large { &[100_000, 100_000, 100_000, 6_000_000] } else { &[10] };
    let rpm = |(at, size): (usize, &usize)| {
        world.fixture.rpm(&format!("hello-{at}"), &format!("{version}-1"), &incompressible(*size))
    };
    sizes.iter().enumerate().map(rpm).collect()
}

/// Not a test of its own: the process that `killed_publishers…` start and kill.
#[test]
fn publisher_process() {
    let Ok(job) = std::env::var(CHILD) else { return };
    let [site, cache, key, packages, case, expected] = job.split('|').collect::<Vec<_>>()[..] else {
        panic!("{job}")
    };
    let store = LocalStore::open(cache).unwrap();
    let keys = SigningKeys::load(&[source(key.into())], NOW).unwrap();
    let case = Case::ALL.into_iter().find(|one| format!("{one:?}") == case).unwrap();
    let packages = &store.get(packages.parse().unwrap()).unwrap();
    let (packages, bundles) = serde_json::from_slice(packages).unwrap();
    let repository = Repository {
        prefix: "site".into(),
        index: case.settings(),
        url: Some(URL.into()),
        keep: KEEP,
        packages,
        bundles,
        updateinfo: None,
        instead: None,
        expected: Some(expected.into()),
    };
    let target = DirectoryTarget::new(site);
    let edition = Edition { repositories: &[repository], keys: Some(&keys), now: NOW + 100, store: &store };
    target.publish(&edition, &mut |_| {}).unwrap();
}

fn publisher(world: &World, case: Case, site: &Path, repository: &Repository) -> Command {
    let expected = repository.expected.as_deref().unwrap();
    let packages = serde_json::to_vec(&(&repository.packages, &repository.bundles)).unwrap();
    let parts = [
        site.display().to_string(),
        world.fixture.store.root().display().to_string(),
        world.path("key.asc").display().to_string(),
        world.fixture.store.put(&packages).unwrap().to_string(),
        format!("{case:?}"),
        expected.to_owned(),
    ];
    // Not `current_exe`: a build at the same time may have replaced that file.
    let mut command = Command::new(format!("/proc/{}/exe", std::process::id()));
    command.args(["--exact", "publish::tests::faults::publisher_process", "--test-threads=1"]);
    command.env(CHILD, parts.join("|")).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

#[test]
fn killed_publishers_of_apt_leave_a_whole_generation_and_the_next_one_finishes() {
    kill_at_random_moments(Case::Suites);
}

#[test]
fn killed_publishers_of_rpm_leave_a_whole_generation_and_the_next_one_finishes() {
    kill_at_random_moments(Case::Rpm);
}

fn kill_at_random_moments(case: Case) {
    let world = World::new();
    let old = case.repository(&world, &["1.0"], true);
    world.publish(&old, NOW).unwrap();
    let new = Repository { keep: KEEP, ..case.repository(&world, &["2.0"], true) };
    let (base, undisturbed) = (world.site(), world.path("undisturbed"));
    copy(&base, &undisturbed);
    let start = Instant::now();
    run(&mut publisher(&world, case, &undisturbed, &new));
    let mut expected_duration = start.elapsed();
    let wanted = listing(&undisturbed);
    assert_ne!(wanted, listing(&base));
    let content = |site: &Path| DirectoryTarget::new(site).state("site").unwrap().unwrap().content;
    let (old, new_content) = (content(&base), content(&undisturbed));

    let mut rng = StdRng::seed_from_u64(9);
    let (mut before, mut after, mut half_done) = (0, 0, 0);
    for round in 0.. {
        if round >= 40 && half_done >= 5 {
            break;
        }
        assert!(
            round < 400,
            "the kills hit nothing: {before} before, {after} after, {half_done} in the middle"
        );
        let site = world.path(&format!("killed-{round}"));
        copy(&base, &site);
        let untouched = listing(&site);
        let mut child = publisher(&world, case, &site, &new).spawn().unwrap();
        std::thread::sleep(expected_duration.mul_f64(rng.gen_range(0.0..1.05)));
        // The machine may be busier now, or less busy, than it was when the time was taken.
        let came_to_its_end = child.try_wait().unwrap().is_some();
        expected_duration = expected_duration.mul_f64(if came_to_its_end { 0.8 } else { 1.05 });
        child.kill().unwrap();
        let _ = child.wait();

        let repository = site.join("site");
        check_whole(&repository, &repository.join("key.gpg"));
        let target = DirectoryTarget::new(&site);
        let live = target.state("site").unwrap().unwrap();
        match live.content == old {
            true => before += 1,
            false => after += 1,
        }
        assert!(live.content == old || live.content == new_content);
        let left = listing(&site);
        half_done += usize::from(left != untouched && left != wanted);

        target.publish(&world.edition(std::slice::from_ref(&new), NOW + 100), &mut |_| {}).unwrap();
        // A publisher killed while it collected leaves only what the next real publish removes.
        if live.content == old {
            assert_eq!(listing(&site), wanted, "round {round}");
        }
        check_whole(&repository, &repository.join("key.gpg"));
        fs::remove_dir_all(&site).unwrap();
    }
    eprintln!("{before} killed before the commit, {after} after it, {half_done} in the middle of writing");
}

#[test]
fn killed_before_any_one_change_of_the_filesystem_an_apt_repository_is_whole() {
    kill_before_each_change(Case::Suite);
}

#[test]
fn killed_before_any_one_change_of_the_filesystem_an_rpm_repository_is_whole() {
    kill_before_each_change(Case::Rpm);
}

fn kill_before_each_change(case: Case) {
    const CHANGES: [&str; 13] = [
        "mkdir",
        "rename",
        "renameat2",
        "symlink",
        "link",
        "linkat",
        "unlink",
        "unlinkat",
        "rmdir",
        "fchmod",
        "fsync",
        "fdatasync",
        "syncfs",
    ];
    let strace = Command::new("strace").arg("--version").output();
    assert!(strace.is_ok(), "this test needs strace: run tests/prepare, or `apt-get install strace`");
    let world = World::new();
    world.publish(&case.repository(&world, &["1.0"], false), NOW).unwrap();
    let new = Repository { keep: KEEP, ..case.repository(&world, &["2.0", "3.0"], false) };
    let (base, undisturbed) = (world.site(), world.path("undisturbed"));
    copy(&base, &undisturbed);
    run(&mut publisher(&world, case, &undisturbed, &new));
    let wanted = listing(&undisturbed);
    let content = |site: &Path| DirectoryTarget::new(site).state("site").unwrap().unwrap().content;
    let (old, new_content) = (content(&base), content(&undisturbed));

    let killed = |change: &str, nth: usize| {
        let site = world.path("killed");
        copy(&base, &site);
        let survived = run_until(publisher(&world, case, &site, &new), change, nth);
        let repository = site.join("site");
        check_whole(&repository, &repository.join("key.gpg"));
        let target = DirectoryTarget::new(&site);
        let state = target.state("site").unwrap().unwrap();
        let is_new = state.content == new_content;
        assert!(is_new || state.content == old);
        target.publish(&world.edition(std::slice::from_ref(&new), NOW + 100), &mut |_| {}).unwrap();
        if !is_new {
            assert_eq!(listing(&site), wanted, "killed before {change} number {nth}");
        }
        fs::remove_dir_all(&site).unwrap();
        (survived, is_new)
    };
    let mut live = [0, 0];
    for change in CHANGES {
        for nth in 1.. {
            let (survived, is_new) = killed(change, nth);
            if survived {
                break;
            }
            live[usize::from(is_new)] += 1;
        }
    }
    eprintln!(
        "killed before each change: {} times the old generation, {} times the new one",
        live[0], live[1]
    );
    assert!(live[0] > 30 && live[1] > 1, "{live:?}");
}

/// Runs the job until it would make this system call for the nth time; whether it came to its end.
fn run_until(job: Command, call: &str, nth: usize) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
    strace.arg(job.get_program()).args(job.get_args());
    for (name, value) in job.get_envs() {
        strace.env(name, value.unwrap());
    }
    strace.output().unwrap().status.success()
}

#[test]
fn of_two_publishers_at_once_one_wins_and_the_other_is_told() {
    let world = World::new();
    let settings = index(vec![suite("x")]);
    let first = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    world.publish(&world.repository("", &settings, &first), NOW).unwrap();
    let rivals = ["2.0", "3.0"].map(|version| {
        let debs = [world.fixture.deb("hello-forge", version, "amd64", "x", version)];
        world.repository("", &settings, &debs)
    });
    let start = Barrier::new(2);
    let outcomes = std::thread::scope(|scope| {
        let handles = rivals.each_ref().map(|rival| {
            scope.spawn(|| {
                start.wait();
                world.publish(rival, NOW + 10)
            })
        });
        handles.map(|handle| handle.join().unwrap())
    });
    let won = outcomes.iter().position(Result::is_ok).unwrap();
    let Ok(Outcome::Committed { generation, .. }) = &outcomes[won] else { panic!("{outcomes:?}") };
    let Err(PublishError::Superseded { expected, found, .. }) = &outcomes[1 - won] else {
        panic!("{outcomes:?}")
    };
    assert_eq!((expected, found.as_deref()), (&rivals[0].expected, Some(generation.id.as_str())));
    assert_eq!(world.target.state("").unwrap().as_ref(), Some(generation));
    check_whole(&world.site(), &world.site().join("key.gpg"));
}

#[test]
fn a_publisher_waits_for_the_one_at_work_and_says_so() {
    let world = World::new();
    let debs = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    let repository = world.repository("", &index(vec![suite("x")]), &debs);
    fs::create_dir_all(world.site().join(".generations")).unwrap();
    let lock = fs::File::create(world.site().join(".generations/lock")).unwrap();
    lock.lock().unwrap();
    let mut lock = Some(lock);
    let mut told = Vec::new();
    let mut listen = |progress: Progress<'_>| {
        if let Progress::Waiting { .. } = progress {
            lock.take();
        }
        told.push(format!("{progress:?}").split(' ').next().unwrap().to_owned());
    };
    world.target.publish(&world.edition(&[repository], NOW), &mut listen).unwrap();
    assert_eq!(told, ["Waiting", "Package", "Committed"]);
}

#[test]
fn a_full_disk_leaves_the_old_generation() {
    let world = World::new();
    fs::create_dir(world.site()).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(world.site()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("not tested: this process may not mount a tmpfs");
        return;
    }
    let _unmount = Unmount(world.site());
    let settings = settings();
    let small = [world.fixture.deb("small", "1.0", "amd64", "x", "one")];
    world.publish(&world.repository("apt", &settings, &small), NOW).unwrap();
    let before = listing(&world.site());
    // The large package fits once, twice it does not.
    let mut large = packages(&world, "2.0");
    large.extend(packages(&world, "3.0"));
    let repository = world.repository("apt", &settings, &large);
    let error = world.publish(&repository, NOW + 1).unwrap_err();
    assert!(error.is_out_of_space(), "{error}");
    let apt = world.site().join("apt");
    check_whole(&apt, &apt.join("key.gpg"));
    let after = listing(&world.site());
    let dists = |all: &BTreeMap<PathBuf, String>| -> Vec<(PathBuf, String)> {
        let outside = all.iter().filter(|(path, _)| !path.starts_with("apt/pool"));
        outside.map(|(path, what)| (path.clone(), what.clone())).collect()
    };
    assert_eq!(dists(&after), dists(&before), "no part of the new generation stays");

    // With room again, the same plan goes through.
    run(Command::new("mount").args(["-o", "remount,size=64m"]).arg(world.site()));
    world.publish(&repository, NOW + 2).unwrap();
    check_whole(&apt, &apt.join("key.gpg"));
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_damaged_object_never_reaches_the_pool() {
    let world = World::new();
    let debs = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    let repository = world.repository("", &index(vec![suite("x")]), &debs);
    world.fixture.store.damage(debs[0].object);
    let error = world.publish(&repository, NOW).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    assert!(!world.site().join("pool").exists());
    assert_eq!(world.target.state("").unwrap(), None);
}

#[test]
fn the_same_publish_gives_the_same_bytes() {
    let world = World::new();
    let debs = [world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one")];
    let repository = world.repository("", &index(vec![suite("x")]), &debs);
    world.publish(&repository, NOW).unwrap();
    let elsewhere = DirectoryTarget::new(world.path("elsewhere"));
    elsewhere.publish(&world.edition(&[repository], NOW), &mut |_| {}).unwrap();
    assert_eq!(listing(&world.path("elsewhere")), listing(&world.site()));
}

#[test]
fn a_package_that_stays_need_not_be_in_the_store() {
    let world = World::new();
    let settings = index(vec![suite("x")]);
    let old = world.fixture.deb("hello-forge", "1.0", "amd64", "x", "one");
    world.publish(&world.repository("", &settings, std::slice::from_ref(&old)), NOW).unwrap();
    world.fixture.store.lose(old.object);
    let both = [world.fixture.deb("hello-forge", "2.0", "amd64", "x", "two"), old];
    world.publish(&world.repository("", &settings, &both), NOW + 1).unwrap();
    check_whole(&world.site(), &world.site().join("key.gpg"));
}

#[test]
fn a_reader_at_any_moment_finds_all_that_its_release_lists() {
    let world = World::new();
    let settings = index(vec![suite("x")]);
    let publish = |round: u64| {
        let debs = [world.fixture.deb("hello-forge", &format!("{round}.0"), "amd64", "x", "same")];
        world.publish(&world.repository("", &settings, &debs), NOW + round).unwrap();
    };
    publish(0);
    let stop = AtomicBool::new(false);
    let dists = world.site().join("dists/x");
    let (reads, generations) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut reads, mut seen) = (0, BTreeSet::new());
            while !stop.load(Ordering::Relaxed) {
                let release = fs::read_to_string(dists.join("InRelease")).unwrap();
                for line in release.lines().filter(|line| line.contains(" main/binary-amd64/")) {
                    let hash = line.split_whitespace().next().unwrap();
                    let index = dists.join("main/binary-amd64/by-hash/SHA256").join(hash);
                    assert_eq!(sha256(&index), hash);
                    reads += 1;
                }
                seen.insert(release);
            }
            (reads, seen.len())
        });
        (1..=15).for_each(publish);
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(
        generations > 5 && reads > generations,
        "{reads} reads of {generations} generations show nothing"
    );
}
