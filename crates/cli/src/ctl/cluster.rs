//! `swarmctl cluster`.

use clap::Subcommand;
use swarmkit_api::wire;

use super::{Context, CtlError, Format, ListFlags, backup, lookup};
use crate::output::{inspect_cluster, json, list_clusters};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Save everything that the managers keep in one sealed file, while the cluster goes on
    Backup(backup::Flags),
    /// Show the settings and the join tokens of the cluster
    Inspect {
        /// Name or id; the cluster is called "default"
        #[arg(value_name = "CLUSTER", default_value = "default")]
        cluster: String,

        /// How to show it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// List clusters; there is one
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        list: ListFlags,
    },
}

pub(super) async fn run(context: &mut Context<'_>, command: Command) -> Result<(), CtlError> {
    match command {
        Command::Backup(flags) => backup::run(context, flags).await,
        Command::Inspect { cluster, format } => {
            let cluster = lookup::cluster(&mut context.control, &cluster).await?;
            context.show(format, &json::Cluster::new(&cluster), || inspect_cluster(&cluster).to_string())
        }
        Command::Ls { list } => {
            let request = wire::ListClustersRequest::default();
            let clusters = context.control.list_clusters(request).await?.into_inner().clusters;
            let ids = clusters.iter().map(|cluster| cluster.id.clone());
            context.list(list, ids, clusters.iter().map(json::Cluster::new), || list_clusters(&clusters).to_string())
        }
    }
}
