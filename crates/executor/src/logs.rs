//! What a task has written, as the agent asks for it.

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use swarmkit_api::wire;

use crate::ExecError;

/// The output of a task, oldest record first.
///
/// Ends when everything asked for was given; with [`LogOptions::follow`], when the task has ended and was read to its
/// end.
pub type LogStream = BoxStream<'static, Result<LogRecord, ExecError>>;

/// Which part of a task's output is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Standard output is wanted.
    pub stdout: bool,
    /// Standard error is wanted.
    pub stderr: bool,
    /// Go on with what is written later.
    pub follow: bool,
    /// Where to begin.
    pub start: LogStart,
    /// Nothing that was written before.
    pub since: Option<SystemTime>,
}

impl Default for LogOptions {
    /// All that there is, from both streams.
    fn default() -> Self {
        Self { stdout: true, stderr: true, follow: false, start: LogStart::Oldest, since: None }
    }
}

/// Where to begin reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// At the oldest record that is still kept.
    Oldest,
    /// After that many of the oldest records.
    Skip(u64),
    /// With the last so many records.
    Last(u64),
}

/// Which stream something was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogSource {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of output, or a part of a very long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// When it was captured, by the node's clock.
    pub timestamp: SystemTime,
    /// Which stream it was written to.
    pub source: LogSource,
    /// The bytes, with the line's end where there was one.
    pub data: Bytes,
}

impl From<&wire::LogSubscriptionOptions> for LogOptions {
    /// Reads the wire's form: no streams means both, and the tail is a number to skip if positive, or minus one minus
    /// the number of last records if negative.
    fn from(options: &wire::LogSubscriptionOptions) -> Self {
        let wants = |stream| options.streams.is_empty() || options.streams().any(|listed| listed == stream);
        Self {
            stdout: wants(wire::LogStream::Stdout),
            stderr: wants(wire::LogStream::Stderr),
            follow: options.follow,
            start: match options.tail {
                0 => LogStart::Oldest,
                skip @ 1.. => LogStart::Skip(skip.unsigned_abs()),
                last => LogStart::Last(last.unsigned_abs() - 1),
            },
            since: options.since.and_then(|since| SystemTime::try_from(since).ok()),
        }
    }
}

impl LogOptions {
    /// Whether records of that stream are wanted.
    #[must_use]
    pub fn wants(&self, source: LogSource) -> bool {
        match source {
            LogSource::Stdout => self.stdout,
            LogSource::Stderr => self.stderr,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_counts_the_tail_in_its_own_way() {
        let start = |tail| LogOptions::from(&wire::LogSubscriptionOptions { tail, ..Default::default() }).start;
        assert_eq!(start(0), LogStart::Oldest);
        assert_eq!(start(7), LogStart::Skip(7));
        assert_eq!(start(-1), LogStart::Last(0));
        assert_eq!(start(-11), LogStart::Last(10));
        assert_eq!(start(i64::MIN), LogStart::Last(i64::MIN.unsigned_abs() - 1));
    }

    #[test]
    fn no_stream_means_both() {
        let options = |streams| LogOptions::from(&wire::LogSubscriptionOptions { streams, ..Default::default() });
        let both = options(vec![]);
        assert!(both.stdout && both.stderr);
        let one = options(vec![wire::LogStream::Stderr.into()]);
        assert!(!one.wants(LogSource::Stdout) && one.wants(LogSource::Stderr));
    }
}
