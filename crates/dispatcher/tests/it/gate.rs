//! A store whose writes can be held up, or fail, as under a leader that is slow or alone.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use swarmkit_store::{Applier, Proposal, ProposeError, Proposer, Store};

/// Decides what becomes of writes. Clones decide together.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Shared>);

#[derive(Default)]
struct Shared {
    applier: OnceLock<Applier>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mode: Mode,
    held: Vec<Proposal>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Open,
    Held,
    Failing,
}

impl Gate {
    /// A store behind a gate that is open.
    pub(crate) fn store() -> (Self, Store) {
        let gate = Self::default();
        (gate.clone(), Store::new(swarmkit_testing::env(), gate))
    }

    /// Writes wait from now on.
    pub(crate) fn hold(&self) {
        self.0.state.lock().mode = Mode::Held;
    }

    /// Writes fail from now on, and may work later.
    pub(crate) fn fail(&self) {
        self.0.state.lock().mode = Mode::Failing;
    }

    /// Writes are committed at once from now on, those that wait first.
    pub(crate) fn open(&self) {
        loop {
            let held = {
                let mut state = self.0.state.lock();
                if state.held.is_empty() {
                    state.mode = Mode::Open;
                    return;
                }
                std::mem::take(&mut state.held)
            };
            held.iter().for_each(|proposal| self.commit(proposal));
        }
    }

    fn commit(&self, proposal: &Proposal) {
        self.0.applier.get().expect("it is attached first").apply(&proposal.payload).expect("it is in order");
    }
}

impl Proposer for Gate {
    fn attach(&self, applier: Applier) {
        self.0.applier.set(applier).ok();
    }

    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        let mode = {
            let mut state = self.0.state.lock();
            if state.mode == Mode::Held {
                state.held.push(proposal.clone());
            }
            state.mode
        };
        match mode {
            Mode::Open => self.commit(&proposal),
            Mode::Held => {}
            Mode::Failing => return Err(ProposeError::Failed("no quorum".into())),
        }
        Ok(())
    }
}
