//! Nodes that write packages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use super::build::{Builder, node_name};
use super::generator::Generator;
use super::joins::Joins;
use super::*;
use super::{fault, fill::Filler};
use crate::buildfile::{self, Diagnostic, PackagePart, Reference, Target, is_auto};
use crate::matrix::Cell;
use crate::package::{
    Compression, Deb, DebVersion, MaintainerScript, Package, PackageError, Priority, Relation, Rpm,
    RpmArchitecture, RpmDependency, RpmRelation, RpmVersion, packaged_version, with_interpreter,
};

impl<'a> Builder<'a> {
    pub(super) fn package(
        &mut self,
        target: &Target,
        package: &buildfile::Package,
        cell: Cell,
        joins: &Joins<'a>,
    ) {
        let filler = self.filler(&cell);
        let mut inputs = Vec::new();
        let mut contents = Vec::new();
        for content in &package.contents {
            let Some(input) = self.input(&content.from, target, &cell, joins) else { continue };
            let (path, to) = (filler.text(&content.path), filler.text(&content.to));
            contents.push((inputs.len(), trimmed(&path), trimmed(&to)));
            inputs.push(input);
        }
        let date = inputs.iter().filter_map(|input| self.date_of_input(input)).max().unwrap_or(1);
        let format = filler.text(&package.format);
        let part = package.part(&format);
        let name = node_name(&target.name, &cell);
        let described = Described { package, part: &part, filler: &filler, date, target, node: &name };
        let (written, generator) = match described.written(&format) {
            Ok(written) => written,
            // The same may hold for many cells, and is told once.
            Err(fault) => {
                self.refused.insert(target.name.to_string());
                return self.report.push_new(fault);
            }
        };
        let copyright = package.copyright.as_ref().map(|path| {
            let globs = vec![path.display().to_string()];
            inputs.push(self.files(Globs::Written(globs.into())));
            inputs.len() - 1
        });
        let image = part.generated().map(|_| self.one(&package.image, &cell, joins));
        if image == Some(None) {
            self.lacks(&package.image, &target.name, &cell);
        }
        let generated = image.flatten().map(|image| {
            let node = self.generator(target, &cell, image, &generator, (&inputs, &contents));
            inputs.push(Input::Node { node, output: generator.output().to_owned() });
            inputs.len() - 1
        });
        let sign = part.sign.filter(|_| matches!(written, Package::Rpm(_)));
        let (signer, fault) = sign.map_or((None, None), |key| self.signer(&key));
        let requires = self.gathered(&package.requires, &cell, joins);
        let work = PackageWork { package: written, contents, generated, copyright, signer };
        let work = Work::Package(Box::new(work));
        let node = Node::new(self.declared(target), cell, work);
        let terms = Terms { requires, fault, ..Terms::default() };
        self.add(node.taking(inputs).on(terms));
    }

    /// The key's fingerprint, which stands in the action. A key that cannot sign is a fault of the
    /// package as well: it is told when the node is planned, not after hours of building.
    fn signer(&self, key: &Reference) -> (Option<Signer>, Option<Diagnostic>) {
        let Some(node) = self.graph.of_target(&key.name).first() else { return (None, None) };
        let node = self.graph.node(*node);
        let Work::Key(work) = &node.work else { return (None, None) };
        let Some(certificate) = &work.certificate else { return (None, node.fault().cloned()) };
        match &certificate.fingerprints[..] {
            [fingerprint] => {
                let (key, fingerprint) = (work.key.clone(), fingerprint.clone());
                (Some(Signer { key, fingerprint }), None)
            }
            several => {
                let message = format!(
                    "'{}' holds {} keys, and an rpm package is signed by one",
                    key.name,
                    several.len()
                );
                (None, Some(Diagnostic::error(&key.span, message, "needed here")))
            }
        }
    }
}

type RpmRelations = (BTreeMap<RpmRelation, Vec<RpmDependency>>, BTreeSet<RpmRelation>);

/// A package's declaration in one cell.
struct Described<'a> {
    package: &'a buildfile::Package,
    /// What counts for its format.
    part: &'a PackagePart,
    filler: &'a Filler<'a>,
    date: u64,
    target: &'a Target,
    node: &'a str,
}

