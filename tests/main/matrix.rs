use super::scratch::Scratch;

/// Three axes, a target over all of them, and one over the first that uses it.
fn cube(length: usize) -> Scratch {
    let mut buildfile = String::new();
    for axis in ["x", "y", "z"] {
        let values = (0..length).map(|at| format!("    value \"{axis}{at}\" tag=\"{axis}-tag-{at}\"\n"));
        buildfile.push_str(&format!("axis \"{axis}\" {{\n{}}}\n", values.collect::<String>()));
    }
    buildfile.push_str(
        r#"
target "cell" over="x y z" {
    run "mkdir $OUT/o; echo {x.tag} {y} {z} > $OUT/o/cell"
    output "o"
}
target "face" over="x" {
    use "cell" into="in"
    run "mkdir $OUT/o; cp in/cell $OUT/o/face"
    output "o"
}
"#,
    );
    Scratch::new(&buildfile)
}

/// The plan as it is printed, without the time it would take.
fn plan(scratch: &Scratch) -> String {
    let text = scratch.ok("plan").stdout;
    let lines = text.lines().map(|line| line.split(", about").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_thousand_cells_are_built_once_and_a_changed_value_rebuilds_its_own() {
    let scratch = cube(10);
    let first = plan(&scratch);
    assert!(first.lines().count() < 40, "{first}");

    let (done, events) = scratch.run_with_events("");
    done.ends_with(0).says("1010 run, 0 known");
    assert_eq!(events.nodes("node-started").len(), 1010);

    let (done, events) = scratch.run_with_events("");
    done.ends_with(0).says("nothing to do: 1010 nodes known");
    assert_eq!(events.0.len(), 2, "the run began and ended: {events:?}");
    scratch.forge("plan --exit-code").ends_with(0);

    scratch.edit("Buildfile.kdl", "x-tag-3", "x-tag-three");
    scratch.forge("plan --exit-code").ends_with(2);
    let changed = plan(&scratch);
    assert!(changed.lines().count() < 40, "{changed}");
    let (done, events) = scratch.run_with_events("");
    done.ends_with(0).says("101 run, 909 known");
    let started = events.nodes("node-started");
    assert!(started.iter().all(|node| node.contains("[x=x3")), "{started:?}");
    assert_eq!(started.len(), 101);
}

#[test]
fn a_plan_tells_targets_and_causes_not_nodes() {
    let scratch = cube(2);
    insta::assert_snapshot!(plan(&scratch), @"
    cell: 8 nodes
      run: never built    [x=x0,y=y0,z=z0] [x=x0,y=y0,z=z1] [x=x0,y=y1,z=z0] and 5 more
    face: 2 nodes
      may follow: after cell    [x=x0] [x=x1]

    10 nodes: 0 known, 8 to run, 2 may follow
    ");
    scratch.ok("run");
    insta::assert_snapshot!(plan(&scratch), @"nothing to do: 10 nodes known");
    scratch.edit("Buildfile.kdl", "x-tag-1", "x-tag-one");
    insta::assert_snapshot!(plan(&scratch), @"
    cell: 4 nodes
      run: run: 'mkdir $OUT/o; echo x-tag-1 y0 z0 > $OUT/o/cell' → 'mkdir $OUT/o; echo x-tag-one y0 z0 > $OUT/o/cell', and alike    [x=x1,y=y0,z=z0] [x=x1,y=y0,z=z1] [x=x1,y=y1,z=z0] and 1 more
    face: 1 node
      may follow: after cell    [x=x1]

    10 nodes: 5 known, 4 to run, 1 may follow
    ");
}

#[test]
fn a_selection_takes_its_part_of_the_matrix() {
    let scratch = cube(3);
    let done = scratch.ok("run cell x=x1 y!=y0,y2");
    done.says("3 run, 0 known");
    let plan = scratch.plan("cell");
    assert_eq!(plan.verdict("cell[x=x1,y=y1,z=z2]"), "hit");
    assert_eq!(plan.verdict("cell[x=x1,y=y0,z=z2]"), "run");
    scratch.forge("run cell w=w1").ends_with(1);
}

/// What is made for one architecture with the help of what runs on another.
const CROSS: &str = r#"
axis "x" { value "x0"; value "x1" }
axis "arch" { value "amd64" build="native"; value "arm64" build="cross" }
target "tool" over="arch" { run "mkdir $OUT/o; echo 'tool of {arch}' > $OUT/o/tool"; output "o" }
target "native" over="x arch" {
    where arch.build="native"
    use "tool" into="in"
    run "mkdir $OUT/o; cp in/tool $OUT/o/made"
    output "o"
}
target "cross" over="x arch" {
    where arch.build="cross"
    use "native[arch=amd64]" into="in"
    run "mkdir $OUT/o; (cat in/made; echo 'for {x} {arch}') > $OUT/o/made"
    output "o"
}
target "bundle" over="x arch" {
    use "native" "cross" into="in"
    run "mkdir $OUT/o; cp in/made $OUT/o/made"
    output "o"
}
"#;

#[test]
fn a_fixed_coordinate_is_reached_beyond_the_selection() {
    let scratch = Scratch::new(CROSS);
    let plan = scratch.plan("bundle arch=arm64 x=x1");
    let nodes: Vec<String> = plan.keys().into_keys().collect();
    let expected =
        ["bundle[x=x1,arch=arm64]", "cross[x=x1,arch=arm64]", "native[x=x1,arch=amd64]", "tool[arch=amd64]"];
    assert_eq!(nodes, expected);
    scratch.ok("run bundle arch=arm64 x=x1");
    assert_eq!(scratch.output_file("bundle[x=x1,arch=arm64]", "made"), "tool of amd64\nfor x1 arm64\n");

    // With more selected the same nodes are the same.
    let whole = scratch.plan("bundle");
    for node in expected {
        assert_eq!(whole.verdict(node), "hit", "{node}");
    }
    assert_eq!(whole.verdict("bundle[x=x1,arch=amd64]"), "run");
    // Its name stands for what is selected, and for nothing that was needed beside it.
    scratch
        .forge("plan native arch=arm64")
        .ends_with(1)
        .says("no target 'native' with a cell in this selection");
    scratch.ok("plan bundle arch=arm64 x=x0 --out saved.json");
    // What is native is the same for x0.
    scratch.ok("run --plan saved.json").says("2 run, 2 known");
}
