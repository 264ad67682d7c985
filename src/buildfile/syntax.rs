use kdl::{KdlDiagnostic, KdlError};

use super::{Diagnostic, Source, Span};

/// What the parser of KDL found, in words that say what to do.
pub fn syntax_faults(source: &Source, error: KdlError) -> Vec<Diagnostic> {
    let mut faults: Vec<Diagnostic> = Vec::new();
    let mut places = Vec::new();
    for fault in error.diagnostics {
        // Of several complaints about one place, the first is the cause.
        let is_told = places.contains(&fault.span.offset());
        if !is_told && (places.is_empty() || !is_consequence(&fault, source)) {
            places.push(fault.span.offset());
            faults.push(translated(source, fault));
        }
    }
    faults
}

/// What the parser says after it has said what is wrong.
fn is_consequence(fault: &KdlDiagnostic, source: &Source) -> bool {
    let at_quotes = || source.inner().get(fault.span.offset()..).is_some_and(|text| text.starts_with('"'));
    match fault.message.as_deref().unwrap_or_default() {
        "Closing '}' was not found after nodes" | "Expected quoted string" => true,
        "Found invalid node name" => at_quotes(),
        _ => false,
    }
}

fn translated(source: &Source, fault: KdlDiagnostic) -> Diagnostic {
    const KEYWORDS: [&str; 6] = ["true", "false", "null", "inf", "-inf", "nan"];
    let span = Span { source: source.clone(), range: fault.span };
    let written = span.text().trim();
    match fault.message.as_deref().unwrap_or_default() {
        "No closing '}' for child block" => {
            Diagnostic::error(&span, "a block is not closed", "opened here").help("add its '}'")
        }
        "Expected end of document" if written.starts_with('}') => {
            let help = "drop it, or look for a '}' too many above";
            Diagnostic::error(&span, "no block is open here", "closes nothing").help(help)
        }
        "Unexpected newline in single-line quoted string" => {
            let help = "close it by a quote, or write a text of several lines between \"\"\"";
            Diagnostic::error(&span, "a text in quotes ends on its line", "not closed").help(help)
        }
        "matching multiline string prefix" => {
            let help = "each line starts with the blanks that stand before the closing \"\"\"";
            let message = "a line of this text is indented less than its closing quotes";
            Diagnostic::error(&span, message, "starts here").help(help)
        }
        "Found child block instead of node name" => {
            let help = "move the '{' to the end of its node's line";
            Diagnostic::error(&span, "a block opens on its node's line", "has no node").help(help)
        }
        "Expected property value" => {
            let name = last_property(written);
            let place = span.of_last_piece(name);
            let message = format!("'{name}' needs a value");
            Diagnostic::error(&place, message, "nothing after the =").help(format!("write {name}\"…\""))
        }
        "Expected quoted string" if written.starts_with('"') => quoted(&span, written),
        _ if KEYWORDS.contains(&written) => {
            let help = format!("write #{written}, or \"{written}\" for the text");
            let message = format!("'{written}' is a keyword in KDL");
            Diagnostic::error(&span, message, "neither a keyword nor a text").help(help)
        }
        message => {
            let message = if message.is_empty() { "this is not KDL" } else { message };
            let label = fault.label.unwrap_or_else(|| "here".to_owned());
            let diagnostic = Diagnostic::error(&span, message, label);
            diagnostic.help(fault.help.unwrap_or_else(|| "see https://kdl.dev for the syntax".to_owned()))
        }
    }
}

/// The last `name=` of a text.
fn last_property(text: &str) -> &str {
    let end = text.rfind('=').map_or(text.len(), |at| at + 1);
    text[..end].rsplit(char::is_whitespace).next().unwrap_or(text)
}

/// A text in quotes that has no end, an escape that is none, or something right after it.
fn quoted(span: &Span, written: &str) -> Diagnostic {
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        let Some(escaped) = (c == '\\').then(|| rest.next()).flatten() else { continue };
        if !"\\\"bfnrstu".contains(escaped) && !escaped.is_whitespace() {
            let escape = format!("\\{escaped}");
            let message = format!("'{escape}' is no escape");
            let help = format!("write \\{escape} for the two characters, or a raw text: #\"…\"#");
            return Diagnostic::error(&span.of_piece(&escape), message, "unknown escape").help(help);
        }
    }
    let help = "put a blank after the closing quote";
    Diagnostic::error(span, "a text in quotes ends before a blank", "goes on after it").help(help)
}
