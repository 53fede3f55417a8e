//! Clients that create, change, remove and read, and write down what they are told.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use rand::{RngExt as _, rngs::SmallRng};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    client::Client,
    history::{Call, History, Kind, Name, Outcome, Record, Seen},
    objects,
};

/// How many names of each kind a round has. Few, so that clients get into each other's way.
pub(crate) const NAMES: u32 = 6;

/// How long a client rests between two operations at most, in milliseconds.
const REST_MS: u64 = 30;

/// How long a client rests when a member does not serve.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// One client.
pub(crate) struct Worker {
    pub(crate) number: u32,
    /// The control sockets of all members.
    pub(crate) sockets: Vec<PathBuf>,
    pub(crate) history: Arc<History>,
    /// Which round's names are in use.
    pub(crate) round: watch::Receiver<u32>,
    pub(crate) rng: SmallRng,
}

impl Worker {
    /// Works until told to stop; what was begun is ended.
    ///
    /// # Errors
    ///
    /// When the history cannot be written.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let mut at = usize::try_from(self.number)? % self.sockets.len();
        let mut client = Client::new(self.sockets[at].clone());
        let mut known: std::collections::BTreeMap<Name, Seen> = std::collections::BTreeMap::new();
        while !stop.is_cancelled() {
            let round = *self.round.borrow();
            known.retain(|name, _| name.round == round);
            let name = self.name(round);
            let call = self.choose(known.get(&name));
            let outcome = self.perform(&mut client, at, &name, call).await?;
            let failed = matches!(outcome, Outcome::Failed(_) | Outcome::Unknown(_));
            match outcome {
                Outcome::Written(seen) | Outcome::Found(seen) => {
                    known.insert(name, seen);
                }
                // Sometimes what is known to be old is used again: to be refused is part of the load.
                Outcome::Stale if self.rng.random_bool(0.2) => {}
                _ => {
                    known.remove(&name);
                }
            }
            let rest = if failed {
                at = (at + 1) % self.sockets.len();
                client = Client::new(self.sockets[at].clone());
                AFTER_FAILURE
            } else {
                Duration::from_millis(self.rng.random_range(0..=REST_MS))
            };
            tokio::select! { biased; // to stop comes first
                () = stop.cancelled() => {}
                () = sleep(rest) => {}
            }
        }
        Ok(())
    }

    async fn perform(&self, client: &mut Client, member: usize, name: &Name, call: Call) -> Result<Outcome> {
        perform(&self.history, self.number, client, member, name, call).await
    }

    fn name(&mut self, round: u32) -> Name {
        let kind = if self.rng.random_bool(0.5) { Kind::Config } else { Kind::Secret };
        Name { kind, round, number: self.rng.random_range(0..NAMES) }
    }

    fn choose(&mut self, known: Option<&Seen>) -> Call {
        let dice = self.rng.random_range(0..100);
        match known {
            None if dice < 55 => Call::Create { tag: self.history.next_tag() },
            None => Call::Find,
            Some(seen) => match dice {
                0..=49 => Call::Update { base: seen.clone(), tag: self.history.next_tag() },
                50..=64 => Call::Get { id: seen.id.clone() },
                65..=79 => Call::Find,
                80..=92 => Call::Remove { id: seen.id.clone() },
                _ => Call::Create { tag: self.history.next_tag() },
            },
        }
    }
}

/// One operation, written down.
pub(crate) async fn perform(
    history: &History,
    number: u32,
    client: &mut Client,
    member: usize,
    name: &Name,
    call: Call,
) -> Result<Outcome> {
    let invoked = history.invoked(name);
    let outcome = objects::ask(client, name, &call).await;
    let returned = history.now();
    let record =
        Record { client: number, member, name: name.clone(), call, invoked, returned, outcome: outcome.clone() };
    history.returned(record)?;
    Ok(outcome)
}
