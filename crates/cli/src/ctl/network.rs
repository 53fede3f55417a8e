//! `swarmctl network`.

use clap::Subcommand;
use swarmkit_api::wire;

use super::{
    Context, CtlError, Format, ListFlags, lookup,
    network_flags::{NetworkFlags, parse_attachment},
    service_flags::{Csv, values},
};
use crate::output::{inspect_network, json, list_networks};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a network and print its id
    Create(Box<NetworkFlags>),
    /// Show a network, and what it was given or waits for
    Inspect {
        /// Id or name
        #[arg(value_name = "NETWORK")]
        network: String,

        /// How to show it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// List networks
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        list: ListFlags,
    },
    /// Remove a network that nobody uses
    #[command(visible_alias = "rm")]
    Remove {
        /// Id or name
        #[arg(value_name = "NETWORK")]
        network: String,

        /// If it is in use, remove it when nobody uses it any more
        #[arg(long)]
        deferred: bool,
    },
}

pub(super) async fn run(context: &mut Context<'_>, command: Command) -> Result<(), CtlError> {
    match command {
        Command::Create(flags) => {
            let request = wire::CreateNetworkRequest { spec: Some(flags.spec()?) };
            let network = context.control.create_network(request).await?.into_inner().network.unwrap_or_default();
            Ok(writeln!(context.out, "{}", network.id)?)
        }
        Command::Inspect { network, format } => {
            let network = lookup::network(&mut context.control, &network).await?;
            let now = context.now;
            context.show(format, &json::Network::new(&network), || inspect_network(&network, now).to_string())
        }
        Command::Ls { list } => {
            let request = wire::ListNetworksRequest::default();
            let networks = context.control.list_networks(request).await?.into_inner().networks;
            let ids = networks.iter().map(|network| network.id.clone());
            context.list(list, ids, networks.iter().map(json::Network::new), || list_networks(&networks).to_string())
        }
        Command::Remove { network: wanted, deferred } => {
            let network = lookup::network(&mut context.control, &wanted).await?;
            let request = wire::RemoveNetworkRequest { network_id: network.id, deferred, ..Default::default() };
            context.control.remove_network(request).await?;
            Ok(writeln!(context.out, "{wanted}")?)
        }
    }
}

/// The networks that a service is to be attached to, found by id or name.
pub(super) async fn attachments(
    context: &mut Context<'_>,
    flags: &[Csv],
) -> Result<Vec<wire::NetworkAttachmentConfig>, CtlError> {
    let mut found = Vec::new();
    for flag in flags {
        let asked = parse_attachment(flag)?;
        found.push(wire::NetworkAttachmentConfig {
            target: lookup::network(&mut context.control, &asked.network).await?.id,
            aliases: asked.aliases,
            addresses: asked.addresses,
            driver_attachment_opts: asked.options,
        });
    }
    Ok(found)
}

/// How the networks of a service change.
#[derive(Debug, Default)]
pub(super) struct NetworkChanges {
    /// All that it has from then on, unless empty.
    all: Vec<wire::NetworkAttachmentConfig>,
    added: Vec<wire::NetworkAttachmentConfig>,
    /// What they were called, and their ids.
    removed: Vec<(String, String)>,
}

impl NetworkChanges {
    /// Finds what was named.
    pub(super) async fn find(
        context: &mut Context<'_>,
        all: &[Csv],
        added: &[Csv],
        removed: &[Csv],
    ) -> Result<Self, CtlError> {
        let (all, added) = (attachments(context, all).await?, attachments(context, added).await?);
        let mut found = Self { all, added, removed: Vec::new() };
        for name in values(removed) {
            found.removed.push((name.to_owned(), lookup::network(&mut context.control, name).await?.id));
        }
        Ok(found)
    }

    /// Makes the changes. A network that is added anew is attached as it is said last.
    pub(super) fn apply(&self, networks: &mut Vec<wire::NetworkAttachmentConfig>) -> Result<(), CtlError> {
        if !self.all.is_empty() {
            networks.clone_from(&self.all);
        }
        for (name, id) in &self.removed {
            let before = networks.len();
            networks.retain(|network| network.target != *id);
            if networks.len() == before {
                return Err(CtlError::State(format!("the service is not on a network called {name}")));
            }
        }
        for added in &self.added {
            networks.retain(|network| network.target != added.target);
            networks.push(added.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(ids: &[&str]) -> Vec<wire::NetworkAttachmentConfig> {
        let on = |id: &&str| wire::NetworkAttachmentConfig { target: (*id).to_owned(), ..Default::default() };
        ids.iter().map(on).collect()
    }

    #[test]
    fn networks_are_replaced_added_and_left() {
        let changed = |changes: NetworkChanges| {
            let mut networks = on(&["a", "b"]);
            changes.apply(&mut networks).map(|()| networks).map_err(|error| error.to_string())
        };
        assert_eq!(changed(NetworkChanges::default()), Ok(on(&["a", "b"])));
        assert_eq!(changed(NetworkChanges { all: on(&["c"]), ..Default::default() }), Ok(on(&["c"])));
        let removed = vec![("back".to_owned(), "a".to_owned())];
        assert_eq!(
            changed(NetworkChanges { added: on(&["c", "b"]), removed, ..Default::default() }),
            Ok(on(&["c", "b"]))
        );
        let removed = vec![("back".to_owned(), "z".to_owned())];
        let text = "the service is not on a network called back";
        assert_eq!(changed(NetworkChanges { removed, ..Default::default() }), Err(text.to_owned()));
    }
}
