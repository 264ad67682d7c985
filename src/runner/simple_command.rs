//! Simple commands (POSIX.1, 2.9.1): a program with its words, from a file and to a file. They need no shell of their own, and to
//! start one that starts the program is half of what a small action takes; GNU make spares itself that as well.
//!
//! What a shell might read in another way is not taken for simple, and what cannot be started is left to the shell: it tells why.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::iter::Peekable;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::Chars;
use std::sync::OnceLock;

use super::command::SHELL;

/// Words of the grammar of dash or bash, and what dash does itself.
const OF_THE_SHELL: &str = ". : [ ! alias bg break case cd chdir command continue coproc do done echo elif else esac eval exec exit \
     export false fc fg fi for function getopts hash if in jobs kill local printf pwd read readonly return select set shift source \
     suspend test then time times trap true type ulimit umask unalias unset until wait while";

/// Variables that a shell does not take from others.
const SET_BY_THE_SHELL: [&str; 4] = ["IFS", "LINENO", "OPTIND", "PPID"];

/// Whether the shell of this machine is one of which it is known how it reads a simple command (dash, as on Debian and Ubuntu), and
/// whether files that are made without it have the modes that they should have.
fn spares_the_shell() -> bool {
    static SPARES: OnceLock<bool> = OnceLock::new();
    let is_dash = || fs::canonicalize(SHELL).is_ok_and(|shell| shell.file_name() == Some("dash".as_ref()));
    *SPARES.get_or_init(|| is_dash() && umask() == Some(0o022))
}

/// What this process and those that it starts take away from the modes of new files. The system's call for it would change it.
fn umask() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(umask.trim(), 8).ok()
}

/// A script that is a simple command, its words expanded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SimpleCommand {
    name: String,
    arguments: Vec<String>,
    /// What it reads.
    from: Option<String>,
    /// Where it writes.
    to: Option<String>,
}

impl SimpleCommand {
    /// Reads a script that is one. `None` where it takes a shell to tell what it means.
    pub fn read<V: AsRef<OsStr>>(script: &str, environment: &BTreeMap<String, V>) -> Option<Self> {
        // A shell would take these values from nobody, or hand them on to nobody.
        let is_kept = |name: &String| is_name(name) && !SET_BY_THE_SHELL.contains(&name.as_str());
        if !environment.keys().all(is_kept) {
            return None;
        }
        let mut reader = Reader { ahead: line(script).chars().peekable(), environment };
        let (mut words, mut from, mut to) = (Vec::new(), None, None);
        while let Some(next) = reader.after_blanks() {
            match next {
                '<' | '>' => {
                    reader.ahead.next();
                    let side = if next == '<' { &mut from } else { &mut to };
                    // The order of several would matter.
                    side.is_none().then_some(())?;
                    *side = Some(reader.word()?);
                }
                _ => words.push(reader.word()?),
            }
        }
        let mut words = words.into_iter();
        let name = words.next().filter(|name| is_of_a_program(name))?;
        Some(Self { name, arguments: words.collect(), from, to })
    }

    /// The program with its words, to be started without any shell. `None` where it is not known how the shell of this machine would do
    /// that, or where no directory of `path` has the program.
    pub fn program(&self, path: &OsStr) -> Option<Command> {
        spares_the_shell().then_some(())?;
        let mut program = Command::new(find(&self.name, path)?);
        program.arg0(&self.name).args(&self.arguments);
        Some(program)
    }

    /// Opens what the program reads and writes, where paths begin at `work`.
    pub fn redirect(&self, program: &mut Command, work: &Path) -> io::Result<()> {
        if let Some(from) = &self.from {
            program.stdin(File::open(regular(work.join(from))?)?);
        }
        if let Some(to) = &self.to {
            let to = work.join(to);
            let to = if to.try_exists()? { regular(to)? } else { to };
            program.stdout(File::create(to)?);
        }
        Ok(())
    }
}

/// What is between the blanks around a script: one line, if it is a simple command.
pub(super) fn line(script: &str) -> &str {
    script.trim_matches([' ', '\t', '\n'])
}

/// The file that a name stands for (POSIX.1, 2.9.1.4), if it is a program.
fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Some(PathBuf::from(name));
    }
    // Dash has a meaning of its own for this one.
    let has_options = path.as_encoded_bytes().contains(&b'%');
    let mut dirs = std::env::split_paths(path).take_while(|dir| dir.is_absolute() && !has_options);
    dirs.find_map(|dir| Some(dir.join(name)).filter(|file| file.is_file()))
}

