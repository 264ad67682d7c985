use std::collections::{BTreeMap, BTreeSet};

use super::package::Checked;

/// The Contents index: one line for each path, then the packages that install it, as
/// `[section/]package` with commas between (DebianRepository/Format, "Contents indices").
pub(super) fn contents<'a>(packages: impl Iterator<Item = &'a Checked<'a>>) -> String {
    let mut owners: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in packages {
        let name = package.contents_name();
        for path in &package.package.paths {
            let path = path.trim_start_matches("./").trim_start_matches('/');
            owners.entry(path).or_default().insert(name.clone());
        }
    }
    let mut text = String::new();
    for (path, names) in owners {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        text.push_str(path);
        text.push('\t');
        text.push_str(&names.join(","));
        text.push('\n');
    }
    text
}