impl Described<'_> {
    fn written(&self, format: &str) -> Result<(Package, Generator), Diagnostic> {
        match format {
            "deb" => {
                let deb = self.deb()?;
                let generator = Generator::Deb(deb.architecture.to_string());
                Ok((Package::Deb(deb), generator))
            }
            "rpm" => Ok((Package::Rpm(self.rpm()?), Generator::Rpm)),
            _ => Err(self.unfit(&format!("there are no packages of format '{format}'; expected deb or rpm"))),
        }
    }

    fn unfit(&self, reason: &dyn Display) -> Diagnostic {
        fault::unfit(&self.target.span, self.node, reason)
    }

    fn parsed<T: FromStr<Err: Display>>(&self, text: &str) -> Result<T, Diagnostic> {
        text.parse().map_err(|error: T::Err| self.unfit(&error))
    }

    fn text(&self, template: &buildfile::Template) -> String {
        self.filler.text(template)
    }

    fn optional(&self, template: &Option<buildfile::Template>) -> Option<String> {
        template.as_ref().map(|template| self.text(template))
    }

    fn upstream_version(&self) -> String {
        packaged_version(&self.text(&self.package.version))
    }

    fn scripts(&self) -> BTreeMap<MaintainerScript, String> {
        let scripts = self.part.scripts.iter().filter_map(|(name, text)| {
            let script = MaintainerScript::ALL.into_iter().find(|script| script.file_name() == name)?;
            Some((script, with_interpreter(&self.text(text))))
        });
        scripts.collect()
    }

    fn compression(&self) -> Compression {
        match self.part.compression.as_deref() {
            Some("zstd") => Compression::Zstd { level: 19 },
            Some("gzip") => Compression::Gzip,
            _ => Compression::default(),
        }
    }

    fn deb(&self) -> Result<Deb, Diagnostic> {
        let Self { package, part, .. } = self;
        if package.copyright.is_none() {
            return Err(fault::no_copyright(&self.target.span, &self.target.name));
        }
        let iteration = self.optional(&package.iteration);
        let version = DebVersion::new(package.epoch, &self.upstream_version(), iteration.as_deref());
        let relations = part.relations.iter().filter_map(|(field, clauses)| {
            let relation = Relation::ALL.into_iter().find(|relation| relation.field() == field)?;
            Some((relation, clauses.iter().map(|clause| self.deb_clause(clause)).collect()))
        });
        let section = self.optional(&part.section).unwrap_or_else(|| "misc".to_owned());
        let priority = self.optional(&part.priority);
        let priority = priority.map_or(Some(Priority::default()), |name| priority_called(&name));
        Ok(Deb {
            name: self.parsed(&self.text(&package.name))?,
            version: version.map_err(|error| self.unfit(&error))?,
            architecture: self.parsed(&self.text(&package.architecture))?,
            maintainer: self.text(&package.maintainer),
            section,
            priority: priority.ok_or_else(|| self.unfit(&"unknown priority"))?,
            homepage: self.optional(&package.homepage),
            summary: self.text(&package.summary),
            description: self.text(&package.description),
            relations: relations.collect(),
            scripts: self.scripts(),
            conffiles: self.filler.texts(&part.conffiles),
            triggers: Vec::new(),
            changelog: self.text(&package.changelog),
            copyright: String::new(),
            lintian_overrides: lines(&self.filler.texts(&part.lintian_overrides)),
            compression: self.compression(),
            source_date_epoch: self.date,
        })
    }

    /// What is generated stands there by the variable that dpkg-shlibdeps sets.
    fn deb_clause(&self, clause: &buildfile::Template) -> String {
        match is_auto(clause) {
            true => "${shlibs:Depends}".to_owned(),
            false => self.filler.packaged(clause),
        }
    }

    fn rpm(&self) -> Result<Rpm, Diagnostic> {
        let Self { package, part, .. } = self;
        let (span, name) = (&self.target.span, &self.target.name);
        let license = self.optional(&part.license).ok_or_else(|| fault::no_license(span, name))?;
        let release = self.optional(&package.iteration).ok_or_else(|| fault::no_release(span, name))?;
        let release = match self.optional(&package.dist) {
            Some(dist) => format!("{release}.{dist}"),
            None => release,
        };
        let version = RpmVersion::new(package.epoch, &self.upstream_version(), &release);
        let version = version.map_err(|error| self.unfit(&error))?;
        let architecture = match self.optional(&part.architecture) {
            Some(own) => own.parse(),
            None => RpmArchitecture::from_debian(&self.text(&package.architecture)),
        };
        let (relations, generated) = self.rpm_relations(&version).map_err(|error| self.unfit(&error))?;
        Ok(Rpm {
            name: self.parsed(&self.text(&package.name))?,
            version,
            architecture: architecture.map_err(|error| self.unfit(&error))?,
            packager: self.text(&package.maintainer),
            vendor: self.optional(&part.vendor),
            license,
            group: self.optional(&part.group),
            homepage: self.optional(&package.homepage),
            summary: self.text(&package.summary),
            description: self.text(&package.description),
            relations,
            generated,
            scripts: self.scripts(),
            conffiles: self.filler.texts(&part.conffiles),
            changelog: self.text(&package.changelog),
            copyright: None,
            compression: self.compression(),
            source_date_epoch: self.date,
        })
    }

    /// Relations, and those that what is generated is added to.
    fn rpm_relations(&self, own: &RpmVersion) -> Result<RpmRelations, PackageError> {
        let (mut relations, mut generated) = (BTreeMap::<_, Vec<_>>::new(), BTreeSet::new());
        for (field, relation, pre) in RPM_RELATIONS {
            for clause in self.part.relations.get(field).into_iter().flatten() {
                if is_auto(clause) {
                    generated.insert(relation);
                    continue;
                }
                let mut parsed = relation.parse(field, &self.filler.packaged(clause), own)?;
                parsed.iter_mut().for_each(|dependency| dependency.pre = pre);
                relations.entry(relation).or_default().extend(parsed);
            }
        }
        Ok((relations, generated))
    }
}

/// What Debian's relations are for rpm, and whether they hold before the package is installed.
const RPM_RELATIONS: [(&str, RpmRelation, bool); 10] = [
    ("Pre-Depends", RpmRelation::Requires, true),
    ("Depends", RpmRelation::Requires, false),
    ("Recommends", RpmRelation::Recommends, false),
    ("Suggests", RpmRelation::Suggests, false),
    ("Supplements", RpmRelation::Supplements, false),
    ("Enhances", RpmRelation::Enhances, false),
    ("Breaks", RpmRelation::Conflicts, false),
    ("Conflicts", RpmRelation::Conflicts, false),
    ("Replaces", RpmRelation::Obsoletes, false),
    ("Provides", RpmRelation::Provides, false),
];

/// Texts of any number of lines, as lines.
fn lines(texts: &[String]) -> Vec<String> {
    texts.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
}

fn priority_called(name: &str) -> Option<Priority> {
    [Priority::Required, Priority::Important, Priority::Standard, Priority::Optional]
        .into_iter()
        .find(|priority| priority.to_string() == name)
}

/// Paths inside trees have no slash at either end.
fn trimmed(path: &str) -> String {
    path.trim_matches('/').to_owned()
}
