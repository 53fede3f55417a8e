//! Writing a list of things that each may have been overtaken.

use std::time::Duration;

use parking_lot::Mutex;
use swarmkit_api::Version;
use swarmkit_runtime::Backoff;

use crate::{Store, StoreError, Transaction};

/// The first and the longest delay before writing again: as long as a commit takes, and as an election does.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What became of a list of writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The version that holds the last of the writes. The least one when nothing was written.
    pub version: Version,
    /// The writes that no longer applied, by their place in the list, in order.
    pub refused: Vec<usize>,
}

impl Store {
    /// The delays between attempts to write again what could not be taken for the moment, drawn for one loop: from 10 ms
    /// up to 1 s. `label` names the loop.
    #[must_use]
    pub fn retries(&self, label: &str) -> Backoff {
        Backoff::new(RETRY.0, RETRY.1, self.env().rng(label))
    }

    /// Writes each item of a plan, in as few transactions as the limits allow, and returns when all of it is committed.
    ///
    /// A plan was made from a state that may have changed since, so `write` looks again, and says whether its item still
    /// applied; what it wrote of one that did not, it must not have written.
    ///
    /// # Errors
    ///
    /// The first error of `write` or of a transaction. What was written before it stays.
    pub async fn write_each<'p, T: Sync>(
        &self,
        items: &'p [T],
        write: impl Fn(&T, &mut Transaction) -> Result<bool, StoreError> + Sync + Send,
    ) -> Result<Written, StoreError> {
        let written = Mutex::new(Written::default());
        let write_one = |index: usize, item: &'p T, tx: &mut Transaction| {
            let before = tx.changes();
            let applied = write(item, tx)?;
            let mut written = written.lock();
            if tx.changes() > before {
                written.version = tx.version().next();
            }
            if !applied {
                written.refused.push(index);
            }
            Ok::<(), StoreError>(())
        };
        let write_one = &write_one;
        let edits = items.iter().enumerate();
        let edits: Vec<_> = edits.map(|(index, item)| move |tx: &mut Transaction| write_one(index, item, tx)).collect();
        self.batch(edits).await?;
        Ok(written.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use swarmkit_api::{Node, NodeId};

    use super::*;

    #[tokio::test]
    async fn what_no_longer_applies_is_named_by_its_place_and_the_rest_is_written() {
        let store = Store::local(swarmkit_runtime::Env::real());
        let first = store.update(|tx| tx.create(Node::new(NodeId::from("b")))).await.unwrap();
        let create = |id: &&str, tx: &mut Transaction| {
            let id = NodeId::from(*id);
            if tx.get::<Node>(&id).is_some() {
                return Ok(false);
            }
            tx.create(Node::new(id)).map(|_| true)
        };
        let written = store.write_each(&["a", "b", "c", "a"], create).await.unwrap();
        assert_eq!(written, Written { version: first.version.next(), refused: vec![1, 3] });
        assert_eq!(store.view().count::<Node>(), 3);

        let nothing = store.write_each(&["a"], create).await.unwrap();
        assert_eq!(nothing, Written { version: Version::default(), refused: vec![0] });
    }
}
