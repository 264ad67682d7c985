//! Nodes that write packages, gather them and publish them.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use super::build::{Builder, Joins, node_name};
use super::*;
use super::{fault, fill::Filler};
use crate::buildfile::{self, Diagnostic, Resources, Span, Target};
use crate::matrix::Cell;
use crate::package::{Compression, Deb, DebVersion, MaintainerScript, Priority, Relation};

/// Finds what the shared libraries of a payload need, in the words of the distribution's own
/// generator. The payload's own libraries are searched first, so it does not ask for itself.
const GENERATOR: &str = r#"mkdir debian
printf 'Source: payload\n\nPackage: payload\nArchitecture: any\n' > debian/control
find /forge/payload -type f -exec sh -c '
    for file; do head -c 4 "$file" | LC_ALL=C grep -q "^.ELF" && printf "%s\n" "$file"; done; :
' sh {} + | LC_ALL=C sort > binaries
mkdir "$OUT/substvars"
set --
while IFS= read -r file; do
    # Objects and archives of a toolchain are ELF as well; only what is loaded has needs.
    LC_ALL=C objdump -p "$file" 2>/dev/null | grep -q NEEDED && set -- "$@" "-e$file"
done < binaries
if [ $# -gt 0 ]; then
    dpkg-shlibdeps -O -S/forge/payload --ignore-missing-info --warnings=0 "$@" > "$OUT/substvars/substvars"
else
    echo 'shlibs:Depends=' > "$OUT/substvars/substvars"
fi
"#;

impl Builder<'_> {
    pub(super) fn package(
        &mut self,
        target: &Target,
        package: &buildfile::Package,
        name: String,
        cell: Cell,
        joins: &Joins<'_>,
    ) {
        let filler = self.filler(&cell);
        let mut inputs = Vec::new();
        let mut contents = Vec::new();
        for content in &package.contents {
            let Some(input) = self.input(target, &content.from, &name, &cell, joins) else { continue };
            let (path, to) = (filler.text(&content.path), filler.text(&content.to));
            contents.push((inputs.len(), trimmed(&path), trimmed(&to)));
            inputs.push(input);
        }
        let date = inputs.iter().filter_map(|input| self.date_of_input(input)).max().unwrap_or(1);
        let mut deb = match deb(package, &filler, date, &target.span, &name) {
            Ok(deb) => deb,
            Err(fault) => return self.report.push(fault),
        };
        let copyright = package.copyright.as_ref().map(|path| {
            let globs = vec![path.display().to_string()];
            inputs.push(Input::Files(LocalFiles { base: self.buildfile.dir.clone(), globs }));
            inputs.len() - 1
        });
        deb.conffiles = filler.texts(&package.conffiles);
        let generator = package.image.as_ref().filter(|_| package.wants_generated_depends());
        let substvars = generator.and_then(|image| {
            let Some(image) = joins.best(&image.name, &cell) else {
                self.lacks(&image.span, &name, &image.name);
                return None;
            };
            let node = self.generator(target, &cell, image, &inputs, &contents);
            inputs.push(Input::Node { node, output: "substvars".to_owned() });
            Some(inputs.len() - 1)
        });
        let requires = self.gathered(&package.requires, &cell, joins);
        let work = Work::Package(Box::new(PackageWork { deb, contents, substvars, copyright }));
        self.graph.add(Node { inputs, requires, ..plain_node(target, name, cell, work) });
    }

    /// The step that asks the distribution's dependency generator: `package.depends`.
    fn generator(
        &mut self,
        target: &Target,
        cell: &Cell,
        image: NodeId,
        inputs: &[Input],
        contents: &[(usize, String, String)],
    ) -> NodeId {
        let image = Input::Node { node: image, output: "root".to_owned() };
        let platform = self.platform(Some(&image));
        let mut taken = vec![image];
        let mut placements = Vec::new();
        for (input, _, _) in contents {
            let path = format!("/forge/payload/{}", placements.len());
            placements.push(Placement::At { input: taken.len(), path });
            taken.push(inputs[*input].clone());
        }
        let script = Script {
            text: GENERATOR.to_owned(),
            root: Root::Input(0),
            env: Default::default(),
            placements,
            outputs: vec!["substvars".to_owned()],
            network: false,
            date: 1,
            platform,
        };
        let step = format!("{}.depends", target.name);
        let name = node_name(&step, cell);
        let work = Work::Script(Box::new(script));
        let node = plain_node(target, name, cell.clone(), work);
        self.graph.add(Node { target: step, keyword: "target", inputs: taken, ..node })
    }

    pub(super) fn publish(
        &mut self,
        target: &Target,
        publish: &buildfile::Publish,
        name: String,
        cell: Cell,
        joins: &Joins<'_>,
    ) {
        let mut inputs = Vec::new();
        let mut repositories = Vec::new();
        for (index, at) in &publish.repositories {
            for node in joins.all(&index.name, &cell) {
                repositories.extend(self.publication(&index.name, node, at, publish.url.as_deref()));
                inputs.push(Input::Node { node, output: "catalog".to_owned() });
            }
        }
        if let Some(twice) = first_double(repositories.iter().map(|one| &one.prefix)) {
            let message = format!("{name}: two repositories would be published below '{twice}'");
            let help = "at=\"…\" must tell them apart, for example by {otp.major}";
            self.report.push(Diagnostic::error(&target.span, message, "declared here").help(help));
        }
        let requires = self.gathered(&publish.requires, &cell, joins);
        let work = Work::Publish(Box::new(PublishWork {
            to: self.buildfile.dir.join(&publish.to),
            repositories,
            keys: publish.keys.iter().map(|key| key.below(&self.buildfile.dir)).collect(),
            retention_days: publish.retention_days,
        }));
        let may_lack = self.optional(&inputs);
        self.graph.add(Node { inputs, requires, may_lack, ..plain_node(target, name, cell, work) });
    }
}

