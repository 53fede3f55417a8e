//! Serves calls to the tasks of this node: commands, attaching, and what they use.
//!
//! Managers tell of calls on one stream; each is served on a stream of its own. A call outlives the session in which it came,
//! since a node that describes itself anew should not end what somebody does in a terminal; it ends with its own stream.

use std::{sync::Arc, time::Duration};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use swarmkit_api::{
    TaskId,
    wire::swarmkit::exec::v1::{
        Assigned, Call, Failure, Input, ListenRequest, Output, ServeRequest, UsageQuery, call::Kind, output,
        serve_request,
    },
};
use swarmkit_executor::{
    AttachOptions, DynController, ExecError, ExecInput, ExecInputs, ExecOutput, ExecOutputs, LogOptions, LogSource,
    LogStart,
};
use swarmkit_runtime::{Backoff, Env, Spawner};
use tokio::sync::{Semaphore, mpsc};
use tonic::Code;

use crate::{
    SessionError,
    manager::{ManagerClient, Messages},
    roster::Roster,
    session::{ANSWER_TIMEOUT, in_time, next},
    usage,
};

/// How many calls are served at a time. As many as managers let through; more are told so.
const CALLS_MAX: usize = 64;
/// How many pieces of output may wait for the network, and of input for the command: each is at most 64 KiB.
const WAITING_PIECES: usize = 2;
/// How much one piece may carry, in bytes: the most that managers pass on.
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// How long a command may take to begin. Executors have limits of their own below it.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a client is told at most what tasks use.
const USAGE_PERIOD_MIN: Duration = Duration::from_secs(1);
/// The first pause before calls are asked for again, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Serves calls as long as it is polled; those that have begun go on when it is dropped. With a manager that has no calls, or
/// while they are not to be had, the session goes on.
pub(crate) async fn serve(env: &Env, manager: &Arc<dyn ManagerClient>, roster: &Roster) -> SessionError {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1, env.rng("agent/exec"));
    let Some(spawner) = Spawner::current() else { return SessionError::Closed };
    let places = Arc::new(Semaphore::new(CALLS_MAX));
    loop {
        let listening = in_time("calls", ANSWER_TIMEOUT, manager.listen_calls(ListenRequest {})).await;
        let end = match listening {
            Ok(messages) => {
                backoff.reset();
                listen(env, messages, manager, roster, &spawner, &places).await
            }
            Err(error) => error,
        };
        if matches!(&end, SessionError::Refused(status) if status.code() == Code::Unimplemented) {
            tracing::debug!("the manager has no calls to nodes");
            std::future::pending::<()>().await;
        }
        tracing::debug!(error = %end, "no calls");
        env.sleep(backoff.next_delay()).await;
    }
}

async fn listen(
    env: &Env,
    mut messages: Messages<Assigned>,
    manager: &Arc<dyn ManagerClient>,
    roster: &Roster,
    spawner: &Spawner,
    places: &Arc<Semaphore>,
) -> SessionError {
    loop {
        let assigned = match next("calls", &mut messages).await {
            Ok(assigned) => assigned,
            Err(error) => return error,
        };
        let place = Arc::clone(places).try_acquire_owned().ok();
        let (env, manager, roster, stop) = (env.clone(), Arc::clone(manager), roster.clone(), spawner.stop().clone());
        drop(spawner.spawn("call", async move {
            let Assigned { id, call } = assigned;
            let full = place.is_none();
            tokio::select! { biased; // an agent that ends serves nobody
                () = stop.cancelled() => {}
                () = serve_one(&env, manager.as_ref(), &roster, id, call.unwrap_or_default(), full) => {}
            }
            drop(place);
        }));
    }
}

/// The way to the client. Waits when the client is behind, and fails when it has gone.
type Client = mpsc::Sender<ServeRequest>;

/// Serves one call to its end.
async fn serve_one(env: &Env, manager: &dyn ManagerClient, roster: &Roster, id: String, call: Call, full: bool) {
    let (client, receiver) = mpsc::channel(WAITING_PIECES);
    let outputs = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let first = ServeRequest { message: Some(serve_request::Message::Id(id)) };
    let outgoing = stream::once(std::future::ready(first)).chain(outputs).boxed();
    // Somebody may have given up the call meanwhile; then there is nobody to tell anything.
    let Ok(mut messages) = in_time("a call", ANSWER_TIMEOUT, manager.serve_call(outgoing)).await else { return };
    let (inputs, receiver) = mpsc::channel(WAITING_PIECES);
    let receiver = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let answer = async {
        let usage = match &call.kind {
            Some(Kind::Usage(query)) if !full => Some(*query),
            _ => None,
        };
        if let Some(query) = usage {
            if report(env, roster, &call.task_id, query, &client).await.is_some() {
                client.closed().await;
            }
            return;
        }
        let begun = if full {
            Err(ExecError::temporary(format!("this node serves {CALLS_MAX} calls already")))
        } else {
            let begun = tokio::time::timeout(BEGIN_TIMEOUT, begin(roster, call, receiver.boxed())).await;
            begun.unwrap_or_else(|_| Err(ExecError::temporary("the executor does not answer")))
        };
        let told = match begun {
            Ok(outputs) => pass_on(outputs, &client).await,
            Err(error) => tell(&client, failure(&error)).await,
        };
        if told.is_some() {
            // What was said last arrives before the stream ends.
            client.closed().await;
        }
    };
    tokio::select! { biased; // what a client that has gone asked for is dropped, and with it the command
        () = client.closed() => {}
        () = feed(&mut messages, inputs) => {}
        () = answer => {}
    }
}

