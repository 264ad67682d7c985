use kdl::KdlDocument;

use super::tokens::{Token, is_blank};

const INDENT: &str = "    ";

/// Sets tokens in the canonical form.
pub fn lay_out(tokens: &[Token<'_>]) -> String {
    let mut page = Page::default();
    for token in settle(tokens) {
        page.put(token);
    }
    if !page.text.is_empty() {
        page.text.push('\n');
    }
    page.text
}

/// Leaves only continuations that continue something: one before the end of its node, or of
/// nothing, is the end of a line.
fn settle<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let solid = |token: &&Token<'a>| !matches!(token, Token::Space(_));
    let mut settled: Vec<Token<'a>> = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.iter().enumerate() {
        let Token::Continuation(comment) = *token else {
            settled.push(*token);
            continue;
        };
        let before = settled.iter().rfind(solid).copied();
        let after = tokens[at + 1..].iter().find(solid).copied();
        match comment {
            _ if starts_line(before) || ends_line(after) => {
                settled.extend(comment.map(Token::LineComment));
                settled.push(Token::Newline);
            }
            // The next one does as well; a block opens on its node's line.
            None if matches!(after, Some(Token::Continuation(_) | Token::Sign('{' | '=' | ')'))) => {}
            None if matches!(before, Some(Token::Sign('(' | ')' | '='))) => {}
            _ => settled.push(*token),
        }
    }
    settled
}

fn starts_line(before: Option<Token<'_>>) -> bool {
    matches!(
        before,
        None | Some(Token::Newline | Token::LineComment(_) | Token::Slashdash | Token::Sign('{' | ';'))
    )
}

fn ends_line(after: Option<Token<'_>>) -> bool {
    matches!(after, None | Some(Token::Newline | Token::LineComment(_) | Token::Sign('}' | ';')))
}

/// What is written, and what was read since.
#[derive(Default)]
struct Page<'a> {
    text: String,
    depth: usize,
    last: Option<Token<'a>>,
    newlines: usize,
    is_ended: bool,
    /// The blanks that the line which is read starts with.
    margin: &'a str,
}

/// What stands before a token.
enum Gap {
    None,
    Blank,
    Line,
    EmptyLine,
}

impl<'a> Page<'a> {
    fn put(&mut self, token: Token<'a>) {
        match token {
            Token::Space(blanks) => {
                if self.newlines > 0 || self.last.is_none() {
                    self.margin = blanks;
                }
            }
            Token::Newline => {
                self.newlines += 1;
                self.margin = "";
            }
            Token::Sign(';') => self.is_ended = true,
            _ => self.write(token),
        }
    }

    fn write(&mut self, token: Token<'a>) {
        if token == Token::Sign('}') {
            self.depth -= 1;
        }
        match self.gap(token) {
            Gap::None => {}
            Gap::Blank => self.text.push(' '),
            Gap::Line => self.start_line(1),
            Gap::EmptyLine => self.start_line(2),
        }
        match token {
            Token::LineComment(text) | Token::Word(text) => self.text.push_str(text),
            Token::BlockComment(text) => self.text.push_str(&moved_comment(text, self.margin, self.depth)),
            Token::MultiLine(text) => self.text.push_str(&moved_string(text, self.depth + 1)),
            Token::Slashdash => self.text.push_str("/-"),
            Token::Continuation(None) => self.text.push('\\'),
            Token::Continuation(Some(comment)) => {
                self.text.push_str("\\ ");
                self.text.push_str(comment);
            }
            Token::Sign(sign) => self.text.push(sign),
            Token::Space(_) | Token::Newline => {}
        }
        if token == Token::Sign('{') {
            self.depth += 1;
        }
        (self.last, self.newlines, self.is_ended) = (Some(token), 0, false);
    }

    fn gap(&self, next: Token<'a>) -> Gap {
        use Token::*;
        let between_lines = if self.newlines > 1 { Gap::EmptyLine } else { Gap::Line };
        match (self.last, next) {
            (None, _) => Gap::None,
            (Some(Continuation(_)), _) => Gap::Line,
            (Some(Sign('{')), Sign('}')) => Gap::None,
            (Some(Sign('{') | Slashdash), LineComment(_)) if self.newlines == 0 => Gap::Blank,
            (Some(Sign('{')), _) | (_, Sign('}')) => Gap::Line,
            (Some(LineComment(_)), _) => between_lines,
            (Some(Slashdash), LineComment(_) | BlockComment(_)) => Gap::Blank,
            (Some(Slashdash | Sign('(' | ')' | '=')), _) | (_, Sign(')' | '=')) => Gap::None,
            (_, LineComment(_)) if self.newlines == 0 => Gap::Blank,
            _ if self.newlines > 0 || self.is_ended => between_lines,
            _ => Gap::Blank,
        }
    }

    fn start_line(&mut self, newlines: usize) {
        let is_continued = matches!(self.last, Some(Token::Continuation(_)));
        self.text.push_str(&"\n".repeat(newlines));
        self.text.push_str(&INDENT.repeat(self.depth + usize::from(is_continued)));
    }
}

/// A block comment whose further lines move with its first one.
fn moved_comment(comment: &str, margin: &str, depth: usize) -> String {
    let mut lines = comment.lines();
    let mut moved = lines.next().unwrap_or_default().trim_end().to_owned();
    for line in lines {
        let own = line.find(|c| !is_blank(c)).unwrap_or(line.len());
        let kept = shared_blanks(&line[..own], margin);
        moved.push('\n');
        if own < line.len() {
            moved.push_str(&INDENT.repeat(depth));
            moved.push_str(line[kept..].trim_end());
        }
    }
    moved
}

/// The bytes that both start with.
fn shared_blanks(line: &str, margin: &str) -> usize {
    let pairs = line.chars().zip(margin.chars());
    pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

/// A multi-line string with its lines at `depth`, as long as that leaves its value alone.
fn moved_string(string: &str, depth: usize) -> String {
    let indent = INDENT.repeat(depth);
    let margin = string.lines().last().map_or("", |line| line.trim_end_matches(['"', '#']));
    let mut lines = string.lines();
    let mut moved = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        moved.push('\n');
        if !line.chars().all(is_blank) {
            moved.push_str(&indent);
            moved.push_str(line.strip_prefix(margin).unwrap_or(line));
        }
    }
    let is_same = margin.chars().all(is_blank) && value(&moved) == value(string);
    if is_same { moved } else { string.to_owned() }
}

fn value(string: &str) -> Option<String> {
    let document = KdlDocument::parse_v2(&format!("- {string}")).ok()?;
    document.nodes().first()?.get(0)?.as_string().map(str::to_owned)
}
