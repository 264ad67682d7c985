//! rpm repositories against real dnf.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use roxmltree::Document;

use super::support::{NOW, Server, URL, World, gpgv, listing, load_key, new_key, sha256};
use crate::index::fixture::run;
use crate::index::rpm::fixture::{build, crowd, rpm_index};
use crate::index::{IndexCompression, IndexedRpm, RpmIndex, rpm};
use crate::keys::testing::Gpg;
use crate::publish::{Outcome, PublishError, Repository};
use crate::store::Tree;

/// Every signature, every digest and every package, as clients of the list of mirrors find them
/// and as those of the root do.
pub fn check_whole(repository: &Path, key: &Path) {
    // One look at each: a client may see a commit between two requests, a check must not.
    let plain = fs::canonicalize(repository.join("repodata")).unwrap();
    check_metadata(&plain, repository, "", key);
    let mirrors = fs::read_to_string(repository.join("mirrorlist")).unwrap();
    let [mirror] = mirrors.lines().collect::<Vec<_>>()[..] else { panic!("{mirrors}") };
    let (_, generation) = mirror.split_once("/gen/").unwrap();
    let generation = repository.join("gen").join(generation);
    check_metadata(&generation.join("repodata"), repository, "../../", key);
}

fn check_metadata(repodata: &Path, repository: &Path, out: &str, key: &Path) {
    let repomd = repodata.join("repomd.xml");
    gpgv(key, &[&repodata.join("repomd.xml.asc"), &repomd]);
    let files = data(&fs::read_to_string(&repomd).unwrap());
    assert!(["primary", "filelists", "other"].iter().all(|kind| files.contains_key(*kind)), "{files:?}");
    for (name, digest) in files.values() {
        assert_eq!(sha256(&repodata.join(name)), *digest, "{name}");
    }
    let primary = run(Command::new("zstd").arg("-dc").arg(repodata.join(&files["primary"].0)));
    let primary = Document::parse(&primary).unwrap();
    let packages: Vec<_> = primary.root_element().children().filter(roxmltree::Node::is_element).collect();
    assert!(!packages.is_empty());
    for package in packages {
        let child = |name| package.children().find(|child| child.tag_name().name() == name).unwrap();
        let href = child("location").attribute("href").unwrap();
        let path = href.strip_prefix(out).filter(|path| path.starts_with("packages/")).unwrap();
        assert_eq!(sha256(&repository.join(path)), child("checksum").text().unwrap(), "{href}");
    }
}

/// By kind: the name of each file and its digest.
fn data(repomd: &str) -> BTreeMap<String, (String, String)> {
    let document = Document::parse(repomd).unwrap();
    let all = document.root_element().children().filter(|node| node.tag_name().name() == "data");
    let told = all.map(|data| {
        let child = |name| data.children().find(|child| child.tag_name().name() == name).unwrap();
        let href = child("location").attribute("href").unwrap();
        let name = href.strip_prefix("repodata/").unwrap().to_owned();
        (data.attribute("type").unwrap().to_owned(), (name, child("checksum").text().unwrap().to_owned()))
    });
    told.collect()
}

/// dnf with a root of its own: the machine's is left alone.
pub struct Dnf {
    dir: PathBuf,
}

impl Dnf {
    pub fn new(dir: PathBuf) -> Self {
        for below in ["root", "log"] {
            fs::create_dir_all(dir.join(below)).unwrap();
        }
        Self { dir }
    }

    /// One repository: `source` is `mirrorlist=…` or `baseurl=…`, checked by `key`.
    pub fn configure(&self, source: &str, key: &Path) {
        let at = self.dir.display();
        let settings = format!(
            "[main]\ncachedir={at}/cache\nlogdir={at}/log\npersistdir={at}/persist\nreposdir=/dev/null\n\
             varsdir=/dev/null\nplugins=0\nretries=1\ntimeout=10\n\
             [forge]\nname=forge\n{source}\nrepo_gpgcheck=1\ngpgcheck=0\ngpgkey=file://{}\n",
            key.display()
        );
        fs::write(self.dir.join("dnf.conf"), settings).unwrap();
    }

