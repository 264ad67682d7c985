//! Targets, tests and images.

use super::super::reader::{Reader, bytes, duration};
use super::{constant, filter, over, reference, references, single, strings, templates};
use crate::buildfile::{
    Body, Command, Diagnostic, ImageSource, Input, InputSource, Place, Resources, Root, Target, Template,
};

const COMMAND: [&str; 10] =
    ["env", "files", "output", "requires", "resources", "run", "source", "timeout", "use", "where"];
const IMAGE: [&str; 3] = ["bootstrap", "dockerfile", "where"];

pub fn command(mut reader: Reader<'_>) -> Option<Target> {
    let is_test = reader.name() == "test";
    let name = reader.required("a name");
    let over = over(&mut reader);
    let image = reader.property("image");
    let network = reader.flag("network");
    let mut filters = Vec::new();
    let mut script = None;
    let mut command = Command {
        is_test,
        root: image.map_or(Root::Host, |image| match image.value.as_str() {
            "host" => Root::Host,
            _ => Root::Image(image.value),
        }),
        script: constant("", &reader),
        env: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        requires: Vec::new(),
        network,
        resources: Resources { cpu: 1, memory: None },
        timeout: None,
    };
    for child in reader.children() {
        match child.name() {
            "where" => filters.extend(filter(child)),
            "run" => script = single(child, "a script").or(script),
            "env" => command.env.extend(variable(child)),
            "source" => command.inputs.extend(source(child)),
            "files" => command.inputs.extend(files(child)),
            "use" => command.inputs.extend(uses(child)),
            "output" if !is_test => command.outputs.extend(strings(child, "a name below $OUT")),
            "requires" => command.requires.extend(references(child, "the name of a test")),
            "resources" => command.resources = resources(child),
            "timeout" => {
                let mut child = child;
                let text = child.required("a time span");
                command.timeout = text.and_then(|text| duration(&text, &child));
                child.finish();
            }
            _ => child.unknown(&COMMAND),
        }
    }
    let span = reader.span();
    match script {
        Some(script) => command.script = script.template(),
        None => reader.push(Diagnostic::error(&span, "nothing to run", "add a run node with a script")),
    }
    if !is_test && command.outputs.is_empty() {
        let help = "name what the script leaves below $OUT, or make it a test, which gives no output";
        reader.push(Diagnostic::error(&span, "a target needs an output", "has none").help(help));
    }
    reader.finish();
    Some(Target { name: name?.value, span, over, filter: filters, body: Body::Command(Box::new(command)) })
}

fn variable(mut reader: Reader<'_>) -> Option<(String, Template)> {
    let name = reader.required("a variable");
    let value = reader.required("its value");
    reader.finish();
    Some((name?.value, value?.template()))
}

fn source(mut reader: Reader<'_>) -> Option<Input> {
    let upstream = reader.required("the name of an upstream");
    let place = place(&mut reader);
    reader.finish();
    Some(Input { from: InputSource::Upstream(reference(upstream?)), place: place? })
}

fn files(mut reader: Reader<'_>) -> Option<Input> {
    let place = place(&mut reader);
    let globs = reader.arguments("globs").into_iter().map(|glob| glob.value).collect();
    reader.finish();
    Some(Input { from: InputSource::Files(globs), place: place? })
}

fn uses(mut reader: Reader<'_>) -> Option<Input> {
    let target = reader.required("the name of a target");
    let output = reader.property("output").map(|text| text.value);
    let place = place(&mut reader);
    reader.finish();
    Some(Input { from: InputSource::Target { target: reference(target?), output }, place: place? })
}

fn place(reader: &mut Reader<'_>) -> Option<Place> {
    match (reader.template("into"), reader.template("at")) {
        (Some(into), None) => Some(Place::Into(into)),
        (None, Some(at)) => Some(Place::At(at)),
        _ => {
            let message = format!("'{}' needs one place", reader.name());
            let help = "into=\"dir\" is a copy below the working directory, at=\"/dir\" is mounted read-only";
            reader.push(Diagnostic::error(&reader.span(), message, "into or at?").help(help));
            None
        }
    }
}

fn resources(mut reader: Reader<'_>) -> Resources {
    let cpu = reader.number("cpu").unwrap_or(1).max(1);
    let memory = reader.property("memory").and_then(|text| bytes(&text, &reader));
    reader.finish();
    Resources { cpu, memory }
}

pub fn image(mut reader: Reader<'_>) -> Option<Target> {
    let name = reader.required("a name");
    let over = over(&mut reader);
    let mut filters = Vec::new();
    let mut sources = Vec::new();
    for child in reader.children() {
        match child.name() {
            "where" => filters.extend(filter(child)),
            "bootstrap" => sources.extend(bootstrap(child)),
            "dockerfile" => sources.extend(dockerfile(child)),
            _ => child.unknown(&IMAGE),
        }
    }
    let span = reader.span();
    if sources.len() != 1 {
        let message = format!("an image is made in one way, and this one in {}", sources.len());
        reader.push(Diagnostic::error(&span, message, "bootstrap or dockerfile?"));
    }
    reader.finish();
    Some(Target { name: name?.value, span, over, filter: filters, body: Body::Image(sources.pop()?) })
}

fn bootstrap(mut reader: Reader<'_>) -> Option<ImageSource> {
    let suite = reader.required("a suite");
    let arch = reader.required_property("arch");
    let mut packages = Vec::new();
    for child in reader.children() {
        match child.name() {
            "packages" => packages.extend(templates(child, "names of packages")),
            _ => child.unknown(&["packages"]),
        }
    }
    reader.finish();
    Some(ImageSource::Bootstrap { suite: suite?.template(), arch: arch?.template(), packages })
}

fn dockerfile(mut reader: Reader<'_>) -> Option<ImageSource> {
    let path = reader.required("the path of a Dockerfile");
    let platform = reader.required_property("platform");
    let (mut context, mut args) = (Vec::new(), Vec::new());
    for child in reader.children() {
        match child.name() {
            "context" => context.extend(strings(child, "globs")),
            "arg" => args.extend(variable(child)),
            _ => child.unknown(&["arg", "context"]),
        }
    }
    reader.finish();
    let (path, platform) = (path?.template(), platform?.template());
    Some(ImageSource::Dockerfile { path, context, args, platform })
}
