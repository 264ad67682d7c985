use super::support::{Fixture, docker, file};
use crate::runner::{DockerfileBuild, Exit, RunError, Runner};
use crate::store::Tree;
use tokio::sync::watch;

async fn engine() -> crate::runner::Docker {
    match docker().await {
        Runner::Docker(engine) => engine,
        Runner::Sandbox(_) => unreachable!(),
    }
}

fn build(fixture: &Fixture, base: &str, dockerfile: &str) -> DockerfileBuild {
    let text = format!("FROM {base}\n{dockerfile}");
    let context = Tree::new(vec![
        file("docker/Dockerfile", 0o644, fixture.store.put(text.as_bytes()).unwrap(), text.len()),
        file("payload", 0o755, fixture.store.put(b"carried").unwrap(), 7),
    ]);
    DockerfileBuild {
        context: fixture.store.put_tree(&context).unwrap(),
        dockerfile: "docker/Dockerfile".to_owned(),
        args: [("NAME".to_owned(), "value".to_owned())].into(),
        bases: Default::default(),
        platform: "linux/amd64".to_owned(),
        source_date_epoch: 1_700_000_000,
    }
}

#[tokio::test]
async fn a_dockerfile_becomes_a_root_that_both_runners_can_use() {
    let (fixture, engine) = (Fixture::new(), engine().await);
    let base = engine.load_root(fixture.root, "linux/amd64", &fixture.store).await.unwrap();
    let build = build(
        &fixture,
        &base,
        "ARG NAME\nCOPY payload /usr/payload\n\
         RUN --mount=type=cache,target=/c,id=forge-test echo said $NAME; echo $NAME > /usr/name; \
         touch /c/seen; ln /usr/name /usr/hard; mkfifo /usr/pipe; chmod 4755 /usr/payload\n",
    );
    let (_cancel, never) = watch::channel(false);
    let outcome = engine.build_dockerfile(&build, &fixture.store, |_| {}, never).await;
    let outcome = outcome.unwrap_or_else(|error| panic!("{error}\n{}", fixture.log_of(&error)));
    let log = fixture.text(outcome.log);
    assert!(log.contains("said value") || log.contains("(cached)"), "{log}");
    let tree = fixture.store.tree(outcome.outputs["root"]).unwrap();
    assert_eq!(tree.get("usr/payload").unwrap().mode, 0o4755);
    for gone in [".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "usr/pipe", "c/seen"] {
        assert_eq!(tree.get(gone), None, "{gone}");
    }
    let mut command = fixture.command("cat /usr/name /usr/hard; cat /usr/payload");
    command.root = crate::runner::Root::Tree(outcome.outputs["root"]);
    for runner in super::support::all().await {
        assert_eq!(fixture.said(&runner, &command).await, "value\nvalue\ncarried");
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn a_step_that_fails_gives_its_exit_code_and_its_words() {
    let (fixture, engine) = (Fixture::new(), engine().await);
    let base = engine.load_root(fixture.root, "linux/amd64", &fixture.store).await.unwrap();
    let build = build(&fixture, &base, "RUN echo last words; exit 5\n");
    let (_cancel, never) = watch::channel(false);
    let error = engine.build_dockerfile(&build, &fixture.store, |_| {}, never).await.unwrap_err();
    assert!(matches!(error, RunError::Failed { exit: Exit::Code(5), .. }), "{error}");
    assert!(fixture.log_of(&error).contains("last words"), "{}", fixture.log_of(&error));
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn a_build_can_be_cancelled() {
    let (fixture, engine) = (Fixture::new(), engine().await);
    let base = engine.load_root(fixture.root, "linux/amd64", &fixture.store).await.unwrap();
    let build = build(&fixture, &base, "ARG NAME\nRUN echo unique $NAME; sleep 7000501\n");
    let (cancel, cancelled) = watch::channel(false);
    let listener = |line: &str| {
        if line == "unique value" {
            let _ = cancel.send(true);
        }
    };
    let run = engine.build_dockerfile(&build, &fixture.store, listener, cancelled);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(120), run).await.unwrap();
    assert!(matches!(ended, Err(RunError::Cancelled)));
    // The engine learns of it by the closed connection.
    super::support::until("the step is gone", async || super::support::alive("7000501") == 0).await;
    fixture.assert_nothing_left();
}
