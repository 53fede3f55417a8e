//! What one file holds: what is read, and what a crash leaves of it.

use std::{collections::VecDeque, io, time::Duration};

use rand::{RngExt as _, rngs::SmallRng};
use tokio::time::Instant;

/// The bytes of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    visible: Vec<u8>,
    /// How much of it, from the beginning, is durable.
    synced: usize,
    /// How much was durable before the last sync.
    synced_before: usize,
    /// What is durable instead, while a cut below `synced` is not synced.
    before_cut: Option<Vec<u8>>,
    /// Lengths that will be durable at these times, although somebody was told that they are.
    promised: VecDeque<(Instant, usize)>,
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.visible.len()
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset).ok()?;
        self.visible.get(from..from.checked_add(len)?)
    }

    /// Adds bytes as far as there is room, and tells whether there was.
    pub(super) fn append(&mut self, bytes: &[u8], room: &mut Option<usize>) -> io::Result<()> {
        let fits = room.map_or(bytes.len(), |room| room.min(bytes.len()));
        self.visible.extend_from_slice(&bytes[..fits]);
        if let Some(room) = room {
            *room -= fits;
        }
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Makes the first `len` bytes durable.
    pub(super) fn sync(&mut self, len: usize) {
        let len = len.min(self.visible.len());
        if len > self.synced {
            self.synced_before = self.synced;
            self.synced = len;
        }
        self.before_cut = None;
    }

    /// Makes the first `len` bytes durable after a while.
    pub(super) fn promise(&mut self, len: usize, after: Duration) {
        self.keep_promises();
        self.promised.push_back((Instant::now() + after, len));
    }

    fn keep_promises(&mut self) {
        let now = Instant::now();
        while let Some(&(at, len)) = self.promised.front()
            && at <= now
        {
            self.sync(len);
            self.promised.pop_front();
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        if len < self.synced {
            self.before_cut.get_or_insert_with(|| self.visible[..self.synced].to_vec());
            self.synced = len;
            self.synced_before = self.synced_before.min(len);
        }
        self.visible.truncate(len);
    }

    /// How many bytes were durable before the last sync.
    pub(super) fn old(&self) -> usize {
        self.synced_before
    }

    #[cfg(test)]
    pub(super) fn synced(&self) -> usize {
        self.synced
    }

    pub(super) fn flip(&mut self, at: usize, bit: u32) {
        self.visible[at] ^= 1 << bit;
    }

    /// Leaves what a crash leaves, and tells how many bytes were lost.
    pub(super) fn lose_power(&mut self, rng: &mut SmallRng) -> usize {
        self.keep_promises();
        self.promised.clear();
        let before = self.visible.len();
        if let Some(old) = self.before_cut.take()
            && rng.random_bool(0.5)
        {
            self.visible = old;
        } else {
            let kept = rng.random_range(self.synced..=self.visible.len());
            self.visible.truncate(kept);
            tear(&mut self.visible[self.synced..], rng);
        }
        self.synced = self.visible.len();
        self.synced_before = self.synced_before.min(self.synced);
        before.saturating_sub(self.visible.len())
    }
}

/// Spoils what was written and not synced: a disk writes in blocks, and in any order.
fn tear(bytes: &mut [u8], rng: &mut SmallRng) {
    if bytes.is_empty() || rng.random_bool(0.5) {
        return;
    }
    let from = rng.random_range(0..bytes.len());
    let to = rng.random_range(from..=bytes.len());
    if rng.random_bool(0.5) {
        bytes[from..to].fill(0);
    } else {
        bytes[from..to].iter_mut().for_each(|byte| *byte = rng.random());
    }
}
