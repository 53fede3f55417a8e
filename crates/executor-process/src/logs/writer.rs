//! From the pipes of a task to its log files.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use swarmkit_executor::LogSource;

use super::{LogLimits, line};

/// Appends records to numbered files, and keeps as many as it was told.
#[derive(Debug)]
pub(crate) struct LogWriter {
    dir: PathBuf,
    limits: LogLimits,
    /// The file that is being written. `None` when nothing is kept.
    file: Option<File>,
    number: u32,
    bytes: u64,
    /// Whether the last write failed.
    losing: bool,
}

/// One stream of a task on its way to the files: holds the line that is not yet complete.
#[derive(Debug)]
pub(crate) struct Capture {
    source: LogSource,
    rest: Vec<u8>,
}

/// The file of a given number.
pub(super) fn file(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}"))
}

impl LogWriter {
    /// Begins the first file in `dir`.
    pub(crate) fn create(dir: &Path, limits: LogLimits) -> io::Result<Self> {
        let mut writer = Self { dir: dir.to_owned(), limits, file: None, number: 0, bytes: 0, losing: false };
        if limits.files > 0 {
            fs::create_dir_all(dir)?;
            writer.begin()?;
        }
        Ok(writer)
    }

    /// Writes whole records. What cannot be written is lost: a full disk must not stop a task.
    fn write(&mut self, records: &[u8]) {
        let written = self.try_write(records);
        if let (Err(error), false) = (&written, self.losing) {
            tracing::warn!(dir = %self.dir.display(), %error, "losing output");
        }
        self.losing = written.is_err();
    }

    fn try_write(&mut self, records: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(records)?;
        self.bytes += records.len() as u64;
        if self.bytes >= self.limits.file_bytes { self.begin() } else { Ok(()) }
    }

    /// Begins the next file and deletes the one that is too many.
    fn begin(&mut self) -> io::Result<()> {
        self.number += 1;
        self.file = Some(File::options().append(true).create(true).open(file(&self.dir, self.number))?);
        self.bytes = 0;
        if let Some(oldest) = self.number.checked_sub(self.limits.files).filter(|number| *number > 0) {
            fs::remove_file(file(&self.dir, oldest))?;
        }
        Ok(())
    }
}

impl Capture {
    pub(crate) fn new(source: LogSource) -> Self {
        Self { source, rest: Vec::new() }
    }

    /// Takes what was read from the stream and writes every complete line.
    pub(crate) fn absorb(&mut self, writer: &mut LogWriter, at: SystemTime, mut bytes: &[u8]) {
        let mut out = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (text, after) = (&bytes[..end], &bytes[end + 1..]);
            if self.rest.is_empty() {
                line::write(&mut out, at, self.source, text, true);
            } else {
                self.rest.extend_from_slice(text);
                line::write(&mut out, at, self.source, &self.rest, true);
                self.rest.clear();
            }
            bytes = after;
        }
        self.rest.extend_from_slice(bytes);
        while self.rest.len() >= line::LINE_BYTES_MAX {
            let after = self.rest.split_off(line::LINE_BYTES_MAX);
            line::write(&mut out, at, self.source, &self.rest, false);
            self.rest = after;
        }
        if !out.is_empty() {
            writer.write(&out);
        }
    }

    /// The stream has ended: writes what was left without a line end.
    pub(crate) fn finish(&mut self, writer: &mut LogWriter, at: SystemTime) {
        if !self.rest.is_empty() {
            let mut out = Vec::new();
            line::write(&mut out, at, self.source, &self.rest, false);
            self.rest = Vec::new();
            writer.write(&out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(dir: &Path, number: u32) -> Vec<String> {
        let text = fs::read_to_string(file(dir, number)).unwrap();
        text.lines().map(|line| line.split_once("Z stdout ").unwrap().1.to_owned()).collect()
    }

    #[test]
    fn lines_are_put_together_and_long_ones_split() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(dir.path(), LogLimits::default()).unwrap();
        let mut capture = Capture::new(LogSource::Stdout);
        let long = "x".repeat(line::LINE_BYTES_MAX + 3);
        for piece in ["on", "e\ntwo\nth", "ree", "\n\n", &long, "\nend"] {
            capture.absorb(&mut writer, SystemTime::UNIX_EPOCH, piece.as_bytes());
        }
        capture.finish(&mut writer, SystemTime::UNIX_EPOCH);
        capture.finish(&mut writer, SystemTime::UNIX_EPOCH);
        let full = format!("P {}", "x".repeat(line::LINE_BYTES_MAX));
        assert_eq!(texts(dir.path(), 1), ["F one", "F two", "F three", "F ", full.as_str(), "F xxx", "P end"]);
    }

    #[test]
    fn full_files_give_way_to_new_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(dir.path(), LogLimits { file_bytes: 80, files: 2 }).unwrap();
        let mut capture = Capture::new(LogSource::Stdout);
        for n in 0..10 {
            capture.absorb(&mut writer, SystemTime::UNIX_EPOCH, format!("line {n}\n").as_bytes());
        }
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["00000005", "00000006"]);
        assert_eq!(texts(dir.path(), 5), ["F line 8", "F line 9"]);
    }

    #[test]
    fn nothing_is_kept_when_nothing_shall_be() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(dir.path(), LogLimits { file_bytes: 80, files: 0 }).unwrap();
        Capture::new(LogSource::Stdout).absorb(&mut writer, SystemTime::UNIX_EPOCH, b"line\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
