use super::Span;

/// A text with holes such as `{otp}` and `{distro.codename}`.
///
/// A hole is a lower-case name in braces, with at most one attribute. `${name}` is left to the
/// shell, and `{{` and `}}` around a name stand for braces that are meant as such.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Texts and holes in their order.
    pub parts: Vec<Part>,
    /// Where it is written.
    pub span: Span,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Taken as it is.
    Text(String),
    /// Filled from the cell.
    Hole(Hole),
}

/// A reference to an axis, or to an attribute of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The axis, or a word such as `jobs`.
    pub name: String,
    /// The attribute.
    pub attribute: Option<String>,
}

impl Template {
    /// Reads `text`.
    pub fn parse(text: &str, span: Span) -> Self {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let shell = rest[..at].ends_with('$');
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            match (hole(rest), literal(rest)) {
                (Some((hole, length)), _) if !shell => {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                    parts.push(Part::Hole(hole));
                    rest = &rest[length..];
                }
                (_, Some((name, length))) if !shell => {
                    plain.push_str(name);
                    rest = &rest[length..];
                }
                _ => {
                    plain.push('{');
                    rest = &rest[1..];
                }
            }
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        parts.retain(|part| *part != Part::Text(String::new()));
        Self { parts, span }
    }

    /// The holes in their order.
    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole(hole) => Some(hole),
            Part::Text(_) => None,
        })
    }

    /// Fills every hole by `value`; the first hole it has no value for is the error.
    pub fn fill<V: AsRef<str>>(&self, mut value: impl FnMut(&Hole) -> Option<V>) -> Result<String, &Hole> {
        // Values are short.
        let length = |part: &Part| if let Part::Text(plain) = part { plain.len() } else { 8 };
        let mut text = String::with_capacity(self.parts.iter().map(length).sum());
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Hole(hole) => text.push_str(value(hole).ok_or(hole)?.as_ref()),
            }
        }
        Ok(text)
    }
}

impl Hole {
    /// As it is written, with braces.
    pub fn written(&self) -> String {
        format!("{{{}}}", self.text())
    }

    /// Whether it is `{name}`.
    pub fn is(&self, name: &str) -> bool {
        self.attribute.is_none() && self.name == name
    }

    /// As it is written, without braces.
    pub fn text(&self) -> String {
        match &self.attribute {
            Some(attribute) => format!("{}.{attribute}", self.name),
            None => self.name.clone(),
        }
    }
}

/// `{name}` or `{name.attribute}` at the start of `text`, and its length.
fn hole(text: &str) -> Option<(Hole, usize)> {
    let inner = text.strip_prefix('{')?.split_once('}')?.0;
    let (name, attribute) = match inner.split_once('.') {
        Some((name, attribute)) => (name, Some(attribute)),
        None => (inner, None),
    };
    let is_name = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
    };
    (is_name(name) && attribute.is_none_or(is_name))
        .then(|| (Hole { name: name.to_owned(), attribute: attribute.map(str::to_owned) }, inner.len() + 2))
}

/// `{{name}}` at the start of `text`: what it stands for, and its length.
fn literal(text: &str) -> Option<(&str, usize)> {
    let (_, length) = hole(text.get(1..)?)?;
    text[1 + length..].starts_with('}').then(|| (&text[1..1 + length], length + 2))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn fill(text: &str) -> String {
        let source = Arc::new(miette::NamedSource::new("Buildfile.kdl", text.to_owned()));
        let template = Template::parse(text, Span { source, range: (0, 0).into() });
        template.fill(|hole| Some(format!("<{}>", hole.text()))).unwrap()
    }

    #[test]
    fn holes_are_filled_and_shell_is_left_alone() {
        assert_eq!(fill("a {otp} {distro.codename}"), "a <otp> <distro.codename>");
        assert_eq!(fill("${var} ${otp} \"{}\" { x; } {A}"), "${var} ${otp} \"{}\" { x; } {A}");
        assert_eq!(fill("awk '{{print}}' {otp}"), "awk '{print}' <otp>");
        assert_eq!(fill("{otp}{otp}"), "<otp><otp>");
        assert_eq!(fill("{"), "{");
    }
}
