mod layout;
mod tokens;

use kdl::{KdlDocument, KdlEntry, KdlError, KdlIdentifier, KdlNode};

use super::syntax::syntax_faults;
use super::{Diagnostic, Faults, Source};
use layout::lay_out;
use tokens::{Token, tokens};

/// Why a text has no canonical form.
#[derive(Debug, thiserror::Error)]
enum FormatError {
    /// It is not KDL.
    #[error(transparent)]
    Syntax(#[from] KdlError),
    /// The formatted text would not say the same; the fault is forge's own.
    #[error(
        "formatting would change what is written, so nothing was changed; this is a fault of forge, please report it with the file"
    )]
    Changed,
}

/// The canonical form of a file of the language.
///
/// # Errors
/// What is wrong with it as KDL.
pub fn format(source: &Source) -> Result<String, Faults> {
    canonical(source.inner()).map_err(|error| match error {
        FormatError::Syntax(error) => Faults { errors: syntax_faults(source, error) },
        changed => Diagnostic::placeless(format!("{}: {changed}", source.name())).into(),
    })
}

/// The canonical form: one node a line, four spaces of indentation for each level,
/// `{` on its node's line, one space between values, one empty line at most between nodes and
/// none at the ends of a block. Values are written as they were; comments stay in their places.
///
/// The result says the same as `text`, or there is an error: both are parsed and compared.
fn canonical(text: &str) -> Result<String, FormatError> {
    let before = KdlDocument::parse_v2(text)?;
    let pieces = tokens(text);
    let formatted = lay_out(&pieces);
    let after = KdlDocument::parse_v2(&formatted).map_err(|_| FormatError::Changed)?;
    let is_same =
        same_nodes(before.nodes(), after.nodes()) && remarks(&pieces) == remarks(&tokens(&formatted));
    is_same.then_some(formatted).ok_or(FormatError::Changed)
}

/// Comments, and what a slashdash keeps from counting: no parsed value shows them.
fn remarks(tokens: &[Token<'_>]) -> Vec<String> {
    let remark = |token: &Token<'_>| match token {
        Token::LineComment(text) | Token::Continuation(Some(text)) | Token::BlockComment(text) => {
            Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
        }
        Token::Word(text) => Some((*text).to_owned()),
        Token::Slashdash => Some("/-".to_owned()),
        Token::Sign(sign) if *sign != ';' => Some(sign.to_string()),
        _ => None,
    };
    tokens.iter().filter_map(remark).collect()
}

fn same_nodes(a: &[KdlNode], b: &[KdlNode]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_node(a, b))
}

fn same_node(a: &KdlNode, b: &KdlNode) -> bool {
    let same_children = match (a.children(), b.children()) {
        (None, None) => true,
        (Some(a), Some(b)) => same_nodes(a.nodes(), b.nodes()),
        _ => false,
    };
    let entries = || a.entries().iter().zip(b.entries());
    a.name().value() == b.name().value()
        && same_name(a.ty(), b.ty())
        && a.entries().len() == b.entries().len()
        && entries().all(|(a, b)| same_entry(a, b))
        && same_children
}

fn same_entry(a: &KdlEntry, b: &KdlEntry) -> bool {
    same_name(a.name(), b.name())
        && same_name(a.ty(), b.ty())
        // Not-a-number is written in one way, and equals nothing.
        && (a.value() == b.value() || a.value().to_string() == b.value().to_string())
}

