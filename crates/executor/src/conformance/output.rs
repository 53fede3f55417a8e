//! What tasks write.

use std::time::Duration;

use futures_util::StreamExt as _;
use swarmkit_api::wire::TaskSpec;

use super::{
    Act,
    trial::{Bench, Trial, within},
};
use crate::{Controller, Executor, LogOptions, LogRecord, LogSource, LogStart, LogStream};

/// Later than anything that a task of the suite writes.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// How many lines are written to a reader that does not read. With what makes them long, more than pipes and windows hold.
const LINES: u32 = 3000;

/// Opens the logs.
async fn logs<C: Controller>(trial: &Trial<C>, options: LogOptions) -> LogStream {
    within("logs", trial.controller.logs(options)).await.expect("the logs of a task that runs can be read")
}

/// Everything that is there.
async fn all<C: Controller>(trial: &Trial<C>, options: LogOptions) -> Vec<LogRecord> {
    let read = within("the end of the stream", logs(trial, options).await.collect::<Vec<_>>()).await;
    read.into_iter().map(|record| record.expect("it can be read")).collect()
}

/// The next record of a stream that must have one.
async fn record(stream: &mut LogStream) -> LogRecord {
    within("the next record", stream.next()).await.expect("there is more to read").expect("it can be read")
}

pub(super) async fn both_streams_are_kept<E: Executor>(bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Prints).await;
    let follow = LogOptions { follow: true, ..Default::default() };
    let mut stream = logs(&trial, follow).await;
    let mut records = [record(&mut stream).await, record(&mut stream).await];
    records.sort_by_key(|record| record.source);
    let told: Vec<_> = records.iter().map(|record| (record.source, record.data.as_ref())).collect();
    let expected: [(LogSource, &[u8]); 2] = [(LogSource::Stdout, b"out\n"), (LogSource::Stderr, b"err\n")];
    assert_eq!(told, expected, "each stream has what was written to it");

    let only_errors = LogOptions { stdout: false, ..Default::default() };
    let only_last = LogOptions { start: LogStart::Last(1), ..Default::default() };
    let all_skipped = LogOptions { start: LogStart::Skip(2), ..Default::default() };
    for (options, count) in [(LogOptions::default(), 2), (only_errors, 1), (only_last, 1), (all_skipped, 0)] {
        let read = all(&trial, options).await;
        assert_eq!(read.len(), count, "{options:?} of two records gives {count}: {read:?}");
    }
    trial.finish().await;
}

pub(super) async fn a_follower_sees_the_end<E: Executor>(bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Prints).await;
    let mut stream = logs(&trial, LogOptions { follow: true, ..Default::default() }).await;
    let _ = (record(&mut stream).await, record(&mut stream).await);
    trial.shutdown().await;
    let rest = within("the end of the stream", stream.next()).await;
    assert!(rest.is_none(), "nothing is written after the end: {rest:?}");
    trial.finish().await;
}

pub(super) async fn nothing_older_than_what_was_asked_for_is_read<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Prints).await;
    let mut stream = logs(&trial, LogOptions { follow: true, ..Default::default() }).await;
    let (first, second) = (record(&mut stream).await, record(&mut stream).await);
    let since = |since| LogOptions { since: Some(since), ..LogOptions::default() };
    let read = all(&trial, since(first.timestamp.min(second.timestamp))).await;
    assert_eq!(read.len(), 2, "what was written at that moment is not older: {read:?}");
    let read = all(&trial, since(first.timestamp.max(second.timestamp) + AN_HOUR)).await;
    assert_eq!(read, [], "what was written before that moment is not read");
    trial.finish().await;
}

pub(super) async fn a_reader_that_stalls_holds_up_nobody<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Chatters(LINES)).await;
    let mut stalled = logs(&trial, LogOptions { follow: true, ..Default::default() }).await;
    let mut lines = vec![record(&mut stalled).await];
    trial.wait().await.expect("a task ends whether its output is read or not");
    let others = all(&trial, LogOptions::default()).await;
    assert_eq!(others.len(), LINES as usize, "another reader reads everything");
    while let Some(next) = within("the rest of the stream", stalled.next()).await {
        lines.push(next.expect("it can be read"));
    }
    assert_eq!(lines.len(), LINES as usize, "a reader that had stalled reads everything, too");
    let first = |record: &LogRecord| record.data.first().copied();
    assert_eq!((lines.first().and_then(first), others.first().and_then(first)), (Some(b'0'), Some(b'0')));
    trial.finish().await;
}
