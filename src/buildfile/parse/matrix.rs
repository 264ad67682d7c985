//! Axes and rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::reader::{Reader, Text};
use super::names;
use crate::buildfile::{Axis, AxisValue, AxisValues, Condition, Diagnostic, Predicate, Rule, RuleKind, Span};

pub fn axis(mut reader: Reader<'_>) -> Option<Axis> {
    let name = names::axis_name(&mut reader);
    let from = reader.property("from");
    let mut values = Vec::new();
    for child in reader.children(&["value"]) {
        match child.name() {
            "value" => values.extend(axis_values(child)),
            _ => child.unknown(&["value"]),
        }
    }
    let values_span = from.as_ref().map_or(reader.span(), |from| from.span.clone());
    let values = match from {
        Some(from) if values.is_empty() => AxisValues::Upstream(from.value),
        Some(from) => {
            let message = "an axis has its values from one place";
            let help = "drop from=\"…\" or the value nodes";
            reader.push(Diagnostic::error(&from.span, message, "and there are value nodes").help(help));
            AxisValues::Given(values)
        }
        None => AxisValues::Given(values),
    };
    // A value that is there and faulty was told.
    if values == AxisValues::Given(Vec::new()) && reader.node().children().is_empty() {
        let help = "give it value nodes, or from=\"an upstream\"";
        reader.push(Diagnostic::error(&reader.span(), "an axis needs values", "has none").help(help));
    }
    reader.finish();
    let name = name?;
    Some(Axis { name: name.value, span: name.span, values, values_span })
}

/// One value, or several that are alike.
fn axis_values(mut reader: Reader<'_>) -> Vec<AxisValue> {
    let names = names::value_names(&mut reader);
    let mut attributes = BTreeMap::new();
    for (attribute, text, _) in reader.properties() {
        names::check_attribute(&attribute, &reader);
        if attributes.insert(attribute.value.clone(), text.value).is_some() {
            let message = format!("attribute '{}' is given twice", attribute.value);
            let help = "drop one of them";
            reader.push(Diagnostic::error(&attribute.span, message, "the second").help(help));
        }
    }
    reader.finish();
    let attributes = Arc::new(attributes);
    let value =
        |name: Text| AxisValue { name: name.value.into(), attributes: attributes.clone(), span: name.span };
    names.into_iter().map(value).collect()
}

pub fn rule(mut reader: Reader<'_>, kind: RuleKind) -> Option<Rule> {
    let span = reader.span();
    let predicates = predicates(&mut reader);
    if predicates.is_empty() && reader.node().entries.is_empty() {
        let help = format!("write for example: {} arch=\"arm64\" distro=\"debian-14\"", reader.name());
        let message = format!("'{}' needs conditions", reader.name());
        reader.push(Diagnostic::error(&span, message, "would hold everywhere").help(help));
    }
    reader.finish();
    Some(Rule { kind, predicates, span })
}

pub fn choice(mut reader: Reader<'_>) -> Vec<(Predicate, Span)> {
    let choice = predicates(&mut reader);
    reader.finish();
    choice.into_iter().filter_map(|predicate| Some((predicate.clone(), predicate.span?))).collect()
}

pub fn predicates(reader: &mut Reader<'_>) -> Vec<Predicate> {
    let properties = reader.properties();
    properties.iter().filter_map(|(name, text, whole)| predicate(name, text, whole, reader)).collect()
}

fn predicate(name: &Text, text: &Text, whole: &Span, reader: &Reader<'_>) -> Option<Predicate> {
    match Condition::parse(&text.value) {
        Ok(condition) => Some(Predicate::new(&name.value, condition).at(whole.clone())),
        Err(error) => {
            reader.push(Diagnostic::error(&text.span, error.to_string(), "not a condition"));
            None
        }
    }
}
