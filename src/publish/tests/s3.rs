//! Publishing to a real S3 server: what clients find there, and what is left by publishers that are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use super::rpm::Dnf;
use super::support::{Apt, NOW, World, check_whole, gpgv, sha256};
use crate::digest::Digest;
use crate::index::apt::fixture::{alias, index, suite};
use crate::index::apt::stanzas;
use crate::index::rpm::fixture::rpm_index;
use crate::index::{AptIndex, IndexCompression, IndexedPackage};
use crate::publish::s3::Fuse;
use crate::publish::{BucketTarget, DirectoryTarget, Generation, Outcome, PublishError, Repository, Target};
use crate::s3::testing::{ACCESS_KEY, BUCKET, SECRET_KEY, s3_server};
use crate::s3::{Body, Bucket, Condition, Location, Put, Service, wait};

/// A world that publishes into a place of its own in the bucket.
struct Cloud {
    world: World,
    bucket: Bucket,
    target: BucketTarget,
}

impl Cloud {
    fn new() -> Self {
        Self::of(World::new())
    }

    /// Another place for the same world.
    fn of(world: World) -> Self {
        let endpoint = Some(s3_server().endpoint.clone());
        let service = Service { endpoint, path_style: true, ..Service::default() };
        let location = Location { bucket: BUCKET.to_owned(), prefix: s3_server().place(), service };
        let bucket = wait(Bucket::open_as(location, ACCESS_KEY, SECRET_KEY)).unwrap();
        let target = BucketTarget::open(bucket.clone());
        Self { world: World { target: Target::Bucket(target.clone()), ..world }, bucket, target }
    }

    /// Where clients find a repository.
    fn uri(&self, prefix: &str) -> String {
        format!("{}/{BUCKET}/{}", s3_server().endpoint, self.bucket.location().key(prefix))
    }

    fn apt(&self, settings: &AptIndex, packages: &[IndexedPackage]) -> Repository {
        self.world.repository("apt", settings, packages)
    }

    fn deb(&self, version: &str) -> IndexedPackage {
        self.world.fixture.deb("hello-forge", version, "amd64", "x", version)
    }

    fn publish_with(
        &self,
        target: &BucketTarget,
        repository: &Repository,
        now: u64,
    ) -> Result<Outcome, PublishError> {
        let edition = self.world.edition(std::slice::from_ref(repository), now);
        target.publish(&edition, &mut |_| {}).map(|mut outcomes| outcomes.remove(0))
    }

