//! A connection: what is sent on it arrives in order, or it breaks. What is lost is sent again, which takes longer.

use std::{sync::Arc, time::Duration};

use futures_util::{
    StreamExt as _,
    stream::{BoxStream, unfold},
};
use prost::Message;
use swarmkit_api::NodeId;
use swarmkit_raft::SendError;
use swarmkit_runtime::Spawner;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Network, RETRY};

/// How many messages may be on one connection, in one direction.
const WINDOW: usize = 64;

/// What arrives at the other end of a connection.
enum Parcel {
    Message {
        at: Instant,
        bytes: Vec<u8>,
    },
    /// Whoever sent has nothing more to say.
    End,
}

/// One direction of a connection.
#[derive(Clone)]
pub(super) struct Direction {
    pub(super) network: Network,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) name: &'static str,
    /// Cancelled when the connection breaks, or nobody needs it any more.
    pub(super) broken: CancellationToken,
}

/// A connection in use; it ends when this is dropped.
pub(super) struct InUse {
    _guard: DropGuard,
}

impl InUse {
    pub(super) fn new(broken: &CancellationToken) -> Arc<Self> {
        Arc::new(Self { _guard: broken.clone().drop_guard() })
    }
}

impl Direction {
    /// Waits until the way is free.
    pub(super) async fn open(&self) {
        while self.network.is_cut(&self.from, &self.to) {
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Sends what `messages` gives, in `spawner`'s crew, and gives what arrives.
    pub(super) fn carry<T: Message + Default + 'static>(
        self,
        messages: BoxStream<'static, T>,
        spawner: &Spawner,
    ) -> BoxStream<'static, Result<T, SendError>> {
        let (parcels, arriving) = mpsc::channel(WINDOW);
        drop(spawner.spawn("connection", self.clone().pump(messages, parcels)));
        self.arrivals(arriving)
    }

    async fn pump<T: Message>(self, mut messages: BoxStream<'static, T>, parcels: mpsc::Sender<Parcel>) {
        let mut last = Instant::now();
        loop {
            let next = tokio::select! { biased; // nothing goes out on a broken connection
                () = self.broken.cancelled() => return,
                next = messages.next() => next,
            };
            let Some(message) = next else { break };
            let Some(delay) = self.network.next_delay() else {
                self.network.note(&self.from, &self.to, format_args!("{} breaks", self.name));
                self.broken.cancel();
                return;
            };
            last = last.max(Instant::now() + delay);
            if parcels.send(Parcel::Message { at: last, bytes: message.encode_to_vec() }).await.is_err() {
                return;
            }
        }
        // The other end may be gone.
        let _ = parcels.send(Parcel::End).await;
    }

    fn arrivals<T: Message + Default + 'static>(
        self,
        arriving: mpsc::Receiver<Parcel>,
    ) -> BoxStream<'static, Result<T, SendError>> {
        let lost = || Err(SendError::Unreachable("the connection broke".to_owned()));
        unfold(Some((self, arriving)), move |state| async move {
            let (this, mut arriving) = state?;
            let parcel = tokio::select! { biased; // nothing arrives on a broken connection
                () = this.broken.cancelled() => None,
                parcel = arriving.recv() => parcel,
            };
            match parcel {
                None => Some((lost(), None)),
                Some(Parcel::End) => None,
                Some(Parcel::Message { at, bytes }) => {
                    tokio::time::sleep_until(at).await;
                    this.open().await;
                    if this.broken.is_cancelled() {
                        return Some((lost(), None));
                    }
                    this.network.note(&this.from, &this.to, format_args!("{} {}", this.name, bytes.len()));
                    match T::decode(bytes.as_slice()) {
                        Ok(message) => Some((Ok(message), Some((this, arriving)))),
                        Err(error) => Some((Err(SendError::Lost(error.to_string())), None)),
                    }
                }
            }
        })
        .boxed()
    }
}

/// How long a connection is in the making.
pub(super) fn handshake(network: &Network) -> Duration {
    network.next_delay().unwrap_or(2 * RETRY)
}
