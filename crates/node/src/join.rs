//! Getting a certificate from the cluster: the first one with a token, later ones under the present one.

use std::{sync::Arc, time::Duration};

use swarmkit_api::wire::{
    IssueNodeCertificateRequest, NodeCertificateStatusRequest, NodeCertificateStatusResponse, issuance_status::State,
    node_ca_client::NodeCaClient,
};
use swarmkit_ca::{Expiry, JoinToken, KeySource, NodeCertificate, RootCa, SystemKeys};
use swarmkit_rpc::{Channel, ChannelOptions, ServerRole, TlsTransport, fetch_root};
use swarmkit_runtime::{Env, Spawner};
use tonic::{Code, Request, Status};

use crate::JoinError;

/// How often a join is attempted before it is given up, as upstream.
const ATTEMPTS: u32 = 5;
/// The pause between attempts, as upstream.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a manager may take to note a request, as upstream.
const REQUEST_WAIT: Duration = Duration::from_secs(5);
/// How long one question for the outcome may wait for it, as upstream.
const STATUS_WAIT: Duration = Duration::from_secs(5);
/// How many such questions are asked before an attempt is given up.
const STATUS_QUESTIONS: u32 = 12;

/// The cluster that a node wants to join.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) token: Option<String>,
}

/// Joins a cluster: gets its roots, unless they are known already, and a certificate.
pub(crate) async fn join(
    target: &Target,
    known: Option<RootCa>,
    env: &Env,
    spawner: &Spawner,
) -> Result<(RootCa, NodeCertificate), JoinError> {
    let token = target.token.as_deref().ok_or(JoinError::NoToken)?;
    if !is_address(&target.address) {
        return Err(JoinError::Address { address: target.address.clone() });
    }
    let parsed = JoinToken::parse(token).map_err(JoinError::Token)?;
    if parsed.requires_fips() {
        return Err(JoinError::Fips);
    }
    let pin = Some(parsed.digest());
    let root = match known {
        Some(root) => root,
        None => persist(env, async || Ok(fetch_root(&target.address, pin, env, spawner).await?)).await?,
    };
    let unusable = |source| JoinError::Unusable { address: target.address.clone(), source };
    let transport = TlsTransport::joining(&root, env).map_err(unusable)?;
    let certificate = persist(env, async || {
        let options = ChannelOptions::default();
        let channel = Channel::connect(&transport, &target.address, ServerRole::Authority, &options, spawner).await?;
        request(channel, &root, token, env).await
    })
    .await?;
    Ok((root, certificate))
}

/// Could that be the `host:port` of somebody?
fn is_address(address: &str) -> bool {
    let port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    address.rsplit_once(':').is_some_and(|(host, after)| !host.is_empty() && port(after))
}

/// Tries again, with pauses, what can get better by itself.
async fn persist<T>(env: &Env, attempt: impl AsyncFn() -> Result<T, JoinError>) -> Result<T, JoinError> {
    let mut attempts = 1;
    loop {
        match attempt().await {
            Err(error) if error.is_transient() && attempts < ATTEMPTS => {
                tracing::warn!("{error}; trying again in {} s ({attempts} of {ATTEMPTS})", PAUSE.as_secs());
                attempts += 1;
                env.sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Asks for a certificate for a fresh key, and waits for it. An empty token renews, under the channel's certificate.
pub(crate) async fn request(
    channel: Channel,
    root: &RootCa,
    token: &str,
    env: &Env,
) -> Result<NodeCertificate, JoinError> {
    let address = channel.address().to_owned();
    let unusable = |source| JoinError::Unusable { address: address.clone(), source };
    let refused = |status: Status| JoinError::Refused { address: address.clone(), status: Box::new(status) };
    let key = Arc::new(SystemKeys.generate().map_err(unusable)?);
    let csr: bytes::Bytes = key.request().map_err(unusable)?.into();
    let mut authority = NodeCaClient::new(channel);
    let asked = IssueNodeCertificateRequest { csr: csr.clone(), token: token.to_owned(), ..Default::default() };
    let mut asked = Request::new(asked);
    asked.set_timeout(REQUEST_WAIT);
    let node_id = authority.issue_node_certificate(asked).await.map_err(refused)?.into_inner().node_id;

    let mut questions = 0;
    let issued = loop {
        let mut question = Request::new(NodeCertificateStatusRequest { node_id: node_id.clone() });
        question.set_timeout(STATUS_WAIT);
        questions += 1;
        match authority.node_certificate_status(question).await.map(tonic::Response::into_inner) {
            Ok(answer) if is_for(&answer, &csr) => break answer,
            // It was answered before ours was taken up; or nothing has happened yet.
            Ok(_) if questions < STATUS_QUESTIONS => env.sleep(PAUSE).await,
            Err(status) if status.code() == Code::DeadlineExceeded && questions < STATUS_QUESTIONS => {}
            Ok(_) => return Err(refused(Status::deadline_exceeded("the certificate was not issued in time"))),
            Err(status) => return Err(refused(status)),
        }
    };
    let status = issued.status.unwrap_or_default();
    if status.state() == State::Failed {
        return Err(JoinError::NotIssued { address, reason: status.err });
    }
    let chain = issued.certificate.unwrap_or_default().certificate;
    let certificate = NodeCertificate::new(&String::from_utf8_lossy(&chain), key).map_err(unusable)?;
    certificate.verify(root, Expiry::Enforced, env.now()).map_err(unusable)?;
    Ok(certificate)
}

/// Is this the answer to our request, and not to one before it?
fn is_for(answer: &NodeCertificateStatusResponse, csr: &[u8]) -> bool {
    answer.certificate.as_ref().is_some_and(|certificate| certificate.csr == csr)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use swarmkit_rpc::ConnectError;

    use super::*;

    fn closed() -> JoinError {
        ConnectError::Closed { address: "m:1".into(), reason: "reset".into() }.into()
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_five_times_with_pauses() {
        let env = Env::real();
        let attempts = Cell::new(0);
        let begin = tokio::time::Instant::now();
        let result: Result<(), _> = persist(&env, async || {
            attempts.set(attempts.get() + 1);
            Err(closed())
        })
        .await;
        assert!(result.is_err());
        assert_eq!(attempts.get(), ATTEMPTS);
        assert!(begin.elapsed() >= PAUSE * (ATTEMPTS - 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_get_better_is_tried_once() {
        let attempts = Cell::new(0);
        let result: Result<(), _> = persist(&Env::real(), async || {
            attempts.set(attempts.get() + 1);
            Err(JoinError::NoToken)
        })
        .await;
        assert!(matches!(result, Err(JoinError::NoToken)));
        assert_eq!(attempts.get(), 1);
    }
}
