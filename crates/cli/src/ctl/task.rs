//! `swarmctl task`.

use clap::Subcommand;
use swarmkit_api::wire;

use super::{Context, CtlError, Format, ListFlags, exec, log_flags::LogFlags, logs, lookup, plan, task_stats};
use crate::output::{explanation_section, inspect_task, is_current, json, list_tasks};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read what a task writes from now on, and perhaps write to its standard input
    ///
    /// Ends with the task, and with its exit code. Leaving earlier does nothing to the task.
    Attach(exec::AttachFlags),
    /// Run a command where a task runs
    ///
    /// The exit code is that of the command; 127 if there is no such program, 126 if it cannot be run, 255 for all else.
    Exec(exec::ExecFlags),
    /// Show a task, and the tasks that had its slot before
    Inspect {
        /// Id
        #[arg(value_name = "TASK")]
        task: String,

        /// How to show it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show what tasks have written
    Logs {
        /// Id (several: their logs are shown as they come)
        #[arg(value_name = "TASK", required = true)]
        tasks: Vec<String>,

        #[command(flatten)]
        flags: LogFlags,
    },
    /// List tasks
    #[command(visible_alias = "list")]
    Ls {
        /// Show all tasks, also those that are to be or have been stopped
        #[arg(short, long)]
        all: bool,

        #[command(flatten)]
        list: ListFlags,
    },
    /// Remove a task; its service replaces it
    #[command(visible_alias = "rm")]
    Remove {
        /// Id
        #[arg(value_name = "TASK")]
        task: String,
    },
    /// Show what tasks use of their machines: processors, memory, processes, bytes
    ///
    /// Amounts that the executor of a node cannot tell are shown as a dash. Totals count from the start of a task; 100% is
    /// one whole processor.
    Stats(task_stats::Flags),
}

pub(super) async fn run(context: &mut Context<'_>, command: Command) -> Result<(), CtlError> {
    match command {
        Command::Attach(flags) => exec::attach(context, flags).await,
        Command::Exec(flags) => exec::exec(context, flags).await,
        Command::Inspect { task, format } => inspect(context, &task, format).await,
        Command::Ls { all, list } => {
            let mut tasks = context.tasks(wire::list_tasks_request::Filters::default()).await?;
            tasks.retain(|task| all || is_current(task));
            let (names, now) = (context.names().await?, context.now);
            tasks.sort_by_cached_key(|task| (names.service(task).to_owned(), task.slot, task.id.clone()));
            let ids = tasks.iter().map(|task| task.id.clone());
            let json = tasks.iter().map(|task| json::Task::new(task, &names));
            context.list(list, ids, json, || list_tasks(&tasks, &names, now).to_string())
        }
        Command::Logs { tasks, flags } => {
            let mut selector = wire::LogSelector::default();
            for wanted in tasks {
                selector.task_ids.push(lookup::task(&mut context.control, &wanted).await?.id);
            }
            logs::run(context, selector, &flags).await
        }
        Command::Remove { task } => {
            let task = lookup::task(&mut context.control, &task).await?;
            context.control.remove_task(wire::RemoveTaskRequest { task_id: task.id.clone() }).await?;
            Ok(writeln!(context.out, "{}", task.id)?)
        }
        Command::Stats(flags) => task_stats::run(context, flags).await,
    }
}

async fn inspect(context: &mut Context<'_>, wanted: &str, format: Format) -> Result<(), CtlError> {
    let task = lookup::task(&mut context.control, wanted).await?;
    let filters =
        wire::list_tasks_request::Filters { service_ids: vec![task.service_id.clone()], ..Default::default() };
    let mut parents = context.tasks(filters).await?;
    parents.retain(|parent| {
        parent.service_id == task.service_id
            && parent.slot == task.slot
            && (task.slot != 0 || parent.node_id == task.node_id)
    });
    let (names, now) = (context.names().await?, context.now);
    let waits = plan::explanation(context, &task).await?;
    let json = json::Task::new(&task, &names).waiting_for(waits.as_ref(), &names);
    context.show(format, &json, || {
        let section = waits.as_ref().map(|waits| explanation_section(waits, &names));
        inspect_task(&task, &parents, &names, now) + &section.unwrap_or_default()
    })
}
