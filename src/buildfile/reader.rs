use std::cell::RefCell;
use std::time::Duration;

use kdl::{KdlEntry, KdlNode, KdlValue};

use super::{Diagnostic, Report, Source, Span, Template};

/// Where faults of one file go.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The file that is read.
    pub source: &'a Source,
    /// All faults so far.
    pub report: &'a RefCell<Report>,
}

impl Context<'_> {
    pub fn span(&self, range: impl Into<miette::SourceSpan>) -> Span {
        Span { source: self.source.clone(), range: range.into() }
    }

    pub fn push(&self, diagnostic: Diagnostic) {
        self.report.borrow_mut().push(diagnostic);
    }
}

/// A text with the place it is written at.
#[derive(Clone, Debug)]
pub struct Text {
    pub value: String,
    pub span: Span,
}

impl Text {
    pub fn template(&self) -> Template {
        Template::parse(&self.value, self.span.clone())
    }
}

/// Reads one node: what was not asked for by [`Reader::finish`] is a fault.
pub struct Reader<'a> {
    node: &'a KdlNode,
    context: Context<'a>,
    next_argument: usize,
    asked: Vec<&'static str>,
    takes_any_property: bool,
    takes_children: bool,
}

impl<'a> Reader<'a> {
    pub fn new(node: &'a KdlNode, context: Context<'a>) -> Self {
        let asked = Vec::new();
        Self { node, context, next_argument: 0, asked, takes_any_property: false, takes_children: false }
    }

