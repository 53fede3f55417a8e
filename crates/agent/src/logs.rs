//! Publishes what tasks write to those who want to read it.

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _, StreamExt as _,
    future::Either,
    stream::{self, BoxStream, SelectAll},
};
use swarmkit_api::{Task, TaskId, wire};
use swarmkit_executor::{ExecError, LogOptions, LogRecord, LogSource, LogStream};
use swarmkit_runtime::{Backoff, Env, Spawner};
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;
use tonic::Code;

use crate::{
    SessionError,
    controller::ControllerCell,
    manager::{ManagerClient, Messages},
    roster::Roster,
    session::{ANSWER_TIMEOUT, in_time, next},
};

/// How many messages of one subscription may wait for the network.
const WAITING_MESSAGES: usize = 4;
/// When a message of records is sent, even if more are there already: far below the largest message that managers take.
const MESSAGE_BYTES: usize = 256 * 1024;
/// The same by the number of records.
const MESSAGE_RECORDS: usize = 512;
/// The first pause before subscriptions are asked for again, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The first pause before the logs of a task that has none yet are asked for again, and the longest.
const OPEN_RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How long a manager may take to note the end of a publication.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves subscriptions as long as it is polled. Without log broker, or while it is not to be had, the session goes on.
pub(crate) async fn serve(env: &Env, manager: &Arc<dyn ManagerClient>, roster: &Roster) -> SessionError {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1, env.rng("agent/logs"));
    let Some(spawner) = Spawner::current() else { return SessionError::Closed };
    loop {
        let request = wire::ListenSubscriptionsRequest {};
        let listening = in_time("log subscriptions", ANSWER_TIMEOUT, manager.listen_subscriptions(request)).await;
        let end = match listening {
            Ok(messages) => listen(messages, env, manager, roster, &spawner).await,
            Err(error) => error,
        };
        if matches!(&end, SessionError::Refused(status) if status.code() == Code::Unimplemented) {
            tracing::debug!("the manager has no log broker");
            std::future::pending::<()>().await;
        }
        tracing::debug!(error = %end, "no log subscriptions");
        env.sleep(backoff.next_delay()).await;
    }
}

/// Reads subscriptions, and keeps one publication running for each. When it ends or is dropped, all of them end.
async fn listen(
    mut messages: Messages<wire::SubscriptionMessage>,
    env: &Env,
    manager: &Arc<dyn ManagerClient>,
    roster: &Roster,
    spawner: &Spawner,
) -> SessionError {
    let mut running: BTreeMap<String, DropGuard> = BTreeMap::new();
    loop {
        let message = match next("log subscriptions", &mut messages).await {
            Ok(message) => message,
            Err(error) => return error,
        };
        if message.close {
            running.remove(&message.id);
            continue;
        }
        if running.contains_key(&message.id) {
            continue;
        }
        let stop = spawner.stop().child_token();
        running.insert(message.id.clone(), stop.clone().drop_guard());
        let (env, manager, roster) = (env.clone(), Arc::clone(manager), roster.clone());
        drop(spawner.spawn("publish logs", async move {
            tokio::select! { biased; // what nobody wants any more is not published
                () = stop.cancelled() => {}
                () = publish(&env, manager.as_ref(), &roster, message) => {}
            }
        }));
    }
}

/// Publishes everything that a subscription asks for. For one that follows, that is until it is dropped.
async fn publish(env: &Env, manager: &dyn ManagerClient, roster: &Roster, subscription: wire::SubscriptionMessage) {
    let id = subscription.id.clone();
    let (sender, receiver) = mpsc::channel(WAITING_MESSAGES);
    let outgoing = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let call = manager.publish_logs(outgoing.boxed());
    let feed = std::pin::pin!(feed(env, roster, subscription, sender));
    let end = match futures_util::future::select(call, feed).await {
        Either::Left((end, _)) => end,
        Either::Right(((), call)) => match tokio::time::timeout(CLOSE_TIMEOUT, call).await {
            Ok(end) => end,
            Err(_) => return,
        },
    };
    if let Err(status) = end {
        tracing::debug!(subscription = id, %status, "publishing logs ended early");
    }
}

