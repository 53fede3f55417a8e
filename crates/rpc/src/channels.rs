//! Channels by address: one open connection to each server, made when it is needed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::Mutex;
use swarmkit_runtime::Spawner;
use tokio_util::sync::CancellationToken;

use crate::{
    channel::{Channel, ChannelOptions, stopping},
    connect_error::ConnectError,
    transport::{ServerRole, Transport},
};

/// A cluster has few managers; addresses beyond this many are those of managers long gone.
const ADDRESSES_MAX: usize = 64;

/// The open channels of a node. Clones share them.
///
/// A channel is made anew when the last one broke, or when this node's certificate or trust has changed since: calls on
/// the old one may finish, new calls go under the new identity.
#[derive(Clone)]
pub struct Channels(Arc<Shared>);

struct Shared {
    transport: Arc<dyn Transport>,
    options: ChannelOptions,
    spawner: Spawner,
    /// Cuts every connection.
    over: CancellationToken,
    places: Mutex<BTreeMap<(String, ServerRole), Place>>,
}

/// One address. Whoever dials holds the lock, so that a crowd makes one connection.
type Place = Arc<tokio::sync::Mutex<Option<Open>>>;

struct Open {
    channel: Channel,
    generation: u64,
}

// === impl Channels ===

impl Channels {
    /// No channels yet. Connections are the spawner's crew's.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>, options: ChannelOptions, spawner: Spawner) -> Self {
        let over = CancellationToken::new();
        Self(Arc::new(Shared { transport, options, spawner, over, places: Mutex::default() }))
    }

    /// The channel to the manager at an address (`host:port`).
    ///
    /// # Errors
    ///
    /// What stands in the way. Nothing is remembered of a failure: how often to try is the caller's to decide.
    pub async fn manager(&self, address: &str) -> Result<Channel, ConnectError> {
        self.get(address, ServerRole::Manager).await
    }

    /// The channel to the manager at an address, if one is open. Dials nobody.
    #[must_use]
    pub fn open_manager(&self, address: &str) -> Option<Channel> {
        let place = self.0.places.lock().get(&(address.to_owned(), ServerRole::Manager))?.clone();
        let place = place.try_lock().ok()?;
        let open = place.as_ref().filter(|open| open.generation == self.0.transport.generation())?;
        open.channel.is_open().then(|| open.channel.clone())
    }

    /// The channel to a server in the role that a caller without a certificate, or one of another root, can verify.
    ///
    /// # Errors
    ///
    /// As [`Channels::manager`].
    pub async fn authority(&self, address: &str) -> Result<Channel, ConnectError> {
        self.get(address, ServerRole::Authority).await
    }

    async fn get(&self, address: &str, role: ServerRole) -> Result<Channel, ConnectError> {
        let shared = &self.0;
        let place = self.place(address, role);
        let mut place = place.lock().await;
        let generation = shared.transport.generation();
        if let Some(open) = place.as_ref().filter(|open| open.generation == generation && open.channel.is_open()) {
            return Ok(open.channel.clone());
        }
        *place = None;
        let (options, spawner) = (&shared.options, &shared.spawner);
        let dialling = Channel::connect_until(&shared.over, &*shared.transport, address, role, options, spawner);
        let dialled = shared.over.run_until_cancelled(dialling).await;
        let channel = dialled.unwrap_or_else(|| Err(stopping(address)))?;
        *place = Some(Open { channel: channel.clone(), generation });
        Ok(channel)
    }

    fn place(&self, address: &str, role: ServerRole) -> Place {
        let mut places = self.0.places.lock();
        let key = (address.to_owned(), role);
        if places.len() >= ADDRESSES_MAX && !places.contains_key(&key) {
            // Nobody dials an unlocked place that holds no open channel.
            places.retain(|_, place| {
                place.try_lock().map_or(true, |open| open.as_ref().is_some_and(|open| open.channel.is_open()))
            });
        }
        places.entry(key).or_default().clone()
    }

    /// Cuts all connections, whoever holds them, and makes no more. Without it a crew would wait for whoever holds a
    /// channel.
    pub fn close(&self) {
        self.0.over.cancel();
    }

    /// Forgets the channel to an address, so that the next call there connects anew.
    pub fn forget(&self, address: &str) {
        self.0.places.lock().retain(|(known, _), _| known != address);
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").field("options", &self.0.options).finish_non_exhaustive()
    }
}
