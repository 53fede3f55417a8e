//! Where the daemon's log goes, and what of it.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write},
    sync::Arc,
};

use clap::ValueEnum;
use parking_lot::Mutex;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// How much is logged. The names are upstream's; the last two, which this daemon does not use, log no more than errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    #[value(hide = true)]
    Fatal,
    #[value(hide = true)]
    Panic,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON object a line
    Json,
}

impl Level {
    /// Libraries below tell more than anybody wants to know, except when everything is wanted.
    fn filter(self) -> EnvFilter {
        let own = match self {
            Self::Trace => return EnvFilter::new("trace"),
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error | Self::Fatal | Self::Panic => "error",
        };
        EnvFilter::new(format!("{own},h2=warn,hyper=warn,hyper_util=warn,rustls=warn,tower=warn,openraft=error"))
    }
}

/// Logs to standard error from now on.
pub(crate) fn to_stderr(level: Level, format: Format) {
    let builder = tracing_subscriber::fmt().with_env_filter(level.filter()).with_writer(io::stderr);
    match format {
        Format::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        Format::Json => builder.json().init(),
    }
}

/// Logs to a tail that something else shows.
pub(crate) fn to_tail(level: Level) -> Tail {
    let tail = Tail::default();
    let builder = tracing_subscriber::fmt().with_env_filter(level.filter()).with_writer(tail.clone());
    builder.with_ansi(false).without_time().init();
    tail
}

/// The last lines of the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// How many lines are kept.
    const LINES_MAX: usize = 5;

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().iter().cloned().collect()
    }
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock();
        for line in String::from_utf8_lossy(bytes).lines().filter(|line| !line.is_empty()) {
            if lines.len() == Self::LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(line.to_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Tail {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_lines() {
        let mut tail = Tail::default();
        for line in 0..10 {
            tail.write_all(format!("line {line}\n").as_bytes()).unwrap();
        }
        assert_eq!(tail.lines(), ["line 5", "line 6", "line 7", "line 8", "line 9"]);
    }
}
