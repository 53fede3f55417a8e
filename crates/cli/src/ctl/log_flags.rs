//! Which part of the logs is wanted, and how it is shown.

use std::{
    env,
    io::{self, IsTerminal as _},
    time::{Duration, SystemTime},
};

use clap::ValueEnum;
use prost_types::Timestamp;
use swarmkit_api::wire::{LogStream, LogSubscriptionOptions};

use super::Format;
use crate::{output::LogLayout, units::parse_duration};

const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

/// The flags of every `logs`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LogFlags {
    /// Go on with what is written later
    #[arg(short, long)]
    follow: bool,

    /// Of what was written before, only the last so many lines of each task (or `all`)
    #[arg(long, value_name = "N", default_value = "all", value_parser = parse_tail)]
    tail: Tail,

    /// Only what was written since: a time such as 2026-11-23T10:00:00Z or 1795428000, or how long ago, such as 10m
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Since>,

    /// Only what was written to this stream
    #[arg(long, value_enum)]
    stream: Option<Stream>,

    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,

    /// Show what was written and nothing else
    #[arg(long, conflicts_with_all = ["timestamps", "details", "no_task_ids", "no_trunc", "color", "format"])]
    raw: bool,

    /// Leave the ids of tasks out
    #[arg(long)]
    no_task_ids: bool,

    /// Show ids of tasks in full
    #[arg(long)]
    no_trunc: bool,

    /// Show what log drivers add to each line
    #[arg(long)]
    details: bool,

    /// Give each task a colour; `auto` does on terminals, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Color,

    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
}

/// As the wire counts: 0 is all, and -n - 1 the last n lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tail(i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Ago(Duration),
    At(Timestamp),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Stream {
    /// Standard output
    Stdout,
    /// Standard error
    Stderr,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

impl LogFlags {
    /// What to ask for, if it is `now`.
    pub(super) fn options(&self, now: SystemTime) -> LogSubscriptionOptions {
        let since = self.since.map(|since| match since {
            Since::At(time) => time,
            Since::Ago(ago) => now.checked_sub(ago).map_or(EPOCH, |time| time.max(EPOCH)).into(),
        });
        let stream = self.stream.map(|stream| match stream {
            Stream::Stdout => LogStream::Stdout.into(),
            Stream::Stderr => LogStream::Stderr.into(),
        });
        LogSubscriptionOptions { streams: stream.into_iter().collect(), follow: self.follow, tail: self.tail.0, since }
    }

    pub(super) fn layout(&self) -> LogLayout {
        // As is the custom: any value, but not an empty one.
        let wanted = || io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        LogLayout {
            raw: self.raw,
            timestamps: self.timestamps,
            task_ids: !self.no_task_ids,
            full_ids: self.no_trunc,
            details: self.details,
            color: self.color == Color::Always || self.color == Color::Auto && wanted(),
        }
    }
}

fn parse_tail(text: &str) -> Result<Tail, String> {
    if text == "all" {
        return Ok(Tail(0));
    }
    let lines: Option<u32> = text.parse().ok();
    lines.map(|lines| Tail(-i64::from(lines) - 1)).ok_or_else(|| "expected a number of lines, or all".to_owned())
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(Since::Ago(ago));
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Since::At(Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }));
    }
    seconds(text).map(Since::At).ok_or_else(|| {
        "expected a time such as 2026-11-23T10:00:00Z, seconds since 1970, or how long ago, such as 10m".to_owned()
    })
}

/// `1795428000` or `1795428000.25`.
fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 9 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let time = jiff::Timestamp::from_second(whole.parse().ok()?).ok()?;
    Some(Timestamp { seconds: time.as_second(), nanos: format!("{fraction:0<9}").parse().ok()? })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        flags: LogFlags,
    }

    fn flags(args: &[&str]) -> Result<LogFlags, String> {
        let args = Args::try_parse_from(["logs"].iter().chain(args));
        args.map(|args| args.flags).map_err(|error| error.to_string())
    }

    fn asked(args: &[&str]) -> LogSubscriptionOptions {
        flags(args).unwrap().options(SystemTime::UNIX_EPOCH + Duration::from_secs(1000))
    }

    #[test]
    fn everything_that_was_written_is_wanted_unless_flags_say_less() {
        assert_eq!(asked(&[]), LogSubscriptionOptions::default());
        let options = asked(&["-f", "--tail", "10", "--since", "1m", "--stream", "stderr"]);
        let since = Some(Timestamp { seconds: 940, nanos: 0 });
        let streams = vec![LogStream::Stderr.into()];
        assert_eq!(options, LogSubscriptionOptions { streams, follow: true, tail: -11, since });
        assert_eq!(asked(&["--tail", "0"]).tail, -1, "nothing that was written before");
        assert_eq!(asked(&["--tail", "all"]).tail, 0);
    }

    #[test]
    fn a_time_is_a_date_a_number_of_seconds_or_a_while_ago() {
        let since = |text| asked(&["--since", text]).since.map(|since| (since.seconds, since.nanos)).unwrap();
        assert_eq!(since("1970-01-01T00:00:07.5Z"), (7, 500_000_000));
        assert_eq!(since("1970-01-01T01:00:07+01:00"), (7, 0));
        assert_eq!(since("1795428000"), (1_795_428_000, 0));
        assert_eq!(since("1795428000.25"), (1_795_428_000, 250_000_000));
        assert_eq!(since("0"), (1000, 0), "no time ago");
        assert_eq!(since("1h"), (0, 0), "before the beginning of time is the beginning of time");
    }

    #[test]
    fn what_is_no_time_no_number_or_contradicts_itself_is_refused() {
        for since in ["yesterday", "-1", "1.2.3", "1795428000.0000000001", "", "99999999999999999999"] {
            assert!(flags(&[&format!("--since={since}")]).unwrap_err().contains("expected a time such as"), "{since}");
        }
        for tail in ["-1", "many", ""] {
            assert!(flags(&[&format!("--tail={tail}")]).unwrap_err().contains("expected a number of lines"), "{tail}");
        }
        for other in ["--timestamps", "--details", "--no-task-ids", "--no-trunc", "--color=always", "--format=json"] {
            assert!(flags(&["--raw", other]).unwrap_err().contains("cannot be used with"), "{other}");
        }
    }

    #[test]
    fn the_layout_is_as_the_flags_say() {
        let layout = flags(&["--no-task-ids", "-t", "--color", "never"]).unwrap().layout();
        assert!(!layout.task_ids && layout.timestamps && !layout.color && !layout.raw && !layout.details);
        let layout = flags(&["--no-trunc", "--details", "--color", "always"]).unwrap().layout();
        assert!(layout.task_ids && layout.full_ids && layout.details && layout.color);
    }
}