    fn output(&self, words: &[&str]) -> Output {
        let mut dnf = Command::new("dnf");
        dnf.arg("-y").arg("-c").arg(self.dir.join("dnf.conf")).arg("--releasever=9");
        dnf.arg(format!("--installroot={}", self.dir.join("root").display())).args(words);
        dnf.env("LC_ALL", "C.UTF-8").env_remove("http_proxy").env("no_proxy", "127.0.0.1");
        dnf.output().expect("dnf is installed (tests/prepare)")
    }

    pub fn ok(&self, words: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.output(words);
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert!(status.success(), "dnf {words:?}: {said}");
        said
    }

    fn fails(&self, words: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.output(words);
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert!(!status.success(), "dnf {words:?}: {said}");
        said
    }

    /// What is installed, as `name-version-release`.
    pub fn installed(&self) -> Vec<String> {
        let mut rpm = Command::new("rpm");
        rpm.arg("--root").arg(self.dir.join("root")).args(["-qa", "--qf", "%{NAME}-%{VERSION}-%{RELEASE}\n"]);
        let packages = run(&mut rpm);
        // Keys that were imported are packages for rpm.
        let packages = packages.lines().filter(|name| !name.starts_with("gpg-pubkey-"));
        let mut all: Vec<String> = packages.map(str::to_owned).collect();
        all.sort();
        all
    }

    fn installed_file(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join("root/usr/share").join(name).join("file")).unwrap()
    }
}

/// A repository below `rpm/el9` that a web server serves.
struct Site {
    world: World,
    server: Server,
}

impl Site {
    fn new() -> Self {
        let world = World::new();
        let server = Server::start(&world.site(), world.path("server.log"));
        Self { world, server }
    }

    fn url(&self) -> String {
        format!("{}/rpm/el9", self.server.uri)
    }

    fn dir(&self) -> PathBuf {
        self.world.site().join("rpm/el9")
    }

    fn repository(&self, packages: &[IndexedRpm]) -> Repository {
        let repository = self.world.rpm_repository("rpm/el9", &rpm_index(), packages);
        Repository { url: Some(self.url()), ..repository }
    }

    fn publish(&self, packages: &[IndexedRpm], now: u64) -> Outcome {
        self.world.publish(&self.repository(packages), now).unwrap()
    }

    fn dnf(&self, name: &str, source: &str) -> Dnf {
        let dnf = Dnf::new(self.world.path(name));
        dnf.configure(source, &self.dir().join("key.asc"));
        dnf
    }

    fn mirrored(&self, name: &str) -> Dnf {
        self.dnf(name, &format!("mirrorlist={}/mirrorlist", self.url()))
    }
}

#[test]
fn dnf_installs_by_the_list_of_mirrors_and_upgrades_to_the_next_generation() {
    let site = Site::new();
    let rpm = |version| site.world.fixture.rpm("hello-forge", version, version);
    site.publish(&[rpm("1.0-1")], NOW);
    check_whole(&site.dir(), &site.dir().join("key.gpg"));
    let dnf = site.mirrored("dnf");
    dnf.ok(&["install", "hello-forge"]);
    assert_eq!(dnf.installed_file("hello-forge"), "1.0-1");
    let log = site.server.log();
    let first = site.world.target.state("rpm/el9").unwrap().unwrap().id;
    for asked in ["/mirrorlist", "/repodata/repomd.xml", "/repodata/repomd.xml.asc", "-primary.xml.zst"] {
        assert!(log.lines().any(|line| line.contains("GET") && line.contains(asked)), "{asked}: {log}");
    }
    assert!(log.contains(&format!("/rpm/el9/gen/{first}/repodata/repomd.xml")), "{log}");
    assert!(log.contains("GET /rpm/el9/packages/h/hello-forge-1.0-1.noarch.rpm"), "{log}");
    assert!(!log.contains(" 404 "), "{log}");

    // A pre-release is not newer than the release; what is, is taken.
    site.publish(&[rpm("1.0~rc1-1"), rpm("1.0^git1-1")], NOW + 60);
    check_whole(&site.dir(), &site.dir().join("key.gpg"));
    dnf.ok(&["--refresh", "upgrade"]);
    assert_eq!(dnf.installed(), ["hello-forge-1.0^git1-1"]);
    let all = dnf.ok(&["repoquery", "--qf", "%{version}", "hello-forge"]);
    let told: Vec<&str> = all.lines().filter(|line| line.starts_with("1.0")).collect();
    assert_eq!(told, ["1.0", "1.0^git1", "1.0~rc1"], "what was published before stays installable");
    dnf.ok(&["downgrade", "hello-forge-1.0-1"]);
    assert_eq!(dnf.installed_file("hello-forge"), "1.0-1");
}

