//! Where nothing has changed, nothing is read; whatever may have changed is looked at.

use std::fs;
use std::time::Duration;

use super::scratch::Scratch;

/// Two sources found by a glob and one by name, a target that gathers, and a rule file of git's beside them.
fn scratch() -> Scratch {
    let scratch = Scratch::new(
        r#"include "more/*.kdl"

axis "unit" {
    value "a" "b" pack="one"
}

target "object" over="unit" image="bare" {
    files "src/{unit}.c" into="."
    run "tr a-z A-Z < src/{unit}.c > $OUT/o"
    output "o"
}

target "pack" over="unit.pack" image="bare" {
    gather "object" into="in/{unit}"
    files "text/*.txt" into="."
    run "cat in/*/o text/* > $OUT/pack"
    output "pack"
}
"#,
    );
    scratch.write(
        "more/one.kdl",
        "target \"more\" image=\"bare\" {\n    run \"echo more > $OUT/o\"\n    output \"o\"\n}\n",
    );
    scratch.write("src/a.c", "unit a\n");
    scratch.write("src/b.c", "unit b\n");
    scratch.write("text/x.txt", "x\n");
    scratch.write("text/left-out.tmp", "t\n");
    scratch.write(".gitignore", "*.log\n");
    scratch
}

/// Built, with the short answer kept.
fn idle() -> Scratch {
    let scratch = scratch();
    scratch.ok("run").says("4 run");
    assert_eq!(scratch.output_file("pack[unit.pack=one]", "pack"), "UNIT A\nUNIT B\nx\n");
    settle();
    scratch.ok("run").says("nothing to do: 4 nodes known");
    assert!(answers_shortly(&scratch), "the answer is kept");
    scratch
}

/// What was written is older than what looks at it next: the clock of files has ticks.
fn settle() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Runs, and gives what it told and which calls of the kernel it made.
fn traced_run(scratch: &Scratch, calls: &str) -> (String, String) {
    let trace = scratch.path("../").canonicalize().unwrap().join(format!("{}.trace", scratch.name()));
    let mut command = std::process::Command::new("strace");
    let forge = scratch.command("run");
    command.args(["-f", "-e", calls, "-o"]).arg(&trace).arg(forge.get_program());
    let output = command
        .arg("run")
        .current_dir(scratch.path("."))
        .output()
        .expect("strace is installed, see tests/prepare");
    let traced = fs::read_to_string(&trace).unwrap();
    let _ = fs::remove_file(&trace);
    (String::from_utf8_lossy(&output.stderr).into_owned(), traced)
}

/// Whether a run tells that there is nothing to do without opening the Buildfile.
fn answers_shortly(scratch: &Scratch) -> bool {
    let (told, traced) = traced_run(scratch, "trace=open,openat");
    assert!(traced.contains("openat("), "{traced}");
    told.contains("nothing to do") && !traced.contains("Buildfile.kdl\"")
}

#[test]
fn nothing_is_read_where_nothing_changed() {
    let scratch = idle();
    scratch.ok("run").says("nothing to do: 4 nodes known");
    assert_eq!(scratch.ok("plan --exit-code").stdout, "nothing to do: 4 nodes known\n");
    let (_, events) = scratch.run_with_events("");
    assert_eq!(events.0.len(), 2, "the run began and ended: {events:?}");
    assert_eq!(events.0[0]["hits"], 4);
}

#[test]
fn an_edit_is_noticed_also_one_that_keeps_size_and_time() {
    let scratch = idle();
    scratch.write("src/a.c", "unit c\n");
    scratch.forge("plan --exit-code").ends_with(2);
    scratch.ok("run").says("2 run, 2 known");
    assert_eq!(scratch.output_file("pack[unit.pack=one]", "pack"), "UNIT C\nUNIT B\nx\n");

    settle();
    scratch.ok("run").says("nothing to do");
    assert!(answers_shortly(&scratch));
    let time = fs::metadata(scratch.path("src/a.c")).unwrap().modified().unwrap();
    scratch.write("src/a.c", "unit d\n");
    fs::File::options().write(true).open(scratch.path("src/a.c")).unwrap().set_modified(time).unwrap();
    scratch.ok("run").says("2 run, 2 known");
}

