//! The nodes that give the source of an upstream: `name.source`.

use super::build::Builder;
use super::joins::source_name;
use super::*;
use crate::buildfile::{Axis, AxisValues, Diagnostic, Dimension, Origin, Selection, Upstream, Version};
use crate::matrix::Cell;
use crate::upstream::{LockedSource, LockedVersion, Tag};

/// The work of a source node, its inputs, and what stands in its way.
type Source = (Work, Vec<Input>, Option<Diagnostic>);

impl<'a> Builder<'a> {
    pub(super) fn axis_has_versions(&mut self, axis: &Axis) {
        let is_empty = self.axes.get(&axis.name).is_some_and(|(_, axis)| axis.selected_places().is_empty());
        if let (true, AxisValues::Upstream(upstream)) = (is_empty, &axis.values) {
            self.report.push(match self.lock.available(upstream).len() {
                0 => fault::nothing_locked(&axis.span, upstream),
                locked => fault::nothing_stands(&axis.span, upstream, locked),
            });
        }
    }

    /// Where the versions on an axis come from, so that what is new can be told from what went before.
    pub(super) fn lineage(&mut self, place: usize, axis: &Axis) {
        let AxisValues::Upstream(name) = &axis.values else { return };
        let Some(upstream) = self.buildfile.upstream(name) else { return };
        let (versions, place_of) = match &upstream.origin {
            Origin::Path(_) => return,
            Origin::List(listed) => {
                let mut versions: Vec<Version> =
                    listed.iter().map(|listed| Version::new(listed.version.as_str())).collect();
                versions.sort();
                (versions, "the Buildfile".to_owned())
            }
            _ => (self.lock.available(name), self.buildfile.lock.display().to_string()),
        };
        self.graph.add_lineage(Lineage { axis: place, upstream: name.clone(), place: place_of, versions });
    }

    /// One node for each version that is selected on the upstream's axis, or one in all.
    pub(super) fn upstream(&mut self, upstream: &'a Upstream) {
        let over = self.source_over(upstream);
        for cell in self.expander.cells_over(&over, &[]) {
            self.add_source(upstream, cell);
        }
    }

    /// The axis that an upstream's versions stand on.
    pub(super) fn source_over(&self, upstream: &Upstream) -> Vec<Dimension> {
        let from = AxisValues::Upstream(upstream.name.clone());
        let axis = self.buildfile.axes.iter().find(|axis| axis.values == from);
        axis.map(|axis| Dimension { axis: axis.name.clone(), attribute: None }).into_iter().collect()
    }

    /// Without an axis an upstream has one version, or the newest of those that would stand on one.
    pub(super) fn single_version(&self, upstream: &Upstream) -> Option<String> {
        let versions: Vec<Version> = match &upstream.origin {
            Origin::Path(_) => return Some("local".to_owned()),
            Origin::List(listed) => listed.iter().map(|v| Version::new(v.version.as_str())).collect(),
            _ => self.lock.selectable(&upstream.name, &Selection::default()),
        };
        upstream.policy.standing(&versions).last().map(Version::to_string)
    }

    /// The node that gives the version of this cell.
    pub(super) fn add_source(&mut self, upstream: &Upstream, cell: Cell) {
        let target = source_name(upstream);
        let of_cell = cell.coordinates().next().map(|coordinate| coordinate.value.to_string());
        let version = of_cell.or_else(|| self.single_version(upstream));
        let (work, inputs, fault) = match (&upstream.origin, version) {
            (Origin::Path(path), _) => {
                let base = self.buildfile.dir.join(self.filler(&cell).text(path));
                let files = LocalFiles { base: base.into(), globs: Globs::Written(["**".to_owned()].into()) };
                (Work::Files, vec![Input::Files(files)], None)
            }
            (_, Some(version)) => self.of_version(upstream, &version),
            (_, None) => {
                let fault = fault::nothing_locked(&upstream.span, &upstream.name);
                (Work::Archive(Box::default()), Vec::new(), Some(fault))
            }
        };
        let declared = Declared::step(target.into(), "source", upstream.span.clone());
        let node = Node::new(declared.into(), cell, work);
        self.add(node.taking(inputs).on(Terms { fault, ..Terms::default() }));
    }

    fn of_version(&self, upstream: &Upstream, version: &str) -> Source {
        let by_template: Vec<String> = upstream
            .archives
            .iter()
            .filter_map(|url| url.fill(|hole| hole.is("version").then_some(version)).ok())
            .collect();
        if let Origin::List(listed) = &upstream.origin
            && let Some(listed) = listed.iter().find(|listed| listed.version == version)
        {
            let (urls, sha256) = (by_template, listed.sha256.clone());
            let archive = ArchiveSource { urls, sha256, size: None, strip: upstream.strip };
            return (Work::Archive(Box::new(archive)), Vec::new(), None);
        }
        match self.lock.version(&upstream.name, version) {
            Some(locked) => self.locked_source(upstream, locked, by_template),
            None => {
                let fault = fault::nothing_locked(&upstream.span, &upstream.name);
                (Work::Archive(Box::default()), Vec::new(), Some(fault))
            }
        }
    }

    fn locked_source(&self, upstream: &Upstream, locked: &LockedVersion, by_template: Vec<String>) -> Source {
        match (&locked.source, &upstream.origin) {
            (LockedSource::Archive(archive), _) => {
                let mut urls = archive.urls.clone();
                urls.extend(by_template.into_iter().filter(|url| !archive.urls.contains(url)));
                let (sha256, size) = (archive.sha256.to_string(), Some(archive.size));
                let archive = ArchiveSource { urls, sha256, size, strip: upstream.strip };
                (Work::Archive(Box::new(archive)), Vec::new(), None)
            }
            (LockedSource::Tree(tree), Origin::Git { url, tag }) => {
                let commit = locked.commit.clone().unwrap_or_default();
                let tag = Tag { name: tag.of(&locked.version), commit };
                let source = CommitSource { url: url.clone(), tag, tree: *tree };
                (Work::Commit(Box::new(source)), Vec::new(), None)
            }
            // A tree without a repository is one of an upstream that was another when it was locked.
            (LockedSource::Tree(_) | LockedSource::Absent, _) => {
                let fault = fault::unavailable(&upstream.span, &upstream.name, &locked.version);
                (Work::Archive(Box::default()), Vec::new(), Some(fault))
            }
        }
    }

    /// Upstream's own date of a version, seconds since 1970.
    pub(super) fn date_of(&self, upstream: &str, version: &str) -> u64 {
        let listed = match self.buildfile.upstream(upstream).map(|upstream| &upstream.origin) {
            Some(Origin::List(listed)) => {
                listed.iter().find(|listed| listed.version == version).map(|l| l.date)
            }
            _ => None,
        };
        listed.or_else(|| Some(self.lock.version(upstream, version)?.date)).unwrap_or(0)
    }
}
