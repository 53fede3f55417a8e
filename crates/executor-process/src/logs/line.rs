//! One line of a log file.

use std::time::SystemTime;

use bytes::Bytes;
use jiff::Timestamp;
use swarmkit_executor::{LogRecord, LogSource};

/// How much of a line is kept together; longer ones are split. As container runtimes do.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1024;

/// Appends one record to `out`. `text` holds no line end.
pub(super) fn write(out: &mut Vec<u8>, at: SystemTime, source: LogSource, text: &[u8], full: bool) {
    use std::io::Write as _;

    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    let source = match source {
        LogSource::Stdout => "stdout",
        LogSource::Stderr => "stderr",
    };
    let kind = if full { 'F' } else { 'P' };
    write!(out, "{at:.9} {source} {kind} ").expect("invariant: a vector takes every write");
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// Reads one line of a file, without its line end. `None` for what no writer of ours wrote, such as a torn line.
pub(super) fn read(line: &[u8]) -> Option<LogRecord> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let at = std::str::from_utf8(fields.next()?).ok()?.parse::<Timestamp>().ok()?;
    let source = match fields.next()? {
        b"stdout" => LogSource::Stdout,
        b"stderr" => LogSource::Stderr,
        _ => return None,
    };
    let full = match fields.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let text = fields.next()?;
    let data = if full { Bytes::from([text, b"\n"].concat()) } else { Bytes::copy_from_slice(text) };
    Some(LogRecord { timestamp: at.into(), source, data })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_763_856_000, 120_000_000);
        let mut out = Vec::new();
        write(&mut out, at, LogSource::Stderr, b"two  words", true);
        assert_eq!(out, b"2025-11-23T00:00:00.120000000Z stderr F two  words\n");
        let record = read(&out[..out.len() - 1]).unwrap();
        assert_eq!(record, LogRecord { timestamp: at, source: LogSource::Stderr, data: Bytes::from("two  words\n") });

        let mut out = Vec::new();
        write(&mut out, at, LogSource::Stdout, b"", false);
        assert_eq!(read(&out[..out.len() - 1]).unwrap().data, Bytes::new());
    }

    #[test]
    fn a_torn_line_is_no_record() {
        for line in ["", "2025", "2025-11-23T00:00:00Z", "2025-11-23T00:00:00Z stdout F", "x stdout F y"] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
    }
}
