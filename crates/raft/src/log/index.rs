//! What the log knows without reading the disk: where each entry lies, and the newest entries themselves.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

use crate::types::{Entry, LogId, Vote, log_id, term_of};

/// The newest entries up to this many bytes stay in memory, so that applying and replicating them reads no disk.
pub(super) const CACHE_BYTES: usize = 8 << 20;

/// Roughly what an entry costs in memory beside its payload.
const ENTRY_OVERHEAD: usize = 96;

/// Where an entry lies on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u64,
    /// Of the record's header.
    pub(super) offset: u64,
    /// Of header and body.
    pub(super) len: u32,
}

#[derive(Debug)]
struct Slot {
    term: u64,
    /// Unknown until the entry is written.
    location: Option<Location>,
    /// Forgotten when it is old, but never before it is written.
    entry: Option<Entry>,
    bytes: usize,
}

impl Slot {
    /// Roughly what the entry has on the wire and on the disk, in bytes.
    fn size(&self) -> usize {
        self.location.map_or(self.bytes, |location| location.len as usize)
    }
}

/// What a reader gets for one index.
#[derive(Debug)]
pub(super) enum Hit {
    Cached(Entry),
    OnDisk(LogId, Location),
}

/// The log in memory.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    /// Uncommitted entries of this one's term, up to it, were given up by the leader who made them.
    pub(super) given_up: Option<LogId>,
    purged: Option<LogId>,
    /// Index of the first slot; meaningless without slots.
    first: u64,
    slots: VecDeque<Slot>,
    /// Slots from here on are cached; as a position in `slots`.
    cached_from: usize,
    cached_bytes: usize,
}

/// An entry does not follow directly on the newest one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) expected: u64,
    pub(super) found: u64,
}

impl Index {
    /// Everything up to this entry is gone.
    pub(super) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// The newest entry, even if it is gone by now.
    pub(super) fn last(&self) -> Option<LogId> {
        match self.slots.back() {
            Some(slot) => Some(log_id(slot.term, self.first + self.slots.len() as u64 - 1)),
            None => self.purged,
        }
    }

    /// The newest entry of a term before this one.
    pub(super) fn last_before_term(&self, term: u64) -> Option<LogId> {
        let older = self.slots.partition_point(|slot| slot.term < term);
        match older.checked_sub(1) {
            Some(at) => Some(log_id(self.slots[at].term, self.first + at as u64)),
            None => self.purged,
        }
    }

    /// Whether there is another entry where this one belongs.
    pub(super) fn contradicts(&self, id: &LogId) -> bool {
        let slot = self.position(id.index).and_then(|at| self.slots.get(at));
        slot.is_some_and(|slot| slot.term != term_of(id))
    }

    /// The indexes of all entries.
    pub(super) fn range(&self) -> Range<u64> {
        if self.slots.is_empty() {
            let next = self.purged.map_or(0, |id| id.index + 1);
            return next..next;
        }
        self.first..self.first + self.slots.len() as u64
    }

    /// Adds an entry that is not written yet.
    pub(super) fn push(&mut self, entry: Entry) -> Result<(), Gap> {
        let id = entry.log_id;
        let bytes = match &entry.payload {
            openraft::EntryPayload::Normal(command) => command.payload.len() + ENTRY_OVERHEAD,
            _ => ENTRY_OVERHEAD,
        };
        self.push_slot(&id, Slot { term: term_of(&id), location: None, entry: Some(entry), bytes })?;
        self.cached_bytes += bytes;
        Ok(())
    }

    /// Adds an entry that was found on the disk.
    pub(super) fn push_found(&mut self, id: &LogId, location: Location) -> Result<(), Gap> {
        self.push_slot(id, Slot { term: term_of(id), location: Some(location), entry: None, bytes: 0 })?;
        self.cached_from = self.slots.len();
        Ok(())
    }

    fn push_slot(&mut self, id: &LogId, slot: Slot) -> Result<(), Gap> {
        match self.last() {
            Some(last) if id.index != last.index + 1 => {
                return Err(Gap { expected: last.index + 1, found: id.index });
            }
            // An empty log begins wherever its first entry says.
            _ => {}
        }
        if self.slots.is_empty() {
            self.first = id.index;
        }
        self.slots.push_back(slot);
        Ok(())
    }

    /// Notes where an entry was written, unless it is gone by now.
    pub(super) fn written(&mut self, id: &LogId, location: Location) {
        if let Some(slot) = self.position(id.index).and_then(|at| self.slots.get_mut(at))
            && slot.term == term_of(id)
        {
            slot.location = Some(location);
        }
    }

    /// Whether an entry is on the disk, or gone since.
    pub(super) fn is_written(&self, id: &LogId) -> bool {
        let slot = self.position(id.index).and_then(|at| self.slots.get(at));
        slot.is_some_and(|slot| slot.location.is_some() && slot.term == term_of(id)) || self.purged >= Some(*id)
    }

