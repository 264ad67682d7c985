//! What the real tools of rpm make of the packages, and what the reader makes of theirs.

mod build;
mod install;
mod read;

use std::collections::BTreeMap;

use super::testing::{Bench, package};
use super::{Rpm, RpmRelation};
use crate::package::MaintainerScript;
use crate::store::Tree;

/// A package with one of everything.
fn rich_package() -> Rpm {
    let mut rpm = package();
    for (relation, text) in [
        (RpmRelation::Requires, "forge-needed (>= 1:2) | forge-other, forge-three (<< 3~rc1)"),
        (RpmRelation::Provides, "sample-api (= ${binary:Version})"),
        (RpmRelation::Conflicts, "forge-enemy"),
        (RpmRelation::Obsoletes, "forge-elder (<= 2)"),
        (RpmRelation::Recommends, "forge-nice"),
        (RpmRelation::Suggests, "forge-nicer"),
        (RpmRelation::Supplements, "(forge-a and forge-b)"),
        (RpmRelation::Enhances, "forge-whole"),
    ] {
        let parsed = relation.parse("x", text, &rpm.version).unwrap();
        rpm.relations.insert(relation, parsed);
    }
    Rpm {
        scripts: BTreeMap::from([
            (MaintainerScript::PreInst, script("pre")),
            (MaintainerScript::PostInst, script("post")),
            (MaintainerScript::PreRm, script("preun")),
            (MaintainerScript::PostRm, script("postun")),
        ]),
        conffiles: vec!["/etc/forge-sample.conf".into()],
        ..rpm
    }
}

fn script(name: &str) -> String {
    format!("#!/bin/sh\nset -e\necho \"{name} $*\" >> /calls\n")
}

fn rich_payload(bench: &Bench) -> Tree {
    Tree::new(vec![
        bench.file("etc/forge-sample.conf", 0o644, b"answer = 42\n"),
        bench.file("usr/lib/sample/bin/tool", 0o4755, &[7; 3000]),
        bench.file("usr/lib/sample/bin/plain", 0o755, b"#!/bin/sh\n"),
        bench.file(
            "usr/lib/sample/bin-more",
            0o644,
            b"where the order of paths is not that of directories\n",
        ),
        bench.file("usr/lib/sample/empty-file", 0o640, b""),
        bench.file("usr/lib/sample/gr\u{fc}\u{df}e \u{2603}.txt", 0o644, b"utf-8\n"),
        bench.file("usr/share/doc/forge-sample/README", 0o644, b"read me\n"),
        bench.file("usr/share/man/man1/sample.1.gz", 0o644, b"a manual page\n"),
        bench.dir("usr/lib/sample/empty", 0o750),
        bench.dir("usr/bin", 0o700),
        bench.link("usr/bin/sample", "../lib/sample/bin/tool"),
    ])
}
