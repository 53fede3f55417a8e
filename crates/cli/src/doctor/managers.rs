//! The managers that this machine knows: whether they are reached, which cluster they are of, and what their clocks say.

use std::sync::Arc;

use swarmkit_ca::{Credentials, JoinToken, NodeCertificate, RootCa, RootDigest};
use swarmkit_node::JoinError;
use swarmkit_rpc::{
    CLOCK_TOLERANCE, Channel, ChannelOptions, ConnectError, FetchError, Introduction, ServerRole, TlsTransport,
    introduce,
};
use swarmkit_runtime::{Env, Spawner};

use super::finding::{Finding, Verdict};

const CHECK: &str = "managers";
const CLOCK: &str = "clock";
const TOKEN: &str = "join token";

/// What one manager has answered.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) address: String,
    pub(super) told: Result<Introduction, FetchError>,
    /// Whether it takes this node for a member. `None` without a certificate that could be shown.
    pub(super) taken: Option<Result<(), ConnectError>>,
}

/// What all of them are compared with.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// The roots that this node trusts.
    pub(super) root: Option<RootDigest>,
    /// Those that the token pins.
    pub(super) pin: Option<RootDigest>,
}

/// Asks one manager.
pub(super) async fn ask(
    address: String,
    own: Option<(&RootCa, &NodeCertificate)>,
    env: &Env,
    spawner: &Spawner,
) -> Contact {
    let told = introduce(&address, env, spawner).await;
    let credentials = own.and_then(|(root, node)| Credentials::new(root.without_signer(), node.clone(), env).ok());
    let taken = match (credentials, &told) {
        (Some(credentials), Ok(_)) => {
            let transport = Arc::new(TlsTransport::new(credentials));
            let options = ChannelOptions::default();
            let channel = Channel::connect(&*transport, &address, ServerRole::Manager, &options, spawner).await;
            Some(channel.map(drop))
        }
        _ => None,
    };
    Contact { address, told, taken }
}

/// Reads a token.
pub(super) fn pin(token: &str) -> Result<RootDigest, Finding> {
    JoinToken::parse(token).map(|token| token.digest()).map_err(|error| {
        Finding::problem(TOKEN, error.to_string())
            .mend("a manager shows the present tokens: swarmctl cluster inspect default")
    })
}

/// What is to be said.
pub(super) fn judge(contacts: Vec<Contact>, own: &Own) -> Vec<Finding> {
    if contacts.is_empty() {
        return vec![
            Finding::skipped(CHECK, "none is known but this node itself")
                .mend("to look at one: swarmd doctor --join-addr HOST:PORT"),
        ];
    }
    let reached = contacts.iter().any(|contact| contact.told.is_ok());
    contacts.into_iter().flat_map(|contact| one(contact, own, reached)).collect()
}

fn one(contact: Contact, own: &Own, others: bool) -> Vec<Finding> {
    let Contact { address, told, taken } = contact;
    let told = match told {
        Ok(told) => told,
        Err(error) => {
            let error = JoinError::from(error);
            let finding = Finding::problem(CHECK, error.to_string());
            // One of several may be down.
            let finding = if others { Finding { verdict: Verdict::Warning, ..finding } } else { finding };
            return vec![match error.advice() {
                Some(advice) => finding.mend(advice),
                None => finding,
            }];
        }
    };
    let mut findings = Vec::new();
    let root = RootDigest::of(told.bundle.as_bytes());
    match taken {
        Some(Err(error)) => {
            let error = JoinError::from(error);
            let finding =
                Finding::problem(CHECK, format!("{address} is reached, and does not go with this node: {error}"));
            findings.push(match error.advice() {
                Some(advice) => finding.mend(advice),
                None => finding,
            });
        }
        Some(Ok(())) => findings.push(Finding::ok(CHECK, format!("{address} is reached, and each trusts the other"))),
        None => findings.push(Finding::ok(CHECK, format!("{address} is reached"))),
    }
    if own.root.is_some_and(|own| own != root) {
        findings.push(
            Finding::warning(CHECK, format!("{address} tells other roots than this node trusts"))
                .mend("no harm while the root is being replaced; else it is another cluster's manager"),
        );
    }
    if let Some(pin) = own.pin {
        findings.push(if pin == root {
            Finding::ok(
                TOKEN,
                format!("it is one of the cluster of {address}; whether its secret is known shows in joining"),
            )
        } else {
            Finding::problem(
                TOKEN,
                format!("it is of another cluster than {address}, or of a time before that changed its root"),
            )
            .mend("a manager shows the present tokens: swarmctl cluster inspect default")
        });
    }
    findings.push(match &told.clock {
        Some(clock) if clock.is_wrong() => {
            Finding::problem(CLOCK, clock.to_string()).mend("set it, for example with NTP")
        }
        Some(_) => Finding::ok(
            CLOCK,
            format!("it agrees with that of {address} within {} min", CLOCK_TOLERANCE.as_secs() / 60),
        ),
        None => Finding::skipped(CLOCK, format!("{address} does not tell the time")),
    });
    findings
}
