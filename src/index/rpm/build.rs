use std::collections::HashMap;

use rayon::prelude::*;

use super::compare_versions;
use super::metadata::{filelists, other, primary, runs};
use super::package::{Checked, path};
use super::repomd::{Data, repomd};
use crate::digest::{Describe, Visitor};
use crate::index::pieces::Piece;
use crate::index::{IndexCompression, IndexError, Making, Member};
use crate::store::{Entry, Kind, Tree};

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
        visitor.field("builtin", "rpm-index 5");
        visitor.field("compression", self.compression.extension());
    }
}

/// The whole repository: `packages/` names the packages' own objects, the rest is its [`metadata`], which goes into the store.
///
/// Same packages and settings, in whatever order, give the same bytes.
pub fn build<E: From<IndexError> + Send>(
    index: &RpmIndex,
    packages: &[Member<'_>],
    updateinfo: Option<&[u8]>,
    making: &Making<'_, E>,
) -> Result<Tree, E> {
    let chosen = Chosen::new(packages)?;
    let mut entries = chosen.metadata(index, updateinfo, making)?;
    entries.extend(chosen.files());
    Ok(Tree::new(entries))
}

/// `repodata/` is the metadata for clients of the root, and `gen/next/repodata/` the same for clients of a generation. The date
/// stands for the time of the metadata.
pub fn metadata<E: From<IndexError> + Send>(
    index: &RpmIndex,
    packages: &[Member<'_>],
    updateinfo: Option<&[u8]>,
    making: &Making<'_, E>,
) -> Result<Vec<Entry>, E> {
    Chosen::new(packages)?.metadata(index, updateinfo, making)
}

/// Packages that are checked, sorted by name, version and architecture, equal ones once.
struct Chosen<'a> {
    members: Vec<Member<'a>>,
    /// Where the file of each is.
    paths: Vec<String>,
}

impl<'a> Chosen<'a> {
    fn new(packages: &[Member<'a>]) -> Result<Self, IndexError> {
        let checked = packages.par_iter().map(|member| Checked::new(*member));
        let mut packages = checked.collect::<Result<Vec<_>, _>>()?;
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
        let mut by_path: HashMap<&str, Member<'_>> = HashMap::with_capacity(paths.len());
        let mut is_first = Vec::with_capacity(paths.len());
        for (path, new) in paths.iter().zip(&packages) {
            let new = new.member();
            let old = by_path.insert(path, new);
            match old {
                Some(old) if old.entry.sha256 != new.entry.sha256 || old.entry.label != new.entry.label => {
                    let (path, first, second) = (path.clone(), old.origin(), new.origin());
                    return Err(IndexError::FileConflict { path, first, second });
                }
                _ => is_first.push(old.is_none()),
            }
        }
        let members = packages.iter().zip(&is_first).filter(|(_, is_first)| **is_first);
        let members = members.map(|(package, _)| package.member()).collect();
        let paths = paths.into_iter().zip(is_first).filter_map(|(path, is_first)| is_first.then_some(path));
        Ok(Self { members, paths: paths.collect() })
    }

    /// The files of packages.
    fn files(&self) -> impl Iterator<Item = Entry> {
        self.paths.iter().zip(&self.members).map(|(path, member)| {
            file(path.clone(), Kind::File { object: member.entry.object, size: member.entry.size })
        })
    }

    fn metadata<E: From<IndexError> + Send>(
        &self,
        index: &RpmIndex,
        updateinfo: Option<&[u8]>,
        making: &Making<'_, E>,
    ) -> Result<Vec<Entry>, E> {
        updateinfo.map_or(Ok(()), check_updateinfo)?;
        let (runs, records) = (runs(&self.members), making.records);
        let mut lists = vec![
            ("primary", primary(&runs, "", records)),
            ("primary", primary(&runs, "../../", records)),
            ("filelists", filelists(&runs, records)),
            ("other", other(&runs, records)),
        ];
        // It was found to be a text.
        let advisories = updateinfo.map(|text| Piece::Text(String::from_utf8_lossy(text).into_owned()));
        lists.extend(advisories.map(|text| ("updateinfo", vec![text])));
        let put = lists.par_iter().map(|(kind, pieces)| Data::put(kind, pieces, index.compression, making));
        let data = put.collect::<Result<Vec<_>, E>>()?;
        drop(lists);
        // There is much in them.
        runs.into_par_iter().for_each(drop);
        let (primaries, others) = data.split_at(2);
        let directory = |below: &str, primary| {
            let all = || std::iter::once(primary).chain(others);
            let text = repomd(all(), making.date);
            let object = making.shelf.put(text.as_bytes())?;
            let repomd = Kind::File { object, size: text.len() as u64 };
            let files = all().map(|data| (data.name.as_str(), &data.file)).chain([("repomd.xml", &repomd)]);
            let entry = |(name, kind): (&str, &Kind)| file(format!("{below}repodata/{name}"), kind.clone());
            Ok::<_, IndexError>(files.map(entry).collect::<Vec<_>>())
        };
        let [own, next] = [directory("", &primaries[0])?, directory(&format!("{NEXT}/"), &primaries[1])?];
        Ok(own.into_iter().chain(next).collect())
    }
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