fn same_name(a: Option<&KdlIdentifier>, b: Option<&KdlIdentifier>) -> bool {
    a.map(KdlIdentifier::value) == b.map(KdlIdentifier::value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats, and checks that formatting again changes nothing.
    #[track_caller]
    fn formatted(text: &str) -> String {
        let once = canonical(text).unwrap();
        assert_eq!(canonical(&once).unwrap(), once, "not idempotent");
        once
    }

    #[test]
    fn one_node_a_line_and_one_space_between_values() {
        assert_eq!(formatted("a   1\t\"b\"   c = 2;b{c;d}"), "a 1 \"b\" c=2\nb {\n    c\n    d\n}\n");
        assert_eq!(formatted("a; \n"), "a\n");
        assert_eq!(formatted("a { b { c } }"), "a {\n    b {\n        c\n    }\n}\n");
    }

    #[test]
    fn empty_lines() {
        assert_eq!(formatted("\n\n\na\n\n\n\nb\n\n"), "a\n\nb\n");
        assert_eq!(formatted("a {\n\n  b\n\n\n  c\n\n}"), "a {\n    b\n\n    c\n}\n");
        assert_eq!(formatted("a {\n\n}\nb {}\nc {  }"), "a {}\nb {}\nc {}\n");
        assert_eq!(formatted(""), "");
        assert_eq!(formatted(" \n\t\n"), "");
    }

    #[test]
    fn comments_keep_their_places() {
        assert_eq!(formatted("a 1   // one\n{\n}\n".replace("\n{\n}\n", " \n").as_str()), "a 1 // one\n");
        assert_eq!(
            formatted("a { // first\n// own line\n  b // after b\n\n\n  // last\n}\n// end"),
            "a { // first\n    // own line\n    b // after b\n\n    // last\n}\n// end\n"
        );
        assert_eq!(formatted("a; // of a\nb"), "a // of a\nb\n");
        assert_eq!(formatted("a /* x */ 1 b=/* y */2"), "a /* x */ 1 b=/* y */ 2\n");
        assert_eq!(formatted("// only  \n"), "// only\n");
        assert_eq!(formatted("a {\n // only\n}"), "a {\n    // only\n}\n");
    }

    #[test]
    fn block_comments_move_with_their_first_line() {
        assert_eq!(
            formatted("a {\n  /* one\n   * two\n\n   */\n  b\n}"),
            "a {\n    /* one\n     * two\n\n     */\n    b\n}\n"
        );
        assert_eq!(formatted("a {\n\t/* 1\n\t\t2 */ b\n}"), "a {\n    /* 1\n    \t2 */ b\n}\n");
    }

    #[test]
    fn slashdash_stays_with_what_it_takes_out() {
        assert_eq!(
            formatted("/-  a 1 {\n b\n}\n/-\nc\nd /- 1 2 /-x=3 /-{\ne } {\nf\n}"),
            "/-a 1 {\n    b\n}\n/-c\nd /-1 2 /-x=3 /-{\n    e\n} {\n    f\n}\n"
        );
        assert_eq!(formatted("a {\n b\n\n /- c\n}"), "a {\n    b\n\n    /-c\n}\n");
    }

    #[test]
    fn strings_and_numbers_are_written_as_they_were() {
        let text = "a #\"raw {x} // no\"# \"e\\u{e9}\\n\" 0x1F 1_000 1.10 #true #nan \"quoted name\"=\"v\" (t)\"x\"\n";
        assert_eq!(formatted(text), text);
        assert_eq!(formatted("( t ) a ( u ) 1 k = ( v ) 2"), "(t)a (u)1 k=(v)2\n");
    }

    #[test]
    fn multi_line_strings_move_with_their_node() {
        assert_eq!(
            formatted("a {\nrun \"\"\"\n  x\n\n    y\n   \n  \"\"\" b=1\n}"),
            "a {\n    run \"\"\"\n        x\n\n          y\n\n        \"\"\" b=1\n}\n"
        );
        assert_eq!(formatted("a #\"\"\"\n\"\"\"\n\"\"\"#"), "a #\"\"\"\n    \"\"\"\n    \"\"\"#\n");
        assert_eq!(formatted("a \"\"\"\n\tx  \n\t\"\"\""), "a \"\"\"\n    x  \n    \"\"\"\n");
        assert_eq!(formatted("a \"\"\"\n\"\"\""), "a \"\"\"\n    \"\"\"\n");
    }

    #[test]
    fn escaped_line_ends_in_strings_keep_the_value() {
        let text = "a {\n  b \"\"\"\n    one \\\n  two\n    three\n    \"\"\"\n}";
        let value = |text: &str| {
            let document = KdlDocument::parse_v2(text).unwrap();
            document.nodes()[0].children().unwrap().nodes()[0].get(0).unwrap().clone()
        };
        assert_eq!(value(&formatted(text)), value(text));
    }

    #[test]
    fn continuations() {
        assert_eq!(formatted("a 1 \\\n  2 \\ // why\n 3"), "a 1 \\\n    2 \\ // why\n    3\n");
        assert_eq!(formatted("a \\\n{ b\n}"), "a {\n    b\n}\n");
        assert_eq!(formatted("a { b \\\n 1 }"), "a {\n    b \\\n        1\n}\n");
        assert_eq!(formatted("a \\\n\nb"), "a\n\nb\n");
        assert_eq!(formatted("a \\ // c1\n \\ // c2\n 1"), "a \\ // c1\n    \\ // c2\n    1\n");
    }

    #[test]
    fn line_ends_and_marks_of_other_systems() {
        assert_eq!(
            formatted("\u{feff}a 1\r\n\r\n\r\nb {\r\n\tc \"\"\"\r\n\t x\r\n\t \"\"\"\r\n}\r\n"),
            "a 1\n\nb {\n    c \"\"\"\n        x\n        \"\"\"\n}\n"
        );
        assert_eq!(formatted("a /* 1\r\n 2 */\r\n// c\r\n"), "a /* 1\n 2 */\n// c\n");
    }

    #[test]
    fn what_is_no_kdl_is_left_alone() {
        assert!(matches!(canonical("a {"), Err(FormatError::Syntax(_))));
        assert!(matches!(canonical("a \"x"), Err(FormatError::Syntax(_))));
    }
}