    /// All objects of a repository that clients may ask for, as files.
    fn mirror(&self, prefix: &str, name: &str) -> PathBuf {
        let dir = self.world.path(name);
        let _ = fs::remove_dir_all(&dir);
        for (path, bytes) in self.objects(prefix) {
            if !path.starts_with(".forge/") {
                let path = dir.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
        dir
    }

    fn objects(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let bucket = self.bucket.below(prefix);
        wait(async move {
            let mut all = BTreeMap::new();
            for listed in bucket.list("").await.unwrap() {
                let found = bucket.get(&listed.name).await.unwrap().unwrap();
                all.insert(listed.name, found.bytes);
            }
            all
        })
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let put = Put {
            name: name.to_owned(),
            body: Body::Bytes(bytes.to_vec()),
            content_type: "text/plain",
            cache_control: None,
            condition: Condition::Always,
        };
        let bucket = self.bucket.clone();
        wait(async move { bucket.put(put).await }).unwrap();
    }
}

fn committed(outcome: Result<Outcome, PublishError>) -> Generation {
    match outcome {
        Ok(Outcome::Committed { generation, .. }) => generation,
        other => panic!("{other:?}"),
    }
}

/// Few files, so that a publish is few requests.
fn small() -> AptIndex {
    AptIndex { contents: false, compressions: vec![IndexCompression::Xz], ..index(vec![suite("x")]) }
}

/// The files of a repository that clients may ask for.
fn files_of(dir: &Path) -> BTreeMap<String, Digest> {
    let mut all = BTreeMap::new();
    for entry in walkdir::WalkDir::new(dir).follow_links(true) {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
        let is_own =
            path.starts_with(".generations") || path.starts_with("gen/") && !path.contains("/repodata/");
        if entry.file_type().is_file() && !is_own {
            all.insert(path, Digest::of(&fs::read(entry.path()).unwrap()));
        }
    }
    all
}

#[test]
fn a_bucket_holds_the_same_files_as_a_directory() {
    let cloud = Cloud::new();
    let world = &cloud.world;
    let directory = Target::Directory(DirectoryTarget::new(world.path("directory")));
    let settings = index(vec![suite("x"), suite("y"), alias("latest", "x")]);
    let debs = |version| ["x", "y"].map(|suite| world.fixture.deb("hello", version, "amd64", suite, "same"));
    let rpm = |version| world.fixture.rpm("hello-forge", version, version);
    for (round, version) in ["1.0-1", "2.0-1"].into_iter().enumerate() {
        let repositories = [
            world.repository("apt", &settings, &debs(version)),
            world.rpm_repository("rpm", &rpm_index(), &[rpm(version)]),
        ];
        for target in [&directory, &world.target] {
            target.publish(&world.edition(&repositories, NOW + round as u64), &mut |_| {}).unwrap();
        }
    }
    for prefix in ["apt", "rpm"] {
        let mirror = cloud.mirror(prefix, &format!("mirror-{prefix}"));
        let files = files_of(&mirror);
        assert!(files.len() > 10, "{files:?}");
        assert_eq!(files, files_of(&world.path("directory").join(prefix)));
        check_whole(&mirror, &mirror.join("key.gpg"));
        let checked = world.target.verify(prefix).unwrap().unwrap();
        assert_eq!(checked.faults, Vec::<String>::new());
        assert_eq!(directory.verify(prefix).unwrap().unwrap(), checked);
    }
}

#[test]
fn apt_installs_from_a_bucket_and_caches_are_told_what_they_may_hold() {
    let cloud = Cloud::new();
    let settings = index(vec![suite("x")]);
    cloud.world.publish(&cloud.apt(&settings, &[cloud.deb("1.0-1")]), NOW).unwrap();
    let key = cloud.mirror("apt", "mirror").join("key.asc");
    let apt = Apt::new(cloud.world.path("root"));
    apt.source(&cloud.uri("apt"), &key, "x");
    apt.update().unwrap();
    assert_eq!(apt.versions("hello-forge"), ["1.0-1"]);
    // A bucket tells when an object was written in whole seconds, and apt asks for what is newer.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    cloud.world.publish(&cloud.apt(&settings, &[cloud.deb("2.0-1")]), NOW + 1).unwrap();
    apt.update().unwrap();
    assert_eq!(apt.versions("hello-forge"), ["2.0-1", "1.0-1"]);
    apt.get(&["download", "hello-forge"]);

    let immutable = "public, max-age=31536000, immutable";
    let mutable = "public, max-age=0, must-revalidate";
    let names: Vec<String> = cloud.objects("apt").into_keys().collect();
    let by_hash = names.iter().find(|name| name.contains("by-hash")).unwrap();
    let told = |name: &str| {
        let (status, head, _) = s3_server().anonymous(&cloud.bucket.location().key(&format!("apt/{name}")));
        assert_eq!(status, 200, "{name}");
        let header = |wanted: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.to_owned())
                .next()
        };
        (header("cache-control").unwrap(), header("content-type").unwrap())
    };
    let text = "text/plain; charset=utf-8";
    let (caches, _) = told(by_hash);
    assert_eq!(caches, immutable);
    for (name, caches, kind) in [
        (
            "pool/main/h/hello-forge/hello-forge_2.0-1_amd64.deb",
            immutable,
            "application/vnd.debian.binary-package",
        ),
        ("dists/x/main/binary-amd64/Packages.xz", mutable, "application/x-xz"),
        ("dists/x/main/binary-amd64/Packages", mutable, text),
        ("dists/x/Release", mutable, text),
        ("dists/x/Release.gpg", mutable, "application/pgp-signature"),
        ("dists/x/InRelease", mutable, text),
        ("key.asc", mutable, "application/pgp-keys"),
        (".forge/state.json", "private, no-store", "application/json"),
    ] {
        assert_eq!(told(name), (caches.to_owned(), kind.to_owned()), "{name}");
    }
}