/// Hands input to the command until the client has gone.
async fn feed(messages: &mut Messages<Input>, inputs: mpsc::Sender<ExecInput>) {
    while let Some(Ok(message)) = messages.next().await {
        if let Some(input) = ExecInput::from_wire(message) {
            // A command that has ended takes no input, and its end is still to be told.
            inputs.send(input).await.ok();
        }
    }
}

/// Passes output on, and tells how it ended. `None` when the client has gone.
async fn pass_on(mut outputs: ExecOutputs, client: &Client) -> Option<()> {
    while let Some(output) = outputs.next().await {
        match output {
            Ok(ExecOutput::Stdout(mut data)) => {
                while !data.is_empty() {
                    let piece = data.split_to(data.len().min(PIECE_BYTES_MAX));
                    tell(client, ExecOutput::Stdout(piece).to_wire()).await?;
                }
            }
            Ok(ExecOutput::Stderr(mut data)) => {
                while !data.is_empty() {
                    let piece = data.split_to(data.len().min(PIECE_BYTES_MAX));
                    tell(client, ExecOutput::Stderr(piece).to_wire()).await?;
                }
            }
            Ok(output @ ExecOutput::Started) => tell(client, output.to_wire()).await?,
            Ok(output @ ExecOutput::Exited(_)) => return tell(client, output.to_wire()).await,
            Err(error) => return tell(client, failure(&error)).await,
        }
    }
    tell(client, failure(&ExecError::failed("the executor does not say how it ended"))).await
}

async fn tell(client: &Client, output: Output) -> Option<()> {
    client.send(ServeRequest { message: Some(serve_request::Message::Output(output)) }).await.ok()
}

/// Tells what a task, or every task, uses: once, or until the client has gone or the task has ended. `None` when the client
/// has gone.
async fn report(env: &Env, roster: &Roster, task: &str, query: UsageQuery, client: &Client) -> Option<()> {
    let every = query.every.map(|every| Duration::try_from(every).unwrap_or_default().max(USAGE_PERIOD_MIN));
    loop {
        let told = match usage::answer(roster, task).await {
            Ok(usage) => tell(client, Output { kind: Some(output::Kind::Usage(usage)) }).await,
            Err(error) => return tell(client, failure(&error)).await,
        };
        told?;
        let Some(every) = every else { return tell(client, ExecOutput::Exited(0).to_wire()).await };
        env.sleep(every).await;
    }
}

fn failure(error: &ExecError) -> Output {
    let failure: Failure = error.to_failure();
    Output { kind: Some(output::Kind::Failure(failure)) }
}

/// Begins what is asked for.
async fn begin(roster: &Roster, call: Call, inputs: ExecInputs) -> Result<ExecOutputs, ExecError> {
    let task = TaskId::from(call.task_id);
    let kind = call.kind.ok_or(ExecError::Unsupported("this kind of call"))?;
    let cell = roster.find(&task).ok_or_else(|| ExecError::failed(format!("task {task} is not on this node")))?;
    let controller = cell.get().await?;
    match kind {
        Kind::Command(command) => controller.exec(command.into(), inputs).await,
        Kind::Attach(attach) => {
            let options = AttachOptions::from(attach);
            match controller.attach(options, inputs).await {
                Err(ExecError::Unsupported(_)) if !options.stdin => follow(controller).await,
                Err(ExecError::Unsupported(_)) => Err(ExecError::Unsupported("standard input of tasks that run")),
                attached => attached,
            }
        }
        Kind::Usage(_) => Err(ExecError::failed("invariant: what tasks use is told elsewhere")),
    }
}

/// Attaches by way of the logs: what the task writes from now on, until it ends.
async fn follow(controller: Arc<dyn DynController>) -> Result<ExecOutputs, ExecError> {
    let options = LogOptions { follow: true, start: LogStart::Last(0), ..LogOptions::default() };
    let records = controller.logs(options).await?.map(|record| {
        record.map(|record| match record.source {
            LogSource::Stdout => ExecOutput::Stdout(record.data),
            LogSource::Stderr => ExecOutput::Stderr(record.data),
        })
    });
    let end = stream::once(async move {
        let code = controller.status().await?.container.map(|container| container.exit_code);
        code.map(ExecOutput::Exited).ok_or_else(|| ExecError::failed("the task has ended"))
    });
    let started = stream::once(std::future::ready(Ok(ExecOutput::Started)));
    let outputs: BoxStream<'static, _> = started.chain(records).chain(end).boxed();
    Ok(outputs)
}
