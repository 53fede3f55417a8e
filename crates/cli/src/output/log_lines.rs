//! What tasks have written, line by line, with whose line it is.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use prost_types::Timestamp;
use swarmkit_api::wire::{LogMessage, LogStream};

/// How many characters of a task's id are shown unless all are wanted, as existing tools do.
const SHORT_ID: usize = 12;
/// The colours of prefixes, in the order in which tasks get them: cyan, yellow, green, magenta, blue, and the same bright.
const COLORS: [u8; 10] = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94];

/// How lines are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLayout {
    /// Nothing but what was written.
    pub raw: bool,
    /// When it was written.
    pub timestamps: bool,
    /// Names of tasks end with their id.
    pub task_ids: bool,
    /// Ids are shown in full.
    pub full_ids: bool,
    /// What the source of the log adds.
    pub details: bool,
    /// Each task has a colour.
    pub color: bool,
}

/// Who wrote something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogWriter {
    /// Id of the task.
    pub task_id: String,
    /// Name of the service, or its id; empty if there is none.
    pub service: String,
    /// 0 where there are none.
    pub slot: u64,
    /// Name of the node, or its id.
    pub node: String,
}

/// Shows lines. Knows how wide prefixes have become, and whether the last line is still open.
#[derive(Debug)]
pub struct LogLines {
    layout: LogLayout,
    width: usize,
    colors: BTreeMap<String, u8>,
    /// The task and stream of a line that has no end yet.
    open: Option<(String, LogStream)>,
}

impl LogWriter {
    /// `web.1`, `web` where there are no slots, or the task's id where there is no service.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.service.as_str(), self.slot) {
            ("", _) => self.task_id.clone(),
            (service, 0) => service.to_owned(),
            (service, slot) => format!("{service}.{slot}"),
        }
    }

    fn prefix(&self, layout: LogLayout) -> String {
        let shown = if layout.full_ids { self.task_id.len() } else { SHORT_ID };
        let id: String = self.task_id.chars().take(shown).collect();
        let name = match self.service.as_str() {
            "" => id,
            _ if layout.task_ids => format!("{}.{id}", self.name()),
            _ => self.name(),
        };
        format!("{name}@{}", self.node)
    }
}

impl LogLines {
    /// Begins with nothing shown.
    #[must_use]
    pub fn new(layout: LogLayout) -> Self {
        Self { layout, width: 0, colors: BTreeMap::new(), open: None }
    }

    /// Shows a piece of a log: on `err` what was written to standard error, all else on `out`.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn show(
        &mut self,
        message: &LogMessage,
        writer: &LogWriter,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        let stream = message.stream();
        if self.layout.raw {
            return write(stream, &message.data, out, err);
        }
        let goes_on = self.open.as_ref().is_some_and(|(task, open)| *task == writer.task_id && *open == stream);
        if !goes_on && let Some((_, open)) = self.open.take() {
            // Somebody else's line begins: this one has to end first.
            write(open, b"\n", out, err)?;
        }
        let mut line = Vec::new();
        if !goes_on {
            line.extend_from_slice(self.head(message, writer).as_bytes());
        }
        line.extend_from_slice(&message.data);
        let ended = message.data.ends_with(b"\n");
        self.open = (!ended).then(|| (writer.task_id.clone(), stream));
        write(stream, &line, out, err)
    }

    /// Ends a line that is still open.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn finish(&mut self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
        match self.open.take() {
            None => Ok(()),
            Some((_, stream)) => write(stream, b"\n", out, err),
        }
    }

    /// What comes before the text.
    fn head(&mut self, message: &LogMessage, writer: &LogWriter) -> String {
        let mut head = String::new();
        if self.layout.timestamps {
            head.push_str(&exact(message.timestamp.as_ref()));
            head.push(' ');
        }
        let prefix = writer.prefix(self.layout);
        self.width = self.width.max(prefix.chars().count());
        let padded = format!("{prefix:<width$} |", width = self.width);
        if self.layout.color {
            let next = COLORS[self.colors.len() % COLORS.len()];
            let color = self.colors.entry(writer.task_id.clone()).or_insert(next);
            head.push_str(&format!("\x1b[{color}m{padded}\x1b[0m "));
        } else {
            head.push_str(&padded);
            head.push(' ');
        }
        if self.layout.details && !message.attrs.is_empty() {
            let attrs: Vec<_> = message.attrs.iter().map(|attr| format!("{}={}", attr.key, attr.value)).collect();
            head.push_str(&attrs.join(","));
            head.push(' ');
        }
        head
    }
}

fn write(stream: LogStream, text: &[u8], out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    match stream {
        LogStream::Stderr => err.write_all(text),
        LogStream::Stdout | LogStream::Unknown => out.write_all(text),
    }
}

