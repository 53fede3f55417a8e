//! Reading logs, over whatever happens to managers meanwhile.
//!
//! A leader that stops leading, and a node that is started again, cut a reading off. It then begins again where it was,
//! and what comes twice for it is left out: nothing is lost and nothing is doubled.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    time::Duration,
};

use prost_types::Timestamp;
use swarmkit_api::wire::{self, LogContext, LogMessage, LogSelector, LogSubscriptionOptions};
use swarmkit_dispatcher::{LogCursor, Replay};
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use super::{Context, CtlError, Format, log_flags::LogFlags};
use crate::output::{LogLines, LogWriter, Names, json};

/// How long managers may take to come back, before a reading that was cut off is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first pause before managers are asked again, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// A reading that has lasted so long is a new one, as far as patience goes.
const STEADY: Duration = Duration::from_secs(10);
/// What a manager says that has stopped leading in the middle of a reading. The code says nothing: as upstream.
const NOT_LEADING: &str = "broker is not running";
/// What a manager begins with to say that it gave all that it could.
const INCOMPLETE: &str = "warning: incomplete log stream.";

/// Shows the logs of whatever `selector` selects.
pub(super) async fn run(context: &mut Context<'_>, selector: LogSelector, flags: &LogFlags) -> Result<(), CtlError> {
    let options = flags.options(context.now);
    let mut reading = Reading {
        selector,
        began: Timestamp::from(context.now),
        asked: options.clone(),
        cursor: LogCursor::default(),
        replay: Replay::default(),
        writers: Writers::default(),
        lines: LogLines::new(flags.layout()),
        json: flags.format == Format::Json,
    };
    let mut messages = reading.subscribe(context, options).await?;
    let mut outage = Outage::none();
    loop {
        let end = reading.copy(context, &mut messages, &mut outage).await?;
        let status = match end {
            Ok(()) if !reading.asked.follow => break,
            Ok(()) => Status::unavailable("the manager has ended the stream"),
            Err(status) => status,
        };
        // Nodes need a moment until they have found the manager that leads now.
        let too_early = outage.began.is_some() && status.message().starts_with(INCOMPLETE);
        if !is_cut(&status) && !too_early {
            reading.finish(context)?;
            return Err(status.into());
        }
        messages = reading.go_on(context, &mut outage, status).await?;
    }
    reading.finish(context)
}

/// Whether a reading was cut off that may go on.
fn is_cut(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Aborted | Code::Cancelled) || status.message() == NOT_LEADING
}

/// A while in which no manager has served a reading for long.
struct Outage {
    began: Option<Instant>,
    served: Instant,
    pause: Duration,
}

impl Outage {
    fn none() -> Self {
        Self { began: None, served: Instant::now(), pause: PAUSE.0 }
    }

    /// A reading gives what it should.
    fn is_over(&mut self) {
        (self.began, self.pause) = (None, PAUSE.0);
    }

    /// Waits a moment before the next attempt; `false` when there have been enough.
    async fn wait(&mut self) -> bool {
        let began = *self.began.get_or_insert_with(Instant::now);
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
        began.elapsed() < PATIENCE
    }
}

/// What is read, and how far.
struct Reading {
    selector: LogSelector,
    began: Timestamp,
    asked: LogSubscriptionOptions,
    cursor: LogCursor,
    /// What of the present stream was shown before.
    replay: Replay,
    writers: Writers,
    lines: LogLines,
    json: bool,
}

impl Reading {
    async fn subscribe(
        &self,
        context: &Context<'_>,
        options: LogSubscriptionOptions,
    ) -> Result<Streaming<wire::SubscribeLogsMessage>, Status> {
        let request = wire::SubscribeLogsRequest { selector: Some(self.selector.clone()), options: Some(options) };
        Ok(context.client.logs().subscribe_logs(request).await?.into_inner())
    }

