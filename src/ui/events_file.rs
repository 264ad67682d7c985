use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Listener;
use crate::execute::Event;

/// Writes every event as one line of JSON, as soon as it is heard: `{"at": …, "event": …}`,
/// `at` in milliseconds since 1970.
pub struct EventsFile {
    file: File,
}

#[derive(Serialize)]
struct Line<'a> {
    at: u64,
    #[serde(flatten)]
    event: &'a Event,
}

impl EventsFile {
    /// Makes the file, or empties it.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)? })
    }
}

impl Listener for EventsFile {
    fn hear(&mut self, event: &Event) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64);
        if let Ok(mut line) = serde_json::to_vec(&Line { at, event }) {
            line.push(b'\n');
            // A full disk must not end the run; the file then lacks lines, and ends.
            let _ = self.file.write_all(&line);
        }
    }
}
