use std::fmt;
use std::sync::Arc;

use miette::{LabeledSpan, Severity, SourceCode};

use super::Span;

/// One fault or warning, with its place in the Buildfile and what to do about it.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    message: String,
    /// The place it is about comes first; all are in one file.
    places: Vec<(Span, String)>,
    help: Option<String>,
    severity: Severity,
    /// Under which profile it arises, if not under each.
    profile: Option<String>,
}

impl Diagnostic {
    /// A fault at `span`; `label` stands under the underlined place.
    pub fn error(span: &Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            places: vec![(span.clone(), label.into())],
            help: None,
            severity: Severity::Error,
            profile: None,
        }
    }

    /// Something that is no fault but surely not meant.
    pub fn warning(span: &Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message, label) }
    }

    /// A fault that has no place in any file, such as one on the command line.
    pub fn placeless(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            places: Vec::new(),
            help: None,
            severity: Severity::Error,
            profile: None,
        }
    }

    /// A name that is declared a second time.
    pub fn twice(kind: &str, name: &str, first: &Span, second: &Span) -> Self {
        Self::error(second, format!("{kind} '{name}' is declared twice"), "the second")
            .help("rename or drop one of them")
            .also(first, "the first")
    }

    /// A fault at `span` if that is known.
    pub fn maybe_at(span: Option<&Span>, message: impl Into<String>, label: impl Into<String>) -> Self {
        match span {
            Some(span) => Self::error(span, message, label),
            None => Self::placeless(message),
        }
    }

    /// Shows another place beside the first; one in another file is told by file and line.
    pub fn also(mut self, span: &Span, label: &str) -> Self {
        match self.places.first() {
            Some((first, _)) if !Arc::ptr_eq(&first.source, &span.source) => {
                let place = format!("{label}: {}", span.location());
                self.help = Some(self.help.map_or(place.clone(), |help| format!("{help}\n{place}")));
            }
            _ => self.places.push((span.clone(), label.to_owned())),
        }
        self
    }

    /// Says under which profile it arises.
    pub fn under_profile(self, profile: &str) -> Self {
        Self { profile: Some(profile.to_owned()), ..self }
    }

    /// Whether it says the same of the same place.
    pub fn is_same(&self, other: &Self) -> bool {
        self.message == other.message && self.order() == other.order()
    }

    /// Places in a file come in their order there.
    fn order(&self) -> Option<(&str, usize)> {
        self.places.first().map(|(span, _)| (span.source.name(), span.range.offset()))
    }

    /// The same as a warning: of something that stands in nobody's way now.
    pub fn warn(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says which known name was probably meant.
    pub fn suggest<'a>(self, wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let mut known: Vec<&str> = known.into_iter().collect();
        known.sort_unstable();
        match nearest(wrong, known.iter().copied()) {
            Some(name) => self.help(format!("did you mean '{name}'?")),
            None if known.is_empty() => self,
            None => self.help(format!("known here: {}", abridge(&known))),
        }
    }
}

/// The names, or the first dozen of them and how many more there are.
fn abridge(names: &[&str]) -> String {
    const SHOWN: usize = 12;
    match names.len() {
        0..=SHOWN => names.join(", "),
        all => format!("{}, … ({} more)", names[..SHOWN].join(", "), all - SHOWN),
    }
}

/// The known name that is most like `wrong`, if any is alike enough.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(wrong.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.profile {
            Some(profile) => write!(f, " (with profile '{profile}')"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.places.first().map(|(span, _)| &*span.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.places.iter().map(|(span, label)| {
            let label = (!label.is_empty()).then(|| label.clone());
            LabeledSpan::new_with_span(label, span.range)
        });
        (!self.places.is_empty()).then(|| Box::new(labels) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}

/// Collects faults and warnings, so that all of them are told at once.
#[derive(Debug, Default)]
pub struct Report {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Report {
    /// Notes a fault or a warning.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        match diagnostic.severity {
            Severity::Error => self.errors.push(diagnostic),
            _ => self.warnings.push(diagnostic),
        }
    }

    /// Notes what was not noted yet, such as one fault that shows in many cells.
    pub fn push_new(&mut self, diagnostic: Diagnostic) {
        if !self.errors.iter().chain(&self.warnings).any(|known| known.is_same(&diagnostic)) {
            self.push(diagnostic);
        }
    }

    /// Takes over what another look at the same files found and this one did not.
    pub fn absorb(&mut self, other: Self, profile: Option<&str>) {
        let known = |all: &[Diagnostic], new: &Diagnostic| all.iter().any(|known| known.is_same(new));
        for fault in other.errors {
            if !known(&self.errors, &fault) {
                self.errors.push(match profile {
                    Some(profile) => fault.under_profile(profile),
                    None => fault,
                });
            }
        }
        for warning in other.warnings {
            if !known(&self.warnings, &warning) {
                self.warnings.push(warning);
            }
        }
    }

    /// Puts everything into the order of the files and of their lines.
    pub fn sort(&mut self) {
        self.errors.sort_by(|a, b| a.order().cmp(&b.order()));
        self.warnings.sort_by(|a, b| a.order().cmp(&b.order()));
    }

    /// Gives `value` and the warnings, if there was no fault.
    pub fn finish<T>(self, value: T) -> Result<(T, Vec<Diagnostic>), Faults> {
        match self.errors.is_empty() {
            true => Ok((value, self.warnings)),
            false => Err(Faults { errors: self.errors }),
        }
    }

    /// Whether a fault was noted.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }
}

/// Every fault that was found.
#[derive(Debug)]
pub struct Faults {
    /// In the order they were found.
    pub errors: Vec<Diagnostic>,
}

impl From<Diagnostic> for Faults {
    fn from(error: Diagnostic) -> Self {
        Self { errors: vec![error] }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.as_slice() {
            [one] => one.fmt(f),
            all => write!(f, "{} errors in the Buildfile", all.len()),
        }
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn nearest_takes_small_slips_only() {
        let known = ["package", "publish", "target"];
        assert_eq!(nearest("pakage", known), Some("package"));
        assert_eq!(nearest("tagret", known), Some("target"));
        assert_eq!(nearest("axis", known), None);
    }
}
