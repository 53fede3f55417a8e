//! What must hold, whatever happens: one file for each, all of them pure.
//!
//! An invariant is told what was seen, and answers with what is wrong with it. It knows no network, no disk and no time.
//! To add one: a file here with a type that keeps what it has seen, and a line where the module `oracle` is told of it.

pub mod acknowledged;
pub mod convergence;
pub mod election_safety;
pub mod gap_free_watch;
pub mod leader_completeness;
pub mod linearizable;
pub mod log_matching;
pub mod one_digest;
pub mod state_machine_safety;
pub mod transactions;

use std::{collections::BTreeMap, fmt, sync::Arc};

/// What a store holds, as the simulation's clients write it: a number under each key.
pub type Contents = BTreeMap<Arc<str>, u64>;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// What an invariant has to say.
pub type Verdict = Result<(), Broken>;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// An invariant does not hold.
pub(crate) fn broken(invariant: &'static str, what: impl Into<String>) -> Verdict {
    Err(Broken { invariant, what: what.into() })
}
