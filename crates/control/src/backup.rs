//! The Backup service: all that is committed, streamed while the store goes on.

use std::pin::Pin;

use futures_util::{Stream, stream};
use swarmkit_api::wire::swarmkit::backup::v1 as wire;
use swarmkit_runtime::Spawner;
use swarmkit_store::{Snapshot, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use self::wire::backup_server::Backup;

/// How many pieces are made ahead of the reader, each of about [`swarmkit_store::SNAPSHOT_CHUNK_BYTES`]: enough that
/// neither waits for the other's every step, and all the memory that a slow reader costs.
const PIECES_AHEAD: usize = 4;

/// The Backup service. It answers from this manager's copy, so whoever wants every acknowledged write in it asks the
/// leader. Clones share the store.
#[derive(Clone, Debug)]
pub struct BackupApi {
    store: Store,
    stop: CancellationToken,
    spawner: Spawner,
}

impl BackupApi {
    /// Serves a store. Each backup is a part of `spawner`'s crew; those under way are broken off, which their readers
    /// notice, when `stop` is cancelled.
    #[must_use]
    pub fn new(store: Store, stop: CancellationToken, spawner: Spawner) -> Self {
        Self { store, stop, spawner }
    }
}

#[tonic::async_trait]
impl Backup for BackupApi {
    type SaveStream = Pin<Box<dyn Stream<Item = Result<wire::SaveResponse, Status>> + Send>>;

    async fn save(&self, _request: Request<wire::SaveRequest>) -> Result<Response<Self::SaveStream>, Status> {
        let snapshot = self.store.applier().snapshot();
        tracing::info!(version = %snapshot.version(), "a backup is taken");
        let (pieces, mut taken) = mpsc::channel(PIECES_AHEAD);
        // A reader that goes away closes the channel, and that ends the part.
        self.spawner.spawn("backup", save(snapshot, pieces, self.stop.clone()));
        Ok(Response::new(Box::pin(stream::poll_fn(move |cx| taken.poll_recv(cx)))))
    }
}

/// Hands out the pieces, one after the other. Each is made when there is room for it. A manager that stops waits for no
/// reader, who notices that the last piece is missing.
async fn save(snapshot: Snapshot, pieces: mpsc::Sender<Result<wire::SaveResponse, Status>>, stop: CancellationToken) {
    let version = snapshot.version().0;
    let mut chunks = snapshot.chunks().peekable();
    while let Some(data) = chunks.next() {
        let piece = wire::SaveResponse { data, version, last: chunks.peek().is_none() };
        let handed_out = tokio::select! { biased; // stopping comes first
            () = stop.cancelled() => return,
            handed_out = pieces.send(Ok(piece)) => handed_out,
        };
        if handed_out.is_err() {
            return;
        }
    }
}
