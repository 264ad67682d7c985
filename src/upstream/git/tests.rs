//! Against real repositories, served as files and by git's own server.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;
use crate::store::Kind;

struct Repository {
    dir: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let repository = Self { dir: tempfile::tempdir().unwrap() };
        repository.git("init --quiet --initial-branch=main");
        repository
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn git(&self, words: &str) -> String {
        let output = Command::new("git")
            .args(words.split(' '))
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_DATE", "1700000000 +0100")
            .env("GIT_COMMITTER_DATE", "1700000000 +0100")
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "Somebody")))
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "somebody@example.org")))
            .output()
            .expect("this test needs git: tests/prepare installs it");
        assert!(output.status.success(), "git {words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self) -> String {
        self.git("add --all");
        self.git("commit --quiet --message=change");
        self.git("rev-parse HEAD")
    }

    fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }
}

fn store() -> (tempfile::TempDir, LocalStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    (dir, store)
}

#[test]
fn tags_are_told_with_the_commits_they_lead_to() {
    let repository = Repository::new();
    fs::write(repository.path().join("a"), "one").unwrap();
    let first = repository.commit();
    repository.git("tag v1");
    fs::write(repository.path().join("a"), "two").unwrap();
    let second = repository.commit();
    repository.git("tag --annotate --message=released v2");
    let tag = |name: &str, commit: &str| Tag { name: name.into(), commit: commit.into() };
    assert_eq!(Git::default().tags(&repository.url()).unwrap(), [tag("v1", &first), tag("v2", &second)]);
    repository.git("tag --delete v1 v2");
    assert_eq!(Git::default().tags(&repository.url()).unwrap(), []);
}

#[test]
fn a_tags_files_are_taken_as_they_are_in_the_repository() {
    let repository = Repository::new();
    let path = |name: &str| repository.path().join(name);
    fs::create_dir_all(path("sub/deep")).unwrap();
    // Attributes that would change or leave out files, if they had a say.
    fs::write(path(".gitattributes"), "*.txt eol=crlf\nleft-out export-ignore\nwhen export-subst\n").unwrap();
    fs::write(path("sub/deep/a b.txt"), "one\ntwo\n").unwrap();
    fs::write(path("same.txt"), "one\ntwo\n").unwrap();
    fs::write(path("left-out"), "here").unwrap();
    fs::write(path("when"), "$Format:%H$").unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(path("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("sub/deep", path("link")).unwrap();
    let commit = repository.commit();
    repository.git("tag --annotate --message=released v1");
    // What comes after the tag is not taken.
    fs::write(path("later"), "x").unwrap();
    repository.commit();

    let (_dir, store) = store();
    let tag = Tag { name: "v1".into(), commit: commit.clone() };
    let source = Git::default().source(&store, &repository.url(), &tag).unwrap();
    assert_eq!(source.date, 1_700_000_000);
    let tree = store.tree(source.tree).unwrap();
    let paths: Vec<&str> = tree.entries().iter().map(|entry| entry.path.as_str()).collect();
    let all = [
        ".gitattributes",
        "empty",
        "left-out",
        "link",
        "run.sh",
        "same.txt",
        "sub",
        "sub/deep",
        "sub/deep/a b.txt",
        "when",
    ];
    assert_eq!(paths, all);
    let text = |path: &str| match tree.get(path).unwrap().kind {
        Kind::File { object, .. } => String::from_utf8(store.get(object).unwrap()).unwrap(),
        _ => panic!("{path} is no file"),
    };
    assert_eq!((text("sub/deep/a b.txt"), text("when")), ("one\ntwo\n".into(), "$Format:%H$".into()));
    assert_eq!((tree.get("run.sh").unwrap().mode, tree.get("when").unwrap().mode), (0o755, 0o644));
    assert_eq!(tree.get("link").unwrap().kind, Kind::Symlink { target: "sub/deep".into() });
    assert!(store.holds_tree(source.tree));

    // The same by a repository that is served as plain files: no part of it can be fetched alone.
    repository.git("update-server-info");
    let port = serve_files(repository.path().join(".git"));
    let again = Git::default().source(&store, &format!("http://127.0.0.1:{port}/"), &tag).unwrap();
    assert_eq!(again, source);
}

/// Any static file server would do.
fn serve_files(root: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            use std::io::{BufRead, BufReader, Write};
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let asked = lines.next().unwrap_or_default();
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let path = asked.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
            let (status, body) = match fs::read(root.join(path.trim_start_matches('/'))) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    port
}

#[test]
fn a_tag_that_moved_between_listing_and_fetching_is_refused() {
    let repository = Repository::new();
    fs::write(repository.path().join("a"), "one").unwrap();
    let first = repository.commit();
    fs::write(repository.path().join("a"), "two").unwrap();
    let second = repository.commit();
    repository.git("tag v1");
    let (_dir, store) = store();
    let tag = Tag { name: "v1".into(), commit: first.clone() };
    match Git::default().source(&store, &repository.url(), &tag) {
        Err(GitError::Moved { expected, found, .. }) => assert_eq!((expected, found), (first, second)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_submodule_is_refused_by_its_path() {
    let repository = Repository::new();
    fs::write(repository.path().join("a"), "one").unwrap();
    let commit = repository.commit();
    repository.git(&format!("update-index --add --cacheinfo 160000,{commit},third/party"));
    repository.git("commit --quiet --message=submodule");
    let commit = repository.git("rev-parse HEAD");
    repository.git("tag v1");
    let (_dir, store) = store();
    let tag = Tag { name: "v1".into(), commit };
    let error = Git::default().source(&store, &repository.url(), &tag).unwrap_err().to_string();
    assert!(error.contains("third/party") && error.contains("submodule"), "{error}");
}

#[test]
fn what_git_complains_of_is_told_and_silence_ends() {
    let (dir, store) = store();
    let nowhere = format!("file://{}/nowhere", dir.path().display());
    let error = Git::default().tags(&nowhere).unwrap_err().to_string();
    assert!(error.contains("ls-remote") && error.contains("nowhere"), "{error}");
    let tag = Tag { name: "v1".into(), commit: "0".repeat(40) };
    let error = Git::default().source(&store, &nowhere, &tag).unwrap_err().to_string();
    assert!(error.contains("fetch") && error.contains("nowhere"), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/x", silent.local_addr().unwrap());
    let patience = Duration::from_millis(300);
    let started = Instant::now();
    let error = Git { listing: patience, fetching: patience }.tags(&url).unwrap_err();
    assert!(matches!(error, GitError::Silent { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
}