#[test]
fn dnf_subscribes_by_the_published_repo_file() {
    let site = Site::new();
    site.publish(&[site.world.fixture.rpm("hello-forge", "1.0-1", "one")], NOW);
    let dnf = site.dnf("dnf", "");
    let repos = site.world.path("dnf/repos");
    fs::create_dir(&repos).unwrap();
    fs::copy(site.dir().join("rpm-el9.repo"), repos.join("forge.repo")).unwrap();
    let path = site.world.path("dnf/dnf.conf");
    let settings = fs::read_to_string(&path).unwrap();
    let settings = settings.split("[forge]").next().unwrap();
    fs::write(&path, settings.replace("reposdir=/dev/null", &format!("reposdir={}", repos.display())))
        .unwrap();
    dnf.ok(&["install", "hello-forge"]);
    assert_eq!(dnf.installed(), ["hello-forge-1.0-1"]);
}

#[test]
fn a_client_with_an_old_list_of_mirrors_finds_its_generation_whole() {
    let site = Site::new();
    let rpm = |version| site.world.fixture.rpm("hello-forge", version, version);
    site.publish(&[rpm("1.0-1")], NOW);
    // What a cache between may hold for a day.
    let old = fs::read(site.dir().join("mirrorlist")).unwrap();
    fs::write(site.world.site().join("cached-mirrorlist"), &old).unwrap();
    site.publish(&[rpm("2.0-1")], NOW + 86_400);
    assert_ne!(fs::read(site.dir().join("mirrorlist")).unwrap(), old);
    let dnf = site.dnf("dnf", &format!("mirrorlist={}/cached-mirrorlist", site.server.uri));
    dnf.ok(&["install", "hello-forge"]);
    assert_eq!(dnf.installed(), ["hello-forge-1.0-1"]);

    // After its retention it is gone, and the package files stay.
    site.publish(&[rpm("3.0-1")], NOW + 86_401 + 30 * 86_400);
    let dnf = site.dnf("late", &format!("mirrorlist={}/cached-mirrorlist", site.server.uri));
    let said = dnf.fails(&["install", "hello-forge"]);
    assert!(said.contains("404"), "{said}");
    assert!(site.dir().join("packages/h/hello-forge-1.0-1.noarch.rpm").exists());
    check_whole(&site.dir(), &site.dir().join("key.gpg"));
}

#[test]
fn a_client_of_the_root_installs_and_upgrades_in_each_compression() {
    for compression in [IndexCompression::Zst, IndexCompression::Gz, IndexCompression::Xz] {
        let site = Site::new();
        let rpm = |version| site.world.fixture.rpm("hello-forge", version, version);
        let publish = |version, now| {
            let index = RpmIndex { compression };
            let repository = site.world.rpm_repository("rpm/el9", &index, &[rpm(version)]);
            site.world.publish(&Repository { url: Some(site.url()), ..repository }, now).unwrap();
        };
        publish("1.0-1", NOW);
        let repomd = fs::read_to_string(site.dir().join("repodata/repomd.xml")).unwrap();
        let dnf = site.dnf("dnf", &format!("baseurl={}", site.url()));
        dnf.ok(&["install", "hello-forge"]);
        publish("2.0-1", NOW + 60);
        // Whoever read the metadata's list before the commit still finds what it names.
        for (name, digest) in data(&repomd).values() {
            assert_eq!(sha256(&site.dir().join("repodata").join(name)), *digest);
        }
        dnf.ok(&["--refresh", "upgrade"]);
        assert_eq!(dnf.installed(), ["hello-forge-2.0-1"]);
        assert!(!site.server.log().contains("/gen/"));
    }
}

