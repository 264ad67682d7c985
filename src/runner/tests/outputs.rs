use std::time::Duration;

use tokio::sync::watch;

use super::support::{Fixture, all};
use crate::runner::{Exit, RunError, Told};
use crate::store::{Entry, Kind};

#[tokio::test]
async fn both_runners_give_the_same_trees() {
    let fixture = Fixture::new();
    let mut command = fixture.command(
        "mkdir -p $OUT/root/usr/bin $OUT/root/empty $OUT/closed; cd $OUT/root; echo hi > usr/bin/hi; \
         chmod 4755 usr/bin/hi; ln usr/bin/hi usr/hard; ln -s ../nowhere link; ln -s /etc/passwd abs; \
         head -c 300000 /dev/zero > zeros; echo shut > $OUT/closed/f; chmod 000 $OUT/closed/f; \
         chmod 555 $OUT/closed; ln -s x $OUT/alone; mkdir $OUT/pkg; echo deb > $OUT/pkg/x.deb; echo no > $OUT/undeclared",
    );
    command.outputs = ["root", "closed", "alone", "pkg/x.deb"].map(str::to_owned).to_vec();
    let [sandbox, docker, elsewhere] = all().await;
    let ours = fixture.run(&sandbox, &command).await.unwrap();
    assert_eq!(ours, fixture.run(&docker, &command).await.unwrap());
    assert_eq!(ours, fixture.run(&elsewhere, &command).await.unwrap());
    let tree = |name: &str| fixture.store.tree(ours.outputs[name]).unwrap();
    let root = tree("root");
    let paths: Vec<_> = root.entries().iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["abs", "empty", "link", "usr", "usr/bin", "usr/bin/hi", "usr/hard", "zeros"]);
    assert_eq!(root.get("usr/bin/hi").unwrap().mode, 0o4755);
    assert_eq!(root.get("link").unwrap().kind, Kind::Symlink { target: "../nowhere".to_owned() });
    assert_eq!(tree("closed").get("f").unwrap().mode, 0);
    assert_eq!(
        tree("alone").entries(),
        [Entry { path: "alone".into(), mode: 0o777, kind: Kind::Symlink { target: "x".into() } }]
    );
    assert_eq!(tree("pkg/x.deb").entries()[0].path, "x.deb");
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn a_missing_output_is_named_and_the_log_kept() {
    let fixture = Fixture::new();
    let mut command = fixture.command("echo did nothing; mkdir $OUT/there; rmdir $OUT/../out/there");
    command.outputs = vec!["root".to_owned()];
    let mut without_out = fixture.command("rmdir $OUT");
    without_out.outputs = vec!["root".to_owned()];
    for runner in all().await {
        let error = fixture.run(&runner, &command).await.unwrap_err();
        assert_eq!(error.to_string(), "output 'root' was not made; the command must leave it at $OUT/root");
        assert_eq!(fixture.log_of(&error), "did nothing\n");
        let error = fixture.run(&runner, &without_out).await.unwrap_err();
        assert!(matches!(error, RunError::MissingOutput { .. }), "{}: {error}", runner.name());
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn a_failure_says_how_it_ended() {
    let fixture = Fixture::new();
    for runner in all().await {
        for (script, exit) in [
            ("echo before; exit 7", Exit::Code(7)),
            ("false; echo after", Exit::Code(1)),
            ("echo $UNSET_VARIABLE", Exit::Code(2)),
            ("no-such-program", Exit::Code(127)),
            ("kill -9 $$", Exit::Signal(9)),
            ("sh -c 'kill -SEGV $$'", Exit::Signal(11)),
        ] {
            let error = fixture.run(&runner, &fixture.command(script)).await.unwrap_err();
            let RunError::Failed { exit: found, .. } = &error else { panic!("{script}: {error}") };
            assert_eq!(*found, exit, "{}: {script}: {}", runner.name(), fixture.log_of(&error));
        }
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn a_root_without_a_shell_is_a_fault_of_the_setup() {
    let fixture = Fixture::new();
    let mut command = fixture.command("true");
    command.root = crate::runner::Root::Tree(fixture.tree(&[("etc/nothing", "")]));
    for runner in all().await {
        let error = fixture.run(&runner, &command).await.unwrap_err();
        assert!(
            matches!(&error, RunError::Setup(text) if text.contains("/bin/sh")),
            "{}: {error}",
            runner.name()
        );
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn the_log_has_both_streams_in_order_byte_by_byte() {
    let fixture = Fixture::new();
    let script =
        "for i in $(seq 500); do echo out $i; echo err $i >&2; done; printf '\\377\\000\\001\\r\\nno end'";
    let mut expected = Vec::new();
    for i in 1..=500 {
        expected.extend(format!("out {i}\nerr {i}\n").bytes());
    }
    expected.extend(b"\xff\0\x01\r\nno end");
    let (_cancel, never) = watch::channel(false);
    for runner in all().await {
        let mut lines = Vec::new();
        let command = fixture.command(script);
        let mut is_over = false;
        let listener = |told: Told<'_>| match told {
            Told::Line(line) => lines.push(line.to_owned()),
            Told::Over => is_over = true,
        };
        let outcome = runner.run(&command, &fixture.store, listener, never.clone()).await.unwrap();
        assert_eq!(fixture.store.get(outcome.log).unwrap(), expected, "{}", runner.name());
        assert_eq!(lines.len(), 1002);
        assert_eq!(lines[1001], "no end");
        assert!(is_over);
    }
}

#[tokio::test]
async fn lines_are_told_while_the_command_runs() {
    let fixture = Fixture::new();
    for runner in all().await {
        let (cancel, cancelled) = watch::channel(false);
        let listener = move |told: Told<'_>| {
            assert_eq!(told, Told::Line("now"));
            let _ = cancel.send(true);
        };
        let command = fixture.command("echo now; sleep 600");
        let run = runner.run(&command, &fixture.store, listener, cancelled);
        let ended = tokio::time::timeout(Duration::from_secs(60), run).await.expect("the line came at once");
        assert!(matches!(ended, Err(RunError::Cancelled)), "{}", runner.name());
    }
    fixture.assert_nothing_left();
}
