use super::scratch::Scratch;

fn chain() -> Scratch {
    let scratch = Scratch::new(
        r#"
target "a" {
    files "source.txt" into="."
    env "LEVEL" "low"
    run "mkdir $OUT/o; cat source.txt > $OUT/o/a"
    output "o"
}
target "b" {
    use "a" into="a"
    run "mkdir $OUT/o; cat a/a > $OUT/o/b"
    output "o"
}
target "c" {
    use "b" into="b"
    run "mkdir $OUT/o; cat b/b > $OUT/o/c"
    output "o"
}
"#,
    );
    scratch.write("source.txt", "one\n");
    scratch.ok("run");
    scratch
}

#[test]
fn it_names_the_field_with_both_values() {
    let scratch = chain();
    assert!(scratch.ok("why a").stdout.starts_with("a: hit\n"));
    scratch.edit("Buildfile.kdl", "low", "high");
    let why = scratch.ok("why a").stdout;
    assert!(why.contains("cause: env.LEVEL: 'low' → 'high'"), "{why}");
    let json: serde_json::Value = serde_json::from_str(&scratch.ok("why --json a").stdout).unwrap();
    let change = serde_json::json!([{ "field": "env.LEVEL", "before": "low", "after": "high" }]);
    assert_eq!(json["changes"], change);
}

#[test]
fn it_follows_the_chain_to_its_root() {
    let scratch = chain();
    scratch.edit("source.txt", "one", "two");
    // c waits for b, b for a; after a and b have run, c is told by what changed first.
    let why = scratch.ok("why c").stdout;
    assert!(why.starts_with("c: unknown") && why.contains("waits for b"), "{why}");
    scratch.ok("run b");
    let why = scratch.ok("why c").stdout;
    let lines: Vec<&str> = why.lines().collect();
    assert!(lines.iter().any(|line| line.starts_with("cause: input.into b: ")), "{why}");
    let b = lines.iter().position(|line| line.starts_with("  since b: input.into a: ")).expect(&why);
    assert!(lines[b + 1].starts_with("  since a: input.into .: "), "{why}");
    let json: serde_json::Value = serde_json::from_str(&scratch.ok("why --json c").stdout).unwrap();
    let chain: Vec<_> = json["chain"].as_array().unwrap().iter().map(|link| &link["node"]).collect();
    assert_eq!(chain, ["b", "a"]);
}

#[test]
fn a_node_that_is_not_there_is_told_with_the_nearest_name() {
    let scratch = chain();
    scratch.forge("why d").ends_with(1).says("there is no target 'd'");
}
