//! Other programs.

use std::process::{Command, Stdio};

/// Runs a program that must succeed.
pub fn run(command: &mut Command) {
    output(command);
}

/// Runs a program that must succeed, and gives what it prints.
pub fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}; see benches/run"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A number of bytes, for people.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
