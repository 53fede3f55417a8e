//! Asking for a certificate: for a fresh key each time, in two steps that survive the connection between them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use swarmkit_api::wire::{
    IssueNodeCertificateRequest, NodeCertificateStatusRequest, NodeCertificateStatusResponse, issuance_status::State,
    node_ca_client::NodeCaClient, swarmkit::ca::v1::Returning,
};
use swarmkit_ca::{Error as CaError, Expiry, KeyPair, KeySource as _, NodeCertificate, RootCa, SystemKeys};
use swarmkit_rpc::{Channel, ClockReading};
use swarmkit_runtime::Env;
use tokio::time::Instant;
use tonic::{Code, Request, Status};

use crate::{JoinError, join};

/// How long a manager may take to note a request, as upstream.
const REQUEST_WAIT: Duration = Duration::from_secs(5);
/// How long one question for the outcome may wait for it, as upstream.
const STATUS_WAIT: Duration = Duration::from_secs(5);
/// How many such questions are asked before the wait is given up.
const STATUS_QUESTIONS: u32 = 12;
/// The pause after an answer that is not the one to our request.
const PAUSE: Duration = Duration::from_secs(2);

/// A request that a manager has noted.
pub(crate) struct Asked {
    node_id: String,
    key: Arc<KeyPair>,
    csr: Bytes,
}

/// Asks for a certificate for a fresh key. An empty token renews, under the channel's certificate. With a token, the
/// certificate that this node had proves which one it was, if it had one.
pub(crate) async fn ask(
    channel: Channel,
    token: &str,
    was: Option<&NodeCertificate>,
    env: &Env,
) -> Result<Asked, JoinError> {
    let address = channel.address().to_owned();
    let unusable = |source| unusable(&address, source);
    let key = Arc::new(SystemKeys.generate().map_err(unusable)?);
    let csr: Bytes = key.request().map_err(unusable)?.into();
    let returning = was.map(|was| proof(was, &csr)).transpose().map_err(unusable)?;
    let request =
        IssueNodeCertificateRequest { csr: csr.clone(), token: token.to_owned(), returning, ..Default::default() };
    let mut request = Request::new(request);
    request.set_timeout(REQUEST_WAIT);
    let (asked, began) = (env.now(), Instant::now());
    let answer = NodeCaClient::new(channel).issue_node_certificate(request).await;
    let answer = answer.map_err(|status| refused(&address, status))?;
    join::warn_of(ClockReading::of(&address, answer.metadata(), asked, began.elapsed()).as_ref());
    Ok(Asked { node_id: answer.into_inner().node_id, key, csr })
}

fn proof(was: &NodeCertificate, csr: &[u8]) -> Result<Returning, CaError> {
    Ok(Returning { chain: was.chain_pem().into(), signature: was.sign_return(csr)?.into() })
}

/// Waits for the certificate that was asked for, over this channel or another one.
pub(crate) async fn outcome(
    channel: Channel,
    asked: &Asked,
    root: &RootCa,
    env: &Env,
) -> Result<NodeCertificate, JoinError> {
    let address = channel.address().to_owned();
    let certificate = unverified_outcome(channel, asked, env).await?;
    certificate.verify(root, Expiry::Enforced, env.now()).map_err(|source| unusable(&address, source))?;
    Ok(certificate)
}

/// The same, and nobody has looked yet at who has signed it.
pub(crate) async fn unverified_outcome(
    channel: Channel,
    asked: &Asked,
    env: &Env,
) -> Result<NodeCertificate, JoinError> {
    let address = channel.address().to_owned();
    let answer = answer(channel, asked, env).await?;
    let status = answer.status.unwrap_or_default();
    if status.state() == State::Failed {
        return Err(JoinError::NotIssued { address, reason: status.err });
    }
    let chain = answer.certificate.unwrap_or_default().certificate;
    NodeCertificate::new(&String::from_utf8_lossy(&chain), asked.key.clone())
        .map_err(|source| unusable(&address, source))
}

/// Asks until there is an answer to our request, and not to one before it.
async fn answer(channel: Channel, asked: &Asked, env: &Env) -> Result<NodeCertificateStatusResponse, JoinError> {
    let address = channel.address().to_owned();
    let mut authority = NodeCaClient::new(channel);
    for asking in 1..=STATUS_QUESTIONS {
        let mut question = Request::new(NodeCertificateStatusRequest { node_id: asked.node_id.clone() });
        question.set_timeout(STATUS_WAIT);
        match authority.node_certificate_status(question).await.map(tonic::Response::into_inner) {
            Ok(answer) if answer.certificate.as_ref().is_some_and(|answered| answered.csr == asked.csr) => {
                return Ok(answer);
            }
            Ok(_) => env.sleep(PAUSE).await,
            Err(status) if status.code() == Code::DeadlineExceeded => {
                tracing::info!(
                    "{address} took the request and has made no certificate yet ({asking} of {STATUS_QUESTIONS})"
                );
            }
            Err(status) => return Err(refused(&address, status)),
        }
    }
    Err(JoinError::TooSlow { address })
}

fn refused(address: &str, status: Status) -> JoinError {
    JoinError::Refused { address: address.to_owned(), status: Box::new(status) }
}

fn unusable(address: &str, source: CaError) -> JoinError {
    JoinError::Unusable { address: address.to_owned(), source }
}
