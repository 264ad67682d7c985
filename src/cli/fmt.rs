use std::fs;
use std::path::PathBuf;

use super::{CommandError, Global, exit};
use crate::buildfile::{self, format};

/// Write Buildfiles in the canonical form; comments stay.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files; the Buildfile and all it includes by default.
    files: Vec<PathBuf>,
    /// Write nothing; end with 1 if a file is not in the canonical form.
    #[arg(long)]
    check: bool,
}

pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CommandError> {
    let files = match arguments.files.as_slice() {
        [] => buildfile::files(&global.file)?,
        files => files.to_vec(),
    };
    let mut differing = 0;
    for file in &files {
        let text = fs::read_to_string(file)
            .map_err(|error| CommandError::new(format!("cannot read {}: {error}", file.display())))?;
        let formatted = format(&text)
            .map_err(|error| CommandError::new(format!("{} is not KDL: {error}", file.display())))?;
        if formatted != text {
            differing += 1;
            println!("{}", file.display());
            if !arguments.check {
                fs::write(file, formatted)?;
            }
        }
    }
    Ok(if arguments.check && differing > 0 { exit::ERROR } else { exit::OK })
}