    pub fn name(&self) -> &'a str {
        self.node.name().value()
    }

    /// The node's name, as a place: underlining a whole block would show too much.
    pub fn span(&self) -> Span {
        self.context.span(self.node.name().span())
    }

    pub fn push(&self, diagnostic: Diagnostic) {
        self.context.push(diagnostic);
    }

    /// The next argument, if there is one.
    pub fn argument(&mut self) -> Option<Text> {
        let entry =
            self.node.entries().iter().filter(|entry| entry.name().is_none()).nth(self.next_argument)?;
        self.next_argument += 1;
        Some(self.text(entry))
    }

    /// The next argument, which must be there: `what` says what it is.
    pub fn required(&mut self, what: &str) -> Option<Text> {
        let argument = self.argument();
        if argument.is_none() {
            let message = format!("'{}' needs {what}", self.name());
            self.push(Diagnostic::error(&self.span(), message, format!("{what} is missing")));
        }
        argument
    }

    /// All arguments that are left; `what` says what they are, and at least one must be there.
    pub fn arguments(&mut self, what: &str) -> Vec<Text> {
        let first = self.required(what);
        first.into_iter().chain(std::iter::from_fn(|| self.argument())).collect()
    }

    pub fn property(&mut self, name: &'static str) -> Option<Text> {
        self.asked.push(name);
        // The last of several wins, as KDL has it.
        let entry = self.node.entries().iter().rfind(|e| e.name().is_some_and(|n| n.value() == name))?;
        Some(self.text(entry))
    }

    pub fn required_property(&mut self, name: &'static str) -> Option<Text> {
        let property = self.property(name);
        if property.is_none() {
            let message = format!("'{}' needs the property '{name}'", self.name());
            self.push(Diagnostic::error(&self.span(), message, format!("add {name}=…")));
        }
        property
    }

    pub fn template(&mut self, name: &'static str) -> Option<Template> {
        self.property(name).map(|text| text.template())
    }

    pub fn number<T: std::str::FromStr>(&mut self, name: &'static str) -> Option<T> {
        let text = self.property(name)?;
        let number = text.value.parse().ok();
        if number.is_none() {
            let message = format!("'{name}' is not a whole number in range");
            self.push(Diagnostic::error(&text.span, message, "expected a number"));
        }
        number
    }

    pub fn flag(&mut self, name: &'static str) -> bool {
        match self.property(name) {
            None => false,
            Some(text) if text.value == "#true" => true,
            Some(text) if text.value == "#false" => false,
            Some(text) => {
                let message = format!("'{name}' is either #true or #false");
                self.push(Diagnostic::error(&text.span, message, "neither of them"));
                false
            }
        }
    }

    /// Every property, for nodes whose properties are named by the user.
    pub fn properties(&mut self) -> Vec<(String, Text)> {
        self.takes_any_property = true;
        let named = self.node.entries().iter().filter_map(|entry| Some((entry.name()?, entry)));
        named.map(|(name, entry)| (name.value().to_owned(), self.text(entry))).collect()
    }

    pub fn children(&mut self) -> Vec<Reader<'a>> {
        self.takes_children = true;
        self.node.iter_children().map(|child| Reader::new(child, self.context)).collect()
    }

    /// This node has no meaning here.
    pub fn unknown(self, known: &[&str]) {
        let message = format!("there is no node '{}' here", self.name());
        let diagnostic = Diagnostic::error(&self.span(), message, "unknown node");
        self.push(diagnostic.suggest(self.name(), known.iter().copied()));
    }

    /// Reports everything that was not asked for.
    pub fn finish(self) {
        self.report_surplus_arguments();
        self.report_unknown_properties();
        if !self.takes_children && self.node.children().is_some() {
            let message = format!("'{}' takes no nodes inside it", self.name());
            self.push(Diagnostic::error(&self.span(), message, "has a block"));
        }
    }

    fn report_surplus_arguments(&self) {
        let arguments = self.node.entries().iter().filter(|entry| entry.name().is_none());
        if let Some(entry) = arguments.skip(self.next_argument).next() {
            let span = self.context.span(entry.span());
            let message = format!("'{}' takes no argument here", self.name());
            self.push(Diagnostic::error(&span, message, "one too many"));
        }
    }

    fn report_unknown_properties(&self) {
        if self.takes_any_property {
            return;
        }
        for entry in self.node.entries() {
            let Some(name) = entry.name() else { continue };
            if !self.asked.contains(&name.value()) {
                let span = self.context.span(name.span());
                let message = format!("'{}' has no property '{}'", self.name(), name.value());
                let diagnostic = Diagnostic::error(&span, message, "unknown property");
                self.push(diagnostic.suggest(name.value(), self.asked.iter().copied()));
            }
        }
    }

    fn text(&self, entry: &KdlEntry) -> Text {
        let written = entry.format().map(|format| format.value_repr.as_str());
        let value = match entry.value() {
            KdlValue::String(text) => text.clone(),
            // `1.10` is a version, not the number 1.1.
            other => written.map_or_else(|| other.to_string(), |text| text.trim().to_owned()),
        };
        Text { value, span: self.context.span(entry.span()) }
    }
}

/// A number of bytes: digits, or digits and `KiB`, `MiB`, `GiB`.
pub fn bytes(text: &Text, context: &Reader<'_>) -> Option<u64> {
    let digits = text.value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: Option<u64> = match &text.value[digits.len()..] {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = factor.and_then(|factor| digits.parse::<u64>().ok()?.checked_mul(factor));
    if bytes.is_none() {
        let message = format!("'{}' is not a size", text.value);
        context.push(Diagnostic::error(
            &text.span,
            message,
            "expected a size such as \"3GiB\" or \"512MiB\"",
        ));
    }
    bytes
}

/// A time span: digits and `s`, `m` or `h`.
pub fn duration(text: &Text, context: &Reader<'_>) -> Option<Duration> {
    let digits = text.value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: Option<u64> = match &text.value[digits.len()..] {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let seconds = factor.and_then(|factor| digits.parse::<u64>().ok()?.checked_mul(factor));
    if seconds.is_none() {
        let message = format!("'{}' is not a time span", text.value);
        context.push(Diagnostic::error(
            &text.span,
            message,
            "expected a time span such as \"90m\" or \"30s\"",
        ));
    }
    seconds.map(Duration::from_secs)
}
