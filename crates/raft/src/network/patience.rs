//! How long to wait for answers that may never come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use tokio::sync::Notify;

use crate::messenger::{Answer, Answers, SendError};

/// How many requests of a stream were sent.
#[derive(Default)]
pub(super) struct Sent {
    count: AtomicU64,
    more: Notify,
}

impl Sent {
    pub(super) fn one_more(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.more.notify_one();
    }
}

/// Ends a stream of answers when one that is due does not come for too long. Without open requests it may be silent.
pub(super) fn impatient<T: Send + 'static>(answers: Answers<T>, sent: Arc<Sent>, patience: Duration) -> Answers<T> {
    let state = (answers, 0, false);
    futures_util::stream::unfold(state, move |(mut answers, answered, over)| {
        let sent = sent.clone();
        async move {
            loop {
                if over {
                    return None;
                }
                if sent.count.load(Ordering::Relaxed) > answered {
                    return match tokio::time::timeout(patience, answers.next()).await {
                        Ok(answer) => answer.map(|answer| (answer, (answers, answered + 1, false))),
                        Err(_) => Some((Err(late()), (answers, answered, true))),
                    };
                }
                tokio::select! { biased; // an answer, or the end, matters more than another request
                    answer = answers.next() => return answer.map(|answer| (answer, (answers, answered + 1, false))),
                    () = sent.more.notified() => {}
                }
            }
        }
    })
    .boxed()
}

/// Waits for an answer as long as parts go out, and for `patience` after each.
pub(super) async fn unless_stuck<T>(mut answer: Answer<T>, moved: &Notify, patience: Duration) -> Result<T, SendError> {
    loop {
        tokio::select! { biased; // the answer ends it, whatever else goes on
            answer = &mut answer => return answer,
            () = moved.notified() => {}
            () = tokio::time::sleep(patience) => return Err(late()),
        }
    }
}

pub(super) fn late() -> SendError {
    SendError::Unreachable("no answer in time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(300);

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_due_and_does_not_come_is_the_last_and_without_one_due_nobody_is_impatient() {
        let (answers, incoming) = tokio::sync::mpsc::channel(4);
        let sent = Arc::new(Sent::default());
        let incoming = tokio_stream::wrappers::ReceiverStream::new(incoming).boxed();
        let mut stream = impatient(incoming, sent.clone(), PATIENCE);
        assert!(tokio::time::timeout(Duration::from_secs(3600), stream.next()).await.is_err(), "nothing is due");
        sent.one_more();
        answers.send(Ok(1)).await.unwrap();
        assert_eq!(stream.next().await, Some(Ok(1)));
        sent.one_more();
        let begin = tokio::time::Instant::now();
        assert_eq!(stream.next().await, Some(Err(late())));
        assert_eq!(begin.elapsed(), PATIENCE);
        assert_eq!(stream.next().await, None);
    }
}