#[test]
fn dnf_installs_and_upgrades_from_a_bucket() {
    let cloud = Cloud::new();
    let publish = |version: &str, now| {
        let rpm = cloud.world.fixture.rpm("hello-forge", version, version);
        let repository = cloud.world.rpm_repository("rpm", &rpm_index(), &[rpm]);
        cloud.world.publish(&Repository { url: Some(cloud.uri("rpm")), ..repository }, now).unwrap();
    };
    publish("1.0-1", NOW);
    let key = cloud.mirror("rpm", "mirror").join("key.asc");
    let mirrorlist = format!("mirrorlist={}/mirrorlist", cloud.uri("rpm"));
    let clients = [mirrorlist, format!("baseurl={}", cloud.uri("rpm"))].map(|source| {
        let dnf = Dnf::new(cloud.world.path(source.split('=').next().unwrap()));
        dnf.configure(&source, &key);
        dnf.ok(&["install", "hello-forge"]);
        dnf
    });
    publish("2.0-1", NOW + 60);
    for dnf in clients {
        dnf.ok(&["--refresh", "upgrade"]);
        assert_eq!(dnf.installed(), ["hello-forge-2.0-1"]);
    }
}

#[test]
fn a_publish_makes_as_many_requests_whatever_is_there_already() {
    let requests = [2, 20].map(|packages| {
        let cloud = Cloud::new();
        let deb = |name: &str| cloud.world.fixture.deb(name, "1.0", "amd64", "x", "same");
        let debs: Vec<_> = (0..packages).map(|at| deb(&format!("hello-{at}"))).collect();
        cloud.world.publish(&cloud.apt(&small(), &debs), NOW).unwrap();
        let repository = cloud.apt(&small(), &[deb("new")]);
        let before = cloud.bucket.traffic();
        // Another machine: nothing of what is there is in its store.
        for object in debs.iter().map(|deb| deb.object) {
            cloud.world.fixture.store.lose(object);
        }
        cloud.world.publish(&repository, NOW + 1).unwrap();
        let published = cloud.bucket.traffic();
        let unchanged = cloud.apt(&small(), &[deb("new")]);
        let read = cloud.bucket.traffic();
        assert!(matches!(cloud.world.publish(&unchanged, NOW + 2).unwrap(), Outcome::Unchanged(_)));
        let idle = cloud.bucket.traffic();
        assert_eq!(
            (idle.requests - read.requests, idle.sent - read.sent),
            (0, 0),
            "what was read for the plan is believed for a moment"
        );
        published.requests - before.requests
    });
    assert_eq!(requests[0], requests[1]);
    assert!(requests[0] <= 24, "{requests:?}");
}

/// What a client by hash finds is one generation, whole. Gives the versions in it.
fn check_by_hash(repository: &Path, key: &Path) -> BTreeSet<String> {
    let suite = repository.join("dists/x");
    gpgv(key, &[&suite.join("InRelease")]);
    let release = fs::read_to_string(suite.join("InRelease")).unwrap();
    let mut versions = BTreeSet::new();
    for line in release.lines().filter(|line| line.contains(" main/")) {
        let [hash, _, path] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
        let by_hash = suite.join(path).parent().unwrap().join("by-hash/SHA256").join(hash);
        assert_eq!(sha256(&by_hash), hash, "{path}");
        if path.ends_with("/Packages") {
            for package in stanzas(&fs::read_to_string(by_hash).unwrap()).unwrap() {
                let file = repository.join(package.get("Filename").unwrap());
                assert_eq!(sha256(&file), package.get("SHA256").unwrap(), "{}", file.display());
                versions.insert(package.get("Version").unwrap().to_owned());
            }
        }
    }
    versions
}

