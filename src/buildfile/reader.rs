use std::cell::RefCell;
use std::time::Duration;

use super::document::{Entry, Node, Value};
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
    node: &'a Node,
    context: Context<'a>,
    /// Where the next argument is looked for.
    next_entry: usize,
    /// How many arguments come before it.
    next_argument: usize,
    asked: Vec<&'static str>,
    children: &'static [&'static str],
    takes_any_property: bool,
    takes_children: bool,
    /// The properties of the node that this one is inside of.
    outer: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub fn new(node: &'a Node, context: Context<'a>) -> Self {
        Self {
            node,
            context,
            next_entry: 0,
            next_argument: 0,
            asked: Vec::new(),
            children: &[],
            takes_any_property: false,
            takes_children: false,
            outer: Vec::new(),
        }
    }

    pub fn node(&self) -> &'a Node {
        self.node
    }

    pub fn name(&self) -> &'a str {
        &self.node.name.text
    }

    /// The node's name, as a place: underlining a whole block would show too much.
    pub fn span(&self) -> Span {
        self.context.span(self.node.name.place)
    }

    pub fn push(&self, diagnostic: Diagnostic) {
        self.context.push(diagnostic);
    }

    /// The next argument, if there is one.
    pub fn argument(&mut self) -> Option<Text> {
        let entry = self.next_entry()?;
        Some(self.text(entry))
    }

    fn next_entry(&mut self) -> Option<&'a Entry> {
        let ahead = &self.node.entries[self.next_entry..];
        let at = ahead.iter().position(|entry| entry.name.is_none())?;
        self.next_entry += at + 1;
        self.next_argument += 1;
        Some(&ahead[at])
    }

    fn arguments_written(&self) -> impl Iterator<Item = &'a Entry> + use<'a> {
        self.node.entries.iter().filter(|entry| entry.name.is_none())
    }

    fn entry(&self, name: &str) -> Option<&'a Entry> {
        self.node.entries.iter().find(|entry| entry.is_called(name))
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
        self.entry(name).map(|entry| self.text(entry))
    }

    pub fn required_property(&mut self, name: &'static str) -> Option<Text> {
        let property = self.property(name);
        if property.is_none() {
            let message = format!("'{}' needs the property '{name}'", self.name());
            self.push(Diagnostic::error(&self.span(), message, format!("add {name}=\"…\"")));
        }
        property
    }

    pub fn template(&mut self, name: &'static str) -> Option<Template> {
        self.property(name).map(|text| text.template())
    }

    pub fn number<T: std::str::FromStr>(&mut self, name: &'static str) -> Option<T> {
        let text = self.property(name)?;
        self.parsed(&text, name)
    }

    /// A text as a whole number; `what` is what the number is of.
    pub fn parsed<T: std::str::FromStr>(&self, text: &Text, what: &str) -> Option<T> {
        let number = text.value.parse().ok();
        if number.is_none() {
            let message = format!("'{what}' takes a whole number, and '{}' is none in range", text.value);
            self.push(Diagnostic::error(&text.span, message, "expected a whole number such as 2"));
        }
        number
    }

    /// `name=#true`; false if it is not there.
    pub fn flag(&mut self, name: &'static str) -> bool {
        self.optional_flag(name).unwrap_or(false)
    }

    /// `name=#true` or `name=#false`, if it is there.
    pub fn optional_flag(&mut self, name: &'static str) -> Option<bool> {
        self.asked.push(name);
        let entry = self.entry(name);
        entry.and_then(|entry| self.boolean(entry, name))
    }

    /// The next argument, which must be `#true` or `#false`.
    pub fn required_flag(&mut self) -> Option<bool> {
        let Some(entry) = self.next_entry() else {
            let message = format!("'{}' needs #true or #false", self.name());
            self.push(Diagnostic::error(&self.span(), message, "nothing is said here"));
            return None;
        };
        self.boolean(entry, self.name())
    }

    fn boolean(&self, entry: &Entry, name: &str) -> Option<bool> {
        let value = entry.value.flag();
        if value.is_none() {
            let message = format!("'{name}' is either #true or #false");
            self.push(Diagnostic::error(&self.value_span(entry), message, "neither of them"));
        }
        value
    }

    /// Every property, for nodes whose properties are named by the user: name, value, and the
    /// place of both.
    pub fn properties(&mut self) -> Vec<(Text, Text, Span)> {
        self.takes_any_property = true;
        let named = self.node.entries.iter().filter_map(|entry| Some((entry.name.as_ref()?, entry)));
        named
            .map(|(name, entry)| {
                let value = self.text(entry);
                let name = Text { value: name.text.clone(), span: self.context.span(name.place) };
                let start = name.span.range.offset();
                let end = value.span.range.offset() + value.span.range.len();
                let whole = self.context.span((start, end.saturating_sub(start)));
                (name, value, whole)
            })
            .collect()
    }

    /// The nodes inside this one; `known` are the names that have a meaning here.
    pub fn children(&mut self, known: &'static [&'static str]) -> Vec<Reader<'a>> {
        self.takes_children = true;
        self.children = known;
        let outer = &self.asked;
        let child = |node| Reader { outer: outer.clone(), ..Reader::new(node, self.context) };
        self.node.children().iter().map(child).collect()
    }

    /// This node has no meaning here.
    pub fn unknown(self, known: &[&str]) {
        let message = format!("there is no node '{}' here", self.name());
        let diagnostic = Diagnostic::error(&self.span(), message, "unknown node");
        self.push(match self.outer.contains(&self.name()) {
            true => diagnostic
                .help(format!("it is a property: write {}=\"…\" before the '{{' of this block", self.name())),
            false => diagnostic.suggest(self.name(), known.iter().copied()),
        });
    }

    /// Reports everything that was not asked for.
    pub fn finish(self) {
        self.report_surplus_arguments();
        self.report_properties();
        if !self.takes_children && self.node.block.is_some() {
            let message = format!("'{}' takes no nodes inside it", self.name());
            self.push(Diagnostic::error(&self.span(), message, "has a block").help("drop the block"));
        }
    }

    fn report_surplus_arguments(&self) {
        let mut surplus = self.arguments_written().skip(self.next_argument);
        let Some(first) = surplus.next() else { return };
        let message = match self.next_argument {
            0 => format!("'{}' takes no argument", self.name()),
            1 => format!("'{}' takes one argument", self.name()),
            count => format!("'{}' takes {count} arguments", self.name()),
        };
        let label = match surplus.count() {
            0 => "this is one too many".to_owned(),
            more => format!("this is one too many, and {more} more"),
        };
        let diagnostic = Diagnostic::error(&self.value_span(first), message, label);
        let word = first.value.text().unwrap_or_default();
        self.push(match self.asked.contains(&word) {
            true => diagnostic.help(format!("it is a property: write {word}=\"…\"")),
            false => diagnostic,
        });
    }

    fn report_properties(&self) {
        if self.takes_any_property {
            return;
        }
        let mut seen = Vec::new();
        for name in self.node.entries.iter().filter_map(|entry| entry.name.as_ref()) {
            let (span, name) = (self.context.span(name.place), name.text.as_str());
            if !self.asked.contains(&name) {
                self.report_unknown_property(name, &span);
            } else if seen.contains(&name) {
                let message = format!("'{}' has the property '{name}' twice", self.name());
                self.push(Diagnostic::error(&span, message, "the second").help("drop one of them"));
            }
            seen.push(name);
        }
    }

    fn report_unknown_property(&self, name: &str, span: &Span) {
        let message = format!("'{}' has no property '{name}'", self.name());
        let diagnostic = Diagnostic::error(span, message, "unknown property");
        self.push(if self.children.contains(&name) {
            diagnostic.help(format!("it is a node: write {name} \"…\" inside the block"))
        } else if self.asked.is_empty() {
            diagnostic.help(format!("'{}' takes no properties", self.name()))
        } else {
            diagnostic.suggest(name, self.asked.iter().copied())
        });
    }

    fn text(&self, entry: &Entry) -> Text {
        let span = self.value_span(entry);
        let value = match &entry.value {
            Value::Text(text) | Value::Number(text) => text.clone(),
            Value::Flag(_) | Value::Null => {
                let keyword = span.text();
                let message = format!("expected a text, and {keyword} is none");
                let help =
                    format!("write \"{}\" if the word itself is meant", keyword.trim_start_matches('#'));
                self.push(Diagnostic::error(&span, message, "not a text").help(help));
                span.text().to_owned()
            }
        };
        Text { value, span }
    }

    fn value_span(&self, entry: &Entry) -> Span {
        self.context.span(entry.place)
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
        let label = "expected a size such as \"3GiB\" or \"512MiB\"";
        context.push(Diagnostic::error(&text.span, message, label));
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
        let label = "expected a time span such as \"2h\", \"90m\" or \"30s\"";
        context.push(Diagnostic::error(&text.span, message, label));
    }
    seconds.map(Duration::from_secs)
}
