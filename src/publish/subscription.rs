//! The files by which a machine subscribes to a repository.

use super::content::Content;
use crate::index::{AptIndex, Holds, Settings, Suite};

/// Name and text of each file; none where the Buildfile does not say where clients find the
/// repository. `prefix` is where it is below the target's root, and `key` the armored public key.
pub(super) fn subscriptions(content: &Content, prefix: &str, key: &str) -> Vec<(String, String)> {
    match (&content.index, &content.url) {
        (_, None) => Vec::new(),
        (Settings::Apt(index), Some(url)) => {
            let own = index.suites.iter();
            own.filter_map(|suite| {
                Some((format!("{}.sources", suite.codename), sources(index, suite, url, key)?))
            })
            .collect()
        }
        (Settings::Rpm(_), Some(url)) => {
            let name = if prefix.is_empty() { "packages".to_owned() } else { prefix.replace('/', "-") };
            vec![(format!("{name}.repo"), repo(&name, url))]
        }
    }
}

/// One suite (sources.list(5), "DEB822-STYLE FORMAT"): a machine wants that of its own release
/// alone. apt takes a key in the file itself since 2.3.10.
fn sources(index: &AptIndex, suite: &Suite, url: &str, key: &str) -> Option<String> {
    let (codename, component) = (&suite.codename, component(index, suite)?);
    let key: String =
        key.lines().map(|line| format!(" {}\n", if line.is_empty() { "." } else { line })).collect();
    Some(format!("Types: deb\nURIs: {url}\nSuites: {codename}\nComponents: {component}\nSigned-By:\n{key}"))
}

/// The component of a suite, or of the one that it repeats.
fn component<'a>(index: &'a AptIndex, suite: &'a Suite) -> Option<&'a str> {
    match &suite.holds {
        Holds::Packages { component, .. } => Some(component),
        Holds::AliasOf(target) => {
            let target = index.suites.iter().find(|suite| suite.codename == *target)?;
            component(index, target)
        }
    }
}

/// The whole repository (dnf.conf(5)). The signed metadata names every package by its digest, so
/// that packages need no signatures of their own.
fn repo(name: &str, url: &str) -> String {
    format!(
        "[{name}]\nname={name}\nmirrorlist={url}/mirrorlist\nenabled=1\ngpgcheck=0\nrepo_gpgcheck=1\n\
         gpgkey={url}/key.asc\n"
    )
}
