//! What the real tools of Debian make of the packages, and what the reader makes of bad ones.

mod build;
mod install;
mod read;

use std::collections::BTreeMap;

use super::testing::{Bench, deb};
use super::{Deb, Relation};
use crate::package::MaintainerScript;
use crate::store::Tree;

/// A name longer than the 100 bytes of a tar header.
const LONG: &str = "opt/sample/a-directory-with-a-rather-long-name/and-one-more-below-it-to-get-further/\
                    until-the-header-of-tar-has-no-room-left-for-the-name/end.txt";

/// A package with one of everything.
fn rich_deb() -> Deb {
    let clauses = |list: &[&str]| list.iter().map(|&clause| clause.to_owned()).collect();
    Deb {
        relations: BTreeMap::from([
            (Relation::Depends, clauses(&["dpkg (>= 1.15)", "sh-one | sh-two"])),
            (Relation::PreDepends, clauses(&["forge-before"])),
            (Relation::Provides, clauses(&["sample-api (= ${binary:Version})"])),
            (Relation::Breaks, clauses(&["forge-other (<< 1:1)"])),
        ]),
        scripts: BTreeMap::from([
            (MaintainerScript::PostInst, script("postinst")),
            (MaintainerScript::PostRm, script("postrm")),
            (MaintainerScript::PreRm, script("prerm")),
        ]),
        conffiles: clauses(&["/etc/forge-sample.conf"]),
        triggers: clauses(&["interest-noawait /opt/sample/watched"]),
        ..deb()
    }
}

fn script(name: &str) -> String {
    format!("#!/bin/sh\nset -e\necho \"{name} $*\" >> \"${{DPKG_ROOT}}/calls\"\n")
}

fn rich_payload(bench: &Bench) -> Tree {
    Tree::new(vec![
        bench.file("etc/forge-sample.conf", 0o644, b"answer = 42\n"),
        bench.file("opt/sample/bin/tool", 0o4755, &[7; 3000]),
        bench.file("opt/sample/bin/plain", 0o755, b"#!/bin/sh\n"),
        bench.file("opt/sample/bin-more", 0o644, b"where the order of paths is not that of directories\n"),
        bench.file("opt/sample/empty-file", 0o640, b""),
        bench.file("opt/sample/gr\u{fc}\u{df}e \u{2603}.txt", 0o644, b"utf-8\n"),
        bench.file(LONG, 0o644, b"long\n"),
        bench.dir("opt/sample/empty", 0o750),
        bench.link("opt/sample/bin/alias", "tool"),
        bench.link("opt/sample/far", &format!("../../{LONG}")),
    ])
}
