//! Keeps a [`World`] current: a watch, then lists, then what the watch tells.

use swarmkit_api::wire::{self, watch_request::WatchEntry};
use tonic::{Status, Streaming};

use super::world::World;
use crate::client::Client;

/// The kinds that a world is made of.
const KINDS: [&str; 3] = ["node", "service", "task"];

/// A world that follows the cluster.
pub(crate) struct Feed {
    client: Client,
    messages: Streaming<wire::WatchMessage>,
    world: World,
    /// The watch was cut off and has to start anew.
    is_cut_off: bool,
}

impl Feed {
    /// Watches, and reads everything there is.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer.
    pub(crate) async fn open(client: Client) -> Result<Self, Status> {
        let messages = watch(&client).await?;
        let mut feed = Self { client, messages, world: World::default(), is_cut_off: false };
        feed.list().await?;
        Ok(feed)
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Waits for the next change and takes it in. May be dropped while it waits.
    ///
    /// A watch that was cut off because it fell behind starts anew, so nothing is missed.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer any more.
    pub(crate) async fn changed(&mut self) -> Result<(), Status> {
        if self.is_cut_off {
            self.messages = watch(&self.client).await?;
            self.list().await?;
            self.is_cut_off = false;
            return Ok(());
        }
        match self.messages.message().await {
            Ok(Some(message)) => message.events.into_iter().for_each(|event| self.world.absorb_event(event)),
            Ok(None) => return Err(Status::unavailable("the node has stopped answering")),
            Err(status) if status.code() == tonic::Code::Aborted => self.is_cut_off = true,
            Err(status) => return Err(status),
        }
        Ok(())
    }

    async fn list(&mut self) -> Result<(), Status> {
        let mut control = self.client.control();
        let services = control.list_services(wire::ListServicesRequest::default()).await?.into_inner().services;
        let tasks = control.list_tasks(wire::ListTasksRequest::default()).await?.into_inner().tasks;
        let nodes = control.list_nodes(wire::ListNodesRequest::default()).await?.into_inner().nodes;
        self.world.absorb_lists(services, tasks, nodes);
        Ok(())
    }
}

/// Starts a watch; whatever is committed from now on will be told.
async fn watch(client: &Client) -> Result<Streaming<wire::WatchMessage>, Status> {
    use wire::WatchActionKind::{WatchActionCreate, WatchActionRemove, WatchActionUpdate};

    let every = WatchActionCreate as i32 | WatchActionUpdate as i32 | WatchActionRemove as i32;
    let entry = |kind: &str| WatchEntry { kind: kind.to_owned(), action: every, filters: Vec::new() };
    let request = wire::WatchRequest { entries: KINDS.map(entry).into(), ..Default::default() };
    let mut messages = client.watch().watch(request).await?.into_inner();
    // The first message is empty: the watch stands.
    messages.message().await?;
    Ok(messages)
}