#[test]
fn dnf_refuses_a_wrong_key_and_what_was_tampered_with() {
    let site = Site::new();
    site.publish(&[site.world.fixture.rpm("hello-forge", "1.0-1", "one")], NOW);
    let other = site.world.path("other");
    fs::create_dir(&other).unwrap();
    let public = site.world.path("other.asc");
    fs::write(&public, load_key(&other, "key.asc", &new_key()).public_armored().unwrap()).unwrap();
    let dnf = Dnf::new(site.world.path("dnf"));
    for source in [format!("mirrorlist={}/mirrorlist", site.url()), format!("baseurl={}", site.url())] {
        dnf.configure(&source, &public);
        let said = dnf.fails(&["install", "hello-forge"]);
        assert!(said.contains("GPG") || said.contains("signature"), "{said}");
    }

    let id = site.world.target.state("rpm/el9").unwrap().unwrap().id;
    let repomd = site.dir().join("gen").join(id).join("repodata/repomd.xml");
    let text = fs::read_to_string(&repomd).unwrap();
    fs::write(&repomd, text.replace("<revision>", "<revision>1")).unwrap();
    let said = site.mirrored("tampered").fails(&["install", "hello-forge"]);
    assert!(said.contains("GPG") || said.contains("signature"), "{said}");
    fs::write(&repomd, text).unwrap();
    site.mirrored("restored").ok(&["install", "hello-forge"]);

    let rpm = site.dir().join("packages/h/hello-forge-1.0-1.noarch.rpm");
    let mut bytes = fs::read(&rpm).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&rpm, bytes).unwrap();
    let said = site.mirrored("package").fails(&["install", "hello-forge"]);
    assert!(said.contains("hecksum"), "{said}");
}

#[test]
fn dnf_installs_signed_packages_where_it_asks_for_signatures_and_no_others() {
    let site = Site::new();
    let gpg = Gpg::new();
    gpg.make("", "rsa3072", "sign,cert", "never");
    let public = gpg.path("public.asc");
    gpg.run(&["--armor", "--output", &public, "--export"]);
    let rpms = ["signed-forge", "plain-forge"].map(|name| site.world.fixture.rpm(name, "1.0-1", "one"));
    let file = site.world.path("signed-forge-1.0-1.noarch.rpm");
    fs::write(&file, site.world.fixture.store.get(rpms[0].object).unwrap()).unwrap();
    let mut sign = Command::new("rpmsign");
    sign.args(["--addsign", "--define", "__gpg /usr/bin/gpg", "--define", "_gpg_name me@example.org"])
        .arg(&file);
    run(sign.env("GNUPGHOME", gpg.path("")));
    site.publish(&[site.world.fixture.read_rpm(&file), rpms[1].clone()], NOW);

    let dnf = site.mirrored("dnf");
    let settings = fs::read_to_string(dnf.dir.join("dnf.conf")).unwrap();
    let both = format!("gpgcheck=1\ngpgkey=file://{public} file://");
    fs::write(
        dnf.dir.join("dnf.conf"),
        settings.replace("\ngpgcheck=0\ngpgkey=file://", &format!("\n{both}")),
    )
    .unwrap();
    dnf.ok(&["install", "signed-forge"]);
    let said = dnf.fails(&["install", "plain-forge"]);
    assert!(said.contains("not signed"), "{said}");
    assert_eq!(dnf.installed(), ["signed-forge-1.0-1"]);
}

#[test]
fn an_index_that_is_not_published_is_a_repository_too() {
    let world = World::new();
    let package = [world.fixture.rpm("hello-forge", "1.0-1", "one")];
    let tree = build(&rpm_index(), &package, None, NOW, &world.fixture.store).unwrap();
    let root = world.path("index");
    world.fixture.store.materialize(&tree, &root, NOW).unwrap();
    for (name, base) in [("plain", root.clone()), ("next", root.join(rpm::NEXT))] {
        unsigned(&world, name, &base).ok(&["install", "hello-forge"]);
    }
}

