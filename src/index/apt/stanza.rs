/// One paragraph of Debian control data: fields in order. A value is what stands after the
/// colon, without the spaces around it; its further lines keep the space they begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stanza(pub Vec<(String, String)>);

/// The text is not control data (deb822(5)).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the control data is neither `Field: value` nor a further line of one")]
pub struct StanzaError {
    /// Counted from 1.
    pub line: usize,
}

impl Stanza {
    /// The value of a field; the case of field names does not matter.
    pub fn get(&self, field: &str) -> Option<&str> {
        get(&self.0, field)
    }
}

pub(super) fn get<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// Appends `Field: value` as a line.
pub(super) fn push_field(text: &mut String, field: &str, value: &str) {
    text.push_str(field);
    text.push(':');
    // Also an empty first line is followed by further ones: `Field:\n further`.
    if !value.is_empty() && !value.starts_with('\n') {
        text.push(' ');
    }
    text.push_str(value);
    text.push('\n');
}

/// Reads the paragraphs of a text such as `Packages` or `Release`.
pub fn stanzas(text: &str) -> Result<Vec<Stanza>, StanzaError> {
    let mut all = Vec::new();
    let mut current = Stanza::default();
    for (at, line) in text.lines().enumerate() {
        if line.trim_end().is_empty() {
            if !current.0.is_empty() {
                all.push(std::mem::take(&mut current));
            }
        } else if line.starts_with([' ', '\t']) {
            let (_, value) = current.0.last_mut().ok_or(StanzaError { line: at + 1 })?;
            value.push('\n');
            value.push_str(line.trim_end());
        } else {
            let (field, value) = line.split_once(':').ok_or(StanzaError { line: at + 1 })?;
            current.0.push((field.to_owned(), value.trim().to_owned()));
        }
    }
    if !current.0.is_empty() {
        all.push(current);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_round_trip() {
        let text = "Package: a\nDescription: short\n long\n .\n more\nSHA256:\n 12 3 x\nEmpty:\n";
        let parsed = stanzas(&format!("{text}\n\nPackage: b\n")).unwrap();
        assert_eq!(parsed.len(), 2);
        assert_eq!(parsed[0].get("description"), Some("short\n long\n .\n more"));
        let mut written = String::new();
        for (field, value) in &parsed[0].0 {
            push_field(&mut written, field, value);
        }
        assert_eq!(written, text);
    }

    #[test]
    fn malformed_text_names_its_line() {
        assert_eq!(stanzas("A: 1\nnonsense\n"), Err(StanzaError { line: 2 }));
        assert_eq!(stanzas(" continued\n"), Err(StanzaError { line: 1 }));
    }
}
