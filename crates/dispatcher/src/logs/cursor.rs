//! How far logs were read, so that whoever asks for them again gets what is new and nothing twice.

use std::{collections::BTreeMap, time::Duration};

use prost_types::Timestamp;
use swarmkit_api::wire::{LogMessage, LogSubscriptionOptions};

/// How far back of what was read the next reading begins. The two streams of a task are stamped one by one, so the last
/// record of one may have been given before a slightly older one of the other. What comes twice for it is left out again.
const OVERLAP: Duration = Duration::from_secs(1);
/// The wire's "nothing of what was written before".
const TAIL_NONE: i64 = -1;
/// The wire's "all that was written before".
const TAIL_ALL: i64 = 0;

/// How far the logs of each task were read. A reading that was cut off goes on with [`LogCursor::resume`], and what comes
/// again is told by [`LogCursor::replay`].
///
/// A record has no number on the wire, so it is known by its task, its stream, its time, and how many of the same time came
/// before it. That holds as long as the clock of a node is not set back while nobody reads.
///
/// ```
/// use swarmkit_api::wire::{LogContext, LogMessage};
/// use swarmkit_dispatcher::LogCursor;
///
/// let context = Some(LogContext { task_id: "t1".into(), ..Default::default() });
/// let record = |seconds| LogMessage {
///     context: context.clone(),
///     timestamp: Some(prost_types::Timestamp { seconds, nanos: 0 }),
///     ..Default::default()
/// };
/// let mut cursor = LogCursor::default();
/// cursor.read(&record(1));
/// let mut again = cursor.replay();
/// assert!(!again.is_new(&record(1)), "it was read before");
/// assert!(again.is_new(&record(1)), "another one of the same moment");
/// assert!(again.is_new(&record(2)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct LogCursor {
    tasks: BTreeMap<String, Streams>,
}

/// What was read of one task.
#[derive(Clone, Debug, Default)]
struct Streams {
    /// The time of its first record: what is older was not asked for.
    first: Moment,
    /// The last record of each stream.
    marks: BTreeMap<i32, Mark>,
}

/// The last record of a stream.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Moment,
    /// How many records have exactly that time.
    count: u64,
}

/// Seconds and nanoseconds. A record without a time counts as one of the beginning of time.
type Moment = (i64, i32);

/// Tells what is new from what was read before, in one reading that repeats some of it.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    known: BTreeMap<String, Streams>,
}

impl LogCursor {
    /// Notes that a record was read.
    pub fn read(&mut self, message: &LogMessage) {
        let at = moment(message);
        let task = task(message);
        // Almost always known: no key is made for it.
        if !self.tasks.contains_key(task) {
            self.tasks.insert(task.to_owned(), Streams { first: at, marks: BTreeMap::new() });
        }
        let Some(streams) = self.tasks.get_mut(task) else { return };
        let mark = streams.marks.entry(message.stream).or_insert(Mark { at, count: 0 });
        *mark = if mark.at == at { Mark { at, count: mark.count + 1 } } else { Mark { at, count: 1 } };
    }

    /// Whether anything of a task was read.
    #[must_use]
    pub fn knows(&self, task: &str) -> bool {
        self.tasks.contains_key(task)
    }

    /// What to ask for now, for a reading that was asked for with `options` and has `began` at that time.
    ///
    /// With `complete`, something was read of every task that there is, so nothing older is needed. Without, whoever asked
    /// for everything gets everything again.
    #[must_use]
    pub fn resume(&self, options: &LogSubscriptionOptions, began: Timestamp, complete: bool) -> LogSubscriptionOptions {
        let oldest = self.oldest();
        let from = match (options.tail, oldest) {
            (TAIL_ALL, Some(oldest)) if complete => oldest,
            (TAIL_ALL, _) => return options.clone(),
            (TAIL_NONE, Some(oldest)) => earlier(oldest, began),
            (TAIL_NONE, None) => began,
            (_, Some(oldest)) => oldest,
            (_, None) => return options.clone(),
        };
        let since = options.since.filter(|since| order(since) > order(&from)).unwrap_or(from);
        LogSubscriptionOptions { tail: TAIL_ALL, since: Some(since), ..options.clone() }
    }

    /// Tells what is new in a reading that begins now.
    #[must_use]
    pub fn replay(&self) -> Replay {
        Replay { known: self.tasks.clone() }
    }

    /// From when on every task has to be read again, so that nothing is missed of any.
    fn oldest(&self) -> Option<Timestamp> {
        let marks = self.tasks.values().flat_map(|streams| streams.marks.values());
        let (seconds, nanos) = marks.map(|mark| mark.at).min()?;
        let back = i64::try_from(OVERLAP.as_secs()).unwrap_or_default();
        Some(Timestamp { seconds: seconds.saturating_sub(back).max(0), nanos })
    }
}