/// dnf that takes what is below `base` without a signature.
fn unsigned(world: &World, name: &str, base: &Path) -> Dnf {
    let dnf = Dnf::new(world.path(name));
    dnf.configure(&format!("baseurl=file://{}", base.display()), Path::new("/dev/null"));
    let settings = fs::read_to_string(dnf.dir.join("dnf.conf")).unwrap();
    fs::write(dnf.dir.join("dnf.conf"), settings.replace("repo_gpgcheck=1", "repo_gpgcheck=0")).unwrap();
    dnf
}

#[test]
fn dnf_reads_metadata_of_several_pieces_in_each_form() {
    let world = World::new();
    let rpms = crowd(&world.fixture.rpm("hello-forge", "1.0-1", "one"), 500);
    for compression in [IndexCompression::Xz, IndexCompression::Gz, IndexCompression::Zst] {
        let tree = build(&RpmIndex { compression }, &rpms, None, NOW, &world.fixture.store).unwrap();
        let metadata = tree.entries().iter().filter(|entry| entry.path.starts_with("repodata/")).cloned();
        let site = world.path(&format!("site-{}", compression.extension()));
        world.fixture.store.materialize(&Tree::new(metadata.collect()), &site, NOW).unwrap();
        let dnf = unsigned(&world, &format!("dnf-{}", compression.extension()), &site);
        let told = dnf.ok(&["repoquery", "--qf", "is %{name}", "--file", "/usr/share/hello-forge/file"]);
        let count = told.lines().filter(|line| line.starts_with("is crowd-")).count();
        assert_eq!(count, rpms.len(), "{compression:?}: {told}");
    }
}

#[test]
fn clients_with_either_key_follow_a_rotation() {
    let site = Site::new();
    let second = site.world.path("second.asc");
    fs::write(&second, new_key()).unwrap();
    let sources = [site.world.path("key.asc"), second.clone()].map(super::support::source);
    let both = crate::keys::SigningKeys::load(&sources, NOW).unwrap();
    let package = [site.world.fixture.rpm("hello-forge", "1.0-1", "one")];
    site.world.publish_with(&both, &site.repository(&package), NOW).unwrap();
    let second = load_key(&site.world.path(""), "again.asc", &fs::read_to_string(second).unwrap());
    for (name, keys) in [("old", &site.world.keys), ("new", &second)] {
        let public = site.world.path(&format!("{name}.asc"));
        fs::write(&public, keys.public_armored().unwrap()).unwrap();
        let dnf = Dnf::new(site.world.path(&format!("dnf-{name}")));
        dnf.configure(&format!("mirrorlist={}/mirrorlist", site.url()), &public);
        dnf.ok(&["install", "hello-forge"]);
    }
}

#[test]
fn dnf_reads_weak_dependencies_rich_ones_and_files_as_they_were_meant() {
    let site = Site::new();
    let fixture = &site.world.fixture;
    let spec = "Name: app\nEpoch: 1\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n\
        Requires: (lib or other), /usr/bin/tool, /usr/share/deep/file\nRecommends: nice\nSuggests: never\n\
        Conflicts: enemy\nSource0: package.spec\n%description\nd\n%files\n%changelog\n* Fri Jan 12 2001 A <a@example.org> - 1\n- one\n";
    let fixed = |name: &str, extra: &str| {
        format!("Name: {name}\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n{extra}")
    };
    let file = |name: &str, path: &str| {
        let install = format!("%install\nmkdir -p %{{buildroot}}{0}\ntouch %{{buildroot}}{0}/{name}\n", path);
        fixed(name, &format!("%description\nd\n{install}%files\n{path}/{name}\n"))
    };
    let plain = |name: &str| fixed(name, "%description\nd\n%files\n");
    let specs = [
        spec.replace("Source0: package.spec\n", ""),
        plain("lib"),
        file("tool", "/usr/bin"),
        file("file", "/usr/share/deep"),
        plain("nice"),
        plain("never"),
        plain("enemy"),
    ];
    let packages: Vec<_> = specs
        .iter()
        .flat_map(|spec| fixture.rpmbuild(spec))
        .filter(|rpm| !rpm.display().to_string().ends_with(".src.rpm"))
        .map(|rpm| fixture.read_rpm(&rpm))
        .collect();
    site.publish(&packages, NOW);
    let dnf = site.mirrored("dnf");
    dnf.ok(&["install", "app"]);
    assert_eq!(dnf.installed(), ["app-1-1", "file-1-1", "lib-1-1", "nice-1-1", "tool-1-1"]);
    let said = dnf.fails(&["install", "enemy"]);
    assert!(said.contains("conflicts"), "{said}");
    assert!(dnf.ok(&["repoquery", "--changelog", "app"]).contains("- one"));
    assert!(dnf.ok(&["repoquery", "-f", "/usr/share/deep/file"]).contains("file-0:1-1.noarch"));
}

