use std::collections::BTreeMap;

use rayon::prelude::*;

use super::compare_versions;
use super::metadata::{filelists, other, primary, runs};
use super::package::{Checked, path};
use super::repomd::{Data, repomd};
use crate::digest::{Describe, Visitor};
use crate::index::pieces::Piece;
use crate::index::{IndexCompression, IndexError, Member, Records};
use crate::store::{Entry, Kind, LocalStore, Tree};

/// Where the metadata of the generation to come is, below the root. Its package locations lead
/// two directories up, so that it may be put anywhere at that depth.
pub const NEXT: &str = "gen/next";

/// The settings of one rpm repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpmIndex {
    /// How the metadata is compressed.
    pub compression: IndexCompression,
}

impl Describe for RpmIndex {
    fn describe(&self, visitor: &mut dyn Visitor) {
        // Raised whenever the same packages and settings would give other bytes.
        visitor.field("builtin", "rpm-index 4");
        visitor.field("compression", self.compression.extension());
    }
}

/// Writes every file of the repository as a tree: `packages/` names the packages' own objects,
/// `repodata/` is the metadata for clients of the root, and `gen/next/repodata/` the same for
/// clients of a generation. `date`, in seconds since 1970, stands for the time of the metadata.
/// `records` is asked for packages about which the store remembers nothing.
///
/// Same packages and settings, in whatever order, give the same bytes.
pub fn build<E: From<IndexError> + Send>(
    index: &RpmIndex,
    packages: &[Member<'_>],
    updateinfo: Option<&[u8]>,
    date: u64,
    store: &LocalStore,
    records: &Records<'_, E>,
) -> Result<Tree, E> {
    let checked = packages.par_iter().map(|member| Checked::new(*member));
    let (members, mut entries) = choose(checked.collect::<Result<Vec<_>, _>>()?)?;
    updateinfo.map_or(Ok(()), check_updateinfo)?;
    let runs = runs(&members);
    let mut lists = vec![
        ("primary", primary(&runs, "", records)),
        ("primary", primary(&runs, "../../", records)),
        ("filelists", filelists(&runs, records)),
        ("other", other(&runs, records)),
    ];
    // It was found to be a text.
    let advisories = updateinfo.map(|text| Piece::Text(String::from_utf8_lossy(text).into_owned()));
    lists.extend(advisories.map(|text| ("updateinfo", vec![text])));
    let stored = lists.par_iter().map(|(kind, pieces)| Data::store(kind, pieces, index.compression, store));
    let data = stored.collect::<Result<Vec<_>, E>>()?;
    drop(lists);
    // There is much in them.
    runs.into_par_iter().for_each(drop);
    let (primaries, others) = data.split_at(2);
    let mut directory = |below: &str, primary: &Data| {
        let all = || std::iter::once(primary).chain(others);
        let text = repomd(all(), date);
        let repomd = Kind::File { object: store.put(text.as_bytes())?, size: text.len() as u64 };
        let files = all().map(|data| (data.name.as_str(), &data.file)).chain([("repomd.xml", &repomd)]);
        entries.extend(files.map(|(name, kind)| file(format!("{below}repodata/{name}"), kind.clone())));
        Ok::<_, IndexError>(())
    };
    directory("", &primaries[0])?;
    directory(&format!("{NEXT}/"), &primaries[1])?;
    Ok(Tree::new(entries))
}

/// The packages sorted by name, version and architecture, equal ones once, and their files.
fn choose(mut packages: Vec<Checked<'_>>) -> Result<(Vec<Member<'_>>, Vec<Entry>), IndexError> {
    packages.par_sort_by(|a, b| {
        let (one, other) = (a.label(), b.label());
        let versions = || compare_versions(&one.version, &other.version);
        let rest = || {
            let sums = (&a.entry().sha256, &b.entry().sha256);
            (&one.version, &one.architecture, sums.0).cmp(&(&other.version, &other.architecture, sums.1))
        };
        one.name.cmp(&other.name).then_with(versions).then_with(rest)
    });
    let paths: Vec<String> = packages.par_iter().map(|package| path(package.label())).collect();
    let mut by_path: BTreeMap<String, Member<'_>> = BTreeMap::new();
    let mut chosen = Vec::new();
    for (path, new) in paths.into_iter().zip(packages) {
        let new = new.member();
        match by_path.get(&path) {
            Some(old) if old.entry.sha256 != new.entry.sha256 || old.entry.label != new.entry.label => {
                let (first, second) = (old.origin(), new.origin());
                return Err(IndexError::FileConflict { path, first, second });
            }
            Some(_) => {}
            None => {
                by_path.insert(path, new);
                chosen.push(new);
            }
        }
    }
    let of_package = |(path, one): (String, Member<'_>)| {
        file(path, Kind::File { object: one.entry.object, size: one.entry.size })
    };
    Ok((chosen, by_path.into_iter().map(of_package).collect()))
}

fn file(path: String, kind: Kind) -> Entry {
    Entry { path, mode: 0o644, kind }
}

/// Advisories are passed on as they are; that they are XML of the right kind is looked at.
fn check_updateinfo(bytes: &[u8]) -> Result<(), IndexError> {
    use quick_xml::events::Event;
    let fault = |reason: String| IndexError::Updateinfo { reason };
    let text = std::str::from_utf8(bytes).map_err(|error| fault(error.to_string()))?;
    let mut reader = quick_xml::Reader::from_str(text);
    let (mut depth, mut roots) = (0_usize, 0_usize);
    loop {
        match reader.read_event().map_err(|error| fault(error.to_string()))? {
            Event::Start(element) | Event::Empty(element) if depth == 0 && element.name().0 != "updates" => {
                return Err(fault(format!("its root is '{}'", element.name().0)));
            }
            Event::Start(_) => {
                roots += usize::from(depth == 0);
                depth += 1;
            }
            Event::Empty(_) => roots += usize::from(depth == 0),
            Event::End(_) => depth -= 1,
            Event::Eof if roots == 1 && depth == 0 => return Ok(()),
            Event::Eof => return Err(fault("it has no root, or more than one, or does not end".to_owned())),
            _ => {}
        }
    }
}
