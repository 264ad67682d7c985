//! Targets, tests and images.

use std::sync::Arc;

use super::super::reader::{Reader, Text, bytes, duration};
use super::reference::{alternatives, arguments, named, reference, references};
use super::{constant, filter, names, over, second, single, strings, target, templates};
use crate::buildfile::{
    Body, Command, Diagnostic, Gather, ImageSource, Input, InputSource, Place, Resources, Root, Target,
    Template,
};

const COMMAND: [&str; 11] =
    ["env", "files", "gather", "output", "requires", "resources", "run", "source", "timeout", "use", "where"];
const TEST: [&str; 10] =
    ["env", "files", "gather", "requires", "resources", "run", "source", "timeout", "use", "where"];
const IMAGE: [&str; 4] = ["bootstrap", "dockerfile", "registry", "where"];
const DOCKERFILE: [&str; 3] = ["arg", "base", "context"];

pub fn command(mut reader: Reader<'_>) -> Option<Target> {
    let is_test = reader.name() == "test";
    let name = names::name(&mut reader);
    let (over, over_span) = over(&mut reader);
    let image = reader.property("image");
    let network = reader.flag("network");
    let mut filters = Vec::new();
    let (mut script, mut outputs) = (None, Vec::new());
    let mut command = Command {
        is_test,
        root: image.map_or(Root::Host, |image| match image.value.as_str() {
            "host" => Root::Host,
            "bare" => Root::Bare,
            _ => Root::Image(alternatives(&image, &reader)),
        }),
        script: constant("", &reader).into(),
        env: Vec::new(),
        inputs: Vec::new(),
        gathers: Vec::new(),
        outputs: Arc::default(),
        requires: Vec::new(),
        network,
        resources: Resources { cpu: 1, memory: None },
        timeout: None,
    };
    let known = if is_test { &TEST[..] } else { &COMMAND };
    for child in reader.children(known) {
        match child.name() {
            "where" => filters.extend(filter(child)),
            "run" => match script {
                None => script = Some(single(child, "a script")),
                Some(_) => second(child),
            },
            "env" => command.env.extend(variable(child)),
            "source" => command.inputs.extend(source(child)),
            "files" => command.inputs.extend(files(child)),
            "use" => command.inputs.extend(uses(child)),
            "gather" => command.gathers.extend(gather(child)),
            "output" if !is_test => outputs.extend(strings(child, "a name below $OUT")),
            "output" => test_output(child),
            "requires" => command.requires.extend(references(child, "the name of a test")),
            "resources" => command.resources = resources(child),
            "timeout" => {
                let mut child = child;
                let text = child.required("a time span");
                command.timeout = text.and_then(|text| duration(&text, &child));
                child.finish();
            }
            _ => child.unknown(known),
        }
    }
    let span = reader.span();
    match script {
        Some(script) => command.script = script.map_or(command.script, |script| script.template().into()),
        None => {
            let message = format!("a {} needs a script", reader.name());
            let help = "add for example: run \"make -C src install\"";
            reader.push(Diagnostic::error(&span, message, "has nothing to run").help(help));
        }
    }
    command.outputs = outputs.into();
    if !is_test && command.outputs.is_empty() {
        let help = "name what the script leaves below $OUT: output \"root\"; what only checks is a test";
        reader.push(Diagnostic::error(&span, "a target needs an output", "has none").help(help));
    }
    if command.root == Root::Bare {
        report_mounts(&command, &reader);
    }
    reader.finish();
    target(name?, (over, over_span), filters, Body::Command(Box::new(command)))
}

/// Without a sandbox nothing can be mounted.
fn report_mounts(command: &Command, reader: &Reader<'_>) {
    let places = command.inputs.iter().map(|input| &input.place);
    for place in places.chain(command.gathers.iter().map(|gather| &gather.place)) {
        if let Place::At(path) = place {
            let message = "nothing is mounted where there is no sandbox";
            let help = "put it below the working directory by into=\"…\", or drop image=\"bare\"";
            reader.push(Diagnostic::error(&path.span, message, "needs one").help(help));
        }
    }
}

fn test_output(reader: Reader<'_>) {
    let help = "drop it, or declare a target instead";
    reader.push(Diagnostic::error(&reader.span(), "a test gives no output", "not in a test").help(help));
}

fn variable(mut reader: Reader<'_>) -> Option<(String, Arc<Template>)> {
    let name = reader.required("the name of a variable");
    let value = reader.required("a value");
    reader.finish();
    Some((name?.value, value?.template().into()))
}

fn source(mut reader: Reader<'_>) -> Option<Input> {
    let upstream = reader.required("the name of an upstream");
    let place = place(&mut reader);
    reader.finish();
    Some(Input { from: InputSource::Upstream(named(upstream?)), place: place? })
}

fn files(mut reader: Reader<'_>) -> Option<Input> {
    let place = place(&mut reader);
    let globs = reader.arguments("globs").iter().map(Text::template).collect();
    reader.finish();
    Some(Input { from: InputSource::Files(globs), place: place? })
}

fn uses(mut reader: Reader<'_>) -> Option<Input> {
    let targets = arguments(&mut reader, "the name of a target");
    let output = reader.property("output").map(named);
    let place = place(&mut reader);
    reader.finish();
    let place = place.filter(|_| !targets.is_empty())?;
    Some(Input { from: InputSource::Target { targets, output }, place })
}

fn gather(mut reader: Reader<'_>) -> Option<Gather> {
    let target = reader.required("the name of a target").map(|text| reference(&text, &reader));
    let output = reader.property("output").map(named);
    let place = place(&mut reader);
    reader.finish();
    Some(Gather { target: target?, output, place: place? })
}

