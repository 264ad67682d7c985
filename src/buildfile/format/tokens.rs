/// A piece of KDL, as it stands in the text.
///
/// All of them in a row are the text. Only text that parses is cut up, so what is no KDL needs
/// no telling here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// Blanks inside a line.
    Space(&'a str),
    /// The end of a line.
    Newline,
    /// `// …`, without the end of its line.
    LineComment(&'a str),
    /// `/* … */`.
    BlockComment(&'a str),
    /// `/-`: the next node, entry or block does not count.
    Slashdash,
    /// `\`, which takes the line's end, and the comment before that end.
    Continuation(Option<&'a str>),
    /// A name, a number, a keyword, or a string on one line.
    Word(&'a str),
    /// A string between `"""`, raw or not.
    MultiLine(&'a str),
    /// One of `{ } ( ) = ;`.
    Sign(char),
}

/// Cuts `text`, which is valid KDL 2, into tokens. A byte order mark is left out.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut tokens = Vec::new();
    while !rest.is_empty() {
        let (token, length) = token(rest);
        tokens.push(token);
        rest = &rest[length..];
    }
    tokens
}

/// The token at the start of `text`, which is not empty, and its length.
fn token(text: &str) -> (Token<'_>, usize) {
    if let Some(length) = newline(text) {
        return (Token::Newline, length);
    }
    if text.starts_with("//") {
        let length = line_length(text);
        return (Token::LineComment(text[..length].trim_end()), length);
    }
    if text.starts_with("/*") {
        let length = block_comment(text);
        return (Token::BlockComment(&text[..length]), length);
    }
    if text.starts_with("/-") {
        return (Token::Slashdash, 2);
    }
    if text.starts_with('\\') {
        return continuation(text);
    }
    if let Some(string) = string(text) {
        return string;
    }
    match text.chars().next() {
        Some(sign @ ('{' | '}' | '(' | ')' | '=' | ';')) => (Token::Sign(sign), 1),
        Some(blank) if is_blank(blank) => {
            let length = run(text, is_blank);
            (Token::Space(&text[..length]), length)
        }
        Some(first) => {
            let length = first.len_utf8() + run(&text[first.len_utf8()..], is_word);
            (Token::Word(&text[..length]), length)
        }
        None => (Token::Space(text), 0),
    }
}

/// What KDL takes as the end of a line, and its length.
fn newline(text: &str) -> Option<usize> {
    const NEWLINES: [&str; 8] = ["\r\n", "\r", "\n", "\u{85}", "\u{b}", "\u{c}", "\u{2028}", "\u{2029}"];
    NEWLINES.iter().find(|newline| text.starts_with(**newline)).map(|newline| newline.len())
}

/// The bytes before the end of the line.
fn line_length(text: &str) -> usize {
    text.char_indices().map(|(at, _)| at).find(|at| newline(&text[*at..]).is_some()).unwrap_or(text.len())
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// A blank that does not end a line.
pub fn is_blank(c: char) -> bool {
    c.is_whitespace() && newline(c.encode_utf8(&mut [0; 4])).is_none()
}

fn is_word(c: char) -> bool {
    !c.is_whitespace() && !"\\/(){};\"=".contains(c)
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth.saturating_sub(1), at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn continuation(text: &str) -> (Token<'_>, usize) {
    let blanks = 1 + run(&text[1..], is_blank);
    let comment =
        text[blanks..].starts_with("//").then(|| &text[blanks..blanks + line_length(&text[blanks..])]);
    let line = blanks + comment.map_or(0, str::len);
    let length = line + newline(&text[line..]).unwrap_or(0);
    (Token::Continuation(comment.map(str::trim_end)), length)
}

/// A string with quotes: hashes around them make it raw, three of them make it multi-line.
fn string(text: &str) -> Option<(Token<'_>, usize)> {
    let hashes = run(text, |c| c == '#');
    let quotes = match &text[hashes..] {
        rest if rest.starts_with("\"\"\"") && newline(&rest[3..]).is_some() => "\"\"\"",
        rest if rest.starts_with('"') => "\"",
        _ => return None,
    };
    let closing = format!("{quotes}{}", &text[..hashes]);
    let mut at = hashes + quotes.len();
    while at < text.len() && !text[at..].starts_with(&closing) {
        if hashes == 0 && text[at..].starts_with('\\') {
            at += 1;
        }
        at += text[at..].chars().next().map_or(0, char::len_utf8);
    }
    let length = (at + closing.len()).min(text.len());
    let whole = &text[..length];
    Some((if quotes.len() == 3 { Token::MultiLine(whole) } else { Token::Word(whole) }, length))
}

#[cfg(test)]
mod tests {
    use super::Token::*;
    use super::*;

    #[test]
    fn strings_hide_what_looks_like_other_tokens() {
        assert_eq!(tokens("\"a // \\\" {\""), [Word("\"a // \\\" {\"")]);
        assert_eq!(tokens("##\"a\"# b\"##"), [Word("##\"a\"# b\"##")]);
        assert_eq!(tokens("\"\" \"\""), [Word("\"\""), Space(" "), Word("\"\"")]);
        assert_eq!(tokens("#\"\"\"\n\"\"\"\n\"\"\"#;"), [MultiLine("#\"\"\"\n\"\"\"\n\"\"\"#"), Sign(';')]);
    }

    #[test]
    fn comments_nest_and_continuations_take_their_line() {
        assert_eq!(tokens("/* a /* b */ c */d"), [BlockComment("/* a /* b */ c */"), Word("d")]);
        assert_eq!(
            tokens("a \\ // c \r\n b"),
            [Word("a"), Space(" "), Continuation(Some("// c")), Space(" "), Word("b")]
        );
        assert_eq!(tokens("a//b"), [Word("a"), LineComment("//b")]);
    }

    #[test]
    fn words_end_at_signs() {
        assert_eq!(tokens("\u{feff}a.b=#true"), [Word("a.b"), Sign('='), Word("#true")]);
        assert_eq!(tokens("/-(t)x{"), [Slashdash, Sign('('), Word("t"), Sign(')'), Word("x"), Sign('{')]);
    }
}