    /// Shows what comes, until it ends.
    async fn copy(
        &mut self,
        context: &mut Context<'_>,
        messages: &mut Streaming<wire::SubscribeLogsMessage>,
        outage: &mut Outage,
    ) -> Result<Result<(), Status>, CtlError> {
        outage.served = Instant::now();
        loop {
            let message = match messages.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(Ok(())),
                Err(status) => return Ok(Err(status)),
            };
            if self.asked.follow {
                outage.is_over();
            }
            for line in message.messages {
                if self.replay.is_new(&line) {
                    self.cursor.read(&line);
                    self.show(context, &line).await?;
                }
            }
            context.out.flush()?;
        }
    }

    async fn show(&mut self, context: &mut Context<'_>, line: &LogMessage) -> Result<(), CtlError> {
        let writer = self.writers.of(context, line.context.as_ref()).await?;
        if self.json {
            return Ok(writeln!(context.out, "{}", json::line(&json::LogLine::new(line, writer)))?);
        }
        Ok(self.lines.show(line, writer, context.out, &mut io::stderr())?)
    }

    /// Begins again where it was cut off, as soon as there is somebody to ask.
    async fn go_on(
        &mut self,
        context: &mut Context<'_>,
        outage: &mut Outage,
        mut status: Status,
    ) -> Result<Streaming<wire::SubscribeLogsMessage>, CtlError> {
        if outage.served.elapsed() >= STEADY {
            outage.is_over();
        }
        if outage.began.is_none() {
            self.finish(context)?;
            // There is nobody left to tell when this fails.
            let _ = writeln!(io::stderr(), "the logs were cut off ({}); they go on", status.message());
        }
        loop {
            if !outage.wait().await {
                return Err(status.into());
            }
            match self.try_again(context).await {
                Ok(messages) => return Ok(messages),
                // Such as that the node has been locked, or this client may not read any more.
                Err(CtlError::Refused(refused)) if !is_cut(&refused) => return Err(CtlError::Refused(refused)),
                Err(CtlError::Refused(refused)) => status = *refused,
                Err(CtlError::Connect(error)) => status = Status::unavailable(error.to_string()),
                Err(other) => return Err(other),
            }
        }
    }

    async fn try_again(
        &mut self,
        context: &mut Context<'_>,
    ) -> Result<Streaming<wire::SubscribeLogsMessage>, CtlError> {
        if !context.client.is_open() {
            context.client = context.client.reconnect().await?;
            context.control = context.client.control();
        }
        let complete = self.is_complete(context).await?;
        let messages = self.subscribe(context, self.cursor.resume(&self.asked, self.began, complete)).await?;
        self.replay = self.cursor.replay();
        Ok(messages)
    }

    /// Whether something was read of every task that may have written something.
    async fn is_complete(&self, context: &mut Context<'_>) -> Result<bool, CtlError> {
        type Filters = wire::list_tasks_request::Filters;
        let LogSelector { service_ids, node_ids, task_ids } = self.selector.clone();
        let by_service = Filters { service_ids, ..Default::default() };
        let by_node = Filters { node_ids, ..Default::default() };
        let by_id = Filters { id_prefixes: task_ids, ..Default::default() };
        for filters in [by_service, by_node, by_id] {
            if filters == Filters::default() {
                continue;
            }
            let tasks = context.tasks(filters).await?;
            let has_run = |task: &&wire::Task| {
                task.status.as_ref().is_some_and(|status| status.state >= wire::TaskState::Running.into())
            };
            if !tasks.iter().filter(has_run).all(|task| self.cursor.knows(&task.id)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn finish(&mut self, context: &mut Context<'_>) -> Result<(), CtlError> {
        self.lines.finish(context.out, &mut io::stderr())?;
        Ok(context.out.flush()?)
    }
}

/// Who wrote what, asked for once for each task.
#[derive(Default)]
struct Writers {
    known: BTreeMap<String, LogWriter>,
    names: Names,
    /// Nodes whose names were asked for.
    nodes: BTreeSet<String>,
}

impl Writers {
    async fn of(&mut self, context: &mut Context<'_>, from: Option<&LogContext>) -> Result<&LogWriter, CtlError> {
        let from = from.cloned().unwrap_or_default();
        if !self.known.contains_key(&from.task_id) {
            let writer = self.ask(context, &from).await?;
            self.known.insert(from.task_id.clone(), writer);
        }
        Ok(&self.known[&from.task_id])
    }

    async fn ask(&mut self, context: &mut Context<'_>, from: &LogContext) -> Result<LogWriter, CtlError> {
        if self.nodes.insert(from.node_id.clone()) {
            self.names = context.names().await?;
        }
        let request = wire::GetTaskRequest { task_id: from.task_id.clone() };
        // A task may be gone by the time that its logs come, or the manager may: then its ids have to do.
        let task = context.control.get_task(request).await.ok().and_then(|found| found.into_inner().task);
        let (service, slot) = match &task {
            Some(task) => (self.names.service(task).to_owned(), task.slot),
            None => (from.service_id.clone(), 0),
        };
        let node = self.names.node(&from.node_id).to_owned();
        Ok(LogWriter { task_id: from.task_id.clone(), service, slot, node })
    }
}