fn place(reader: &mut Reader<'_>) -> Option<Place> {
    let (into, at) = (reader.property("into"), reader.property("at"));
    let help = "into=\"dir\" is a copy below the working directory, at=\"/dir\" is mounted read-only";
    let diagnostic = match (into, at) {
        (Some(into), None) => return Some(Place::Into(into.template().into())),
        (None, Some(at)) => return Some(Place::At(at.template().into())),
        (Some(into), Some(at)) => {
            let message = format!("'{}' has two places", reader.name());
            Diagnostic::error(&at.span, message, "drop this").also(&into.span, "or this")
        }
        (None, None) => {
            let message = format!("'{}' needs a place", reader.name());
            Diagnostic::error(&reader.span(), message, "into or at?")
        }
    };
    reader.push(diagnostic.help(help));
    None
}

fn resources(mut reader: Reader<'_>) -> Resources {
    let cpu = reader.property("cpu").map_or(1, |text| {
        let cpu = reader.parsed(&text, "cpu");
        if cpu == Some(0) {
            let message = "a command takes at least one core";
            reader.push(Diagnostic::error(&text.span, message, "expected 1 or more"));
        }
        cpu.unwrap_or(1)
    });
    let memory = reader.property("memory").and_then(|text| bytes(&text, &reader));
    reader.finish();
    Resources { cpu, memory }
}

pub fn image(mut reader: Reader<'_>) -> Option<Target> {
    let name = names::name(&mut reader);
    let (over, over_span) = over(&mut reader);
    let mut filters = Vec::new();
    let mut sources = Vec::new();
    let mut count = 0;
    for child in reader.children(&IMAGE) {
        count += usize::from(IMAGE.contains(&child.name()) && child.name() != "where");
        match child.name() {
            "where" => filters.extend(filter(child)),
            "bootstrap" => sources.extend(bootstrap(child)),
            "dockerfile" => sources.extend(dockerfile(child)),
            "registry" => sources.extend(registry(child)),
            _ => child.unknown(&IMAGE),
        }
    }
    let mistake = match count {
        0 => Some(("an image is made in no way", "nothing is in it")),
        1 => None,
        _ => Some(("an image is made in one way", "this one is made in several")),
    };
    if let Some((message, label)) = mistake {
        let help = "write one node inside: bootstrap \"suite\" arch=\"…\", dockerfile \"path\" platform=\"…\", \
                    or registry \"name:tag\" platform=\"…\"";
        reader.push(Diagnostic::error(&reader.span(), message, label).help(help));
    }
    let taken = [
        ("host", "image=\"host\" stands for the tree of the machine itself"),
        ("bare", "image=\"bare\" stands for the machine itself, without a sandbox"),
    ];
    for (taken, help) in taken {
        if let Some(name) = name.as_ref().filter(|name| name.value == taken) {
            let message = format!("no image is called '{taken}'");
            reader.push(Diagnostic::error(&name.span, message, "rename it").help(help));
        }
    }
    reader.finish();
    target(name?, (over, over_span), filters, Body::Image(sources.pop()?))
}

fn bootstrap(mut reader: Reader<'_>) -> Option<ImageSource> {
    let suite = reader.required("a suite");
    let arch = reader.required_property("arch");
    let (mut foreign, mut packages) = (Vec::new(), Vec::new());
    for child in reader.children(&["foreign", "packages"]) {
        match child.name() {
            "foreign" => foreign.extend(templates(child, "names of architectures")),
            "packages" => packages.extend(templates(child, "names of packages")),
            _ => child.unknown(&["foreign", "packages"]),
        }
    }
    reader.finish();
    Some(ImageSource::Bootstrap { suite: suite?.template(), arch: arch?.template(), foreign, packages })
}

fn dockerfile(mut reader: Reader<'_>) -> Option<ImageSource> {
    let path = reader.required("the path of a Dockerfile");
    let platform = reader.required_property("platform");
    let (mut context, mut args, mut bases) = (Vec::new(), Vec::new(), Vec::new());
    let mut names: Vec<Text> = Vec::new();
    for mut child in reader.children(&DOCKERFILE) {
        match child.name() {
            "context" => context.extend(strings(child, "globs")),
            kind @ ("arg" | "base") => {
                let name = child.required("the name of an argument");
                let value =
                    child.required(if kind == "arg" { "a value" } else { "an image as debian:bookworm" });
                child.finish();
                let (Some(name), Some(value)) = (name, value) else { continue };
                let list = if kind == "arg" { &mut args } else { &mut bases };
                list.push((name.value.clone(), value.template()));
                names.push(name);
            }
            _ => child.unknown(&DOCKERFILE),
        }
    }
    report_second(&names, &reader);
    reader.finish();
    let (path, platform) = (path?.template(), platform?.template());
    Some(ImageSource::Dockerfile { path, context, args, bases, platform })
}

/// An argument has one value.
fn report_second(names: &[Text], reader: &Reader<'_>) {
    for (at, name) in names.iter().enumerate() {
        if let Some(first) = names[..at].iter().find(|first| first.value == name.value) {
            let message = format!("the argument '{}' is given twice", name.value);
            let diagnostic =
                Diagnostic::error(&name.span, message, "the second").also(&first.span, "the first");
            reader.push(diagnostic.help("drop one of them"));
        }
    }
}

fn registry(mut reader: Reader<'_>) -> Option<ImageSource> {
    let reference = reader.required("an image as debian:bookworm");
    let platform = reader.required_property("platform");
    reader.finish();
    Some(ImageSource::Registry { reference: reference?.template(), platform: platform?.template() })
}