/// Whoever opens anything else may wait for a long time, and nobody could end that.
fn regular(path: PathBuf) -> io::Result<PathBuf> {
    match fs::metadata(&path)?.is_file() {
        true => Ok(path),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Reads words as the shell would expand them (POSIX.1, 2.2 and 2.6), and only those that are plain.
struct Reader<'a, V> {
    ahead: Peekable<Chars<'a>>,
    environment: &'a BTreeMap<String, V>,
}

impl<'a, V: AsRef<OsStr>> Reader<'a, V> {
    /// What comes next and is no blank.
    fn after_blanks(&mut self) -> Option<char> {
        while self.ahead.next_if(|next| matches!(next, ' ' | '\t')).is_some() {}
        self.ahead.peek().copied()
    }

    /// The next word.
    fn word(&mut self) -> Option<String> {
        self.after_blanks()?;
        let (mut word, mut has_begun) = (String::new(), false);
        while let Some(next) = self.ahead.next_if(|next| !matches!(next, ' ' | '\t' | '<' | '>')) {
            match next {
                '\'' => self.quoted(&mut word)?,
                '"' => self.double_quoted(&mut word)?,
                '$' => {
                    word += self.value().filter(|value| !value.is_empty() && value.chars().all(is_plain))?
                }
                plain if is_plain(plain) => word.push(plain),
                _ => return None,
            }
            has_begun = true;
        }
        // Digits before a redirection would be the number of a file.
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit())
            && self.ahead.peek().is_some_and(|next| "<>".contains(*next));
        (has_begun && !is_number).then_some(word)
    }

    fn quoted(&mut self, word: &mut String) -> Option<()> {
        loop {
            match self.ahead.next()? {
                '\'' => return Some(()),
                other => word.push(Some(other).filter(char::is_ascii)?),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut String) -> Option<()> {
        loop {
            match self.ahead.next()? {
                '"' => return Some(()),
                '$' => *word += self.value()?,
                '\\' | '`' => return None,
                other => word.push(Some(other).filter(char::is_ascii)?),
            }
        }
    }

    /// The value of the variable whose name comes next.
    fn value(&mut self) -> Option<&'a str> {
        let is_in_braces = self.ahead.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(next) = self.ahead.next_if(|next| is_of_a_name(*next)) {
            name.push(next);
        }
        if is_in_braces {
            self.ahead.next_if_eq(&'}')?;
        }
        // One that is not set ends the script.
        self.environment.get(&name)?.as_ref().to_str().filter(|value| is_name(&name) && value.is_ascii())
    }
}

/// Whether it stands for itself, wherever it is in a word.
fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || "_./,:+@%=-".contains(char)
}

fn is_of_a_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

/// Whether it can be the name of a variable.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| is_of_a_name(first) && !first.is_ascii_digit())
        && name.chars().all(is_of_a_name)
}

/// Whether the first word of a command names a program, and means the same wherever it is read.
fn is_of_a_program(name: &str) -> bool {
    let is_found = name.starts_with('/') || !name.contains('/');
    is_found
        && !name.is_empty()
        && !name.contains('=')
        && OF_THE_SHELL.split_whitespace().all(|word| word != name)
}

#[cfg(test)]
mod tests {
    use std::process::Output;

    use super::*;

