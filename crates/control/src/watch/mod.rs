//! The Watch service: what changes, as it is committed.

mod select;

use std::{collections::BTreeSet, pin::Pin};

use futures_util::Stream;
use swarmkit_api::{
    Kind, wire,
    wire::{WatchActionKind, watch_message::Event, watch_server::Watch},
};
use swarmkit_rpc::ServiceError as _;
use swarmkit_store::{Action, Change, Delta, Interest, Store, Update};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use self::select::Entry;

/// The Watch service. It answers from this manager's own copy. Clones share the store.
#[derive(Clone, Debug)]
pub struct WatchApi {
    store: Store,
    stop: CancellationToken,
}

impl WatchApi {
    /// Serves a store. All streams end when `stop` is cancelled.
    #[must_use]
    pub fn new(store: Store, stop: CancellationToken) -> Self {
        Self { store, stop }
    }

    /// Everything that is committed from now on. The snapshot that a watch begins with is what the client has listed.
    async fn since_now(&self, interest: Interest) -> Result<swarmkit_store::Watch, Status> {
        let mut updates = self.store.watch(interest);
        updates.next().await.map_err(|ended| Status::unavailable(ended.to_string()))?;
        Ok(updates)
    }
}

#[tonic::async_trait]
impl Watch for WatchApi {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<wire::WatchMessage, Status>> + Send>>;

    async fn watch(&self, request: Request<wire::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let entries: Vec<Entry> = request
            .entries
            .into_iter()
            .map(Entry::parse)
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_status())?;
        let kinds: BTreeSet<Kind> = entries.iter().map(|entry| entry.kind).collect();
        let interest = Interest::none().kinds(kinds);
        let updates = match request.resume_from {
            None => self.since_now(interest).await?,
            Some(version) => self
                .store
                .watch_from(version.into(), interest)
                .map_err(|error| Status::invalid_argument(error.to_string()))?,
        };
        let watched = Watched {
            updates,
            entries,
            with_old: request.include_old_object,
            established: false,
            stop: self.stop.clone(),
        };
        let stream = futures_util::stream::try_unfold(watched, |mut watched| async move {
            Ok(watched.next().await?.map(|message| (message, watched)))
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

/// One client's subscription.
struct Watched {
    updates: swarmkit_store::Watch,
    entries: Vec<Entry>,
    with_old: bool,
    established: bool,
    stop: CancellationToken,
}

impl Watched {
    async fn next(&mut self) -> Result<Option<wire::WatchMessage>, Status> {
        if !self.established {
            self.established = true;
            return Ok(Some(wire::WatchMessage::default()));
        }
        if self.entries.is_empty() {
            self.stop.cancelled().await;
            return Ok(None);
        }
        loop {
            let update = tokio::select! { biased; // a stopping manager ends its streams
                () = self.stop.cancelled() => return Ok(None),
                update = self.updates.next() => update,
            };
            match update {
                Err(_) => return Ok(None),
                Ok(Update::Snapshot(view)) => {
                    return Err(Status::aborted(format!(
                        "the watcher fell behind and missed changes up to version {}: list again, then watch",
                        view.version()
                    )));
                }
                Ok(Update::Delta(delta)) => {
                    if let Some(message) = self.message(&delta) {
                        return Ok(Some(message));
                    }
                }
            }
        }
    }

    fn message(&self, delta: &Delta) -> Option<wire::WatchMessage> {
        let events: Vec<_> = delta
            .changes
            .iter()
            .filter(|change| self.entries.iter().any(|entry| entry.selects(change)))
            .map(|change| self.event(change))
            .collect();
        (!events.is_empty()).then(|| wire::WatchMessage { events, version: Some(delta.version.into()) })
    }

    fn event(&self, change: &Change) -> Event {
        let old = if self.with_old && change.action() == Action::Update { change.before() } else { None };
        Event {
            action: action_kind(change.action()).into(),
            object: change.after().or_else(|| change.before()).map(|object| object.to_wire()),
            old_object: old.map(|object| object.to_wire()),
        }
    }
}

fn action_kind(action: Action) -> WatchActionKind {
    match action {
        Action::Create => WatchActionKind::WatchActionCreate,
        Action::Update => WatchActionKind::WatchActionUpdate,
        Action::Remove => WatchActionKind::WatchActionRemove,
    }
}
