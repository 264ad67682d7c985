//! Packages.

use std::path::PathBuf;

use super::super::reader::Reader;
use super::super::reader::Text;
use super::reference::{alternatives, named, references};
use super::{constant, filter, names, over, single, target, templates};
use crate::buildfile::{Body, Content, Diagnostic, InputSource, Package, PackagePart, Target};

/// Relation nodes, and what they are called in messages: Debian's control fields.
const RELATIONS: [(&str, &str); 10] = [
    ("pre-depends", "Pre-Depends"),
    ("depends", "Depends"),
    ("recommends", "Recommends"),
    ("suggests", "Suggests"),
    ("enhances", "Enhances"),
    ("supplements", "Supplements"),
    ("breaks", "Breaks"),
    ("conflicts", "Conflicts"),
    ("replaces", "Replaces"),
    ("provides", "Provides"),
];

const SCRIPTS: [&str; 4] = ["preinst", "postinst", "prerm", "postrm"];

const PACKAGE: [&str; 32] = [
    "breaks",
    "changelog",
    "compression",
    "conffiles",
    "conflicts",
    "copyright",
    "deb",
    "depends",
    "description",
    "enhances",
    "files",
    "group",
    "homepage",
    "license",
    "lintian-overrides",
    "maintainer",
    "name",
    "pre-depends",
    "priority",
    "provides",
    "recommends",
    "replaces",
    "requires",
    "rpm",
    "script",
    "section",
    "sign",
    "suggests",
    "summary",
    "vendor",
    "version",
    "where",
];

/// What counts for Debian packages alone where it stands in `deb`.
const DEB: [&str; 15] = [
    "breaks",
    "compression",
    "conffiles",
    "conflicts",
    "depends",
    "enhances",
    "lintian-overrides",
    "pre-depends",
    "priority",
    "provides",
    "recommends",
    "replaces",
    "script",
    "section",
    "suggests",
];

/// The same for rpm packages and `rpm`.
const RPM: [&str; 18] = [
    "arch",
    "breaks",
    "compression",
    "conffiles",
    "conflicts",
    "depends",
    "enhances",
    "group",
    "license",
    "pre-depends",
    "provides",
    "recommends",
    "replaces",
    "script",
    "sign",
    "suggests",
    "supplements",
    "vendor",
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
        dist: None,
        architecture: architecture.map_or(constant("", &reader), |text| text.template()),
        maintainer: constant("", &reader),
        homepage: None,
        summary: constant("", &reader),
        description: constant("", &reader),
        changelog: constant("Built from upstream's source.", &reader),
        copyright: None,
        common: PackagePart::default(),
        deb: PackagePart::default(),
        rpm: PackagePart::default(),
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
    match reader.name() {
        "name" => package.name = text(reader).unwrap_or(package.name.clone()),
        "version" => version(reader, package),
        "maintainer" => package.maintainer = text(reader).unwrap_or(package.maintainer.clone()),
        "homepage" => package.homepage = text(reader),
        "summary" => package.summary = text(reader).unwrap_or(package.summary.clone()),
        "description" => package.description = text(reader).unwrap_or(package.description.clone()),
        "changelog" => package.changelog = text(reader).unwrap_or(package.changelog.clone()),
        "copyright" => package.copyright = single(reader, "a file").map(|text| PathBuf::from(text.value)),
        "files" => package.contents.extend(content(reader)),
        "requires" => package.requires.extend(references(reader, "names of tests")),
        "deb" => block(reader, &DEB, &mut package.deb),
        "rpm" => block(reader, &RPM, &mut package.rpm),
        name if PACKAGE.contains(&name) => part(reader, &mut package.common),
        _ => reader.unknown(&PACKAGE),
    }
}

/// `deb { … }` or `rpm { … }`.
fn block(mut reader: Reader<'_>, known: &'static [&'static str], own: &mut PackagePart) {
    for child in reader.children(known) {
        match known.contains(&child.name()) {
            true => part(child, own),
            false => child.unknown(known),
        }
    }
    reader.finish();
}

/// What may stand for every format, or for one.
fn part(reader: Reader<'_>, part: &mut PackagePart) {
    let text = |reader| single(reader, "a text").map(|text| text.template());
    if let Some((_, field)) = RELATIONS.iter().find(|(node, _)| *node == reader.name()) {
        let relations = templates(reader, "relations such as \"libc6 (>= 2.36)\"");
        part.relations.entry((*field).to_owned()).or_default().extend(relations);
        return;
    }
    match reader.name() {
        "section" => part.section = text(reader),
        "priority" => part.priority = text(reader),
        "arch" => part.architecture = text(reader),
        "license" => part.license = text(reader),
        "group" => part.group = text(reader),
        "vendor" => part.vendor = text(reader),
        "script" => script(reader, part),
        "conffiles" => part.conffiles.extend(templates(reader, "absolute paths")),
        "lintian-overrides" => part.lintian_overrides.extend(templates(reader, "lines of an override file")),
        "compression" => compression(reader, part),
        _ => sign(reader, part),
    }
}

fn sign(reader: Reader<'_>, part: &mut PackagePart) {
    if part.sign.is_some() {
        let message = "an rpm package is signed by one key, and this is the second";
        reader.push(Diagnostic::error(&reader.span(), message, "the second").help("keep one of them"));
    }
    part.sign = single(reader, "the name of a key").map(named);
}

fn version(mut reader: Reader<'_>, package: &mut Package) {
    if let Some(version) = reader.required("a version") {
        package.version = version.template();
    }
    package.epoch = reader.number("epoch");
    package.iteration = reader.template("iteration");
    package.dist = reader.template("dist");
    reader.finish();
}

fn script(mut reader: Reader<'_>, part: &mut PackagePart) {
    let name = reader.required("the name of a maintainer script");
    let body = reader.required("a text");
    if let (Some(name), Some(body)) = (name, body) {
        if SCRIPTS.contains(&name.value.as_str()) {
            part.scripts.insert(name.value, body.template());
        } else {
            let message = format!("there is no maintainer script '{}'", name.value);
            let diagnostic = Diagnostic::error(&name.span, message, "unknown script");
            reader.push(diagnostic.suggest(&name.value, SCRIPTS));
        }
    }
    reader.finish();
}

fn compression(mut reader: Reader<'_>, part: &mut PackagePart) {
    const KNOWN: [&str; 3] = ["gzip", "xz", "zstd"];
    if let Some(text) = reader.required("xz, zstd or gzip") {
        if !KNOWN.contains(&text.value.as_str()) {
            let message = format!("packages are not compressed by '{}'", text.value);
            reader.push(Diagnostic::error(&text.span, message, "unknown").suggest(&text.value, KNOWN));
        }
        part.compression = Some(text.value);
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
        None => {
            let globs = reader.arguments("globs, or from=\"a target\"");
            InputSource::Files(globs.iter().map(Text::template).collect())
        }
    };
    reader.finish();
    Some(Content { from, path, to: to?.template() })
}

fn report_missing(package: &Package, reader: &Reader<'_>) {
    let has = |name: &str| reader.node().has_child(name);
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
    if let Some(auto) = package.parts().into_iter().find_map(PackagePart::generated)
        && package.image.is_empty()
    {
        let span = auto.span.clone();
        let message = "\"auto\" asks the dependency generator of an image, and this package names none";
        let help = "add image=\"…\" to the package";
        reader.push(Diagnostic::error(&span, message, "in which image?").help(help));
    }
}