#[test]
fn a_file_that_comes_goes_or_is_left_out_is_noticed() {
    let scratch = idle();
    scratch.write("text/y.txt", "y\n");
    scratch.ok("run").says("1 run, 3 known");
    scratch.write(".gitignore", "*.log\ny.txt\n");
    scratch.ok("run").says("nothing to do");
    settle();
    scratch.ok("run").says("nothing to do");
    scratch.write("text/.gitignore", "!y.txt\n");
    scratch.forge("plan --exit-code").ends_with(0);
    assert_eq!(scratch.output_file("pack[unit.pack=one]", "pack"), "UNIT A\nUNIT B\nx\ny\n");
    scratch.write("text/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    scratch.forge("run").ends_with(1);
    fs::remove_file(scratch.path("text/CACHEDIR.TAG")).unwrap();
    fs::remove_file(scratch.path("src/b.c")).unwrap();
    scratch.forge("run").ends_with(1);
}

#[test]
fn a_change_of_the_buildfile_is_noticed_and_a_new_file_that_it_includes() {
    let scratch = idle();
    scratch.edit("more/one.kdl", "echo more", "echo less");
    scratch.ok("run").says("1 run, 3 known");
    settle();
    scratch.ok("run").says("nothing to do");
    scratch.write("more/two.kdl", &scratch.read("more/one.kdl").replace("\"more\"", "\"other\""));
    // The same action by another name.
    scratch.ok("run").says("nothing to do: 5 nodes known");
    settle();
    scratch.ok("run").says("nothing to do");
    scratch.edit("Buildfile.kdl", "tr a-z A-Z", "cat");
    scratch.ok("run").says("3 run, 2 known");
    settle();
    scratch.ok("run").says("nothing to do");
    scratch.write("forge.lock", "no lock\n");
    scratch.forge("run").ends_with(1);
}

#[test]
fn each_question_has_its_own_answer() {
    let scratch = scratch();
    scratch.ok("run more").says("1 run, 0 known");
    settle();
    scratch.ok("run more").says("nothing to do: 1 node known");
    scratch.ok("run more").says("nothing to do: 1 node known");
    scratch.forge("plan --exit-code").ends_with(2);
    scratch.ok("run object unit=a").says("1 run, 0 known");
    settle();
    scratch.ok("run object unit=a").says("nothing to do: 1 node known");
    scratch.ok("run object unit=b").says("1 run, 0 known");
    scratch.ok("run").says("1 run, 3 known");
}

#[test]
fn what_the_store_lost_is_noticed() {
    let scratch = idle();
    let key: forge::digest::Digest = scratch.plan("more").keys()["more"].parse().unwrap();
    let hex = key.to_string();
    fs::remove_file(scratch.path(&format!("cache/results/{}/{}", &hex[..2], &hex[2..]))).unwrap();
    scratch.ok("run").says("1 run, 3 known");

    settle();
    scratch.ok("run").says("nothing to do");
    assert!(answers_shortly(&scratch));
    let store = scratch.store();
    let object = store.object_path(forge::digest::Digest::of(b"more\n"));
    fs::remove_file(&object).unwrap();
    scratch.ok("run").says("1 run, 3 known");
    drop(store);

    settle();
    scratch.ok("run").says("nothing to do");
    fs::remove_file(&object).unwrap();
    scratch.write("cache/objects/unwanted", "");
    scratch.ok("cache verify");
    scratch.ok("run").says("1 run, 3 known");
    settle();
    scratch.ok("run").says("nothing to do");
    scratch.ok("cache gc --days 0");
    scratch.ok("run").says("4 run, 0 known");
}

#[test]
fn what_is_younger_than_the_question_gives_no_short_answer() {
    let scratch = scratch();
    scratch.ok("run");
    // From the future: whatever is written until then looks as old.
    let later = std::time::SystemTime::now() + Duration::from_secs(3600);
    fs::File::options().write(true).open(scratch.path("src/a.c")).unwrap().set_modified(later).unwrap();
    settle();
    scratch.ok("run").says("nothing to do");
    assert!(!answers_shortly(&scratch));
}

#[test]
fn warnings_are_told_every_time() {
    let scratch = scratch();
    scratch.write("more/rule.kdl", "exclude unit=\"a\" unit=\"b\"\n");
    scratch.ok("run").says("excludes nothing");
    settle();
    for _ in 0..3 {
        scratch.ok("run").says("excludes nothing").says("nothing to do");
    }
}

/// How often a run looks at each of these files.
fn looks_at<const N: usize>(scratch: &Scratch, files: [&str; N]) -> [usize; N] {
    let (_, traced) = traced_run(scratch, "trace=%%stat");
    assert!(traced.contains("Buildfile.kdl"), "{traced}");
    files.map(|file| traced.lines().filter(|line| line.contains(&format!("\"{file}\""))).count())
}

#[test]
fn after_an_edit_only_what_takes_it_is_looked_at_again() {
    let scratch = idle();
    for text in ["unit c\n", "unit d\n"] {
        scratch.write("src/a.c", text);
        let [edited, other] = looks_at(&scratch, ["a.c", "b.c"]);
        assert!(edited > 1 && other == 1, "a.c {edited} times, b.c {other} times, which is as it was");
        let made = text.to_uppercase() + "UNIT B\nx\n";
        assert_eq!(scratch.output_file("pack[unit.pack=one]", "pack"), made);
    }
}

/// What a plan is, and what it would be if nothing was remembered of an earlier one.
fn both_plans(scratch: &Scratch) -> [(Option<i32>, String, String); 2] {
    let (answers, kept) = (scratch.path("cache/answers"), scratch.path("cache/kept"));
    let copy = std::process::Command::new("cp").arg("-r").arg(&answers).arg(&kept).status().unwrap();
    assert!(copy.success());
    let plan = || {
        let done = scratch.forge("plan --json");
        (done.code, done.stdout, done.stderr)
    };
    let with = plan();
    fs::remove_dir_all(&answers).unwrap();
    let without = plan();
    fs::remove_dir_all(&answers).unwrap();
    fs::rename(kept, answers).unwrap();
    [with, without]
}

#[test]
fn whatever_changes_a_plan_is_the_one_that_is_made_of_nothing() {
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    let mut rng = StdRng::seed_from_u64(5);
    let scratch = idle();
    let names =
        ["src/a.c", "src/b.c", "text/x.txt", "text/y.txt", "text/left-out.tmp", "text/deep/z.txt", "other"];
    let mut is_known = false;
    for round in 0..60 {
        let name = *names.choose(&mut rng).unwrap();
        let path = scratch.path(name);
        let what = match rng.gen_range(0..8) {
            0 | 1 => {
                scratch.write(name, &format!("{}\n", rng.gen_range(0..3)));
                "was written"
            }
            2 => {
                let _ = fs::remove_file(&path);
                "was removed"
            }
            3 if path.exists() => {
                let time = fs::metadata(&path).unwrap().modified().unwrap();
                fs::write(scratch.path("new"), fs::read_to_string(&path).unwrap().replace('\n', "")).unwrap();
                fs::File::open(scratch.path("new")).unwrap().set_modified(time).unwrap();
                fs::rename(scratch.path("new"), &path).unwrap();
                "was replaced, with the same time"
            }
            4 => {
                let rules = ["*.log\n", "*.log\nx.txt\n", "*.log\n/text\n"].choose(&mut rng).unwrap();
                scratch.write(".gitignore", rules);
                "stayed, and the rules changed"
            }
            5 => {
                let results = walkdir::WalkDir::new(scratch.path("cache/results")).into_iter();
                let mut files = results.map(Result::unwrap).filter(|entry| entry.file_type().is_file());
                files.next().into_iter().for_each(|file| fs::remove_file(file.path()).unwrap());
                "stayed, and a result is gone"
            }
            6 => {
                scratch.forge("run");
                "stayed, and all was run"
            }
            _ if scratch.path("text").exists() => {
                fs::rename(scratch.path("text"), scratch.path("moved")).unwrap();
                fs::create_dir(scratch.path("text")).unwrap();
                fs::rename(scratch.path("moved/x.txt"), scratch.path("text/x.txt")).unwrap_or_default();
                fs::remove_dir_all(scratch.path("moved")).unwrap();
                "stayed, and the directory is another one"
            }
            _ => "stayed",
        };
        let [with, without] = both_plans(&scratch);
        assert_eq!(with, without, "{name} {what}, round {round}");
        is_known |= with.1.contains("\"hit\"") && with.1.contains("\"run\"");
    }
    assert!(is_known, "some of it was known");
}
