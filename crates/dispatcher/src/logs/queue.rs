//! What waits for one reader: bounded in bytes, so that a reader that stalls costs what is said here and no more.

use std::sync::Arc;

use swarmkit_api::wire::{LogMessage, SubscribeLogsMessage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// How many bytes may wait for one reader. Beyond that, the nodes that publish to it wait.
pub(super) const WAITING_BYTES: usize = 1024 * 1024;
/// What a message costs besides its texts: its records are structs with three ids, and nodes may send one at a time.
const RECORD_BYTES: usize = 256;
/// How many messages may wait: more than the bytes allow.
const WAITING_MESSAGES: usize = WAITING_BYTES / RECORD_BYTES;

/// A message with the room that it takes, which is free again when it is taken out.
struct Held {
    message: SubscribeLogsMessage,
    _room: OwnedSemaphorePermit,
}

/// Where nodes put messages. Clones put them into one queue.
#[derive(Clone)]
pub(super) struct Inlet {
    messages: mpsc::Sender<Held>,
    room: Arc<Semaphore>,
}

/// Where the reader takes them.
pub(super) struct Outlet {
    messages: mpsc::Receiver<Held>,
    room: Arc<Semaphore>,
}

/// Room for one message.
pub(super) struct Room(OwnedSemaphorePermit);

/// The reader has gone.
#[derive(Debug)]
pub(super) struct Gone;

pub(super) fn queue() -> (Inlet, Outlet) {
    let (sender, receiver) = mpsc::channel(WAITING_MESSAGES);
    let room = Arc::new(Semaphore::new(WAITING_BYTES));
    (Inlet { messages: sender, room: Arc::clone(&room) }, Outlet { messages: receiver, room })
}

impl Inlet {
    /// Waits until there is room for these records. What is larger than the whole queue waits until it is empty.
    pub(super) async fn room(&self, records: &[LogMessage]) -> Result<Room, Gone> {
        let bytes: usize = RECORD_BYTES + records.iter().map(weight).sum::<usize>();
        let permits = u32::try_from(bytes.min(WAITING_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(permits).await.map(Room).map_err(|_| Gone)
    }

    /// Puts a message into its room.
    pub(super) fn put(&self, message: SubscribeLogsMessage, room: Room) -> Result<(), Gone> {
        // There is always a place: each message has taken room for at least one record.
        self.messages.try_send(Held { message, _room: room.0 }).map_err(|_| Gone)
    }
}

impl Outlet {
    /// The next message. `None` when there will be no more.
    pub(super) async fn take(&mut self) -> Option<SubscribeLogsMessage> {
        self.messages.recv().await.map(|held| held.message)
    }

    /// The next message, if there is one now.
    pub(super) fn take_now(&mut self) -> Option<SubscribeLogsMessage> {
        self.messages.try_recv().ok().map(|held| held.message)
    }

    /// Whether the reader has caught up so far that nodes should send more.
    pub(super) fn is_low(&self) -> bool {
        self.room.available_permits() >= WAITING_BYTES / 2
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.room.close();
    }
}

fn weight(record: &LogMessage) -> usize {
    let attrs = record.attrs.iter().map(|attr| attr.key.len() + attr.value.len()).sum::<usize>();
    RECORD_BYTES + record.data.len() + attrs
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn records(count: usize, bytes: usize) -> Vec<LogMessage> {
        vec![LogMessage { data: vec![0; bytes].into(), ..Default::default() }; count]
    }

    fn fill(inlet: &Inlet, count: usize, bytes: usize) -> usize {
        let mut held = 0;
        while let Some(room) = inlet.room(&records(count, bytes)).now_or_never() {
            inlet.put(SubscribeLogsMessage { messages: records(count, bytes) }, room.unwrap()).unwrap();
            held += count * bytes;
        }
        held
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_however_it_is_cut() {
        for (count, bytes) in [(1, 0), (1, 100), (512, 500), (1, 256 * 1024), (1, 4 << 20)] {
            let (inlet, mut outlet) = queue();
            let held = fill(&inlet, count, bytes);
            assert!(held <= WAITING_BYTES.max(count * bytes), "{count} records of {bytes} bytes: {held}");
            assert!(!outlet.is_low());
            while outlet.take_now().is_some() {}
            assert!(outlet.is_low());
            assert_eq!(outlet.room.available_permits(), WAITING_BYTES, "everything is given back");
        }
    }

    #[test]
    fn who_waits_for_room_is_told_when_the_reader_is_gone() {
        let (inlet, outlet) = queue();
        fill(&inlet, 1, 1000);
        let big = records(1, 100_000);
        let waiting = inlet.room(&big);
        drop(outlet);
        assert!(waiting.now_or_never().unwrap().is_err());
    }
}