/// UTC in the form of RFC 3339 with nine decimals, so that times stand below each other.
fn exact(time: Option<&Timestamp>) -> String {
    let time = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
    format!("{:.9}", time.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use swarmkit_api::wire::LogAttr;

    use super::*;

    fn writer(service: &str, slot: u64, task: &str, node: &str) -> LogWriter {
        LogWriter { task_id: task.into(), service: service.into(), slot, node: node.into() }
    }

    fn message(stream: LogStream, data: &str) -> LogMessage {
        let attrs =
            vec![LogAttr { key: "tag".into(), value: "x".into() }, LogAttr { key: "n".into(), value: "1".into() }];
        let timestamp = Some(Timestamp { seconds: 1_700_000_000, nanos: 120_000_000 });
        LogMessage { timestamp, stream: stream.into(), data: data.to_owned().into(), attrs, ..Default::default() }
    }

    fn shown(layout: LogLayout, messages: &[(LogStream, &LogWriter, &str)]) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut lines = LogLines::new(layout);
        for (stream, writer, text) in messages {
            lines.show(&message(*stream, text), writer, &mut out, &mut err).unwrap();
        }
        lines.finish(&mut out, &mut err).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    const OUT: LogStream = LogStream::Stdout;
    const ERR: LogStream = LogStream::Stderr;

    #[test]
    fn each_line_says_whose_it_is_and_goes_where_it_was_written() {
        let (web, all) = (writer("web", 1, "j2ttm1d8xgb1aaaa", "n1"), writer("agent", 0, "k5ttm1d8xgb1bbbb", "n2"));
        let alone = writer("", 0, "m7ttm1d8xgb1cccc", "n1");
        let messages = [(OUT, &all, "b\n"), (OUT, &web, "a\n"), (ERR, &web, "c\n"), (OUT, &alone, "d\n")];
        let (out, err) = shown(LogLayout { task_ids: true, ..Default::default() }, &messages);
        insta::assert_snapshot!(out, @r"
        agent.k5ttm1d8xgb1@n2 | b
        web.1.j2ttm1d8xgb1@n1 | a
        m7ttm1d8xgb1@n1       | d
        ");
        assert_eq!(err, "web.1.j2ttm1d8xgb1@n1 | c\n");
        let (out, _) = shown(LogLayout { task_ids: true, full_ids: true, ..Default::default() }, &messages[1..2]);
        assert_eq!(out, "web.1.j2ttm1d8xgb1aaaa@n1 | a\n");
        let (out, _) = shown(LogLayout { timestamps: true, details: true, ..Default::default() }, &messages[..2]);
        insta::assert_snapshot!(out, @r"
        2023-11-14T22:13:20.120000000Z agent@n2 | tag=x,n=1 b
        2023-11-14T22:13:20.120000000Z web.1@n1 | tag=x,n=1 a
        ");
    }

    #[test]
    fn raw_is_what_was_written_and_nothing_else() {
        let web = writer("web", 1, "t1", "n1");
        let layout = LogLayout { raw: true, timestamps: true, details: true, color: true, ..Default::default() };
        let (out, err) = shown(layout, &[(OUT, &web, "a"), (ERR, &web, "x\n"), (OUT, &web, "b\n")]);
        assert_eq!((out.as_str(), err.as_str()), ("ab\n", "x\n"));
    }

    #[test]
    fn a_long_line_that_comes_in_pieces_is_one_line_unless_another_one_begins_meanwhile() {
        let (a, b) = (writer("a", 1, "t1", "n"), writer("b", 1, "t2", "n"));
        let messages =
            [(OUT, &a, "1"), (OUT, &a, "2\n"), (OUT, &a, "3"), (OUT, &b, "4\n"), (OUT, &a, "5"), (ERR, &a, "6")];
        let (out, err) = shown(LogLayout::default(), &messages);
        assert_eq!(out, "a.1@n | 12\na.1@n | 3\nb.1@n | 4\na.1@n | 5\n");
        assert_eq!(err, "a.1@n | 6\n");
    }

    #[test]
    fn each_task_keeps_its_colour() {
        let (a, b) = (writer("a", 1, "t1", "n"), writer("b", 1, "t2", "n"));
        let layout = LogLayout { color: true, ..Default::default() };
        let (out, _) = shown(layout, &[(OUT, &a, "1\n"), (OUT, &b, "2\n"), (OUT, &a, "3\n")]);
        let expected = "\x1b[36ma.1@n |\x1b[0m 1\n\x1b[33mb.1@n |\x1b[0m 2\n\x1b[36ma.1@n |\x1b[0m 3\n";
        assert_eq!(out, expected);
    }
}
