//! One graph for all sides: as a Buildfile, for ninja and for make.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// How many units a pack gathers.
const PER_PACK: usize = 100;

/// Source files, an action for each (a unit), and one for every hundred of them that gathers their outputs (a pack).
#[derive(Clone, Copy)]
pub struct Shape {
    pub units: usize,
    /// Whether forge's actions run in the sandbox.
    pub is_closed: bool,
}

impl Shape {
    pub fn packs(&self) -> usize {
        self.units.div_ceil(PER_PACK)
    }

    pub fn nodes(&self) -> usize {
        self.units + self.packs()
    }

    fn units_of(&self, pack: usize) -> std::ops::Range<usize> {
        pack * PER_PACK..self.units.min((pack + 1) * PER_PACK)
    }

    /// The source files below `dir`.
    pub fn write_sources(&self, dir: &Path) {
        for pack in 0..self.packs() {
            let dir = dir.join(format!("src/p{pack}"));
            fs::create_dir_all(&dir).unwrap();
            for unit in self.units_of(pack) {
                fs::write(dir.join(format!("u{unit}.c")), format!("unit {unit}\n")).unwrap();
            }
        }
    }

    /// What a user who has such a graph would write, or have written: the values of an axis, in groups.
    pub fn write_buildfile(&self, dir: &Path) {
        let mut text = String::from("axis \"unit\" {\n");
        for pack in 0..self.packs() {
            let names: Vec<String> = self.units_of(pack).map(|unit| format!("\"u{unit}\"")).collect();
            writeln!(text, "    value {} pack=\"p{pack}\"", names.join(" ")).unwrap();
        }
        let open = if self.is_closed { "" } else { " image=\"bare\"" };
        write!(
            text,
            r#"}}

target "object" over="unit"{open} {{
    files "src/{{unit.pack}}/{{unit}}.c" into="."
    run "tr a-z A-Z < src/{{unit.pack}}/{{unit}}.c > $OUT/o"
    output "o"
}}

target "pack" over="unit.pack"{open} {{
    gather "object" into="in/{{unit}}"
    run "cat in/*/o > $OUT/pack"
    output "pack"
}}
"#
        )
        .unwrap();
        fs::write(dir.join("Buildfile.kdl"), text).unwrap();
    }

    /// The same for ninja; `wrap` is put around every command.
    pub fn write_ninja(&self, dir: &Path, wrap: impl Fn(&str) -> String) {
        let (unit, gather) = (wrap("tr a-z A-Z < $in > $out"), wrap("cat $in > $out"));
        let mut text = format!("rule unit\n  command = {unit}\nrule gather\n  command = {gather}\n");
        for pack in 0..self.packs() {
            let mut objects = String::new();
            for unit in self.units_of(pack) {
                writeln!(text, "build obj/u{unit}.o: unit src/p{pack}/u{unit}.c").unwrap();
                write!(objects, " obj/u{unit}.o").unwrap();
            }
            writeln!(text, "build pack/p{pack}: gather{objects}").unwrap();
        }
        fs::write(dir.join("build.ninja"), text).unwrap();
    }

    /// The same for make.
    pub fn write_makefile(&self, dir: &Path) {
        fs::create_dir_all(dir.join("obj")).unwrap();
        fs::create_dir_all(dir.join("pack")).unwrap();
        let mut text = String::from("all:\n");
        for pack in 0..self.packs() {
            let mut objects = String::new();
            for unit in self.units_of(pack) {
                writeln!(text, "obj/u{unit}.o: src/p{pack}/u{unit}.c\n\ttr a-z A-Z < $< > $@").unwrap();
                write!(objects, " obj/u{unit}.o").unwrap();
            }
            writeln!(text, "pack/p{pack}:{objects}\n\tcat $^ > $@\nall: pack/p{pack}").unwrap();
        }
        fs::write(dir.join("Makefile"), text).unwrap();
    }
}
