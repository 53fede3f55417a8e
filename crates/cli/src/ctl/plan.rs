//! `swarmctl service plan`, and what `inspect` asks of the scheduler.

use clap::Args;
use swarmkit_api::wire::{
    self,
    swarmkit::scheduling::v1::{ExplainRequest, Explanation, PlanRequest},
};

use super::{
    Context, CtlError, Format, lookup,
    service::{References, container, new_spec},
    service_flags::{Csv, Mode, ServiceFlags},
    unlock,
};
use crate::output::{self, WaitingTasks, json};

/// How many reasons of tasks that wait `service inspect` explains: the most frequent ones.
const EXPLAINED_MAX: usize = 5;

/// What `service plan` takes: all that `create` takes, or a service and what would be changed of it.
#[derive(Clone, Debug, Args)]
pub(super) struct PlanFlags {
    /// Id or name of the service that would be changed; without it, a new one is planned
    #[arg(value_name = "SERVICE", conflicts_with_all = ["name", "mode"])]
    service: Option<String>,

    /// Name of the new service
    #[arg(long, required_unless_present = "service")]
    name: Option<String>,

    /// Which tasks it has [default: replicated]
    #[arg(long, value_enum)]
    mode: Option<Mode>,

    /// Replace all tasks even though nothing has changed
    #[arg(long, requires = "service")]
    force: bool,

    /// Secret that tasks get, as name[:target] (repeat, or separate with commas)
    #[arg(long, value_name = "NAME[:TARGET]")]
    secret: Vec<Csv>,

    /// Config that tasks get, as name[:target] (repeat, or separate with commas)
    #[arg(long, value_name = "NAME[:TARGET]")]
    config: Vec<Csv>,

    /// How many of the nodes that refuse its tasks to show one by one, at most 1000
    #[arg(long, value_name = "N", default_value_t = 0)]
    nodes: u32,

    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    #[command(flatten)]
    flags: Box<ServiceFlags>,
}

/// Asks what would become of a service, and shows it. Ends with [`CtlError::WouldWait`] if not all tasks would be placed.
pub(super) async fn run(context: &mut Context<'_>, flags: PlanFlags) -> Result<(), CtlError> {
    let added = References::find(context, &flags.secret, &flags.config).await?;
    let (service_id, mut spec) = match &flags.service {
        None => {
            let name = flags.name.clone().unwrap_or_default();
            (String::new(), new_spec(name, flags.mode.unwrap_or_default(), &flags.flags)?)
        }
        Some(wanted) => {
            let service = lookup::service(&mut context.control, wanted).await?;
            let mut spec = service.spec.unwrap_or_default();
            flags.flags.apply(&mut spec)?;
            spec.task.get_or_insert_default().force_update += u64::from(flags.force);
            (service.id, spec)
        }
    };
    added.add_to(container(&mut spec)?);
    let request = PlanRequest { spec: Some(spec), service_id, max_nodes: flags.nodes };
    let plan = match context.client.scheduling().plan(request).await {
        Err(status) if is_unknown(&status) && !unlock::is_waiting(&context.client).await => {
            return Err(CtlError::State("the managers of this cluster make no plans".to_owned()));
        }
        answer => answer?.into_inner(),
    };
    let names = context.names().await?;
    context.show(flags.format, &json::Plan::new(&plan, &names), || output::plan(&plan, &names))?;
    let waiting = plan.waits.iter().map(|wait| wait.tasks).sum::<u64>();
    if waiting > 0 || !plan.waits_for.is_empty() { Err(CtlError::WouldWait) } else { Ok(()) }
}

/// Whether a manager does not know the service that was called, as opposed to what was asked of it.
fn is_unknown(status: &tonic::Status) -> bool {
    let message = status.message();
    status.code() == tonic::Code::Unimplemented && (message.is_empty() || message.starts_with("unknown service"))
}

/// Why a task waits. `None` if it does not, or if the managers do not say.
pub(super) async fn explanation(context: &Context<'_>, task: &wire::Task) -> Result<Option<Explanation>, CtlError> {
    if !output::is_waiting(task) {
        return Ok(None);
    }
    explain(context, &task.id).await
}

/// Explains the most frequent reasons for which tasks wait.
pub(super) async fn explain_all(context: &Context<'_>, groups: &mut [WaitingTasks]) -> Result<(), CtlError> {
    for group in groups.iter_mut().take(EXPLAINED_MAX) {
        group.explanation = explain(context, &group.first).await?;
    }
    Ok(())
}

/// Managers that are not of this project know no such question, and a task may be gone by now.
async fn explain(context: &Context<'_>, task: &str) -> Result<Option<Explanation>, CtlError> {
    let request = ExplainRequest { task_id: task.to_owned(), max_nodes: 0 };
    match context.client.scheduling().explain(request).await {
        Ok(answer) => Ok(answer.into_inner().explanation),
        Err(status) if matches!(status.code(), tonic::Code::Unimplemented | tonic::Code::NotFound) => Ok(None),
        Err(status) => Err(status.into()),
    }
}
