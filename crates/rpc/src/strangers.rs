//! How much of this node callers may take that have not proved to be members of its cluster.
//!
//! Anyone who reaches the port may connect, ask for the roots, ask for a certificate and ask what became of it. All of that
//! is bounded here, for each address and in all, so that members neither wait nor are refused for what strangers do. A
//! connection counts as a stranger's from its arrival until its handshake shows the certificate of a member.

mod block;
mod rate;

use std::{collections::BTreeMap, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use http::Response;
use parking_lot::Mutex;
use swarmkit_api::access::Method;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body};

use self::{block::Block, rate::Rates};
use crate::{limits, peer::Peer, services::reads};

const TOO_MANY: &str = "too many calls of nodes that are not members come from this address; try again later";
const TOO_MANY_WAIT: &str = "too many nodes wait for their certificates; try again later";

/// How much strangers may take. The defaults are what a manager keeps to.
#[derive(Clone, Debug)]
pub struct StrangerLimits {
    /// Connections that have shown no certificate of a member, or not yet. One more takes the place of one that has had its
    /// time, or waits until there is one.
    pub visits_max: usize,
    /// The time that each of them has in any case: enough for a handshake.
    pub visit_least: Duration,
    /// Those of one address that will not show one. One more takes the place of the oldest of them.
    pub visits_per_address: usize,
    /// Questions of one address that wait for their answer at a time.
    pub waits_per_address: usize,
    /// The same of all addresses.
    pub waits_max: usize,
    /// Questions and failures that one address has at once; 200 a second come back.
    pub asked_at_once: u32,
}

/// What strangers take of one node at present. Clones share it.
#[derive(Clone)]
pub(crate) struct Strangers {
    limits: StrangerLimits,
    taken: Arc<Mutex<Taken>>,
    /// Told when a visit has ended.
    left: Arc<Notify>,
}

struct Taken {
    /// By their numbers, so the oldest comes first.
    visits: BTreeMap<Block, BTreeMap<u64, Stay>>,
    visits_count: usize,
    visits_begun: u64,
    waits: BTreeMap<Block, usize>,
    waits_count: usize,
    rates: Rates,
}

struct Stay {
    since: Instant,
    /// Its handshake is over, and has shown no certificate that counts.
    is_stranger: bool,
    over: CancellationToken,
}

/// A connection that has not shown a certificate. Dropping it says that it has, or is gone.
pub(crate) struct Visit {
    strangers: Strangers,
    block: Block,
    number: u64,
    over: CancellationToken,
}

/// A question that waits for its answer.
struct Waiting {
    strangers: Strangers,
    block: Block,
}

// === impl StrangerLimits ===

impl Default for StrangerLimits {
    fn default() -> Self {
        Self {
            visits_max: limits::VISITS_MAX,
            visit_least: limits::VISIT_LEAST,
            visits_per_address: limits::VISITS_PER_ADDRESS,
            waits_per_address: limits::WAITS_PER_ADDRESS,
            waits_max: limits::WAITS_MAX,
            asked_at_once: limits::ASKED_AT_ONCE,
        }
    }
}

// === impl Strangers ===

impl Strangers {
    pub(crate) fn new(limits: StrangerLimits) -> Self {
        let rates = Rates::new(limits.asked_at_once);
        let (visits, waits) = (BTreeMap::new(), BTreeMap::new());
        let taken = Taken { visits, visits_count: 0, visits_begun: 0, waits, waits_count: 0, rates };
        Self { limits, taken: Arc::new(Mutex::new(taken)), left: Arc::default() }
    }

