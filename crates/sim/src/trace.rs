//! What happened, one line each: the same seed gives the same lines, byte for byte.

use std::{
    collections::VecDeque,
    fmt,
    fs::File,
    hash::{DefaultHasher, Hasher as _},
    io::{self, BufWriter, Write as _},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many of the last lines are kept, to be shown beside a broken invariant.
const KEPT_LINES: usize = 400;

/// Takes the lines. Clones share it.
///
/// A line has the time since the beginning in milliseconds, who it is about, and what happened. It has no address, no
/// thread and no wall-clock time, or two runs would differ.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    start: Option<Instant>,
    hash: DefaultHasher,
    lines: u64,
    last: VecDeque<String>,
    file: Option<BufWriter<File>>,
}

impl Trace {
    /// A trace that keeps the last lines only.
    #[must_use]
    pub fn new() -> Self {
        // This hasher has fixed keys, so that its sums can be compared between processes.
        let hash = DefaultHasher::new();
        Self(Arc::new(Mutex::new(Inner { start: None, hash, lines: 0, last: VecDeque::new(), file: None })))
    }

    /// One that is also written to a file.
    ///
    /// # Errors
    ///
    /// The file cannot be made.
    pub fn to_file(path: &std::path::Path) -> io::Result<Self> {
        let trace = Self::new();
        trace.0.lock().file = Some(BufWriter::new(File::create(path)?));
        Ok(trace)
    }

    /// Adds a line.
    pub fn line(&self, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        let now = Instant::now();
        let mut inner = self.0.lock();
        let start = *inner.start.get_or_insert(now);
        let line = format!("{:>8} {who} {what}", now.duration_since(start).as_millis());
        inner.hash.write(line.as_bytes());
        inner.lines += 1;
        if let Some(file) = &mut inner.file {
            // A trace that cannot be written is noticed when it is read.
            let _ = writeln!(file, "{line}");
        }
        if inner.last.len() == KEPT_LINES {
            inner.last.pop_front();
        }
        inner.last.push_back(line);
    }

    /// How many lines there were, and a sum of all of them.
    #[must_use]
    pub fn sum(&self) -> (u64, u64) {
        let inner = self.0.lock();
        (inner.lines, inner.hash.finish())
    }

    /// The last lines, at most so many.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<String> {
        let inner = self.0.lock();
        inner.last.iter().skip(inner.last.len().saturating_sub(count)).cloned().collect()
    }

    /// Writes what is still to be written.
    ///
    /// # Errors
    ///
    /// The disk of the machine that simulates.
    pub fn flush(&self) -> io::Result<()> {
        self.0.lock().file.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({} lines)", self.sum().0)
    }
}
