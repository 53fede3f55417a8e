//! One stream of events for all containers of an executor.
//!
//! An event only wakes whoever waits for that task; what is so is then asked of the engine. So events that are lost,
//! doubled or late do no harm, and after the engine was away everybody looks once.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::pin,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use futures_util::TryStreamExt as _;
use parking_lot::Mutex;
use swarmkit_runtime::{Backoff, Env};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{Engine, EngineError},
    labels,
};

/// How long to wait before the engine is asked again for its events, at first and at most.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_CAP: Duration = Duration::from_secs(2);
/// How far back a new stream begins, so that nothing is missed between two: more than asking for it takes.
const OVERLAP: Duration = Duration::from_secs(5);

/// Who waits for news of which task.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<BTreeMap<String, watch::Sender<()>>>);

impl Watchers {
    /// Is told of whatever happens to a task from now on.
    pub(crate) fn watch(&self, task: &str) -> watch::Receiver<()> {
        self.0.lock().entry(task.to_owned()).or_default().subscribe()
    }

    fn wake(&self, task: &str) {
        self.0.lock().retain(|name, watchers| {
            if name == task {
                watchers.send_replace(());
            }
            // Nobody waits for those that have ended.
            watchers.receiver_count() > 0
        });
    }

    fn wake_all(&self) {
        self.0.lock().values().for_each(|watchers| watchers.send_replace(()));
    }
}

/// Wakes watchers until it is told to stop, whatever happens to the engine meanwhile.
pub(crate) async fn follow(
    engine: Engine,
    owner: String,
    watchers: Arc<Watchers>,
    env: Env,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let mut backoff = Backoff::new(RETRY, RETRY_CAP, env.rng("docker-events"));
    let mut away = false;
    loop {
        let streamed = tokio::select! { biased; // whoever wants to stop does not wait for an engine
            () = stop.cancelled() => return Ok(()),
            streamed = stream(&engine, &owner, &watchers, &env, &mut backoff, &mut away) => streamed,
        };
        match streamed {
            Ok(()) => tracing::debug!("the engine ended its stream of events"),
            Err(error) if away => tracing::debug!(%error, "still no engine"),
            Err(error) => {
                tracing::warn!(%error, "the engine is away: tasks are as they were last seen");
                away = true;
            }
        }
        tokio::select! { biased; // as above
            () = stop.cancelled() => return Ok(()),
            () = env.sleep(backoff.next_delay()) => {}
        }
    }
}

/// Follows one stream to its end.
async fn stream(
    engine: &Engine,
    owner: &str,
    watchers: &Watchers,
    env: &Env,
    backoff: &mut Backoff,
    away: &mut bool,
) -> Result<(), EngineError> {
    let since = env.now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(OVERLAP);
    engine.negotiate().await?;
    if std::mem::take(away) {
        tracing::info!("the engine is back");
    }
    // What happened while nobody listened. What happens from here on is in the stream, which begins before.
    watchers.wake_all();
    let since = format!("{}.{:09}", since.as_secs(), since.subsec_nanos());
    let mut events = pin!(engine.events(owner, &since));
    while let Some(event) = events.try_next().await? {
        backoff.reset();
        let task = event.actor.and_then(|actor| actor.attributes?.remove(labels::TASK_ID));
        if let Some(task) = task {
            watchers.wake(&task);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_wakes_those_who_wait_for_its_task_only() {
        let watchers = Watchers::default();
        let (one, two) = (watchers.watch("t1"), watchers.watch("t2"));
        watchers.wake("t1");
        assert!(one.has_changed().unwrap() && !two.has_changed().unwrap());
        watchers.wake_all();
        assert!(two.has_changed().unwrap());
        drop(two);
        watchers.wake("t1");
        assert_eq!(watchers.0.lock().keys().collect::<Vec<_>>(), ["t1"], "nobody waits for t2 any more");
    }
}
