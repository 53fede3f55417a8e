//! Who has run what where: one record at the beginning of a call, one at its end.
//!
//! Records are events of the target `audit`. They hold the command with its arguments, and nothing of variables, input or
//! output. Nothing is recorded of calls that only ask what tasks use.

use std::fmt::Display;

use swarmkit_api::wire::swarmkit::exec::v1::{Call, call::Kind};
use swarmkit_rpc::Peer;
use tokio::time::Instant;

use crate::check::Place;

/// The record of one call. The one at the end is made when it is dropped.
pub(crate) struct Audit {
    told: Option<Told>,
    outcome: String,
}

/// What both records say.
struct Told {
    id: String,
    caller: String,
    task: String,
    node: String,
    what: String,
    begin: Instant,
}

/// How a call ends that nobody says anything else of.
const GIVEN_UP: &str = "the client has gone";

impl Audit {
    pub(crate) fn begin(id: &str, peer: &Peer, call: &Call, place: &Place) -> Self {
        let told = what(call).map(|what| Told {
            id: id.to_owned(),
            caller: caller(peer),
            task: call.task_id.clone(),
            node: place.node.to_string(),
            what,
            begin: Instant::now(),
        });
        if let Some(Told { id, caller, task, node, what, .. }) = &told {
            tracing::info!(target: "audit", call = id, caller, task, node, what, "a call to a task begins");
        }
        Self { told, outcome: GIVEN_UP.to_owned() }
    }

    /// How it has ended.
    pub(crate) fn ends(&mut self, outcome: &impl Display) {
        self.outcome = outcome.to_string();
    }
}

/// A call was refused, and why.
pub(crate) fn refused(peer: &Peer, call: &Call, reason: &impl Display) {
    if let Some(what) = what(call) {
        let (caller, task) = (caller(peer), &call.task_id);
        tracing::info!(target: "audit", caller, task, what, %reason, "a call to a task was refused");
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let Some(Told { id, caller, task, node, what, begin }) = &self.told else { return };
        let (outcome, seconds) = (&self.outcome, begin.elapsed().as_secs_f64());
        tracing::info!(target: "audit", call = id, caller, task, node, what, outcome, seconds, "a call to a task has ended");
    }
}

/// Who calls: a node by its certificate, and the way that the call came.
fn caller(peer: &Peer) -> String {
    let who = match &peer.identity {
        Some(identity) => format!("{:?} {}", identity.role, identity.node),
        None => "nobody".to_owned(),
    };
    match (&peer.forwarded_by, peer.local) {
        (Some(by), _) => format!("{who}, passed on by {by}"),
        (None, true) => format!("{who}, control socket"),
        (None, false) => who,
    }
}

/// What is done, without anything that may be a secret.
fn what(call: &Call) -> Option<String> {
    match call.kind.as_ref()? {
        Kind::Command(command) => {
            let terminal = if command.terminal.is_some() { " with a terminal" } else { "" };
            let user = if command.user.is_empty() { String::new() } else { format!(" as {}", command.user) };
            Some(format!("command{terminal}{user}: {:?}", command.args))
        }
        Kind::Attach(attach) => Some(if attach.stdin { "attach with input" } else { "attach" }.to_owned()),
        Kind::Usage(_) => None,
    }
}