/// Reads the logs and hands them on, a batch of what is there at a time. Ends with the message that says so.
async fn feed(
    env: &Env,
    roster: &Roster,
    subscription: wire::SubscriptionMessage,
    sender: mpsc::Sender<wire::PublishLogsMessage>,
) {
    let wire::SubscriptionMessage { id: subscription_id, selector, options, .. } = subscription;
    let (selector, options) = (selector.unwrap_or_default(), LogOptions::from(&options.unwrap_or_default()));
    let mut additions = roster.additions();
    let mut sources = Sources { known: BTreeSet::new(), all: SelectAll::new() };
    sources.add(env, roster.select(&selector), options);
    loop {
        let message = tokio::select! { biased; // logs that are there before those of tasks that may be
            Some(message) = sources.all.next() => message,
            Ok(()) = additions.changed(), if options.follow => {
                sources.add(env, roster.select(&selector), options);
                continue;
            }
            else => break,
        };
        let messages = sources.batch(message);
        let message = wire::PublishLogsMessage { subscription_id: subscription_id.clone(), messages, close: false };
        if sender.send(message).await.is_err() {
            return;
        }
    }
    let close = wire::PublishLogsMessage { subscription_id, messages: Vec::new(), close: true };
    sender.send(close).await.ok();
}

/// The logs of several tasks.
struct Sources {
    known: BTreeSet<TaskId>,
    all: SelectAll<BoxStream<'static, wire::LogMessage>>,
}

impl Sources {
    /// Reads these too, unless they are read already.
    fn add(&mut self, env: &Env, tasks: Vec<(TaskId, ControllerCell)>, options: LogOptions) {
        for (task, controller) in tasks {
            if self.known.insert(task) {
                self.all.push(read(env, controller, options));
            }
        }
    }

    /// A message, and what else is there already.
    fn batch(&mut self, first: wire::LogMessage) -> Vec<wire::LogMessage> {
        let mut bytes = first.data.len();
        let mut batch = vec![first];
        while bytes < MESSAGE_BYTES
            && batch.len() < MESSAGE_RECORDS
            && let Some(Some(message)) = self.all.next().now_or_never()
        {
            bytes += message.data.len();
            batch.push(message);
        }
        batch
    }
}

/// The logs of one task. What cannot be read is told here, and to the reader only by its absence: the wire has no place
/// for it.
fn read(env: &Env, controller: ControllerCell, options: LogOptions) -> BoxStream<'static, wire::LogMessage> {
    let task = controller.task();
    let records = open(env.clone(), controller, options).into_stream().map(|opened| match opened {
        Ok(records) => records,
        Err(error) => stream::iter([Err(error)]).boxed(),
    });
    let records = records.flatten();
    records
        .filter_map(move |record| {
            let message = match record {
                Ok(record) => Some(message(&task, record)),
                Err(error) => {
                    tracing::warn!(task = %task.id, %error, "cannot read the task's logs");
                    None
                }
            };
            std::future::ready(message)
        })
        .boxed()
}

/// Opens the logs of one task. Who follows may ask before there is anything to read from, and so asks again.
async fn open(env: Env, controller: ControllerCell, options: LogOptions) -> Result<LogStream, ExecError> {
    let label = format!("agent/logs/{}", controller.task().id);
    let mut backoff = Backoff::new(OPEN_RETRY.0, OPEN_RETRY.1, env.rng(&label));
    loop {
        let opened = async { controller.get().await?.logs(options).await };
        match opened.await {
            Err(ExecError::Failed(_) | ExecError::Temporary(_)) if options.follow => {
                env.sleep(backoff.next_delay()).await;
            }
            opened => return opened,
        }
    }
}

fn message(task: &Task, record: LogRecord) -> wire::LogMessage {
    let stream = match record.source {
        LogSource::Stdout => wire::LogStream::Stdout,
        LogSource::Stderr => wire::LogStream::Stderr,
    };
    let context = wire::LogContext {
        service_id: task.service_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        node_id: task.node_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        task_id: task.id.to_string(),
    };
    wire::LogMessage {
        context: Some(context),
        timestamp: Some(record.timestamp.into()),
        stream: stream.into(),
        data: record.data,
        attrs: Vec::new(),
    }
}
