//! Asking what locks the managers of a cluster, before the first file of a new manager is written.

use std::time::Duration;

use swarmkit_api::wire::{GetUnlockKeyRequest, ca_client::CaClient};
use swarmkit_ca::{ManagerLock, UnlockKey};
use swarmkit_rpc::Channel;
use tonic::{Code, Request};

use crate::JoinError;

/// How long a manager may take to answer, as upstream.
const WAIT: Duration = Duration::from_secs(5);

/// What locks the managers of the cluster. The channel must show the certificate of a manager.
pub(crate) async fn ask(channel: Channel) -> Result<ManagerLock, JoinError> {
    let address = channel.address().to_owned();
    let mut question = Request::new(GetUnlockKeyRequest {});
    question.set_timeout(WAIT);
    let answer = match CaClient::new(channel).get_unlock_key(question).await {
        Ok(answer) => answer.into_inner(),
        // A cluster that knows no locks.
        Err(status) if status.code() == Code::Unimplemented => return Ok(ManagerLock::default()),
        Err(status) => return Err(JoinError::Refused { address, status: Box::new(status) }),
    };
    let key = (!answer.unlock_key.is_empty()).then(|| UnlockKey::from_bytes(&answer.unlock_key)).transpose();
    let key = key.map_err(|source| JoinError::Unusable { address, source })?;
    Ok(ManagerLock { version: answer.version.unwrap_or_default().into(), key })
}