#[test]
fn killed_at_any_one_request_it_leaves_a_whole_generation_and_the_next_publish_finishes() {
    let mut world = World::new();
    let key = world.path("public.gpg");
    fs::write(&key, world.keys.public_binary().unwrap()).unwrap();
    let (old, both) =
        (BTreeSet::from(["1.0".to_owned()]), BTreeSet::from(["1.0".to_owned(), "2.0".to_owned()]));
    let debs = ["1.0", "2.0"].map(|version| world.fixture.deb("hello-forge", version, "amd64", "x", version));
    for last_is_done in [false, true] {
        let mut seen = [0, 0];
        for requests in 0.. {
            let cloud = Cloud::of(world);
            committed(cloud.world.publish(&cloud.apt(&small(), &debs[..1]), NOW));
            let fuse = Fuse::after(requests, last_is_done);
            let next = cloud.apt(&small(), &debs[1..]);
            let killed = cloud.publish_with(&cloud.target.with_fuse(fuse.clone()), &next, NOW + 100);
            let versions = check_by_hash(&cloud.mirror("apt", "mirror"), &key);
            assert!(versions == old || versions == both, "{versions:?} after {requests} requests");
            seen[usize::from(versions == both)] += 1;

            // Another publisher, later.
            let again = cloud.apt(&small(), &debs[1..]);
            cloud.world.publish(&again, NOW + 200).unwrap();
            let mirror = cloud.mirror("apt", "mirror");
            check_whole(&mirror, &key);
            assert_eq!(check_by_hash(&mirror, &key), both, "after {requests} requests");
            let difference = cloud.world.difference(&again, Some(&cloud.world.keys), NOW + 300).unwrap();
            assert_eq!(difference, None);
            world = cloud.world;
            if fuse.is_whole() {
                assert!(killed.is_ok(), "{killed:?}");
                break;
            }
        }
        eprintln!(
            "killed at each request: {} times the old generation, {} times the new one",
            seen[0], seen[1]
        );
        assert!(seen[0] >= 8 && seen[1] >= 2, "{seen:?}");
    }
}

#[test]
fn of_two_publishers_at_once_one_wins_and_the_other_goes_on_from_it() {
    let cloud = Cloud::new();
    committed(cloud.world.publish(&cloud.apt(&small(), &[cloud.deb("1.0")]), NOW));
    for round in 2..6 {
        let rivals = ["a", "b"].map(|name| {
            let deb = cloud.world.fixture.deb(name, &round.to_string(), "amd64", "x", name);
            cloud.apt(&small(), &[deb])
        });
        let start = Barrier::new(2);
        let outcomes = std::thread::scope(|scope| {
            let handles = rivals.each_ref().map(|rival| {
                scope.spawn(|| {
                    start.wait();
                    cloud.world.publish(rival, NOW + 10 * round)
                })
            });
            handles.map(|handle| handle.join().unwrap())
        });
        let won = outcomes.iter().position(Result::is_ok).unwrap();
        let Err(PublishError::Superseded { found, .. }) = &outcomes[1 - won] else { panic!("{outcomes:?}") };
        let live = cloud.world.target.state("apt").unwrap().unwrap();
        assert_eq!(found.as_ref(), Some(&live.id));
        let again = Repository { expected: Some(live.id), ..rivals[1 - won].clone() };
        committed(cloud.world.publish(&again, NOW + 10 * round + 1));
        let mirror = cloud.mirror("apt", "mirror");
        check_whole(&mirror, &mirror.join("key.gpg"));
        let live = cloud.world.target.state("apt").unwrap().unwrap();
        assert_eq!(live.packages.len() as u64, 1 + 2 * (round - 1));
    }
}

#[test]
fn what_was_read_for_a_plan_is_not_published_over() {
    let cloud = Cloud::new();
    committed(cloud.world.publish(&cloud.apt(&small(), &[cloud.deb("1.0")]), NOW));
    let (mine, theirs) = (cloud.apt(&small(), &[cloud.deb("2.0")]), cloud.apt(&small(), &[cloud.deb("3.0")]));
    let rival = BucketTarget::open(cloud.bucket.clone());
    let live = committed(cloud.publish_with(&rival, &theirs, NOW + 10));
    let error = cloud.world.publish(&mine, NOW + 11).unwrap_err();
    assert!(
        matches!(&error, PublishError::Superseded { found: Some(found), .. } if *found == live.id),
        "{error}"
    );
    committed(cloud.world.publish(&cloud.apt(&small(), &[cloud.deb("2.0")]), NOW + 12));
    let mirror = cloud.mirror("apt", "mirror");
    let versions = check_by_hash(&mirror, &mirror.join("key.gpg"));
    assert_eq!(versions, ["1.0", "2.0", "3.0"].map(str::to_owned).into());
}

