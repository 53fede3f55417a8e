//! `swarmctl cluster`.

use clap::Subcommand;
use swarmkit_api::wire;
use swarmkit_ca::UnlockKey;
use swarmkit_issuer::Progress;

use super::{
    Context, CtlError, Format, ListFlags, backup, cluster_flags::ClusterFlags, lookup, root_flags::RootFlags, rotation,
    unlock,
};
use crate::{
    client::{UPDATE_ATTEMPTS_MAX, is_out_of_sequence},
    output::{inspect_cluster, json, list_clusters, unlock_key},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Save everything that the managers keep in one sealed file, while the cluster goes on
    Backup(backup::Flags),
    /// Show the settings and the join tokens of the cluster, and how far a replacement of its root has got
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
    /// Hand the unlock key to a manager that waits for it, on this machine
    ///
    /// Without a flag the key is read from standard input, unseen if that is a terminal.
    Unlock(unlock::Flags),
    /// Show the key that managers need after a restart while they are locked
    UnlockKey {
        /// Name or id; the cluster is called "default"
        #[arg(value_name = "CLUSTER", default_value = "default")]
        cluster: String,

        /// How to show it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Change the settings of the cluster, and replace its tokens, its unlock key and its root certificate
    Update {
        /// Name or id; the cluster is called "default"
        #[arg(value_name = "CLUSTER", default_value = "default")]
        cluster: String,

        #[command(flatten)]
        flags: ClusterFlags,

        #[command(flatten)]
        root: RootFlags,
    },
}

pub(super) async fn run(context: &mut Context<'_>, command: Command) -> Result<(), CtlError> {
    match command {
        Command::Backup(flags) => backup::run(context, flags).await,
        Command::Inspect { cluster, format } => {
            let cluster = lookup::cluster(&mut context.control, &cluster).await?;
            let rotating = cluster.root_ca.as_ref().is_some_and(|root| root.root_rotation.is_some());
            let progress = if rotating { Progress::of(&cluster, &context.nodes().await?) } else { None };
            let json = json::Cluster::new(&cluster, progress.as_ref());
            context.show(format, &json, || inspect_cluster(&cluster, progress.as_ref()).to_string())
        }
        Command::Ls { list } => {
            let request = wire::ListClustersRequest::default();
            let clusters = context.control.list_clusters(request).await?.into_inner().clusters;
            let ids = clusters.iter().map(|cluster| cluster.id.clone());
            context.list(list, ids, clusters.iter().map(|cluster| json::Cluster::new(cluster, None)), || {
                list_clusters(&clusters).to_string()
            })
        }
        Command::UnlockKey { cluster, format } => {
            // There is one key. The name is asked for so that nobody takes it for that of another cluster.
            lookup::cluster(&mut context.control, &cluster).await?;
            show_unlock_key(context, format).await
        }
        Command::Unlock(flags) => unlock::run(context, flags).await,
        Command::Update { cluster, flags, root } => update(context, &cluster, &flags, &root).await,
    }
}

async fn show_unlock_key(context: &mut Context<'_>, format: Format) -> Result<(), CtlError> {
    let told = context.client.ca().get_unlock_key(wire::GetUnlockKeyRequest {}).await?.into_inner().unlock_key;
    let key = if told.is_empty() { None } else { Some(UnlockKey::from_bytes(&told)?) };
    context.show(format, &json::UnlockKey::new(key.as_ref()), || unlock_key(key.as_ref()))
}

/// Changes the cluster, and tells what somebody has to write down.
async fn update(
    context: &mut Context<'_>,
    wanted: &str,
    flags: &ClusterFlags,
    root: &RootFlags,
) -> Result<(), CtlError> {
    let root = root.read().await?;
    let mut attempts = UPDATE_ATTEMPTS_MAX;
    let (cluster, was_locked) = loop {
        let cluster = lookup::cluster(&mut context.control, wanted).await?;
        let mut spec = cluster.spec.unwrap_or_default();
        let was_locked = spec.encryption_config.is_some_and(|config| config.auto_lock_managers);
        flags.apply(&mut spec)?;
        root.apply(&mut spec);
        let request = wire::UpdateClusterRequest {
            cluster_id: cluster.id,
            cluster_version: cluster.meta.unwrap_or_default().version,
            spec: Some(spec),
            rotation: Some(flags.rotation()),
        };
        attempts -= 1;
        match context.control.update_cluster(request).await {
            Err(status) if attempts > 0 && is_out_of_sequence(&status) => {}
            result => break (result?.into_inner().cluster.unwrap_or_default(), was_locked),
        }
    };
    writeln!(context.out, "{}", cluster.id)?;
    let locked =
        cluster.spec.as_ref().and_then(|spec| spec.encryption_config).is_some_and(|config| config.auto_lock_managers);
    // Told before the waiting, which may be long and be given up.
    if flags.rotation().manager_unlock_key {
        show_unlock_key(context, Format::Table).await?;
    } else if locked && !was_locked {
        // Whoever restarts all managers without it has lost the cluster. Standard output is for programs: it has the id.
        eprintln!("Managers need the unlock key after a restart from now on. Keep it: swarmctl cluster unlock-key");
    }
    if root.waits {
        context.out.flush()?;
        rotation::wait(context, &cluster).await?;
    }
    Ok(())
}
