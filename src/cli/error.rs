use std::fmt;
use std::io::{self, IsTerminal, Write};

use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::buildfile::{Diagnostic, Faults};
use crate::plan::PlanError;
use crate::publish::PublishError;
use crate::runner::RunError;
use crate::s3::S3Error;
use crate::store::StoreError;
use crate::upstream::{LockError, UpdateError};

/// What ends a command: faults in the Buildfile, each with its place, or one message.
#[derive(Debug)]
pub struct CommandError(Faults);

impl CommandError {
    /// An error that has no place in a file.
    pub fn new(message: impl fmt::Display) -> Self {
        Self(Diagnostic::placeless(message.to_string()).into())
    }

    /// Tells it on standard error.
    pub fn print(&self) {
        self.0.errors.iter().for_each(print);
        if let count @ 2.. = self.0.errors.len() {
            let _ = writeln!(io::stderr(), "{count} errors");
        }
    }
}

/// Tells a fault or a warning on standard error.
pub fn print(diagnostic: &Diagnostic) {
    let is_plain = std::env::var_os("NO_COLOR").is_some() || !io::stderr().is_terminal();
    let theme = if is_plain { GraphicalTheme::unicode_nocolor() } else { GraphicalTheme::unicode() };
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false);
    match handler.render_report(&mut text, diagnostic) {
        Ok(()) => {
            let _ = writeln!(io::stderr(), "{}", text.trim_end());
        }
        Err(_) => {
            let _ = writeln!(io::stderr(), "{diagnostic}");
        }
    }
}

impl From<Faults> for CommandError {
    fn from(faults: Faults) -> Self {
        Self(faults)
    }
}

impl From<Diagnostic> for CommandError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(diagnostic.into())
    }
}

macro_rules! from_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for CommandError {
            fn from(error: $error) -> Self {
                Self::new(error)
            }
        })*
    };
}

from_errors!(StoreError, PlanError, PublishError, LockError, RunError, S3Error, UpdateError, io::Error);
