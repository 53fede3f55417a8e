//! What tasks write.

use futures_util::StreamExt as _;
use swarmkit_api::wire::TaskSpec;

use super::{
    Act,
    trial::{Bench, Trial, within},
};
use crate::{Controller, ExecError, Executor, LogOptions, LogRecord, LogSource, LogStart, LogStream};

/// Opens the logs, unless the executor says that it has none.
async fn logs<C: Controller>(trial: &Trial<C>, options: LogOptions) -> Option<LogStream> {
    match within("logs", trial.controller.logs(options)).await {
        Ok(stream) => Some(stream),
        Err(ExecError::Unsupported(_)) => None,
        Err(error) => panic!("the logs of a task that runs can be read: {error}"),
    }
}

/// The next record of a stream that must have one.
async fn record(stream: &mut LogStream) -> LogRecord {
    within("the next record", stream.next()).await.expect("there is more to read").expect("it can be read")
}

pub(super) async fn both_streams_are_kept<E: Executor>(bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Prints).await;
    let follow = LogOptions { follow: true, ..Default::default() };
    let Some(mut stream) = logs(&trial, follow).await else { return trial.finish().await };
    let mut records = [record(&mut stream).await, record(&mut stream).await];
    records.sort_by_key(|record| record.source);
    let told: Vec<_> = records.iter().map(|record| (record.source, record.data.as_ref())).collect();
    let expected: [(LogSource, &[u8]); 2] = [(LogSource::Stdout, b"out\n"), (LogSource::Stderr, b"err\n")];
    assert_eq!(told, expected, "each stream has what was written to it");

    let only_errors = LogOptions { stdout: false, ..Default::default() };
    let only_last = LogOptions { start: LogStart::Last(1), ..Default::default() };
    let all_skipped = LogOptions { start: LogStart::Skip(2), ..Default::default() };
    for (options, count) in [(LogOptions::default(), 2), (only_errors, 1), (only_last, 1), (all_skipped, 0)] {
        let stream = logs(&trial, options).await.expect("it had logs before");
        let read: Vec<_> = within("the end of the stream", stream.collect()).await;
        assert_eq!(read.len(), count, "{options:?} of two records gives {count}: {read:?}");
    }
    trial.finish().await;
}

pub(super) async fn a_follower_sees_the_end<E: Executor>(bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Prints).await;
    let Some(mut stream) = logs(&trial, LogOptions { follow: true, ..Default::default() }).await else {
        return trial.finish().await;
    };
    let _ = (record(&mut stream).await, record(&mut stream).await);
    trial.shutdown().await;
    let rest = within("the end of the stream", stream.next()).await;
    assert!(rest.is_none(), "nothing is written after the end: {rest:?}");
    trial.finish().await;
}