    fn environment() -> BTreeMap<String, &'static str> {
        let values = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("OUT", "/forge/out"),
            ("TWO", "two words"),
            ("STAR", "*"),
            ("NONE", ""),
            ("A", "a"),
        ];
        values.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn read(script: &str) -> Option<SimpleCommand> {
        SimpleCommand::read(script, &environment())
    }

    /// The words, if it is simple.
    fn words(script: &str) -> Option<Vec<String>> {
        read(script).map(|simple| [vec![simple.name], simple.arguments].concat())
    }

    /// Of a script that the shell runs in a directory.
    fn by_shell(script: &str, dir: &Path) -> Output {
        let mut shell = Command::new(SHELL);
        shell.args(["-eu", "-c", script]).env_clear().envs(environment()).current_dir(dir);
        shell.output().unwrap()
    }

    fn program(simple: &SimpleCommand) -> Command {
        simple.program("/usr/local/bin:/usr/bin:/bin".as_ref()).unwrap()
    }

    fn by_itself(simple: &SimpleCommand, dir: &Path) -> Output {
        let mut program = program(simple);
        program.env_clear().envs(environment()).current_dir(dir);
        simple.redirect(&mut program, dir).unwrap();
        program.output().unwrap()
    }

    #[test]
    fn the_shell_here_is_known() {
        assert!(spares_the_shell(), "these tests need dash as /bin/sh (Debian, Ubuntu) and the umask 022");
    }

    #[test]
    fn words_are_those_of_the_shell() {
        let of = |script, expected: &[&str]| assert_eq!(words(script).unwrap(), expected, "{script}");
        of("cat", &["cat"]);
        of("\n cat\ta  b\n", &["cat", "a", "b"]);
        of("cat a=b -x --long=1,2 ../d%.+@:", &["cat", "a=b", "-x", "--long=1,2", "../d%.+@:"]);
        of("cat 'a b' \"c  d\" e' 'f '' \"\"", &["cat", "a b", "c  d", "e f", "", ""]);
        of(
            "cat '$A' \"$A\" $A ${A}b \"$TWO\" \"$STAR\" \"$NONE\"",
            &["cat", "$A", "a", "a", "ab", "two words", "*", ""],
        );
        of("cat '*' \"~\" '\\n' '#' a'>'b", &["cat", "*", "~", "\\n", "#", "a>b"]);
        of("/any/where 1", &["/any/where", "1"]);
    }

    #[test]
    fn files_are_read_and_written_once() {
        let simple = read("tr a-z A-Z < src/x.c >$OUT/o -d").unwrap();
        assert_eq!((simple.from.as_deref(), simple.to.as_deref()), (Some("src/x.c"), Some("/forge/out/o")));
        assert_eq!(simple.arguments, ["a-z", "A-Z", "-d"]);
        assert_eq!(program(&simple).get_program(), "/usr/bin/tr");
    }

    #[test]
    fn what_takes_a_shell_is_left_to_it() {
        const SCRIPTS: &str = r#"
            ¦ > o ¦ cat; cat ¦ cat & ¦ cat | cat ¦ cat && cat ¦ ! cat ¦ cat
            cat ¦ cat # said ¦ (cat) ¦ { cat; } ¦ cat $(cat) ¦ cat `cat` ¦ cat "`cat`" ¦ cat $((1)) ¦ cat * ¦ cat a?
            ¦ cat [ab] ¦ cat ~ ¦ cat a~ ¦ cat {a,b} ¦ cat a\ b ¦ cat "\$A" ¦ cat 'a ¦ cat "a ¦ cat ä ¦ cat 'ä' ¦ A=b cat
            ¦ A=b ¦ 'A=b' cat ¦ cat $UNSET ¦ cat ${A:-b} ¦ cat ${A ¦ cat $1 ¦ cat $@ ¦ cat $$ ¦ cat $? ¦ cat $ ¦ cat $TWO
            ¦ cat $STAR ¦ cat $NONE ¦ cat < a < b ¦ cat > a > b ¦ cat >> a ¦ cat 2> a ¦ cat 2>&1 ¦ cat >& a ¦ cat >| a
            ¦ cat <> a ¦ cat << a ¦ cat < ¦ cat > ¦ cat 1>a ¦ echo a ¦ cd a ¦ test a ¦ '[' a ¦ true ¦ exec cat ¦ exit 3
            ¦ . a ¦ : a ¦ if a ¦ command cat ¦ umask 077 ¦ ./configure ¦ bin/cat ¦ '' ¦ $NONE cat ¦ time cat"#;
        for script in SCRIPTS.split('¦').chain(["cat a\rb", "cat a\0b"]) {
            assert_eq!(read(script), None, "{script}");
        }
    }

    #[test]
    fn what_the_shell_would_not_hand_on_is_left_to_it() {
        for (name, value) in [("IFS", ","), ("OPTIND", "7"), ("a-b", "c"), ("1A", "")] {
            let mut environment = environment();
            environment.insert(name.to_owned(), value);
            assert_eq!(SimpleCommand::read("cat", &environment), None, "{name}");
        }
    }

    #[test]
    fn a_program_is_in_the_first_directory_that_has_it() {
        let found = |name, path: &str| find(name, path.as_ref());
        assert_eq!(found("cat", "/no-such-dir:/usr/bin:/bin").unwrap(), Path::new("/usr/bin/cat"));
        assert_eq!(found("/any/where", "").unwrap(), Path::new("/any/where"));
        for path in
            ["", "/no-such-dir", "bin:/usr/bin", ":/usr/bin", "/usr/bin%func", "/none%builtin:/usr/bin"]
        {
            assert_eq!(found("cat", path), None, "{path}");
        }
    }

    /// Words of any characters, each the same in every run.
    fn scripts(count: usize) -> impl Iterator<Item = String> {
        const PARTS: &str = r#"a¦B¦7¦_¦-¦=¦.¦ ¦ ¦	¦'¦'¦"¦"¦$A¦${A}¦$TWO¦"$STAR"¦"$TWO"¦%¦<¦>¦\¦*"#;
        let parts: Vec<&str> = PARTS.split('¦').collect();
        let mut state = 1_u64;
        let mut below = move |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % most) as usize
        };
        (0..count).map(move |_| {
            let length = 1 + below(9);
            let text: String = (0..length).map(|_| parts[below(parts.len() as u64)]).collect();
            format!("/usr/bin/printf '%s|' {text}")
        })
    }

    #[test]
    fn whatever_is_taken_for_simple_does_what_the_shell_does() {
        let mut simple = 0;
        for script in scripts(4_000) {
            let Some(read) = read(&script) else { continue };
            let dir = || {
                let dir = tempfile::tempdir().unwrap();
                read.from.iter().for_each(|from| drop(fs::write(dir.path().join(from), "read")));
                dir
            };
            let (ours, theirs) = (dir(), dir());
            let mut program = program(&read);
            // What cannot be opened is left to the shell.
            if read.redirect(&mut program, ours.path()).is_err() {
                continue;
            }
            let done = [by_itself(&read, ours.path()), by_shell(&script, theirs.path())];
            let written =
                [ours, theirs].map(|dir| read.to.as_ref().map(|to| fs::read(dir.path().join(to)).unwrap()));
            assert_eq!((&done[0], &written[0]), (&done[1], &written[1]), "{script}");
            simple += 1;
        }
        assert!(simple > 300, "{simple}");
    }
}