impl Replay {
    /// Whether this record was not read before. Records of a stream come in order, so each is to be asked about once.
    pub fn is_new(&mut self, message: &LogMessage) -> bool {
        let task = task(message);
        let Some(streams) = self.known.get_mut(task) else { return true };
        let at = moment(message);
        let Some(mark) = streams.marks.get_mut(&message.stream) else { return at >= streams.first };
        if at < mark.at {
            return false;
        }
        if at == mark.at && mark.count > 0 {
            mark.count -= 1;
            return false;
        }
        // Caught up: from here on everything is new, whatever the clock of its node does.
        *mark = Mark { at: (i64::MIN, 0), count: 0 };
        true
    }
}

fn task(message: &LogMessage) -> &str {
    message.context.as_ref().map_or("", |context| &context.task_id)
}

fn moment(message: &LogMessage) -> Moment {
    message.timestamp.as_ref().map(order).unwrap_or_default()
}

fn order(time: &Timestamp) -> Moment {
    (time.seconds, time.nanos)
}

fn earlier(a: Timestamp, b: Timestamp) -> Timestamp {
    if order(&a) <= order(&b) { a } else { b }
}

#[cfg(test)]
mod tests {
    use swarmkit_api::wire::{LogContext, LogStream};

    use super::*;

    const OUT: LogStream = LogStream::Stdout;
    const ERR: LogStream = LogStream::Stderr;

    fn record(task: &str, stream: LogStream, seconds: i64) -> LogMessage {
        LogMessage {
            context: Some(LogContext { task_id: task.into(), ..Default::default() }),
            timestamp: Some(at(seconds)),
            stream: stream.into(),
            ..Default::default()
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    fn cursor(records: &[(&str, LogStream, i64)]) -> LogCursor {
        let mut cursor = LogCursor::default();
        records.iter().for_each(|(task, stream, seconds)| cursor.read(&record(task, *stream, *seconds)));
        cursor
    }

    fn new<'a>(cursor: &LogCursor, again: &[(&'a str, LogStream, i64)]) -> Vec<(&'a str, LogStream, i64)> {
        let mut replay = cursor.replay();
        let is_new =
            |(task, stream, seconds): &&(&str, LogStream, i64)| replay.is_new(&record(task, *stream, *seconds));
        again.iter().filter(is_new).copied().collect()
    }

    #[test]
    fn what_was_read_is_left_out_and_what_was_not_is_given_once() {
        let before = [("a", OUT, 1), ("a", ERR, 2), ("b", OUT, 9), ("a", OUT, 3), ("a", OUT, 3)];
        let after = [("a", OUT, 3), ("a", OUT, 4), ("b", OUT, 10), ("c", OUT, 1), ("a", ERR, 2)];
        let again = [&before[..], &after[..]].concat();
        assert_eq!(new(&cursor(&before), &again), after);
        assert_eq!(new(&LogCursor::default(), &again), again);
    }

    #[test]
    fn a_stream_of_which_nothing_was_read_is_new_from_the_first_record_of_its_task_on() {
        // Of the last two lines of the task, which are of one stream, one line of the other was cut off.
        let read = cursor(&[("a", OUT, 5), ("a", OUT, 6)]);
        let again = [("a", ERR, 4), ("a", OUT, 5), ("a", ERR, 5), ("a", OUT, 6), ("a", ERR, 6)];
        assert_eq!(new(&read, &again), [("a", ERR, 5), ("a", ERR, 6)]);
    }

    #[test]
    fn a_clock_that_is_set_back_later_hides_nothing() {
        assert_eq!(new(&cursor(&[("a", OUT, 5)]), &[("a", OUT, 5), ("a", OUT, 6), ("a", OUT, 2)]).len(), 2);
    }

    fn resume(cursor: &LogCursor, tail: i64, since: Option<i64>, complete: bool) -> (i64, Option<i64>) {
        let options = LogSubscriptionOptions { tail, since: since.map(at), follow: true, ..Default::default() };
        let resumed = cursor.resume(&options, at(100), complete);
        assert!(resumed.follow);
        (resumed.tail, resumed.since.map(|since| since.seconds))
    }

    #[test]
    fn it_goes_on_where_the_task_that_is_furthest_behind_was_read_to() {
        let read = cursor(&[("a", OUT, 500), ("b", OUT, 300), ("b", OUT, 400)]);
        assert_eq!(resume(&read, 0, None, true), (0, Some(399)));
        assert_eq!(resume(&read, 0, None, false), (0, None), "the others may have older ones");
        assert_eq!(resume(&read, -11, None, false), (0, Some(399)));
        assert_eq!(resume(&read, -1, None, false), (0, Some(100)), "the others may have written since it began");
        assert_eq!(resume(&read, 0, Some(450), true), (0, Some(450)), "what was not asked for is not asked for now");
    }

    #[test]
    fn what_has_given_nothing_yet_is_asked_for_as_it_was() {
        let none = LogCursor::default();
        assert_eq!(resume(&none, 0, Some(7), true), (0, Some(7)));
        assert_eq!(resume(&none, -11, None, true), (-11, None));
        assert_eq!(resume(&none, -1, None, true), (0, Some(100)), "what was written since is new");
    }
}
