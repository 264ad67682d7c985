use super::support::{Fixture, all, sandbox};
use crate::runner::{Mount, Root, RunError, WorkCopy};
use crate::store::{Entry, Kind, StoreError, Tree};

#[tokio::test]
async fn a_daemon_dies_with_its_command_before_the_outputs_are_taken() {
    let fixture = Fixture::new();
    let mut command = fixture.command(
        "mkdir $OUT/d; setsid sh -c 'while :; do echo x >> $OUT/d/f; done' >/dev/null 2>&1 </dev/null & sleep 0.3",
    );
    command.outputs = vec!["d".to_owned()];
    for runner in all().await {
        let outcome = fixture.run(&runner, &command).await.unwrap();
        let tree = fixture.store.tree(outcome.outputs["d"]).unwrap();
        let Kind::File { object, size } = tree.get("f").unwrap().kind else { panic!() };
        // What is stored is what was hashed: nobody wrote to it afterwards.
        assert_eq!(fixture.store.get(object).unwrap().len() as u64, size, "{}", runner.name());
        assert!(size > 0);
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn a_pipe_or_a_device_among_the_outputs_is_told() {
    let fixture = Fixture::new();
    let mut command = fixture.command("mkdir -p $OUT/root/a; mkfifo $OUT/root/a/pipe; echo made it");
    command.outputs = vec!["root".to_owned()];
    for runner in all().await {
        let error = fixture.run(&runner, &command).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "$OUT/root/a/pipe: it is a device, a socket or a pipe",
            "{}",
            runner.name()
        );
        assert_eq!(fixture.log_of(&error), "made it\n");
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn what_an_action_leaves_closed_is_cleaned_away() {
    let fixture = Fixture::new();
    let script = "mkdir -p $OUT/a/b/c work/x; touch $OUT/a/b/c/f; chmod 000 $OUT/a/b/c $OUT/a/b $OUT/a work; \
                  mkdir -p /usr/closed/x; chmod 000 /usr/closed; chmod 000 /";
    for runner in all().await {
        fixture.run(&runner, &fixture.command(script)).await.unwrap();
        fixture.assert_nothing_left();
    }
}

#[tokio::test]
async fn nothing_of_a_command_is_there_for_the_next() {
    let fixture = Fixture::new();
    let look = fixture
        .command("find /forge /tmp | sort; ls -ldn /forge/* | cut -d' ' -f1-4; cat /forge/script; pwd");
    let scripts = [
        "echo x > /forge/beside; mkdir -p /forge/dir/d; echo y > $OUT/o; echo z > $HOME/h; touch w /tmp/t",
        "rm /forge/script; ln -s /etc/passwd /forge/script",
        "rm /forge/script; mkdir /forge/script",
        "chmod 777 /forge",
        "chmod 700 $OUT",
        "chmod 400 /forge/script",
        "chown 7:7 $HOME",
        "rmdir /forge/home; ln -s / /forge/home",
        "ln /forge/script /forge/second",
    ];
    for runner in all().await {
        let look = async || fixture.store.get(fixture.run(&runner, &look).await.unwrap().log).unwrap();
        let first = String::from_utf8(look().await).unwrap();
        for script in scripts {
            fixture.run(&runner, &fixture.command(script)).await.unwrap();
            assert_eq!(String::from_utf8(look().await).unwrap(), first, "{}: {script}", runner.name());
        }
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn an_out_directory_that_is_a_link_shows_nothing_of_the_host() {
    let fixture = Fixture::new();
    let mut command = fixture.command("rmdir /forge/out; ln -s /etc /forge/out");
    command.outputs = vec!["shadow".to_owned()];
    let mut nested = fixture.command("ln -s /etc $OUT/pkg");
    nested.outputs = vec!["pkg/shadow".to_owned()];
    for runner in all().await {
        for command in [&command, &nested] {
            let error = fixture.run(&runner, command).await.unwrap_err();
            assert!(matches!(error, RunError::UnfitOutput { .. }), "{}: {error}", runner.name());
        }
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn a_link_in_a_copied_tree_leads_no_other_copy_out() {
    let fixture = Fixture::new();
    let target = fixture.path().join("victim");
    std::fs::create_dir(&target).unwrap();
    let link = Kind::Symlink { target: target.to_str().unwrap().to_owned() };
    let trap = Tree::new(vec![Entry { path: "src".into(), mode: 0o777, kind: link }]);
    let trap = fixture.store.put_tree(&trap).unwrap();
    let tree = fixture.tree(&[("planted", "x")]);
    let copy = |tree, into: &str| WorkCopy { tree, into: into.to_owned() };
    for runner in all().await {
        for into in ["src", "src/below"] {
            let mut command = fixture.command("true");
            command.copies = vec![copy(trap, "."), copy(tree, into)];
            let _ = fixture.run(&runner, &command).await;
            let mut command = fixture.command("true");
            command.copies = vec![copy(trap, ".")];
            command.mounts = vec![Mount { tree, at: format!("/forge/work/{into}") }];
            let _ = fixture.run(&runner, &command).await;
            assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0, "{}", runner.name());
        }
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_runs() {
    let fixture = Fixture::new();
    let tree = fixture.tree(&[("a", "a")]);
    let mount = |at: &str| Mount { tree, at: at.to_owned() };
    for runner in all().await {
        let mut nested = fixture.command("true");
        nested.mounts = vec![mount("/opt/a/b"), mount("/opt/a-b"), mount("/opt/a")];
        let mut outside = fixture.command("true");
        outside.copies = vec![WorkCopy { tree, into: "../x".to_owned() }];
        let mut output = fixture.command("true");
        output.outputs = vec!["../../etc".to_owned()];
        let mut variable = fixture.command("true");
        variable.env = [("A=B".to_owned(), String::new())].into();
        for command in [nested, outside, output, variable] {
            let error = fixture.run(&runner, &command).await.unwrap_err();
            assert!(matches!(error, RunError::Setup(_)), "{}: {error}", runner.name());
        }
    }
}

#[tokio::test]
async fn an_object_that_is_gone_is_the_stores_fault() {
    let fixture = Fixture::new();
    let gone = crate::digest::Digest::of(b"never stored");
    let tree = Tree::new(vec![super::support::file("a", 0o644, gone, 12)]);
    let tree = fixture.store.put_tree(&tree).unwrap();
    let mut root = fixture.command("true");
    root.root = Root::Tree(tree);
    let mut mount = fixture.command("true");
    mount.mounts = vec![Mount { tree, at: "/in".to_owned() }];
    let mut copy = fixture.command("true");
    copy.copies = vec![WorkCopy { tree, into: "in".to_owned() }];
    for runner in all().await {
        for command in [&root, &mount, &copy] {
            let error = fixture.run(&runner, command).await.unwrap_err();
            let missing = matches!(error, RunError::Store(StoreError::Missing(digest)) if digest == gone);
            assert!(missing, "{}: {error:?}", runner.name());
        }
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn what_is_of_the_whole_machine_cannot_be_written() {
    let fixture = Fixture::new();
    // Nothing is written to them: that they can be opened would be enough.
    let command = fixture.command(
        "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/default_smp_affinity; do \
         test -e $f && (: >> $f) 2>/dev/null && echo $f; done; mount -o remount,rw /proc/sys 2>/dev/null && echo again; \
         umount /proc/sys 2>/dev/null && echo off; true",
    );
    for runner in all().await {
        assert_eq!(fixture.said(&runner, &command).await, "", "{}", runner.name());
    }
}

#[tokio::test]
async fn the_sandbox_shows_what_it_is_told_to_and_no_more() {
    let fixture = Fixture::new();
    let tree = fixture.tree(&[("a", "alpha")]);
    let mut command = fixture.command("cut -d' ' -f5 /proc/self/mountinfo | sort");
    command.mounts = vec![Mount { tree, at: "/opt/in".to_owned() }];
    let own = "/ /dev /dev/full /dev/null /dev/pts /dev/random /dev/shm /dev/tty /dev/urandom /dev/zero /etc/hostname \
               /etc/hosts /etc/resolv.conf /forge /opt/in /proc /proc/bus /proc/irq /proc/sys /proc/sysrq-trigger /tmp";
    // Not every kernel has all of the last.
    let is_here = |place: &&str| !place.starts_with("/proc/") || std::path::Path::new(place).exists();
    let own: Vec<&str> = own.split(' ').filter(is_here).collect();
    let said = fixture.said(&sandbox().await, &command).await;
    assert_eq!(said.lines().collect::<Vec<_>>(), own);
}

#[tokio::test]
async fn a_command_has_no_descriptor_but_its_streams() {
    let fixture = Fixture::new();
    // As a shell or make leaves them.
    let open = std::fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&open, rustix::io::FdFlags::empty()).unwrap();
    let command = fixture.command(
        "for fd in $(ls /proc/1/fd); do echo $fd; done; ls -l /proc/self/fd 2>/dev/null | grep -- '-> /$' || true",
    );
    assert_eq!(fixture.said(&sandbox().await, &command).await, "0\n1\n2\n");
}

#[tokio::test]
async fn a_step_of_the_sandbox_that_cannot_be_done_is_told() {
    let fixture = Fixture::new();
    let mut command = fixture.command("true");
    command.root = Root::Host;
    let tree = fixture.tree(&[("a", "alpha")]);
    command.mounts = vec![Mount { tree, at: "/usr/nowhere".to_owned() }];
    let error = fixture.run(&sandbox().await, &command).await.unwrap_err();
    let told = "the sandbox cannot make the directory /usr/nowhere in its root: Read-only file system";
    assert!(matches!(&error, RunError::Setup(text) if text.starts_with(told)), "{error}");
    fixture.assert_nothing_left();
}