#[test]
fn dnf_tells_the_advisories() {
    let site = Site::new();
    let updateinfo = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<updates><update from=\"a@example.org\" \
        status=\"final\" type=\"security\" version=\"1\"><id>EX-2026:1</id><title>hello</title>\
        <issued date=\"2026-01-01 00:00:00\"/><severity>Important</severity><description>d</description>\
        <pkglist><collection short=\"x\"><name>x</name><package name=\"hello-forge\" epoch=\"0\" version=\"2.0\" \
        release=\"1\" arch=\"noarch\" src=\"hello-forge-2.0-1.src.rpm\"><filename>hello-forge-2.0-1.noarch.rpm</filename>\
        </package></collection></pkglist></update></updates>\n";
    let rpm = |version| site.world.fixture.rpm("hello-forge", version, version);
    site.publish(&[rpm("1.0-1")], NOW);
    let dnf = site.mirrored("dnf");
    dnf.ok(&["install", "hello-forge"]);
    let object = site.world.fixture.store.put(updateinfo.as_bytes()).unwrap();
    let with = |packages: &[IndexedRpm]| Repository { updateinfo: Some(object), ..site.repository(packages) };
    site.world.publish(&with(&[rpm("2.0-1")]), NOW + 60).unwrap();
    let said = dnf.ok(&["--refresh", "updateinfo", "list", "--security"]);
    assert!(said.contains("EX-2026:1") && said.contains("hello-forge-2.0-1"), "{said}");
    let again = site.world.publish(&with(&[rpm("2.0-1")]), NOW + 120).unwrap();
    assert!(matches!(again, Outcome::Unchanged(_)));
}

#[test]
fn what_agrees_is_not_published_again_and_another_url_is() {
    let world = World::new();
    let package = [world.fixture.rpm("hello-forge", "1.0-1", "one")];
    let repository = world.rpm_repository("", &rpm_index(), &package);
    world.publish(&repository, NOW).unwrap();
    let before = listing(&world.site());
    assert!(matches!(world.publish(&repository, NOW + 60), Ok(Outcome::Unchanged(_))));
    assert_eq!(listing(&world.site()), before);

    let moved = Repository {
        url: Some("https://elsewhere.example.org".into()),
        ..world.rpm_repository("", &rpm_index(), &package)
    };
    let outcome = world.publish(&moved, NOW + 120).unwrap();
    let Outcome::Committed { generation, effect } = outcome else { panic!("{outcome:?}") };
    assert!(effect.is_empty());
    let mirrors = fs::read_to_string(world.site().join("mirrorlist")).unwrap();
    assert_eq!(mirrors, format!("https://elsewhere.example.org/gen/{}/\n", generation.id));
    check_whole(&world.site(), &world.site().join("key.gpg"));
}

