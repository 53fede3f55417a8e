//! Lines of logs.

use std::collections::BTreeMap;

use serde::Serialize;
use swarmkit_api::wire::{LogMessage, LogStream};

use super::time;
use crate::output::LogWriter;

/// A line that a task has written, or a part of a long one.
#[derive(Clone, Debug, Serialize)]
pub struct LogLine {
    time: Option<String>,
    service_id: String,
    service: String,
    /// 0 where there are none.
    slot: u64,
    task_id: String,
    node_id: String,
    node: String,
    /// `stdout`, `stderr` or empty.
    stream: &'static str,
    /// What was written, without the end of the line. What is no UTF-8 is replaced.
    message: String,
    /// The line goes on in the next one of this task and stream.
    partial: bool,
    attrs: BTreeMap<String, String>,
}

impl LogLine {
    /// A piece of a log, and who wrote it.
    #[must_use]
    pub fn new(message: &LogMessage, writer: &LogWriter) -> Self {
        let context = message.context.clone().unwrap_or_default();
        let text = message.data.strip_suffix(b"\n");
        Self {
            time: time(message.timestamp.as_ref()),
            service_id: context.service_id,
            service: writer.service.clone(),
            slot: writer.slot,
            task_id: context.task_id,
            node_id: context.node_id,
            node: writer.node.clone(),
            stream: match message.stream() {
                LogStream::Stdout => "stdout",
                LogStream::Stderr => "stderr",
                LogStream::Unknown => "",
            },
            message: String::from_utf8_lossy(text.unwrap_or(&message.data)).into_owned(),
            partial: text.is_none(),
            attrs: message.attrs.iter().map(|attr| (attr.key.clone(), attr.value.clone())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use swarmkit_api::wire::{LogAttr, LogContext};

    use super::*;

    #[test]
    fn a_line_is_an_object_that_says_whose_it_is() {
        let context = LogContext { service_id: "s1".into(), node_id: "n1".into(), task_id: "t1".into() };
        let message = LogMessage {
            context: Some(context),
            timestamp: Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }),
            stream: LogStream::Stderr.into(),
            data: bytes::Bytes::from_static(b"a\xff\n"),
            attrs: vec![LogAttr { key: "k".into(), value: "v".into() }],
        };
        let writer = LogWriter { task_id: "t1".into(), service: "web".into(), slot: 2, node: "host".into() };
        insta::assert_snapshot!(super::super::line(&LogLine::new(&message, &writer)), @r#"{"time":"1970-01-01T00:00:01.5Z","service_id":"s1","service":"web","slot":2,"task_id":"t1","node_id":"n1","node":"host","stream":"stderr","message":"a�","partial":false,"attrs":{"k":"v"}}"#);
        let part = LogMessage { data: bytes::Bytes::from_static(b"ab"), ..message };
        assert!(super::super::line(&LogLine::new(&part, &writer)).contains(r#""message":"ab","partial":true"#));
    }
}
