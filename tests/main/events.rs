use std::collections::BTreeSet;

use super::scratch::{Events, Scratch};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md");

/// The fields that the document gives for an event: the rows of the table below its heading.
fn documented(event: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    let start =
        text.find(&format!("\n## `{event}`\n")).unwrap_or_else(|| panic!("{event} is not documented"));
    let section = &text[start + 4..];
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

fn assert_documented(events: &Events) {
    for line in &events.0 {
        let mut fields: BTreeSet<String> = line.as_object().unwrap().keys().cloned().collect();
        assert!(fields.remove("at") && fields.remove("event"), "{line}");
        assert!(line["at"].as_u64().unwrap() > 1_500_000_000_000, "{line}");
        assert_eq!(fields, documented(line["event"].as_str().unwrap()), "{line}");
    }
}

#[test]
fn every_line_is_a_documented_event() {
    let scratch = Scratch::new(
        r#"
target "first" {
    files "in.txt" into="."
    run "echo hello; mkdir $OUT/o; head -n 1 in.txt > $OUT/o/f"
    output "o"
}
target "second" {
    use "first" into="."
    run "mkdir $OUT/o"
    output "o"
}
target "bad" {
    run "echo oh; exit 2"
    output "o"
}
target "never" {
    use "bad" into="."
    run "true"
    output "o"
}
"#,
    );
    scratch.write("in.txt", "one\ntwo\n");
    let (done, events) = scratch.run_with_events("--keep-going");
    done.ends_with(3);
    assert_documented(&events);
    let kinds: BTreeSet<&str> = events.0.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let expected = ["node-failed", "node-finished", "node-line", "node-skipped", "node-started", "notice"];
    assert!(expected.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    assert!(
        events
            .of("node-line")
            .any(|line| (&line["node"], &line["line"]) == (&"first".into(), &"hello".into()))
    );
    let (first, last) = (events.of("run-started").next().unwrap(), events.0.last().unwrap());
    assert_eq!(
        (&first["nodes"], &first["hits"], &first["runner"]),
        (&4.into(), &0.into(), &"sandbox".into())
    );
    assert_eq!(last["event"], "run-finished");
    let counts = ["built", "hits", "failed", "skipped"].map(|field| last[field].as_u64().unwrap());
    assert_eq!(counts, [2, 0, 1, 1]);

    scratch.write("in.txt", "one\nthree\n");
    let (_, events) = scratch.run_with_events("--keep-going");
    assert_documented(&events);
    assert_eq!((events.outcome("first"), events.outcome("second")), (Some("unchanged"), Some("hit")));
    let times: Vec<u64> = events.0.iter().map(|line| line["at"].as_u64().unwrap()).collect();
    assert!(times.is_sorted());
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_the_run() {
    let scratch = Scratch::new("target \"t\" {\n    run \"mkdir $OUT/o\"\n    output \"o\"\n}\n");
    scratch.forge("run --events no/such/place").ends_with(1).says("cannot write no/such/place");
    assert_eq!(scratch.plan("").verdict("t"), "run");
}