#[test]
fn a_package_file_never_changes_and_a_url_must_be_there() {
    let world = World::new();
    let publish = |content: &str, url: Option<&str>, now| {
        let package = [world.fixture.rpm("hello-forge", "1.0-1", content)];
        let repository = world.rpm_repository("", &rpm_index(), &package);
        world.publish(&Repository { url: url.map(str::to_owned), ..repository }, now)
    };
    let error = publish("one", None, NOW).unwrap_err();
    assert!(matches!(error, PublishError::NoUrl(_)), "{error}");
    assert_eq!(world.target.state("").unwrap(), None);
    publish("one", Some(URL), NOW).unwrap();
    let before = listing(&world.site());
    let error = publish("two", Some(URL), NOW + 1).unwrap_err();
    assert!(matches!(error, PublishError::PoolConflict { .. }), "{error}");
    assert!(error.to_string().contains("packages/h/hello-forge-1.0-1.noarch.rpm"), "{error}");
    assert_eq!(listing(&world.site()), before);
}

#[test]
fn one_kind_of_repository_never_takes_the_place_of_the_other() {
    let world = World::new();
    let rpm = world.rpm_repository("x", &rpm_index(), &[world.fixture.rpm("hello-forge", "1.0-1", "one")]);
    world.publish(&rpm, NOW).unwrap();
    let before = listing(&world.site());
    let index = crate::index::apt::fixture::index(vec![crate::index::apt::fixture::suite("x")]);
    let apt = world.repository("x", &index, &[world.fixture.deb("a", "1", "amd64", "x", "a")]);
    let error = world.publish(&apt, NOW + 1).unwrap_err();
    assert!(matches!(error, PublishError::Kind { .. }), "{error}");
    assert!(error.to_string().contains("holds an rpm repository"), "{error}");
    assert_eq!(listing(&world.site()), before);
}

#[test]
fn versions_are_ordered_as_rpm_does_in_what_a_publish_changes() {
    let world = World::new();
    let rpm = |version: &str| world.fixture.rpm("hello-forge", version, version);
    world.publish(&world.rpm_repository("", &rpm_index(), &[rpm("1.0~rc1-1"), rpm("1.0-1")]), NOW).unwrap();
    // For dpkg `^` is older than the end, and not newer.
    let repository = world.rpm_repository("", &rpm_index(), &[rpm("1.0^git1-1")]);
    let outcome = world.publish(&repository, NOW + 1).unwrap();
    let Outcome::Committed { effect, .. } = outcome else { panic!("{outcome:?}") };
    let [suite] = &effect.suites[..] else { panic!("{effect:?}") };
    assert_eq!((suite.suite.as_str(), suite.architecture.as_str(), suite.kept), ("", "noarch", 2));
    let [replaced] = &suite.replaced[..] else { panic!("{effect:?}") };
    assert_eq!((replaced.from.as_str(), replaced.to.as_str()), ("1.0-1", "1.0^git1-1"));
}

#[test]
fn a_reader_at_any_moment_finds_one_generation_whole() {
    let world = World::new();
    let packages: Vec<_> =
        (0..=12).map(|round| world.fixture.rpm("hello-forge", &format!("{round}.0-1"), "same")).collect();
    let publish = |round: usize| {
        let repository = world.rpm_repository("", &rpm_index(), &packages[round..=round]);
        world.publish(&repository, NOW + round as u64).unwrap();
    };
    publish(0);
    let stop = AtomicBool::new(false);
    let site = world.site();
    // A copy: the test is not about a change of keys.
    let key = world.path("public.gpg");
    fs::copy(site.join("key.gpg"), &key).unwrap();
    let (reads, generations) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut reads, mut seen) = (0, std::collections::BTreeSet::new());
            while !stop.load(Ordering::Relaxed) {
                let mirrors = fs::read_to_string(site.join("mirrorlist")).unwrap();
                let generation = site.join("gen").join(mirrors.trim().rsplit("/gen/").next().unwrap());
                check_metadata(&generation.join("repodata"), &site, "../../", &key);
                // At the root the list and its signature are two requests; what the list names is there.
                let repomd = fs::read_to_string(site.join("repodata/repomd.xml")).unwrap();
                for (name, digest) in data(&repomd).values() {
                    assert_eq!(sha256(&site.join("repodata").join(name)), *digest);
                }
                reads += 1;
                seen.insert(mirrors);
            }
            (reads, seen.len())
        });
        (1..packages.len()).for_each(publish);
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(generations > 3, "{reads} reads of {generations} generations show nothing");
}
