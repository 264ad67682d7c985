//! Nodes that write packages, gather them and publish them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use super::build::{Builder, node_name};
use super::joins::Joins;
use super::*;
use super::{fault, fill::Filler};
use crate::buildfile::{self, Diagnostic, Resources, Span, Target};
use crate::matrix::Cell;
use crate::package::{Compression, Deb, DebVersion, MaintainerScript, Priority, Relation};
use crate::upstream::Wanted;

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
    LC_ALL=C readelf -d "$file" 2>/dev/null | grep -q NEEDED && set -- "$@" "-e$file"
done < binaries
if [ $# -gt 0 ]; then
    dpkg-shlibdeps -O -S/forge/payload --ignore-missing-info --warnings=0 "$@" > "$OUT/substvars/substvars"
else
    echo 'shlibs:Depends=' > "$OUT/substvars/substvars"
fi
"#;

impl<'a> Builder<'a> {
    pub(super) fn package(
        &mut self,
        target: &Target,
        package: &buildfile::Package,
        name: String,
        cell: Cell,
        joins: &Joins<'a>,
    ) {
        let filler = self.filler(&cell);
        let mut inputs = Vec::new();
        let mut contents = Vec::new();
        for content in &package.contents {
            let Some(input) = self.input(&content.from, &name, &cell, joins) else { continue };
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
        let generator = package.wants_generated_depends().then(|| self.one(&package.image, &cell, joins));
        if generator == Some(None) {
            self.lacks(&package.image, &name);
        }
        let substvars = generator.flatten().map(|image| {
            let own = deb.architecture.to_string();
            self.check_has_libraries(target, &own, image);
            let node = self.generator(target, &cell, image, &own, &inputs, &contents);
            inputs.push(Input::Node { node, output: "substvars".to_owned() });
            inputs.len() - 1
        });
        let requires = self.gathered(&package.requires, &cell, joins);
        let work = Work::Package(Box::new(PackageWork { deb, contents, substvars, copyright }));
        self.add(Node { inputs, requires, ..plain_node(target, name, cell, work) });
    }

    /// A bootstrap image must have libraries of the package's architecture: what they are called
    /// and who has them is told by their packages.
    fn check_has_libraries(&mut self, target: &Target, architecture: &str, image: NodeId) {
        let node = self.graph.node(image);
        let Work::Bootstrap(bootstrap) = &node.work else { return };
        let Wanted { arch, foreign, .. } = &bootstrap.wanted;
        if architecture != "all" && architecture != arch && !foreign.iter().any(|own| own == architecture) {
            let message = format!(
                "\"auto\" of '{}' asks '{}' for the libraries of {architecture}, and it holds those of {arch} alone",
                target.name, node.target
            );
            let help =
                format!("name an image of {architecture}, or add to this one: foreign \"{architecture}\"");
            let diagnostic = Diagnostic::error(&target.span, message, "declared here").help(help);
            self.report.push_new(diagnostic.also(&node.span.clone(), "the image"));
        }
    }

    /// The step that asks the distribution's dependency generator: `package.depends`.
    fn generator(
        &mut self,
        target: &Target,
        cell: &Cell,
        image: NodeId,
        architecture: &str,
        inputs: &[Input],
        contents: &[(usize, String, String)],
    ) -> NodeId {
        let image = Input::Node { node: image, output: "root".to_owned() };
        let platform = self.platform(Some(&image));
        // dpkg's tools look for the libraries of the image's own architecture, unless they are told.
        let is_own = architecture == "all" || architecture == debian_architecture(&platform);
        let env = match is_own {
            true => BTreeMap::new(),
            false => [("DEB_HOST_ARCH".to_owned(), architecture.to_owned())].into(),
        };
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
            env,
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
        self.add(Node { target: step, keyword: "target", inputs: taken, ..node })
    }

    pub(super) fn publish(
        &mut self,
        target: &Target,
        publish: &buildfile::Publish,
        name: String,
        cell: Cell,
        joins: &Joins<'a>,
    ) {
        let mut inputs = Vec::new();
        let mut repositories = Vec::new();
        for (index, at) in &publish.repositories {
            for node in self.gathered(std::slice::from_ref(index), &cell, joins) {
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
            keys: self.keys_of(&publish.keys),
            retention_days: publish.retention_days,
        }));
        let may_lack = self.optional(&inputs);
        self.add(Node { inputs, requires, may_lack, ..plain_node(target, name, cell, work) });
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

/// Debian's name of what is `linux/arm64` to a Docker Engine.
fn debian_architecture(platform: &str) -> &str {
    match platform.strip_prefix("linux/").unwrap_or(platform) {
        "386" => "i386",
        "arm" | "arm/v7" => "armhf",
        "arm/v5" | "arm/v6" => "armel",
        "ppc64le" => "ppc64el",
        other => other.split('/').next().unwrap_or(other),
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
