//! `swarmctl task stats`.
//!
//! One stream from each node that has such tasks, and one look at the list of tasks in every interval: so tasks and nodes may
//! come and go meanwhile.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _},
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream, SelectAll},
};
use swarmkit_api::wire::{
    self,
    swarmkit::exec::v1::{
        Call, Failure, OpenRequest, Output, Usage, UsageQuery, call, exec_client::ExecClient, open_request, output,
    },
};
use swarmkit_rpc::Channel;
use tokio::time::Instant;

use super::{Context, CtlError, Format, lookup};
use crate::output::{Names, Stats, json, stats_table};

/// How long `--no-stream` waits for nodes that neither tell nor say why not.
const PATIENCE: Duration = Duration::from_secs(15);
/// When a node that told nothing is asked again, counted in intervals.
const ASK_AGAIN: u32 = 10;

/// Which tasks, how often, and how to show them.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// Ids; all tasks that run if neither these nor a service are given
    #[arg(value_name = "TASK")]
    tasks: Vec<String>,

    /// Only tasks of this service, by name or id
    #[arg(long, value_name = "SERVICE", conflicts_with = "tasks")]
    service: Option<String>,

    /// Show what is used now, over one interval, and end
    #[arg(long)]
    no_stream: bool,

    /// Seconds between two samples
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3600))]
    interval: u32,

    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What a node says, once or as often as was asked for.
type Answers = BoxStream<'static, (String, Result<Usage, String>)>;

/// The nodes that are asked.
struct Asked {
    client: ExecClient<Channel>,
    every: Duration,
    answers: SelectAll<Answers>,
    /// Those that tell.
    telling: BTreeSet<String>,
    stats: Stats,
}

pub(super) async fn run(context: &mut Context<'_>, flags: Flags) -> Result<(), CtlError> {
    let every = Duration::from_secs(flags.interval.into());
    let wanted = wanted(context, &flags).await?;
    let mut asked = Asked {
        client: context.client.exec(),
        every,
        answers: SelectAll::new(),
        telling: BTreeSet::new(),
        stats: Stats::default(),
    };
    if flags.no_stream {
        let tasks = running(context, &wanted).await?;
        let nodes = nodes_of(&tasks);
        asked.ask(&nodes, true);
        asked
            .listen(Instant::now() + every + PATIENCE, |stats| {
                nodes.iter().all(|node| stats.samples(node) >= 2 || stats.failure(node).is_some())
            })
            .await;
        return show(context, flags.format, &tasks, &asked.stats, false).await;
    }
    let redraw = flags.format == Format::Table && io::stdout().is_terminal();
    for round in 0_u32.. {
        let until = Instant::now() + every;
        let tasks = running(context, &wanted).await?;
        asked.ask(&nodes_of(&tasks), round % ASK_AGAIN == 0);
        asked.listen(until, |_| false).await;
        show(context, flags.format, &tasks, &asked.stats, redraw).await?;
    }
    Ok(())
}

/// Which tasks are wanted.
async fn wanted(context: &mut Context<'_>, flags: &Flags) -> Result<wire::list_tasks_request::Filters, CtlError> {
    let mut filters = wire::list_tasks_request::Filters::default();
    for wanted in &flags.tasks {
        let task = lookup::task(&mut context.control, wanted).await?;
        if !is_running(&task) {
            let state = task.status.unwrap_or_default().state().as_str_name();
            return Err(CtlError::State(format!("task {} is not running: it is {state}", task.id)));
        }
        filters.id_prefixes.push(task.id);
    }
    if let Some(service) = &flags.service {
        filters.service_ids.push(lookup::service(&mut context.control, service).await?.id);
    }
    Ok(filters)
}

/// The wanted tasks that run now, in the order in which they are shown.
async fn running(
    context: &mut Context<'_>,
    wanted: &wire::list_tasks_request::Filters,
) -> Result<Vec<wire::Task>, CtlError> {
    let mut tasks = context.tasks(wanted.clone()).await?;
    tasks.retain(is_running);
    let name = |task: &wire::Task| task.service_annotations.as_ref().map(|annotations| annotations.name.clone());
    tasks.sort_by_cached_key(|task| (name(task), task.slot, task.id.clone()));
    Ok(tasks)
}

