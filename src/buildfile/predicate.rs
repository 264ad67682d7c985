use super::{Span, Version};

/// A test of one axis or attribute, as in `otp="<27"` or `distro!=rocky-9`.
///
/// The value is a comma-separated list; it holds if one of its items does. An item is a value,
/// a prefix of a version that ends at a dot (`27.3`), a comparison (`<27`, `>=1.18`), or one
/// of these denied with `!`.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    /// The axis.
    pub axis: String,
    /// The attribute, where the test is not of the value itself.
    pub attribute: Option<String>,
    /// What it must meet.
    pub condition: Condition,
    /// Where it is written; nowhere if it was given on the command line.
    pub span: Option<Span>,
}

/// What a value must meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    items: Vec<Item>,
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Item {
    denied: bool,
    operator: Operator,
    operand: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Is,
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// Why a text is not a predicate.
#[derive(Debug, thiserror::Error)]
pub enum PredicateError {
    /// There is no `=`.
    #[error("'{0}' is not of the form axis=value, such as otp=27 or distro!=rocky-9")]
    Form(String),
    /// An item of the list is empty.
    #[error("'{0}' has an empty value; write values as in 27,28 or <27 or !26")]
    Empty(String),
}

impl Predicate {
    /// Reads `axis=value`, `axis!=value` or `axis.attribute=value`, as given on the command line.
    pub fn parse(text: &str) -> Result<Self, PredicateError> {
        let (name, value) = text.split_once('=').ok_or_else(|| PredicateError::Form(text.to_owned()))?;
        let (name, denied) = match name.strip_suffix('!') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let mut condition = Condition::parse(value).map_err(|_| PredicateError::Empty(text.to_owned()))?;
        if denied {
            condition.deny();
        }
        Ok(Self::new(name, condition))
    }

    /// A test of `name`, which is an axis or `axis.attribute`.
    pub fn new(name: &str, condition: Condition) -> Self {
        let (axis, attribute) = match name.split_once('.') {
            Some((axis, attribute)) => (axis, Some(attribute.to_owned())),
            None => (name, None),
        };
        Self { axis: axis.to_owned(), attribute, condition, span: None }
    }

    /// The same, written at `span`.
    pub fn at(self, span: Span) -> Self {
        Self { span: Some(span), ..self }
    }

    /// The place of one of its words.
    pub fn place_of(&self, word: &str) -> Option<Span> {
        self.span.as_ref().map(|span| span.of_word(word))
    }

    /// The axis, or `axis.attribute`.
    pub fn name(&self) -> String {
        match &self.attribute {
            Some(attribute) => format!("{}.{attribute}", self.axis),
            None => self.axis.clone(),
        }
    }
}

impl Condition {
    /// Reads a comma-separated list.
    pub fn parse(text: &str) -> Result<Self, PredicateError> {
        let items = text
            .split(',')
            .map(|item| Item::parse(item.trim()).ok_or_else(|| PredicateError::Empty(text.to_owned())))
            .collect::<Result<_, _>>()?;
        Ok(Self { items, text: text.to_owned() })
    }

    /// Turns every item into its opposite.
    fn deny(&mut self) {
        for item in &mut self.items {
            item.denied = !item.denied;
        }
        self.text = format!("!{}", self.text);
    }

    /// Whether `value` meets it: no denied item holds, and if there are others, one of them does.
    pub fn holds(&self, value: &str) -> bool {
        let (denied, allowed): (Vec<_>, Vec<_>) = self.items.iter().partition(|item| item.denied);
        !denied.iter().any(|item| item.matches(value))
            && (allowed.is_empty() || allowed.iter().any(|item| item.matches(value)))
    }

    /// The values that are named outright, so that an unknown one can be told.
    pub fn operands(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter(|item| item.operator == Operator::Is).map(|item| item.operand.as_str())
    }

    /// The same without those that are denied.
    pub fn wanted(&self) -> impl Iterator<Item = &str> {
        let wanted = self.items.iter().filter(|item| item.operator == Operator::Is && !item.denied);
        wanted.map(|item| item.operand.as_str())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Item {
    fn parse(text: &str) -> Option<Self> {
        let (denied, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (operator, operand) = [
            ("<=", Operator::AtMost),
            (">=", Operator::AtLeast),
            ("<", Operator::Below),
            (">", Operator::Above),
        ]
        .into_iter()
        .find_map(|(sign, operator)| Some((operator, text.strip_prefix(sign)?)))
        .unwrap_or((Operator::Is, text));
        let operand = operand.trim().to_owned();
        (!operand.is_empty()).then_some(Self { denied, operator, operand })
    }

    fn matches(&self, value: &str) -> bool {
        let version = Version::new(value);
        let bound = Version::new(self.operand.as_str());
        match self.operator {
            Operator::Is => value == self.operand || version.has_prefix(&self.operand),
            Operator::Below => version < bound,
            // `<=27` takes 27.3 in: a bound names a version line.
            Operator::AtMost => version <= bound || version.has_prefix(&self.operand),
            Operator::Above => version > bound && !version.has_prefix(&self.operand),
            Operator::AtLeast => version >= bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(predicate: &str, value: &str) -> bool {
        Predicate::parse(predicate).unwrap().condition.holds(value)
    }

    #[test]
    fn values_prefixes_and_lists() {
        assert!(holds("otp=27", "27.3.4.1") && holds("otp=26,27", "26.0") && !holds("otp=27", "2.7"));
        assert!(holds("distro=debian-12", "debian-12") && !holds("distro=debian-1", "debian-12"));
    }

    #[test]
    fn denials_and_comparisons() {
        assert!(holds("distro!=rocky-9", "debian-12") && !holds("distro!=rocky-9,debian-12", "debian-12"));
        assert!(holds("otp=<27", "26.2") && !holds("otp=<27", "27.0"));
        assert!(holds("otp=<=27", "27.3") && !holds("otp=>27", "27.3") && holds("otp=>=27", "27.0"));
        assert!(holds("otp=27,!27.1", "27.2") && !holds("otp=27,!27.1", "27.1"));
    }

    #[test]
    fn what_is_no_predicate_says_so() {
        assert!(Predicate::parse("otp").is_err());
        assert!(Predicate::parse("otp=").is_err());
        assert!(Predicate::parse("otp=1,,2").is_err());
    }
}
