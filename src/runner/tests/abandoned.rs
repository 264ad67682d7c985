use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::ListContainersOptionsBuilder;
use tokio::sync::watch;

use super::support::{Fixture, alive, docker, sandbox, until};
use crate::runner::docker::store_name;
use crate::runner::{Runner, RunnerKind};
use crate::store::LocalStore;

const STORE: &str = "FORGE_TEST_STORE";
const ROOT: &str = "FORGE_TEST_ROOT";
const RUNNER: &str = "FORGE_TEST_RUNNER";
const MARK: &str = "FORGE_TEST_MARK";

/// Not a test: the process that the tests below start again and kill. It runs one long command.
#[tokio::test]
async fn victim() {
    if std::env::var_os(STORE).is_none() {
        return;
    }
    let variable = |name| std::env::var(name).unwrap();
    let fixture = Fixture::new();
    let store = Arc::new(LocalStore::open(PathBuf::from(variable(STORE))).unwrap());
    let (runner, _) = Runner::choose(Some(variable(RUNNER).parse().unwrap())).await.unwrap();
    let mut command = fixture.command(&format!("echo up; sleep {}", variable(MARK)));
    command.root = crate::runner::Root::Tree(variable(ROOT).parse().unwrap());
    let (_cancel, never) = watch::channel(false);
    let _ = runner.run(&command, &store, |_| {}, never).await;
}

fn start_victim(fixture: &Fixture, kind: RunnerKind, mark: &str) -> Child {
    Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "runner::tests::abandoned::victim"])
        .env(STORE, fixture.store.root())
        .env(ROOT, fixture.root.to_string())
        .env(RUNNER, kind.to_string())
        .env(MARK, mark)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_container_whose_forge_was_killed_is_removed_by_the_next_sweep() {
    let fixture = Fixture::new();
    let runner = docker().await;
    let Runner::Docker(engine) = &runner else { unreachable!() };
    let containers = async || {
        let filters = [("label", vec![format!("forge.store={}", store_name(&fixture.store))])].into();
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        engine.client.list_containers(Some(options)).await.unwrap().len()
    };
    let mut victim = start_victim(&fixture, RunnerKind::Docker, "7000401");
    until("the command runs", async || alive("7000401") > 0).await;

    runner.sweep(&fixture.store).await.unwrap();
    assert!(alive("7000401") > 0, "a sweep leaves the living alone");
    victim.kill().unwrap();
    victim.wait().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(alive("7000401") > 0, "the container goes on without its forge");
    assert_eq!(containers().await, 1);

    runner.sweep(&fixture.store).await.unwrap();
    assert_eq!(containers().await, 0);
    assert_eq!(alive("7000401"), 0);
    fixture.store.sweep().unwrap();
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn the_store_may_be_swept_before_the_containers() {
    let fixture = Fixture::new();
    let runner = docker().await;
    let mut victim = start_victim(&fixture, RunnerKind::Docker, "7000402");
    until("the command runs", async || alive("7000402") > 0).await;
    victim.kill().unwrap();
    victim.wait().unwrap();
    fixture.store.sweep().unwrap();
    runner.sweep(&fixture.store).await.unwrap();
    assert_eq!(alive("7000402"), 0);
}

#[tokio::test]
async fn a_sandbox_dies_with_its_forge() {
    let fixture = Fixture::new();
    let runner = sandbox().await;
    let mut victim = start_victim(&fixture, RunnerKind::Sandbox, "7000403");
    until("the command runs", async || alive("7000403") > 0).await;
    victim.kill().unwrap();
    victim.wait().unwrap();
    until("the command is gone", async || alive("7000403") == 0).await;
    runner.sweep(&fixture.store).await.unwrap();
    fixture.store.sweep().unwrap();
    fixture.assert_nothing_left();
}
