//! Which requirements of a package an index tells: those that another package may have to fulfil,
//! as createrepo_c chooses them, since solvers are used to that.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::compare_versions;
use crate::package::{RpmDependency, RpmInfo, RpmRelation};

/// The relations of one kind.
pub(super) fn relations(info: &RpmInfo, relation: RpmRelation) -> Vec<&RpmDependency> {
    let all = info.relations.get(&relation).map(Vec::as_slice).unwrap_or_default();
    match relation {
        RpmRelation::Requires => requires(info, all),
        _ => all.iter().collect(),
    }
}

/// A file that the main index names, so that it can be required without the list of all files.
pub(super) fn is_primary(path: &str) -> bool {
    path.starts_with("/etc/") || path == "/usr/lib/sendmail" || path.contains("bin/")
}

fn requires<'a>(info: &'a RpmInfo, all: &'a [RpmDependency]) -> Vec<&'a RpmDependency> {
    let own_files: HashSet<&str> =
        info.files.iter().map(|file| file.path.as_str()).filter(|path| is_primary(path)).collect();
    let provided = info.relations.get(&RpmRelation::Provides).map(Vec::as_slice).unwrap_or_default();
    let is_provided =
        |one: &RpmDependency| provided.iter().any(|own| own.name == one.name && own.version == one.version);
    let mut last: HashMap<&str, &RpmDependency> = HashMap::new();
    let mut highest_libc: Option<&RpmDependency> = None;
    let mut chosen = Vec::new();
    for one in all {
        // What rpm itself has to be able to do is no package's matter.
        let is_rpm_feature = one.name.starts_with("rpmlib(");
        let is_repeated = last.get(one.name.as_str()).is_some_and(|last| *last == one);
        if is_rpm_feature || own_files.contains(one.name.as_str()) || is_provided(one) || is_repeated {
            continue;
        }
        // A C library that has the newest of its versions has all older ones.
        if one.name.starts_with("libc.so.6") {
            let is_higher = |highest: &RpmDependency| symbol_order(&highest.name, &one.name).is_lt();
            if highest_libc.is_none_or(is_higher) {
                highest_libc = Some(one);
            }
            continue;
        }
        last.insert(&one.name, one);
        chosen.push(one);
    }
    chosen.extend(highest_libc);
    chosen
}

/// By the version inside `libc.so.6(GLIBC_2.34)(64bit)`; without one it is the lowest.
fn symbol_order(a: &str, b: &str) -> Ordering {
    fn version(name: &str) -> Option<&str> {
        let inside = name.split_once('(')?.1.split_once(')')?.0;
        inside.find(|c: char| c.is_ascii_digit()).map(|at| &inside[at..])
    }
    match (version(a), version(b)) {
        (Some(a), Some(b)) => compare_versions(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_c_library_are_compared_by_number() {
        let names = ["libc.so.6()(64bit)", "libc.so.6(GLIBC_2.4)(64bit)", "libc.so.6(GLIBC_2.34)(64bit)"];
        for pair in names.windows(2) {
            assert_eq!(symbol_order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(symbol_order(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(symbol_order("libc.so.6", names[0]), Ordering::Equal);
    }
}