#[test]
fn a_package_never_changes_and_nothing_foreign_is_overwritten() {
    let cloud = Cloud::new();
    cloud.put("apt/dists/x/InRelease", b"of another tool");
    let first = cloud.apt(&small(), &[cloud.deb("1.0")]);
    let error = cloud.world.publish(&first, NOW).unwrap_err();
    assert!(matches!(error, PublishError::Foreign { .. }), "{error}");
    let bucket = cloud.bucket.clone();
    wait(async move { bucket.delete(&["apt/dists/x/InRelease".to_owned()]).await }).unwrap();
    committed(cloud.world.publish(&first, NOW));

    // Somebody else's upload, which no generation names.
    cloud.put("apt/pool/main/h/hello-forge/hello-forge_2.0_amd64.deb", b"other bytes");
    let error = cloud.world.publish(&cloud.apt(&small(), &[cloud.deb("2.0")]), NOW + 1).unwrap_err();
    assert!(matches!(error, PublishError::PoolConflict { .. }), "{error}");
    let live = cloud.world.target.state("apt").unwrap().unwrap();
    assert_eq!(live.packages.len(), 1);
}

#[test]
fn what_is_damaged_is_found_and_an_earlier_generation_comes_back() {
    let cloud = Cloud::new();
    let target = &cloud.world.target;
    let first = committed(cloud.world.publish(&cloud.apt(&small(), &[cloud.deb("1.0")]), NOW));
    let second = cloud.apt(&small(), &[cloud.deb("2.0")]);
    committed(cloud.world.publish(&second, NOW + 10));
    let history = target.history("apt").unwrap();
    let told: Vec<_> = history.iter().map(|past| (past.until, past.effect.counts())).collect();
    assert_eq!(told, [(Some(NOW + 10), [1, 0, 0, 0]), (None, [0, 1, 0, 1])]);

    let store = &cloud.world.fixture.store;
    let error = target.earlier(second.clone(), "never", store).unwrap_err();
    assert!(error.to_string().contains(&first.id), "{error}");
    // Another machine: its store has nothing of the earlier release.
    store.lose_all();
    let earlier = target.earlier(second, &first.id, store).unwrap();
    let outcome = cloud.world.publish(&earlier, NOW + 20).unwrap();
    let Outcome::Committed { generation, effect } = outcome else { panic!("{outcome:?}") };
    assert_eq!(effect.counts(), [0, 0, 1, 1]);
    assert!(generation.date > history[1].generation.date);
    let mirror = cloud.mirror("apt", "mirror");
    check_whole(&mirror, &mirror.join("key.gpg"));
    assert_eq!(check_by_hash(&mirror, &mirror.join("key.gpg")), BTreeSet::from(["1.0".to_owned()]));

    assert_eq!(target.verify("apt").unwrap().unwrap().faults, Vec::<String>::new());
    cloud.put("apt/dists/x/main/binary-amd64/Packages", b"other bytes");
    let bucket = cloud.bucket.clone();
    let package = "apt/pool/main/h/hello-forge/hello-forge_1.0_amd64.deb";
    wait(async move { bucket.delete(&[package.to_owned()]).await }).unwrap();
    let faults = target.verify("apt").unwrap().unwrap().faults;
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].ends_with("Packages has other bytes"), "{faults:?}");
    assert!(faults[1].ends_with("_1.0_amd64.deb is not there"), "{faults:?}");
}

#[test]
fn what_is_past_retention_goes_with_the_next_publish_and_no_sooner() {
    let cloud = Cloud::new();
    let rpm = |version: &str| cloud.world.fixture.rpm("hello-forge", version, version);
    let publish = |version: &str, now| {
        let repository = cloud.world.rpm_repository("rpm", &rpm_index(), &[rpm(version)]);
        committed(cloud.world.publish(&repository, now))
    };
    let first = publish("1.0-1", NOW);
    let second = publish("2.0-1", NOW + 10);
    let has = |id: &str| cloud.objects("rpm").keys().any(|name| name.starts_with(&format!("gen/{id}/")));
    assert!(has(&first.id) && has(&second.id));
    let later = NOW + 10 + 31 * 86_400;
    publish("3.0-1", later);
    assert!(!has(&first.id) && has(&second.id), "the second was live until now");
    // What is young may be of a publisher at work.
    assert_eq!(cloud.world.target.gc("rpm", later).unwrap(), Vec::<String>::new());
    let mirror = cloud.mirror("rpm", "mirror");
    check_whole(&mirror, &mirror.join("key.gpg"));
    assert!(mirror.join("packages/h/hello-forge-1.0-1.noarch.rpm").exists());
}