pub(super) fn plain_node(target: &Target, name: String, cell: Cell, work: Work) -> Node {
    Node {
        name,
        target: target.name.clone(),
        keyword: target.body.keyword(),
        cell,
        work,
        inputs: Vec::new(),
        requires: Vec::new(),
        may_lack: Vec::new(),
        resources: Resources { cpu: 1, memory: None },
        timeout: None,
        span: target.span.clone(),
        fault: None,
    }
}

fn deb(
    package: &buildfile::Package,
    filler: &Filler<'_>,
    date: u64,
    span: &Span,
    node: &str,
) -> Result<Deb, Diagnostic> {
    let unfit = |reason: &dyn Display| fault::unfit(span, node, reason);
    let format = filler.text(&package.format);
    if format != "deb" {
        return Err(unfit(&format!("packages of format '{format}' are not written yet, only deb")));
    }
    let iteration = package.iteration.as_ref().map(|iteration| filler.text(iteration));
    let version = DebVersion::new(package.epoch, &filler.text(&package.version), iteration.as_deref());
    let relations = package.relations.iter().filter_map(|(field, clauses)| {
        let relation = Relation::ALL.into_iter().find(|relation| relation.field() == field)?;
        Some((relation, filler.relations(clauses)))
    });
    let scripts = package.scripts.iter().filter_map(|(name, text)| {
        let all = [
            MaintainerScript::PreInst,
            MaintainerScript::PostInst,
            MaintainerScript::PreRm,
            MaintainerScript::PostRm,
        ];
        Some((all.into_iter().find(|script| script.file_name() == name)?, filler.text(text)))
    });
    Ok(Deb {
        name: parsed(&filler.text(&package.name), &unfit)?,
        version: version.map_err(|error| unfit(&error))?,
        architecture: parsed(&filler.text(&package.architecture), &unfit)?,
        maintainer: filler.text(&package.maintainer),
        section: filler.text(&package.section),
        priority: priority(&filler.text(&package.priority)).ok_or_else(|| unfit(&"unknown priority"))?,
        homepage: package.homepage.as_ref().map(|homepage| filler.text(homepage)),
        summary: filler.text(&package.summary),
        description: filler.text(&package.description),
        relations: relations.collect(),
        scripts: scripts.collect(),
        conffiles: Vec::new(),
        triggers: Vec::new(),
        changelog: filler.text(&package.changelog),
        copyright: String::new(),
        lintian_overrides: lines(&filler.texts(&package.lintian_overrides)),
        compression: match package.compression.as_str() {
            "zstd" => Compression::Zstd { level: 19 },
            "gzip" => Compression::Gzip,
            _ => Compression::default(),
        },
        source_date_epoch: date,
    })
}

/// Texts of any number of lines, as lines.
fn lines(texts: &[String]) -> Vec<String> {
    texts.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
}

fn parsed<T: FromStr<Err: Display>>(
    text: &str,
    unfit: &dyn Fn(&dyn Display) -> Diagnostic,
) -> Result<T, Diagnostic> {
    text.parse().map_err(|error: T::Err| unfit(&error))
}

fn priority(name: &str) -> Option<Priority> {
    [Priority::Required, Priority::Important, Priority::Standard, Priority::Optional]
        .into_iter()
        .find(|priority| priority.to_string() == name)
}

/// Paths inside trees have no slash at either end.
fn trimmed(path: &str) -> String {
    path.trim_matches('/').to_owned()
}

fn first_double<'a>(mut names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = BTreeSet::new();
    names.find(|name| !seen.insert(*name))
}