fn is_running(task: &wire::Task) -> bool {
    task.status.as_ref().is_some_and(|status| status.state() == wire::TaskState::Running) && !task.node_id.is_empty()
}

fn nodes_of(tasks: &[wire::Task]) -> BTreeSet<String> {
    tasks.iter().map(|task| task.node_id.clone()).collect()
}

impl Asked {
    /// Asks the nodes that do not tell yet; those that have failed only if `again`.
    fn ask(&mut self, nodes: &BTreeSet<String>, again: bool) {
        for node in nodes.difference(&self.telling.clone()) {
            if again || self.stats.failure(node).is_none() {
                self.telling.insert(node.clone());
                self.answers.push(answers(self.client.clone(), node.clone(), self.every));
            }
        }
    }

    /// Takes what nodes tell, until then or until it is enough.
    async fn listen(&mut self, until: Instant, enough: impl Fn(&Stats) -> bool) {
        while !enough(&self.stats) {
            match tokio::time::timeout_at(until, self.answers.next()).await {
                Ok(Some((node, Ok(usage)))) => self.stats.absorb(&node, usage),
                Ok(Some((node, Err(reason)))) => {
                    self.telling.remove(&node);
                    self.stats.fail(&node, &reason);
                }
                // There is nobody to listen to. The next interval comes all the same.
                Ok(None) => return tokio::time::sleep_until(until).await,
                Err(_) => return,
            }
        }
    }
}

/// What a node says of its tasks, until it says why it says no more.
fn answers(mut client: ExecClient<Channel>, node: String, every: Duration) -> Answers {
    let every = prost_types::Duration::try_from(every).ok();
    let query = call::Kind::Usage(UsageQuery { every });
    let call = Call { node_id: node.clone(), kind: Some(query), ..Default::default() };
    let first = OpenRequest { message: Some(open_request::Message::Call(call)) };
    let opened = async move { client.open(stream::once(std::future::ready(first))).await };
    let outputs = stream::once(opened).flat_map(|opened| match opened {
        Ok(outputs) => {
            outputs.into_inner().map(|output| output.map_or_else(|status| Err(refusal(&status)), read)).boxed()
        }
        Err(status) => stream::once(std::future::ready(Err(refusal(&status)))).boxed(),
    });
    let end = stream::once(std::future::ready(Err("the node tells no more".to_owned())));
    let mut over = false;
    let until_error = outputs.chain(end).take_while(move |told| {
        let go_on = !over;
        over |= told.is_err();
        std::future::ready(go_on)
    });
    until_error.map(move |told| (node.clone(), told.map_err(|reason| named(&node, reason)))).boxed()
}

fn read(output: Output) -> Result<Usage, String> {
    match output.kind {
        Some(output::Kind::Usage(usage)) => Ok(usage),
        Some(output::Kind::Failure(Failure { message, .. })) => Err(message),
        _ => Err("the node tells no more".to_owned()),
    }
}

fn refusal(status: &tonic::Status) -> String {
    status.message().to_owned()
}

/// A reason that names its node.
fn named(node: &str, reason: String) -> String {
    if reason.contains(node) { reason } else { format!("node {node}: {reason}") }
}

async fn show(
    context: &mut Context<'_>,
    format: Format,
    tasks: &[wire::Task],
    stats: &Stats,
    redraw: bool,
) -> Result<(), CtlError> {
    let names: Names = context.names().await?;
    match format {
        Format::Json => {
            for task in tasks {
                writeln!(context.out, "{}", json::line(&json::TaskStats::new(task, stats, &names)))?;
            }
        }
        Format::Table => {
            if redraw {
                let clear = crossterm::terminal::Clear(crossterm::terminal::ClearType::FromCursorDown);
                write!(context.out, "{}{clear}", crossterm::cursor::MoveTo(0, 0))?;
            }
            write!(context.out, "{}", stats_table(tasks, stats, &names))?;
        }
    }
    Ok(context.out.flush()?)
}
