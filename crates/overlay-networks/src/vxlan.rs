//! VXLAN ids: what keeps the packets of one subnet apart from those of others.

use std::collections::BTreeMap;

use swarmkit_api::NetworkId;

use crate::runs::Runs;

/// The ids that are chosen. Lower ones are left to networks that are made by hand, as upstream.
const FIRST: u32 = 4096;
/// The largest id: it has 24 bits.
pub(crate) const LAST: u32 = (1 << 24) - 1;

/// The ids in use, over all networks of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct VxlanIds {
    used: Runs,
    owners: BTreeMap<u32, NetworkId>,
    next: u32,
}

impl Default for VxlanIds {
    fn default() -> Self {
        Self { used: Runs::default(), owners: BTreeMap::new(), next: FIRST }
    }
}

impl VxlanIds {
    /// Gives out the next id. As with addresses, one that was given back is used late.
    pub(crate) fn take_next(&mut self, owner: &NetworkId) -> Option<u32> {
        let free = self.used.next_free_around(self.next.into(), FIRST.into(), LAST.into())?;
        let id = u32::try_from(free).ok()?;
        self.next = id + 1;
        self.take(id, owner).ok().map(|()| id)
    }

    /// Gives out this id, or learns that it was.
    ///
    /// # Errors
    ///
    /// The network that has it.
    pub(crate) fn take(&mut self, id: u32, owner: &NetworkId) -> Result<(), NetworkId> {
        if let Some(other) = self.owners.get(&id) {
            return Err(other.clone());
        }
        self.used.insert(id.into());
        self.owners.insert(id, owner.clone());
        Ok(())
    }

    /// Takes back an id of a network.
    pub(crate) fn release(&mut self, id: u32, owner: &NetworkId) {
        if self.owners.get(&id) == Some(owner) {
            self.owners.remove(&id);
            self.used.remove(id.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(ids: &mut VxlanIds) -> Option<u32> {
        ids.take_next(&"n".into())
    }

    #[test]
    fn ids_count_from_4096_and_one_that_was_freed_is_used_late() {
        let mut ids = VxlanIds::default();
        assert_eq!((next(&mut ids), next(&mut ids)), (Some(4096), Some(4097)));
        ids.release(4096, &"n".into());
        assert_eq!(next(&mut ids), Some(4098));
    }

    #[test]
    fn an_id_that_is_asked_for_may_be_any_of_24_bits_unless_it_is_in_use() {
        let mut ids = VxlanIds::default();
        for id in [1, 4097, LAST] {
            assert_eq!(ids.take(id, &"a".into()), Ok(()));
            assert_eq!(ids.take(id, &"b".into()), Err("a".into()));
        }
        ids.release(4097, &"b".into());
        assert_eq!(ids.take(4097, &"c".into()), Err("a".into()), "it was not b's to give back");
        assert_eq!((next(&mut ids), next(&mut ids)), (Some(4096), Some(4098)));
    }

    #[test]
    fn after_the_last_id_the_first_that_is_free_is_next() {
        let mut ids = VxlanIds::default();
        assert_eq!(next(&mut ids), Some(4096));
        ids.next = LAST;
        assert_eq!(next(&mut ids), Some(LAST));
        assert_eq!(next(&mut ids), Some(4097));
    }
}
