use std::fs;
use std::process::Command;
use std::time::Duration;

use super::delay_proxy::DelayProxy;
use super::s3_server::s3_server;
use super::scratch::Scratch;
use super::shared_cache::{CHAIN, with_cache};

const COLUMNS: usize = 120;

/// Runs forge on a terminal, and gives all that it wrote there.
fn on_a_terminal(scratch: &Scratch, words: &str) -> (Option<i32>, String) {
    let forge = format!("stty cols {COLUMNS} rows 40; {} {words}", env!("CARGO_BIN_EXE_forge"));
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &forge, "typescript"]).current_dir(scratch.path("."));
    command.envs(scratch.command("").get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
    let status =
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).status().unwrap();
    let bytes = fs::read(scratch.path("typescript")).unwrap();
    (status.code(), String::from_utf8_lossy(&bytes).into_owned())
}

/// What a terminal shows after `text`: enough of one to follow lines that are drawn again.
fn screen(text: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![String::new()], 0_usize, 0_usize);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                lines.resize_with(lines.len().max(row + 1), String::new);
            }
            '\u{1b}' if rest.next_if_eq(&'[').is_some() => {
                let mut number = String::new();
                let command = loop {
                    match rest.next() {
                        Some(c) if c.is_ascii_alphabetic() => break c,
                        Some(c) => number.push(c),
                        None => return lines,
                    }
                };
                let count = number.parse().unwrap_or(1);
                match command {
                    'A' => row = row.saturating_sub(count),
                    'B' => row += count,
                    'K' => {
                        lines[row] = lines[row].chars().take(if number == "2" { 0 } else { column }).collect()
                    }
                    _ => {}
                }
                lines.resize_with(lines.len().max(row + 1), String::new);
            }
            c if c.is_control() => {}
            c => {
                // The last column is left when the next character comes.
                if column == COLUMNS {
                    (row, column) = (row + 1, 0);
                    lines.resize_with(lines.len().max(row + 1), String::new);
                }
                let mut line: Vec<char> = lines[row].chars().collect();
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                lines[row] = line.into_iter().collect();
                column += 1;
            }
        }
    }
    lines
}

#[test]
fn running_nodes_are_drawn_with_times_and_the_terminal_is_left_clean() {
    let scratch = Scratch::new(
        r#"
axis "n" {
    value "1"
    value "2"
    value "3"
}
target "cell" over="n" {
    run "echo working on {n}; sleep 1.2; mkdir $OUT/o; echo {n} > $OUT/o/n"
    output "o"
}
target "bad" {
    run "printf '\\033[2Jgone'; echo; exit 1"
    output "o"
}
"#,
    );
    let (code, text) = on_a_terminal(&scratch, "run --keep-going --jobs 3");
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("cell[n=2]") && text.contains("working on 2"), "the running nodes:\n{text}");
    assert!(text.contains("/4"), "the total:\n{text}");
    assert!(text.contains("1s"), "how long they run:\n{text}");
    assert!(!text.contains("\u{1b}[2J"), "a log does not clear the screen");
    let hidden = text.matches("\u{1b}[?25l").count();
    assert!(
        hidden == 0 || text.rfind("\u{1b}[?25h") > text.rfind("\u{1b}[?25l"),
        "the cursor is shown again"
    );

    let left: Vec<String> = screen(&text).into_iter().map(|line| line.trim_end().to_owned()).collect();
    let left = left.join("\n");
    for line in ["done    cell[n=1] in ", "FAILED  bad after", "ended after"] {
        assert!(left.contains(line), "no '{line}' on the screen:\n{left}");
    }
    assert!(!left.contains("working on") && !left.contains("/4,"), "no bar is left:\n{left}");
}

#[test]
fn an_interrupt_leaves_the_terminal_clean() {
    let scratch = Scratch::new("target \"t\" {\n    run \"echo working; sleep 300\"\n    output \"o\"\n}\n");
    let (code, text) = on_a_terminal(&scratch, "run --events ev & sleep 2; kill -INT $!; wait $!");
    assert_eq!(code, Some(130), "{text}");
    let left = screen(&text).join("\n");
    assert!(left.contains("interrupted after") && !left.contains("working"), "{left}");
}

#[test]
fn what_goes_to_the_shared_cache_and_comes_from_there_is_drawn() {
    let far = DelayProxy::new(&s3_server().endpoint, Duration::from_millis(100));
    let scratch = with_cache(CHAIN, &far.endpoint, &s3_server().place());
    let (code, text) = on_a_terminal(&scratch, "run --store a");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("s3: ") && text.contains(" up, ") && text.contains("results to go"), "{text}");
    let left = screen(&text).join("\n");
    assert!(left.contains("s3: 5 results up") && !left.contains("to go"), "no line of it is left:\n{left}");
    scratch.edit("Buildfile.kdl", "cat b/b > $OUT/o/c", "sleep 0.5; cat < b/b > $OUT/o/c");
    let (code, text) = on_a_terminal(&scratch, "run --store b");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" down; "), "{text}");
}
