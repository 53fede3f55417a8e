//! Where the daemon's log goes, and what of it.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write},
    sync::Arc,
};

use clap::ValueEnum;
use parking_lot::Mutex;
use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::metrics::Timers;

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
    fn targets(self) -> Targets {
        let own = match self {
            Self::Trace => return Targets::new().with_default(LevelFilter::TRACE),
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error | Self::Fatal | Self::Panic => LevelFilter::ERROR,
        };
        let quiet = ["h2", "hyper", "hyper_util", "rustls", "tower"].map(|target| (target, LevelFilter::WARN.min(own)));
        // What it warns of is in the nature of elections.
        Targets::new().with_default(own).with_targets(quiet).with_target("openraft", LevelFilter::ERROR)
    }
}

/// Logs to standard error from now on, and lets `timers` measure spans beside that.
pub(crate) fn to_stderr(level: Level, format: Format, timers: Option<Timers>) {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(timers.map(|timers| timers.with_filter(Timers::filter())));
    match format {
        Format::Text => {
            registry.with(layer.with_ansi(io::stderr().is_terminal()).with_filter(level.targets())).init();
        }
        Format::Json => registry.with(layer.json().with_filter(level.targets())).init(),
    }
}

/// Logs to a tail that something else shows.
pub(crate) fn to_tail(level: Level) -> Tail {
    let tail = Tail::default();
    let layer = tracing_subscriber::fmt::layer().with_writer(tail.clone()).with_ansi(false).without_time();
    tracing_subscriber::registry().with(level.targets()).with(layer).init();
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
