use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

/// Attributes of an element, in order.
pub(super) type Attributes<'a> = &'a [(&'a str, &'a str)];

/// An XML text in the making.
pub(super) struct Xml(Writer<Vec<u8>>);

impl Xml {
    pub fn new() -> Self {
        Self(Writer::new_with_indent(Vec::new(), b' ', 2))
    }

    pub fn open(&mut self, name: &str, attributes: Attributes<'_>) {
        self.event(Event::Start(element(name, attributes)));
    }

    pub fn close(&mut self, name: &str) {
        self.event(Event::End(BytesEnd::new(name)));
    }

    pub fn empty(&mut self, name: &str, attributes: Attributes<'_>) {
        self.event(Event::Empty(element(name, attributes)));
    }

    pub fn text(&mut self, name: &str, attributes: Attributes<'_>, text: &str) {
        if text.is_empty() {
            return self.empty(name, attributes);
        }
        self.open(name, attributes);
        self.event(Event::Text(BytesText::new(text)));
        self.close(name);
    }

    /// The text, ended by a new line.
    pub fn finish(self) -> String {
        let mut text = String::from_utf8(self.0.into_inner()).expect("only texts were written");
        text.push('\n');
        text
    }

    fn event(&mut self, event: Event<'_>) {
        self.0.write_event(event).expect("a Vec takes every write");
    }
}

fn element<'a>(name: &'a str, attributes: Attributes<'a>) -> BytesStart<'a> {
    BytesStart::new(name).with_attributes(attributes.iter().copied())
}

/// What stands before and after the parts of a document.
pub(super) fn frame(root: &str, attributes: Attributes<'_>) -> (String, String) {
    let mut head = Xml::new();
    head.event(Event::Start(element(root, attributes)));
    let head = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", head.finish());
    (head, format!("</{root}>\n"))
}

/// A document of parts that were written apart from each other.
pub(super) fn document(root: &str, attributes: Attributes<'_>, parts: &[String]) -> String {
    let (head, tail) = frame(root, attributes);
    [head, parts.concat(), tail].concat()
}

/// The first character that XML 1.0 has no form for, not even an escaped one (section 2.2).
pub(super) fn forbidden(text: &str) -> Option<char> {
    // The two that are no controls begin with this byte in UTF-8.
    let may_begin = |byte: &u8| (*byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) || *byte == 0xef;
    text.as_bytes().iter().any(may_begin).then_some(())?;
    let is_forbidden = |c: &char| match c {
        '\t' | '\n' | '\r' => false,
        '\u{fffe}' | '\u{ffff}' => true,
        c => *c < ' ',
    };
    text.chars().find(is_forbidden)
}