#[test]
fn what_is_remembered_of_the_last_generation_is_asked_for_and_not_believed() {
    let cloud = Cloud::new();
    let memory = &cloud.world.fixture.store;
    let first = committed(cloud.world.publish(&cloud.apt(&small(), &[cloud.deb("1.0")]), NOW));
    let second = committed(cloud.world.publish(&cloud.apt(&small(), &[cloud.deb("2.0")]), NOW + 10));
    let place = cloud.bucket.location().below("apt/.forge/state.json").to_string();
    assert_eq!(memory.last_seen(&place), Some(second.id.clone()));
    for remembered in [&second.id, &first.id, "20260101T000000Z-00000000", "../state"] {
        memory.put_last_seen(&place, remembered).unwrap();
        // Another process, which read nothing yet.
        let later = BucketTarget::open(cloud.bucket.clone());
        let (live, undone) = later.standing("apt", memory).unwrap();
        assert_eq!((live.as_ref(), undone), (Some(&second), None), "{remembered}");
        assert_eq!(memory.last_seen(&place), Some(second.id.clone()));
    }
}

#[test]
fn what_clients_saw_until_a_killed_publish_was_finished_is_kept_from_then_on() {
    let cloud = Cloud::new();
    committed(cloud.world.publish(&cloud.apt(&small(), &[cloud.deb("1.0")]), NOW));
    let mirror = cloud.mirror("apt", "mirror");
    let by_hash: Vec<PathBuf> = files_of(&mirror).into_keys().map(PathBuf::from).collect();
    let by_hash: Vec<_> =
        by_hash.into_iter().filter(|path| path.parent().unwrap().ends_with("SHA256")).collect();
    let next = cloud.apt(&small(), &[cloud.deb("2.0")]);
    for requests in 0.. {
        let fuse = Fuse::after(requests, true);
        cloud.publish_with(&cloud.target.with_fuse(fuse), &next, NOW + 10).unwrap_err();
        if cloud.target.standing("apt", &cloud.world.fixture.store).unwrap().1.is_some() {
            break;
        }
    }
    let stays = |now: u64, version: &str| {
        committed(cloud.world.publish(&cloud.apt(&small(), &[cloud.deb(version)]), now));
        let objects = cloud.objects("apt");
        by_hash.iter().filter(|path| objects.contains_key(path.to_str().unwrap())).count()
    };
    let month = 31 * 86_400;
    assert_eq!(stays(NOW + 10 + month, "3.0"), by_hash.len(), "clients saw it until now");
    assert_eq!(stays(NOW + 10 + 2 * month, "4.0"), 0);
}

#[test]
fn a_rehearsal_names_the_requests_of_the_publish_and_writes_nothing() {
    let cloud = Cloud::new();
    committed(cloud.world.publish(&cloud.apt(&small(), &[cloud.deb("1.0")]), NOW));
    let next = cloud.apt(&small(), &[cloud.deb("2.0")]);
    let before = cloud.objects("");
    let edition = cloud.world.edition(std::slice::from_ref(&next), NOW + 1);
    let requests = cloud.target.rehearse(&edition).unwrap();
    assert_eq!(cloud.objects(""), before);
    committed(cloud.world.publish(&next, NOW + 1));
    let written: BTreeSet<String> = cloud
        .objects("")
        .into_iter()
        .filter(|(name, bytes)| before.get(name) != Some(bytes))
        .map(|(name, _)| cloud.bucket.location().below(&name).to_string())
        .collect();
    let promised =
        requests.iter().filter(|request| request.method == "PUT").map(|request| request.object.clone());
    let promised: BTreeSet<String> = promised.filter(|object| !object.ends_with("/.forge/probe")).collect();
    assert_eq!(promised, written);
    let commit = requests.iter().find(|request| request.object.ends_with("/InRelease")).unwrap().to_string();
    assert!(commit.contains("If-Match") && commit.contains("must-revalidate"), "{commit}");
}
