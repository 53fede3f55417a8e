//! `swarmctl node`.

use clap::Subcommand;
use swarmkit_api::{
    NodeRole,
    wire::{self, node_spec::Availability},
};

use super::{
    Context, CtlError, Format, ListFlags,
    log_flags::LogFlags,
    logs, lookup,
    service_flags::{Csv, labels},
};
use crate::output::{inspect_node, is_current, json, list_nodes};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Let a node take tasks
    Activate {
        /// Id or host name
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Make a manager a worker; the other managers must be able to go on without it
    Demote {
        /// Id or host name
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Move all tasks away from a node, and let it take no more
    Drain {
        /// Id or host name
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Show a node and the tasks on it
    Inspect {
        /// Id or host name
        #[arg(value_name = "NODE")]
        node: String,

        /// Show all tasks, also those that are to be or have been stopped
        #[arg(short, long)]
        all: bool,

        /// How to show it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show what the tasks on nodes have written
    Logs {
        /// Id or host name (several: their logs are shown as they come)
        #[arg(value_name = "NODE", required = true)]
        nodes: Vec<String>,

        #[command(flatten)]
        flags: LogFlags,
    },
    /// List nodes
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        list: ListFlags,
    },
    /// Keep the tasks on a node, and let it take no more
    Pause {
        /// Id or host name
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Make a worker a manager
    Promote {
        /// Id or host name
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Remove a node that is down from the cluster; demote it first if it is a manager
    #[command(visible_alias = "rm")]
    Remove {
        /// Id or host name
        #[arg(value_name = "NODE")]
        node: String,

        /// Remove it even though it is ready
        #[arg(short, long)]
        force: bool,
    },
    /// Change the labels of a node
    Update {
        /// Id or host name
        #[arg(value_name = "NODE")]
        node: String,

        /// Label, as key=value; replaces all labels of the node (repeat, or separate with commas)
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<Csv>,
    },
}

pub(super) async fn run(context: &mut Context<'_>, command: Command) -> Result<(), CtlError> {
    match command {
        Command::Activate { node } => set_availability(context, &node, Availability::Active).await,
        Command::Drain { node } => set_availability(context, &node, Availability::Drain).await,
        Command::Pause { node } => set_availability(context, &node, Availability::Pause).await,
        Command::Promote { node } => set_role(context, &node, NodeRole::Manager).await,
        Command::Demote { node } => set_role(context, &node, NodeRole::Worker).await,
        Command::Inspect { node, all, format } => inspect(context, &node, all, format).await,
        Command::Logs { nodes, flags } => {
            let mut selector = wire::LogSelector::default();
            for wanted in nodes {
                selector.node_ids.push(lookup::node(&mut context.control, &wanted).await?.id);
            }
            logs::run(context, selector, &flags).await
        }
        Command::Ls { list } => {
            let nodes = context.nodes().await?;
            let ids = nodes.iter().map(|node| node.id.clone());
            context.list(list, ids, nodes.iter().map(json::Node::new), || list_nodes(&nodes).to_string())
        }
        Command::Remove { node, force } => {
            let node = lookup::node(&mut context.control, &node).await?;
            context.control.remove_node(wire::RemoveNodeRequest { node_id: node.id, force }).await?;
            Ok(())
        }
        Command::Update { node, label } => {
            let replaced = labels(&label)?;
            change(context, &node, |spec| {
                let labels = &mut spec.annotations.get_or_insert_default().labels;
                if label.is_empty() || *labels == replaced {
                    return Err(CtlError::State(format!("No change for node {node}")));
                }
                labels.clone_from(&replaced);
                Ok(())
            })
            .await
        }
    }
}

async fn inspect(context: &mut Context<'_>, wanted: &str, all: bool, format: Format) -> Result<(), CtlError> {
    let node = lookup::node(&mut context.control, wanted).await?;
    let filters = wire::list_tasks_request::Filters { node_ids: vec![node.id.clone()], ..Default::default() };
    let mut tasks = context.tasks(filters).await?;
    tasks.retain(|task| all || is_current(task));
    let (names, now) = (context.names().await?, context.now);
    context.show(format, &json::Node::new(&node), || inspect_node(&node, &tasks, &names, now))
}

async fn set_availability(context: &mut Context<'_>, node: &str, wanted: Availability) -> Result<(), CtlError> {
    let unchanged = match wanted {
        Availability::Active => format!("Node {node} is already active"),
        Availability::Pause => format!("Node {node} was already paused"),
        Availability::Drain => format!("Node {node} was already drained"),
    };
    change(context, node, |spec| {
        if spec.availability() == wanted {
            return Err(CtlError::State(unchanged.clone()));
        }
        spec.set_availability(wanted);
        Ok(())
    })
    .await
}

async fn set_role(context: &mut Context<'_>, node: &str, wanted: NodeRole) -> Result<(), CtlError> {
    let unchanged = match wanted {
        NodeRole::Worker => format!("Node {node} is already a worker"),
        NodeRole::Manager => format!("Node {node} is already a manager"),
    };
    change(context, node, |spec| {
        if spec.desired_role() == wanted {
            return Err(CtlError::State(unchanged.clone()));
        }
        spec.set_desired_role(wanted);
        Ok(())
    })
    .await
}

/// Changes the specification of a node.
async fn change(
    context: &mut Context<'_>,
    wanted: &str,
    change: impl Fn(&mut wire::NodeSpec) -> Result<(), CtlError>,
) -> Result<(), CtlError> {
    let mut attempts = crate::client::UPDATE_ATTEMPTS_MAX;
    loop {
        let node = lookup::node(&mut context.control, wanted).await?;
        let mut spec = node.spec.unwrap_or_default();
        change(&mut spec)?;
        let version = node.meta.unwrap_or_default().version;
        let request = wire::UpdateNodeRequest { node_id: node.id, node_version: version, spec: Some(spec) };
        attempts -= 1;
        match context.control.update_node(request).await {
            Err(status) if attempts > 0 && crate::client::is_out_of_sequence(&status) => {}
            result => return Ok(result.map(drop)?),
        }
    }
}
