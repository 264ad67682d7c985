use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{CommandError, Global, exit};
use crate::buildfile::{self, Faults, format, read_source};

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
    let mut errors = Vec::new();
    let mut differing = 0;
    for file in &files {
        match canonical(file) {
            Ok(None) => {}
            Ok(Some(text)) => {
                differing += 1;
                println!("{}", file.display());
                if !arguments.check {
                    replace(file, &text).map_err(|error| {
                        CommandError::new(format!("cannot write {}: {error}", file.display()))
                    })?;
                }
            }
            Err(faults) => errors.extend(faults.errors),
        }
    }
    match errors.is_empty() {
        true if arguments.check && differing > 0 => Ok(exit::ERROR),
        true => Ok(exit::OK),
        false => Err(Faults { errors }.into()),
    }
}

/// The text that the file should have, if it has another.
fn canonical(file: &Path) -> Result<Option<String>, Faults> {
    let source = read_source(file, file.display().to_string())?;
    let formatted = format(&source)?;
    Ok((formatted != *source.inner()).then_some(formatted))
}

/// Writes the whole file or nothing; a symbolic link stays one, and the mode stays.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = file.canonicalize()?;
    let dir = file.parent().unwrap_or(Path::new("/"));
    let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
    temporary.write_all(text.as_bytes())?;
    temporary.as_file().set_permissions(fs::metadata(&file)?.permissions())?;
    temporary.as_file().sync_all()?;
    temporary.persist(&file).map_err(|error| error.error)?;
    Ok(())
}
