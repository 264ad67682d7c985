use super::support::{Fixture, all, needs_root, sandbox};
use crate::runner::{Mount, Root, RunError, WorkCopy};

#[tokio::test]
async fn all_runners_show_the_same_world() {
    needs_root();
    let fixture = Fixture::new();
    let mut command = fixture.command(
        "env | sort; id; hostname; pwd; umask; stat -c '%n %a %u:%g %F' / /tmp /forge /forge/* $HOME \
         /proc /dev /dev/null /dev/zero /dev/random /dev/shm; ls -A / /tmp /forge $HOME $OUT; \
         cat /etc/hosts /etc/hostname /etc/resolv.conf; tail -n +3 /proc/net/dev | cut -d: -f1; \
         grep -E '^(CapPrm|CapEff|NoNewPrivs|Groups)' /proc/self/status; ulimit -n; ulimit -c; readlink -f /proc/self/fd/0; \
         tr '\\0' ' ' < /proc/1/cmdline; \
         cat /etc/passwd; cd /; touch /new /usr/new; mkdir -p /opt/a/b; rm -r /root; ls / /usr",
    );
    command.env = [("B".to_owned(), "two words".to_owned()), ("LANG".to_owned(), "C".to_owned())].into();
    let [sandbox, docker, elsewhere] = all().await;
    let (ours, theirs) = (fixture.said(&sandbox, &command).await, fixture.said(&docker, &command).await);
    assert_eq!(theirs, fixture.said(&elsewhere, &command).await);
    // The engine mounts /sys, which it cannot be told not to, and leaves its mark.
    let without = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !matches!(*line, "sys" | ".dockerenv")).map(str::to_owned).collect()
    };
    assert_eq!(without(&ours), without(&theirs));
    for line in [
        "FORGE_JOBS=3",
        "HOME=/forge/home",
        "B=two words",
        "LANG=C",
        "SOURCE_DATE_EPOCH=1700000000",
        "uid=0(root) gid=0(root) groups=0(root)",
        "/tmp 1777 0:0 directory",
        "/forge/work",
        "0022",
        "NoNewPrivs:\t1",
    ] {
        assert!(ours.lines().any(|found| found == line), "{line} is not in\n{ours}");
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn a_simple_command_sees_and_ends_as_in_a_shell_of_its_own() {
    let fixture = Fixture::new();
    let with_env = |script: &str| {
        let mut command = fixture.command(script);
        command.env = [("B".to_owned(), "two words".to_owned())].into();
        command
    };
    for runner in all().await {
        for script in
            ["env", "id -u", "cat \"/proc/self/limits\"", "sh -c 'umask; echo $1' 0 \"$B\" > /dev/stdout"]
        {
            let mut said = Vec::new();
            for script in [script.to_owned(), format!("{script};")] {
                let text = fixture.said(&runner, &with_env(&script)).await;
                // Some shells count how many they are in.
                let lines = text.lines().filter(|line| !line.starts_with("SHLVL="));
                let mut lines: Vec<String> = lines.map(str::to_owned).collect();
                lines.sort();
                said.push(lines);
            }
            assert_eq!(said[0], said[1], "{}: {script}", runner.name());
        }
        for script in
            ["cat no-file", "no-such-program", "cat < no-file", "sh -c 'exit 7'", "sh -c 'kill -9 $$'"]
        {
            let mut ends = Vec::new();
            for script in [script.to_owned(), format!("{script};")] {
                let error = fixture.run(&runner, &with_env(&script)).await.unwrap_err();
                let RunError::Failed { exit, .. } = error else { panic!("{}: {error}", runner.name()) };
                ends.push(exit);
            }
            assert_eq!(ends[0], ends[1], "{}: {script}", runner.name());
        }
    }
}

#[tokio::test]
async fn without_a_network_there_is_only_loopback_and_it_works() {
    let fixture = Fixture::new();
    let script = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; ping -c1 -W1 127.0.0.1 >/dev/null 2>&1 || \
                  { (echo ok | nc -l -p 4000 &) ; sleep 0.2; nc 127.0.0.1 4000 </dev/null; }";
    for runner in all().await {
        let said = fixture.said(&runner, &fixture.command(script)).await;
        assert!(said.starts_with("lo\n"), "{}: {said}", runner.name());
        let interfaces = said.lines().filter(|line| *line != "ok").count();
        assert_eq!(interfaces, 1, "{}: {said}", runner.name());

        let mut online = fixture.command("tail -n +3 /proc/net/dev | wc -l");
        online.network = true;
        let count: u32 = fixture.said(&runner, &online).await.trim().parse().unwrap();
        assert!(count > 1, "{}: only loopback", runner.name());
    }
}

#[tokio::test]
async fn mounts_are_seen_wherever_they_are_and_cannot_be_written() {
    let fixture = Fixture::new();
    let tree = fixture.tree(&[("a", "alpha"), ("sub/b", "beta")]);
    let mut command = fixture.command(
        "for m in /usr/lib/x /opt/deep/er /forge/work/in /tmp/y /usr/lib/abs; do cat $m/a $m/sub/b; echo; \
         (echo x > $m/a) 2>/dev/null && echo written; (echo x > $m/new) 2>/dev/null && echo made; \
         rm $m/a 2>/dev/null && echo removed; chmod 777 $m 2>/dev/null && echo opened; \
         mount -o remount,rw $m 2>/dev/null && echo remounted; umount $m 2>/dev/null && echo unmounted; done; \
         stat -c %Y /opt/deep/er/a; true",
    );
    let places = ["/usr/lib/x", "/opt/deep/er", "/forge/work/in", "/tmp/y", "/lib/abs"];
    command.mounts = places.map(|at| Mount { tree, at: at.to_owned() }).to_vec();
    for runner in all().await {
        assert_eq!(
            fixture.said(&runner, &command).await,
            "alphabeta\n".repeat(5) + "1\n",
            "{}",
            runner.name()
        );
        let checkout = fixture.store.checkout(tree).unwrap();
        assert_eq!(fixture.store.ingest(&checkout, crate::store::Ingest::Copy).unwrap().digest(), {
            let dirs = fixture.store.tree(tree).unwrap();
            let mut entries = dirs.entries().to_vec();
            entries.push(crate::store::Entry {
                path: "sub".into(),
                mode: 0o755,
                kind: crate::store::Kind::Dir,
            });
            crate::store::Tree::new(entries).digest()
        });
    }
    fixture.assert_nothing_left();
}

#[tokio::test]
async fn the_root_is_writable_and_thrown_away() {
    let fixture = Fixture::new();
    let script = "test ! -e /etc/new; echo new > /etc/new; echo changed >> /etc/passwd; rm /usr/bin/vi; \
                  chmod 000 /usr/lib; mv /var /var2; cat /etc/new";
    for runner in all().await {
        for _ in 0..2 {
            assert_eq!(fixture.said(&runner, &fixture.command(script)).await, "new\n", "{}", runner.name());
        }
        let checkout = fixture.store.checkout(fixture.root).unwrap();
        let now = fixture.store.ingest(&checkout, crate::store::Ingest::Copy).unwrap();
        assert_eq!(fixture.store.put_tree(&now).unwrap(), fixture.root, "{}", runner.name());
    }
}

#[tokio::test]
async fn copies_are_private_and_have_the_source_date() {
    let fixture = Fixture::new();
    let (src, more) = (fixture.tree(&[("a", "alpha"), ("d/b", "beta")]), fixture.tree(&[("c", "gamma")]));
    let mut command = fixture.command(
        "stat -c '%n %Y %a %u' src/a src/d/b src/d/more/c c; echo x >> src/a; rm src/d/b; cat src/a; mkdir src/n",
    );
    command.copies = [(src, "src"), (more, "src/d/more"), (more, ".")]
        .map(|(tree, into)| WorkCopy { tree, into: into.to_owned() })
        .to_vec();
    let expected = "src/a 1700000000 644 0\nsrc/d/b 1700000000 644 0\nsrc/d/more/c 1700000000 644 0\n\
                    c 1700000000 644 0\nalphax\n";
    for runner in all().await {
        for _ in 0..2 {
            assert_eq!(fixture.said(&runner, &command).await, expected, "{}", runner.name());
        }
    }
}

#[tokio::test]
async fn the_hosts_own_root_is_read_only_and_has_its_tools() {
    let fixture = Fixture::new();
    let tree = fixture.tree(&[("a", "alpha")]);
    let mut command = fixture.command(
        "id -u; hostname; cat /in/a /etc/hostname; ls -d /home /root /srv /mnt /var/lib /sys 2>/dev/null || true; \
         touch /usr/x 2>/dev/null || echo read-only; touch /etc/x 2>/dev/null || echo read-only; tr --version | head -1",
    );
    command.root = Root::Host;
    command.mounts = vec![Mount { tree, at: "/in".to_owned() }];
    let said = fixture.said(&sandbox().await, &command).await;
    assert!(said.starts_with("0\nforge\nalphaforge\nread-only\nread-only\ntr"), "{said}");
    let error = fixture.run(&super::support::docker().await, &command).await.unwrap_err();
    assert!(matches!(&error, RunError::Setup(text) if text.contains("sandbox")), "{error}");
}

#[tokio::test]
async fn apt_like_work_needs_no_more_than_the_capabilities_there_are() {
    needs_root();
    let fixture = Fixture::new();
    let script = "touch f; chown 65534:65534 f; chmod 4755 f; stat -c '%u %a' f; \
                  su -s /bin/sh nobody -c 'id -u; cat /etc/passwd >/dev/null; echo x > /tmp/n'; \
                  mkdir -p r/bin; cp /usr/bin/busybox r/bin/sh; chroot r /bin/sh -c 'echo chrooted'; \
                  mknod dev b 8 0 2>/dev/null && echo device; mount -t tmpfs x r 2>/dev/null && echo mounted; true";
    for runner in all().await {
        let said = fixture.said(&runner, &fixture.command(script)).await;
        assert_eq!(said, "65534 4755\n65534\nchrooted\n", "{}", runner.name());
    }
}