    /// Lets a connection in, as soon as there is room for it.
    ///
    /// Whoever hangs about loses against whoever comes, so that connections that are only held open keep nobody out. Nobody
    /// loses its place before it could say who it is, so that a crowd of members that comes at once is served in turn. Not
    /// for more than one caller at a time: the second might wait for longer than it has to.
    pub(crate) async fn arrive(&self, addr: Option<SocketAddr>) -> Visit {
        let block = Block::of(addr);
        loop {
            let full = self.taken.lock().make_room(&self.limits, Instant::now()).err();
            let Some(until) = full else { return self.let_in(block) };
            tokio::select! { biased; // room that is there is taken
                () = self.left.notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    fn let_in(&self, block: Block) -> Visit {
        let over = CancellationToken::new();
        let mut taken = self.taken.lock();
        let number = taken.visits_begun;
        taken.visits_begun += 1;
        taken.visits_count += 1;
        let stay = Stay { since: Instant::now(), is_stranger: false, over: over.clone() };
        taken.visits.entry(block).or_default().insert(number, stay);
        drop(taken);
        Visit { strangers: self.clone(), block, number, over }
    }

    /// How many connections have shown no certificate (yet).
    pub(crate) fn visits(&self) -> usize {
        self.taken.lock().visits_count
    }

    /// Answers a call that anyone may make.
    ///
    /// What a member calls is only answered. A stranger's question is not looked at if its address has asked too much. What
    /// it wants to be done is: a token that counts is never refused for what else comes from the same address, and only
    /// the answer to one that does not count becomes shorter.
    pub(crate) async fn answered(
        &self,
        peer: &Peer,
        method: &Method,
        answer: impl Future<Output = Response<Body>>,
    ) -> Response<Body> {
        // Whoever passes a call on has counted it.
        if peer.identity.is_some() || peer.forwarded_by.is_some() {
            return answer.await;
        }
        let block = Block::of(peer.addr);
        if !reads(method) {
            let answer = answer.await;
            if is_success(&answer) {
                self.taken.lock().rates.give_back(block, limits::ASKED_BY_MEMBER);
            }
            let is_let_off = !is_refusal(&answer) || self.ask(block);
            return if is_let_off { answer } else { Status::resource_exhausted(TOO_MANY).into_http() };
        }
        if !self.ask(block) {
            return Status::resource_exhausted(TOO_MANY).into_http();
        }
        let Some(_waiting) = self.wait(block) else {
            return Status::resource_exhausted(TOO_MANY_WAIT).into_http();
        };
        answer.await
    }

    /// Whether a refusal is worth a line in the log: it counts as a failure of its address, and one that fails too often has
    /// been told of.
    pub(crate) fn may_tell(&self, addr: Option<SocketAddr>) -> bool {
        self.ask(Block::of(addr))
    }

    fn ask(&self, block: Block) -> bool {
        self.taken.lock().rates.ask(block, Instant::now())
    }

    fn wait(&self, block: Block) -> Option<Waiting> {
        let mut taken = self.taken.lock();
        let here = taken.waits.get(&block).copied().unwrap_or_default();
        if here >= self.limits.waits_per_address || taken.waits_count >= self.limits.waits_max {
            return None;
        }
        taken.waits.insert(block, here + 1);
        taken.waits_count += 1;
        Some(Waiting { strangers: self.clone(), block })
    }
}

// === impl Taken ===

impl Taken {
    /// Makes room for one more, or says when there will be some at the latest.
    fn make_room(&mut self, limits: &StrangerLimits, now: Instant) -> Result<(), Instant> {
        if self.visits_count < limits.visits_max {
            return Ok(());
        }
        let until =
            |stays: &BTreeMap<u64, Stay>| stays.first_key_value().map(|(_, stay)| stay.since + limits.visit_least);
        // The oldest of each address, and of those whose time is over that of the address that has the most.
        let oldest = || self.visits.iter().filter_map(|(&block, stays)| Some((block, stays.len(), until(stays)?)));
        match oldest().filter(|(_, _, until)| *until <= now).max_by_key(|(_, count, _)| *count) {
            Some((block, _, _)) => {
                self.end_oldest(block);
                Ok(())
            }
            None => Err(oldest().map(|(_, _, until)| until).min().unwrap_or(now)),
        }
    }

    /// Its place is free at once; whatever serves it ends when it is polled next.
    fn end_oldest(&mut self, block: Block) {
        let oldest = self.visits.get(&block).and_then(|stays| stays.keys().next().copied());
        if let Some(number) = oldest {
            self.end(block, number);
        }
    }

    fn end(&mut self, block: Block, number: u64) {
        let Some(stays) = self.visits.get_mut(&block) else { return };
        if let Some(stay) = stays.remove(&number) {
            self.visits_count -= 1;
            stay.over.cancel();
        }
        if stays.is_empty() {
            self.visits.remove(&block);
        }
    }

    /// Notes that a visit is that of a stranger, for which the oldest one of its address may have to go.
    fn turn_out(&mut self, block: Block, number: u64, limits: &StrangerLimits) {
        let Some(stays) = self.visits.get_mut(&block) else { return };
        let mut others = stays.iter().filter(|(other, stay)| stay.is_stranger && **other != number);
        let oldest = others.next().map(|(&oldest, _)| oldest);
        let count = others.count() + usize::from(oldest.is_some());
        if let Some(stay) = stays.get_mut(&number) {
            stay.is_stranger = true;
        }
        if let Some(oldest) = oldest
            && count >= limits.visits_per_address
        {
            self.end(block, oldest);
        }
    }

    fn answer(&mut self, block: Block) {
        self.waits_count -= 1;
        if let Some(here) = self.waits.get_mut(&block) {
            *here -= 1;
            if *here == 0 {
                self.waits.remove(&block);
            }
        }
    }
}

// === impl Visit ===

impl Visit {
    /// Its handshake is over, and it is not a member's.
    pub(crate) fn is_strangers(&self) {
        self.strangers.taken.lock().turn_out(self.block, self.number, &self.strangers.limits);
        self.strangers.left.notify_one();
    }

    /// Waits until another connection has taken its place.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.strangers.taken.lock().end(self.block, self.number);
        self.strangers.left.notify_one();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.strangers.taken.lock().answer(self.block);
    }
}

/// The code of a success comes after the answer.
fn is_success(answer: &Response<Body>) -> bool {
    Status::from_header_map(answer.headers()).is_none_or(|status| status.code() == Code::Ok)
}

/// Whether the caller was refused for what it has sent, and not for the state that this node is in.
fn is_refusal(answer: &Response<Body>) -> bool {
    let refusals = [Code::InvalidArgument, Code::NotFound, Code::PermissionDenied, Code::ResourceExhausted];
    Status::from_header_map(answer.headers()).is_some_and(|status| refusals.contains(&status.code()))
}

#[cfg(test)]
mod tests;
