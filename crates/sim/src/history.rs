//! What the clients did, object by object.

use std::sync::Arc;

use crate::{
    invariants::linearizable::{Action, Operation, Value},
    oracle::Histories,
};

/// The operations of all clients. One counter orders all calls and returns: in one thread they do have an order.
#[derive(Debug, Default)]
pub struct History {
    moment: u64,
    operations: usize,
    objects: Histories,
}

/// An operation that has been called.
#[derive(Debug)]
#[must_use = "an operation returns, fails, or has an unknown fate"]
pub struct Called {
    key: Arc<str>,
    call: u64,
}

impl History {
    /// A client calls an operation on an object.
    pub fn call(&mut self, key: &Arc<str>) -> Called {
        Called { key: key.clone(), call: self.next_moment() }
    }

    /// It returns.
    pub fn returns(&mut self, called: Called, action: Action) {
        let back = Some(self.next_moment());
        self.add(called, back, action);
    }

    /// It was a write, and nobody knows whether it took place.
    pub fn unknown(&mut self, called: Called, new: Value) {
        self.add(called, None, Action::Swap { new, old: None });
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations == 0
    }

    /// The history of each object.
    pub fn objects(&self) -> impl Iterator<Item = (&Arc<str>, &Vec<Operation>)> {
        self.objects.iter()
    }

    fn add(&mut self, called: Called, back: Option<u64>, action: Action) {
        self.operations += 1;
        let operation = Operation { call: called.call, back, action };
        self.objects.entry(called.key).or_default().push(operation);
    }

    fn next_moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }
}
