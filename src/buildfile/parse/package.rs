//! Packages.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::reader::Reader;
use super::super::reader::Text;
use super::reference::{alternatives, named, references};
use super::{constant, filter, names, over, single, target, templates};
use crate::buildfile::{Body, Content, Diagnostic, InputSource, Package, Target, is_auto};

/// Relation nodes, and the control fields they become.
const RELATIONS: [(&str, &str); 9] = [
    ("pre-depends", "Pre-Depends"),
    ("depends", "Depends"),
    ("recommends", "Recommends"),
    ("suggests", "Suggests"),
    ("enhances", "Enhances"),
    ("breaks", "Breaks"),
    ("conflicts", "Conflicts"),
    ("replaces", "Replaces"),
    ("provides", "Provides"),
];

const SCRIPTS: [&str; 4] = ["preinst", "postinst", "prerm", "postrm"];

const PACKAGE: [&str; 26] = [
    "breaks",
    "changelog",
    "compression",
    "conffiles",
    "conflicts",
    "copyright",
    "depends",
    "description",
    "enhances",
    "files",
    "homepage",
    "lintian-overrides",
    "maintainer",
    "name",
    "pre-depends",
    "priority",
    "provides",
    "recommends",
    "replaces",
    "requires",
    "script",
    "section",
    "suggests",
    "summary",
    "version",
    "where",
];

pub fn package(mut reader: Reader<'_>) -> Option<Target> {
    let name = names::name(&mut reader);
    let over = over(&mut reader);
    let image = reader.property("image").map(|text| alternatives(&text, &reader)).unwrap_or_default();
    let format = reader.template("format").unwrap_or_else(|| constant("deb", &reader));
    let architecture = reader.required_property("arch");
    let mut package = Package {
        format,
        name: name.as_ref().map_or(constant("", &reader), Text::template),
        version: constant("", &reader),
        epoch: None,
        iteration: None,
        architecture: architecture.map_or(constant("", &reader), |text| text.template()),
        maintainer: constant("", &reader),
        section: constant("misc", &reader),
        priority: constant("optional", &reader),
        homepage: None,
        summary: constant("", &reader),
        description: constant("", &reader),
        relations: BTreeMap::new(),
        scripts: BTreeMap::new(),
        conffiles: Vec::new(),
        changelog: constant("Built from upstream's source.", &reader),
        copyright: None,
        lintian_overrides: Vec::new(),
        compression: "xz".to_owned(),
        contents: Vec::new(),
        image,
        requires: Vec::new(),
    };
    let mut filters = Vec::new();
    for child in reader.children(&PACKAGE) {
        match child.name() {
            "where" => filters.extend(filter(child)),
            _ => field(child, &mut package),
        }
    }
    report_missing(&package, &reader);
    reader.finish();
    target(name?, over, filters, Body::Package(Box::new(package)))
}

fn field(reader: Reader<'_>, package: &mut Package) {
    let text = |reader| single(reader, "a text").map(|text| text.template());
    if let Some((_, field)) = RELATIONS.iter().find(|(node, _)| *node == reader.name()) {
        let relations = templates(reader, "relations such as \"libc6 (>= 2.36)\"");
        package.relations.entry((*field).to_owned()).or_default().extend(relations);
        return;
    }
    match reader.name() {
        "name" => package.name = text(reader).unwrap_or(package.name.clone()),
        "version" => version(reader, package),
        "maintainer" => package.maintainer = text(reader).unwrap_or(package.maintainer.clone()),
        "section" => package.section = text(reader).unwrap_or(package.section.clone()),
        "priority" => package.priority = text(reader).unwrap_or(package.priority.clone()),
        "homepage" => package.homepage = text(reader),
        "summary" => package.summary = text(reader).unwrap_or(package.summary.clone()),
        "description" => package.description = text(reader).unwrap_or(package.description.clone()),
        "changelog" => package.changelog = text(reader).unwrap_or(package.changelog.clone()),
        "copyright" => package.copyright = single(reader, "a file").map(|text| PathBuf::from(text.value)),
        "script" => script(reader, package),
        "conffiles" => package.conffiles.extend(templates(reader, "absolute paths")),
        "lintian-overrides" => {
            package.lintian_overrides.extend(templates(reader, "lines of an override file"))
        }
        "compression" => compression(reader, package),
        "files" => package.contents.extend(content(reader)),
        "requires" => package.requires.extend(references(reader, "names of tests")),
        _ => reader.unknown(&PACKAGE),
    }
}

fn version(mut reader: Reader<'_>, package: &mut Package) {
    if let Some(version) = reader.required("a version") {
        package.version = version.template();
    }
    package.epoch = reader.number("epoch");
    package.iteration = reader.template("iteration");
    reader.finish();
}

fn script(mut reader: Reader<'_>, package: &mut Package) {
    let name = reader.required("the name of a maintainer script");
    let body = reader.required("a text");
    if let (Some(name), Some(body)) = (name, body) {
        if SCRIPTS.contains(&name.value.as_str()) {
            package.scripts.insert(name.value, body.template());
        } else {
            let message = format!("there is no maintainer script '{}'", name.value);
            let diagnostic = Diagnostic::error(&name.span, message, "unknown script");
            reader.push(diagnostic.suggest(&name.value, SCRIPTS));
        }
    }
    reader.finish();
}

fn compression(mut reader: Reader<'_>, package: &mut Package) {
    const KNOWN: [&str; 3] = ["gzip", "xz", "zstd"];
    if let Some(text) = reader.required("xz, zstd or gzip") {
        if !KNOWN.contains(&text.value.as_str()) {
            let message = format!("packages are not compressed by '{}'", text.value);
            reader.push(Diagnostic::error(&text.span, message, "unknown").suggest(&text.value, KNOWN));
        }
        package.compression = text.value;
    }
    reader.finish();
}

fn content(mut reader: Reader<'_>) -> Option<Content> {
    let targets = reader.property("from").map(|text| alternatives(&text, &reader));
    let output = reader.property("output").map(named);
    let path = reader.template("path").unwrap_or_else(|| constant("", &reader));
    let to = reader.required_property("to");
    let from = match targets {
        Some(targets) => InputSource::Target { targets, output },
        None => InputSource::Files(
            reader.arguments("globs, or from=\"a target\"").into_iter().map(|g| g.value).collect(),
        ),
    };
    reader.finish();
    Some(Content { from, path, to: to?.template() })
}

fn report_missing(package: &Package, reader: &Reader<'_>) {
    let has = |name: &str| reader.node().iter_children().any(|child| child.name().value() == name);
    let required = [
        ("version", "version \"{otp}\""),
        ("maintainer", "maintainer \"Name <address>\""),
        ("summary", "summary \"one line\""),
    ];
    for (name, example) in required.into_iter().filter(|(name, _)| !has(name)) {
        let message = format!("a package needs a {name}");
        let diagnostic = Diagnostic::error(&reader.span(), message, format!("has no {name}"));
        reader.push(diagnostic.help(format!("add for example: {example}")));
    }
    if package.wants_generated_depends() && package.image.is_empty() {
        let auto = package.relations.values().flatten().find(|relation| is_auto(relation));
        let span = auto.map_or(reader.span(), |auto| auto.span.clone());
        let message = "\"auto\" asks the dependency generator of an image, and this package names none";
        let help = "add image=\"…\" to the package";
        reader.push(Diagnostic::error(&span, message, "in which image?").help(help));
    }
}
