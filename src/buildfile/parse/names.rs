//! What may be a name: names stand in templates, on the command line and in nodes' names.

use crate::buildfile::Diagnostic;
use crate::buildfile::reader::{Reader, Text};

/// The name of a target, upstream or profile.
pub fn name(reader: &mut Reader<'_>) -> Option<Text> {
    let is_fit = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c))
    };
    checked(reader, is_fit, "a name is of letters, digits and + - . _, and starts with a letter or digit")
}

/// The names of values on an axis.
pub fn value_names(reader: &mut Reader<'_>) -> Vec<Text> {
    let is_fit = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._~:".contains(c))
    };
    let names = reader.arguments("a name");
    for name in names.iter().filter(|name| !is_fit(&name.value)) {
        let rule = "a value is of letters, digits and + - . _ ~ :, and starts with a letter or digit";
        report(name, rule, reader);
    }
    names
}

/// The name of an axis.
pub fn axis_name(reader: &mut Reader<'_>) -> Option<Text> {
    checked(reader, is_variable, VARIABLE)
}

/// The name of an attribute; a fault is reported.
pub fn check_attribute(name: &Text, reader: &Reader<'_>) {
    if !is_variable(&name.value) {
        report(name, VARIABLE, reader);
    }
}

const VARIABLE: &str = "it must fit into {…}: lower-case letters, digits, - and _, and a letter comes first";

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}

fn checked(reader: &mut Reader<'_>, is_fit: impl Fn(&str) -> bool, rule: &str) -> Option<Text> {
    let name = reader.required("a name")?;
    if !is_fit(&name.value) {
        report(&name, rule, reader);
    }
    Some(name)
}

fn report(name: &Text, rule: &str, reader: &Reader<'_>) {
    let message = format!("'{}' cannot be a name", name.value);
    reader.push(Diagnostic::error(&name.span, message, "not a name").help(rule));
}
