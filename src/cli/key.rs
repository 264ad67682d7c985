use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use super::{CommandError, exit};
use crate::keys::{generate_key, signing_time};

/// Make a key to sign repositories with.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new OpenPGP key (Ed25519, without a passphrase). An existing file is left alone.
    New {
        /// Where the secret key goes; only its owner may read it.
        file: PathBuf,
        /// Whose key it is: 'Name <address>'.
        #[arg(long, value_name = "ID")]
        user_id: String,
        /// When it expires; never by default.
        #[arg(long, value_name = "N")]
        days: Option<u64>,
    },
}

pub fn run(arguments: &Arguments) -> Result<u8, CommandError> {
    let Command::New { file, user_id, days } = &arguments.command;
    let lifetime = days.map(|days| Duration::from_secs(days * 86_400));
    let key = generate_key(user_id, signing_time(), lifetime).map_err(CommandError::new)?;
    let refused = |error| CommandError::new(format!("cannot write {}: {error}", file.display()));
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).map_err(refused)?;
    }
    let mut options = OpenOptions::new();
    let mut opened = options.write(true).create_new(true).mode(0o600).open(file).map_err(refused)?;
    opened.write_all(key.as_bytes()).and_then(|()| opened.sync_all()).map_err(refused)?;
    println!("{}", file.display());
    Ok(exit::OK)
}
