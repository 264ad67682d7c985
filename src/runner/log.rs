use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::RunError;
use crate::store::StoreError;

/// A line that is longer is shown in pieces; the log keeps it whole.
const LONGEST_LINE: usize = 64 * 1024;

/// Takes what a command writes: every byte into a file, every line to a listener.
pub(super) struct Log<F> {
    path: PathBuf,
    file: File,
    line: Vec<u8>,
    listener: F,
}

impl<F: FnMut(&str)> Log<F> {
    pub(super) fn create(path: &Path, listener: F) -> Result<Self, StoreError> {
        let file = File::create(path).map_err(StoreError::io("create", path))?;
        Ok(Self { path: path.to_owned(), file, line: Vec::new(), listener })
    }

    /// Takes all that comes until the last writer is gone.
    pub(super) async fn drain(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> Result<(), RunError> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = reader.read(&mut buffer).await;
            match length.map_err(|error| RunError::Infrastructure(format!("cannot read the log: {error}")))? {
                0 => return Ok(()),
                length => self.take(&buffer[..length])?,
            }
        }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(StoreError::io("write", &self.path))?;
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= LONGEST_LINE {
                self.tell();
            }
        }
        Ok(())
    }

    /// Shows a last line that has no end.
    pub(super) fn finish(&mut self) {
        if !self.line.is_empty() {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let text = String::from_utf8_lossy(&self.line);
        (self.listener)(text.trim_end_matches(['\n', '\r']));
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_bytes_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut lines = Vec::new();
        let mut log = Log::create(&path, |line: &str| lines.push(line.to_owned())).unwrap();
        for piece in [&b"on"[..], b"e\ntwo\r\n\xff", b"\0\nno end"] {
            log.take(piece).unwrap();
        }
        log.finish();
        drop(log);
        assert_eq!(lines, ["one", "two", "\u{fffd}\0", "no end"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\r\n\xff\0\nno end");
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut shown = 0;
        let mut log = Log::create(&dir.path().join("log"), |line: &str| shown += line.len()).unwrap();
        for _ in 0..100 {
            log.take(&[b'x'; 10_000]).unwrap();
            assert!(log.line.len() < LONGEST_LINE);
        }
        log.finish();
        drop(log);
        assert_eq!(shown, 1_000_000);
    }
}
