//! A step in a container.

use std::cell::Cell;
use std::fs;

use forge::store::LocalStore;

use crate::pairs::compare;
use crate::report::Section;
use crate::side::Place;

/// How many steps are one after another.
const STEPS: usize = 10;

const NOTE: &str = "The image is busybox, and the same for both, in the same engine. A step reads a file and writes one. forge's runs in a directory of \
     its own, with what it declares and nothing else, and what it wrote is hashed and stored; for `docker run` the file lies in a directory \
     that is mounted, and another takes what is written. Both call the engine for one step after another.";

/// The group `container`.
pub fn measure() -> Section {
    let mut section = Section::new("A step in a container", "container");
    section.peer(&["docker", "--version"]);
    let place = Place::new();
    fs::create_dir_all(place.path("image")).unwrap();
    fs::copy("/bin/busybox", place.path("image/busybox")).expect("busybox-static, see tests/prepare");
    let dockerfile = "FROM scratch\nCOPY image/busybox /bin/busybox\nRUN [\"/bin/busybox\", \"ln\", \"-s\", \"busybox\", \"/bin/sh\"]\nRUN ln -s busybox /bin/cat\n";
    fs::write(place.path("image/Dockerfile"), dockerfile).unwrap();
    fs::create_dir_all(place.path("in")).unwrap();
    (0..STEPS)
        .for_each(|step| fs::write(place.path(&format!("in/{step}")), format!("step {step}\n")).unwrap());

    let count = Cell::new(0);
    let renew = || {
        count.set(count.get() + 1);
        fs::write(place.path("Buildfile.kdl"), buildfile(count.get())).unwrap();
    };
    renew();
    place.forge(&["run", "--runner", "docker"], "");
    let images = place.output(&["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "forge/root"]);
    // The engine may have those of others, too.
    let store = LocalStore::open(place.path("cache")).expect("a store");
    let root = store.earlier("busybox").next().and_then(|built| built.result.outputs.into_values().next());
    let root = root.expect("the image was built").to_string();
    let image =
        images.lines().find(|image| image.contains(&root)).expect("forge gave its image to the engine");

    fs::create_dir_all(place.path("out")).unwrap();
    let script = format!(
        "for at in $(seq 0 {}); do docker run --rm --network none -v $PWD/in:/in:ro -v $PWD/out:/out {image} \
         /bin/sh -c \"cat /in/$at > /out/$at\"; done",
        STEPS - 1
    );
    let pairs = compare(
        renew,
        |()| place.forge(&["run", "--runner", "docker", "--jobs", "1"], &format!("{STEPS} run")),
        || place.set_aside("out"),
        |()| place.tool(&["sh", "-c", &script], ""),
    );
    section.compared(&format!("{STEPS} steps in a container"), "docker run of the same", &pairs, 1.1);
    section.note(NOTE);
    section
}

fn buildfile(count: usize) -> String {
    let values: Vec<String> = (0..STEPS).map(|step| format!("\"{step}\"")).collect();
    format!(
        r#"axis "n" {{ value {} }}
image "busybox" {{
    dockerfile "image/Dockerfile" platform="{}" {{ context "image/busybox" }}
}}
target "step" over="n" image="busybox" {{
    files "in/{{n}}" into="."
    run "cat in/{{n}} > $OUT/o; : {count}"
    output "o"
}}
"#,
        values.join(" "),
        forge::graph::machine_platform()
    )
}
