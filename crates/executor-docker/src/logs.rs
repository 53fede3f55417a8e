//! What containers write, as the engine has kept it.

use std::time::{SystemTime, UNIX_EPOCH};

use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, future};
use swarmkit_executor::{LogOptions, LogRecord, LogSource, LogStart, LogStream};

use crate::{
    engine::{Engine, EngineError},
    pace::Pace,
};

/// Reads the output of a container that was started.
pub(crate) fn read(engine: &Engine, container: &str, options: LogOptions) -> LogStream {
    let mut asked =
        LogsOptionsBuilder::new().follow(options.follow).stdout(options.stdout).stderr(options.stderr).timestamps(true);
    if let LogStart::Last(count) = options.start {
        asked = asked.tail(&count.to_string());
    }
    // The engine is asked in whole seconds; the rest is left out here.
    let second = options.since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
    if let Some(second) = second.and_then(|since| i32::try_from(since.as_secs()).ok()) {
        asked = asked.since(second);
    }
    let skip = match options.start {
        LogStart::Skip(count) => usize::try_from(count).unwrap_or(usize::MAX),
        LogStart::Oldest | LogStart::Last(_) => 0,
    };
    let output = engine.logs(container, asked.build()).map_err(EngineError::failed);
    let records = output.map_ok(record).try_filter(move |record| {
        future::ready(options.wants(record.source) && options.since.is_none_or(|since| record.timestamp >= since))
    });
    let mut pace = Pace::new();
    let paced = records.skip(skip).then(move |record| {
        let bytes = record.as_ref().map_or(0, |record| record.data.len());
        let wait = pace.wait_for(bytes);
        async move {
            // The shortest sleep takes a millisecond.
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            record
        }
    });
    paced.boxed()
}

/// One record: the engine's time, a space, and what was written.
fn record(output: LogOutput) -> LogRecord {
    let (source, line) = match output {
        LogOutput::StdErr { message } => (LogSource::Stderr, message),
        // A terminal has one stream.
        LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
            (LogSource::Stdout, message)
        }
    };
    match timestamp(&line) {
        Some((timestamp, text)) => LogRecord { timestamp, source, data: line.slice(text..) },
        None => LogRecord { timestamp: UNIX_EPOCH, source, data: line },
    }
}

/// The time that a line begins with, and where its text begins.
fn timestamp(line: &Bytes) -> Option<(SystemTime, usize)> {
    let end = line.iter().position(|byte| *byte == b' ')?;
    let time: jiff::Timestamp = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    Some((time.into(), end + 1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(output: LogOutput) -> (Duration, LogSource, String) {
        let record = record(output);
        let text = String::from_utf8_lossy(&record.data).into_owned();
        (record.timestamp.duration_since(UNIX_EPOCH).unwrap(), record.source, text)
    }

    #[test]
    fn a_line_begins_with_its_time() {
        let message = Bytes::from_static(b"1970-01-01T00:00:01.000000002Z hello world\n");
        let expected = (Duration::new(1, 2), LogSource::Stdout, "hello world\n".to_owned());
        assert_eq!(told(LogOutput::StdOut { message: message.clone() }), expected);
        assert_eq!(told(LogOutput::StdErr { message: message.clone() }).1, LogSource::Stderr);
        assert_eq!(told(LogOutput::Console { message }), expected);
    }

    #[test]
    fn a_line_without_a_time_is_kept_whole() {
        for text in ["", "hello", "hello world", " x"] {
            let message = Bytes::from_static(text.as_bytes());
            assert_eq!(told(LogOutput::StdOut { message }), (Duration::ZERO, LogSource::Stdout, text.to_owned()));
        }
    }
}