    /// Puts an entry that was read back at start into the cache; from the newest to the oldest.
    pub(super) fn warm(&mut self, entry: Entry) {
        let Some(at) = self.position(entry.log_id.index) else { return };
        if at + 1 != self.cached_from {
            return;
        }
        if let openraft::EntryPayload::Normal(command) = &entry.payload {
            self.slots[at].bytes = command.payload.len();
        }
        self.slots[at].bytes += ENTRY_OVERHEAD;
        self.cached_bytes += self.slots[at].bytes;
        self.slots[at].entry = Some(entry);
        self.cached_from = at;
    }

    /// Forgets old entries that are on the disk, as far as the cache is too large.
    pub(super) fn trim(&mut self) {
        while self.cached_bytes > CACHE_BYTES
            && let Some(slot) = self.slots.get_mut(self.cached_from)
            && slot.location.is_some()
        {
            slot.entry = None;
            self.cached_bytes -= slot.bytes;
            self.cached_from += 1;
        }
    }

    /// Drops every entry after `last`, or all.
    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        let keep = match last {
            // Below the first slot there is nothing to keep.
            Some(last) => self
                .position(last.index)
                .map_or_else(|| if last.index < self.first { 0 } else { self.slots.len() }, |at| at + 1),
            None => 0,
        };
        for slot in self.slots.drain(keep..) {
            if slot.entry.is_some() {
                self.cached_bytes -= slot.bytes;
            }
        }
        self.cached_from = self.cached_from.min(self.slots.len());
    }

    /// Makes an empty log begin after `floor`.
    pub(super) fn set_floor(&mut self, floor: Option<LogId>) {
        self.truncate_after(None);
        self.purged = floor;
    }

    /// Drops every entry up to `upto`, which may lie beyond the newest.
    pub(super) fn purge(&mut self, upto: LogId) {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        let drop = if self.slots.is_empty() {
            0
        } else {
            usize::try_from((upto.index + 1).saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.slots.len())
        };
        for slot in self.slots.drain(..drop) {
            if slot.entry.is_some() {
                self.cached_bytes -= slot.bytes;
            }
        }
        self.first += drop as u64;
        self.cached_from = self.cached_from.saturating_sub(drop);
        self.purged = Some(upto);
    }

    /// Where a range must end so that its entries have about so many bytes, but one entry at least.
    pub(super) fn end_within(&self, range: Range<u64>, bytes: usize) -> u64 {
        let have = self.range();
        let (from, to) = (range.start.max(have.start), range.end.min(have.end));
        let mut room = bytes;
        for index in from..to {
            let slot = &self.slots[(index - self.first) as usize];
            let size = slot.size();
            if index > from && size > room {
                return index;
            }
            room = room.saturating_sub(size);
        }
        range.end
    }

    /// The first of the entries up to `last` that are at most so many, and have at most so many bytes.
    pub(super) fn first_within(&self, last: u64, entries: u64, bytes: u64) -> u64 {
        let have = self.range();
        let lowest = (last + 1).saturating_sub(entries).max(have.start);
        let mut room = bytes;
        for index in (lowest..(last + 1).min(have.end)).rev() {
            let size = self.slots[(index - self.first) as usize].size() as u64;
            if size > room {
                return index + 1;
            }
            room -= size;
        }
        lowest
    }

    /// The entries of a range, as far as they are there.
    pub(super) fn get(&self, range: Range<u64>) -> Vec<Hit> {
        let have = self.range();
        let (from, to) = (range.start.max(have.start), range.end.min(have.end));
        (from..to)
            .map(|index| {
                let slot = &self.slots[(index - self.first) as usize];
                match (&slot.entry, slot.location) {
                    (Some(entry), _) => Hit::Cached(entry.clone()),
                    (None, Some(location)) => Hit::OnDisk(log_id(slot.term, index), location),
                    (None, None) => unreachable!("invariant: what is not written stays in the cache"),
                }
            })
            .collect()
    }

    /// For each segment the highest index of an entry in it, of those that are written and not gone.
    pub(super) fn highest_by_segment(&self) -> BTreeMap<u64, u64> {
        let written = self.slots.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.location?)));
        written.map(|(at, location)| (location.segment, self.first + at as u64)).collect()
    }

    /// How many entries are cached.
    #[cfg(test)]
    pub(super) fn cached(&self) -> usize {
        self.slots.iter().filter(|slot| slot.entry.is_some()).count()
    }

    /// Where an entry lies, once it is written.
    #[cfg(test)]
    pub(super) fn location(&self, index: u64) -> Option<Location> {
        self.slots[self.position(index)?].location
    }

    fn position(&self, index: u64) -> Option<usize> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        (at < self.slots.len()).then_some(at)
    }
}
