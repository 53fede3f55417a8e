//! Following the cluster's roots, and telling what this node trusts.

use std::time::Duration;

use bytes::Bytes;
use swarmkit_agent::Membership;
use swarmkit_api::wire::{GetRootCaCertificateRequest, NodeTlsInfo, ca_client::CaClient};
use swarmkit_ca::{Credentials, KeyStore, RootCa};
use swarmkit_rpc::Channel;
use swarmkit_runtime::Env;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::{NodeError, state_dir::blocking};

/// How long a manager may take to tell the roots, as upstream.
const DOWNLOAD_WAIT: Duration = Duration::from_secs(5);

/// Takes over new roots that managers tell, if this node's own certificate verifies under them.
pub(crate) async fn follow(
    env: Env,
    credentials: Credentials,
    keys: KeyStore,
    mut membership: watch::Receiver<Membership>,
    stop: CancellationToken,
) -> Result<(), NodeError> {
    let mut kept = Bytes::copy_from_slice(credentials.trust().root().bundle().as_bytes());
    loop {
        let told = membership.borrow_and_update().root_ca.clone();
        if !told.is_empty() && told != kept {
            match take_over(&env, &credentials, &keys, &told).await {
                Ok(()) => kept = told,
                Err(error) => tracing::warn!(%error, "the root certificates that a manager told are not taken over"),
            }
        }
        tokio::select! { biased; // stopping comes first
            () = stop.cancelled() => return Ok(()),
            changed = membership.changed() => if changed.is_err() {
                return Ok(());
            },
        }
    }
}

/// Asks a manager for the roots, and takes them over if this node's own certificate verifies under them: so they can come
/// only from whoever has the key of the root that signed it.
///
/// What goes wrong is told; whoever needs the roots sees whether they are there.
pub(crate) async fn download(env: &Env, credentials: &Credentials, keys: &KeyStore, channel: Channel) {
    let mut request = Request::new(GetRootCaCertificateRequest {});
    request.set_timeout(DOWNLOAD_WAIT);
    let told = match CaClient::new(channel).get_root_ca_certificate(request).await {
        Ok(answer) => answer.into_inner().certificate,
        Err(status) => {
            tracing::warn!(%status, "the root certificates of the cluster cannot be had");
            return;
        }
    };
    if told == credentials.trust().root().bundle().as_bytes() {
        return;
    }
    if let Err(error) = take_over(env, credentials, keys, &told).await {
        tracing::warn!(%error, "the root certificates of the cluster are not taken over");
    }
}

async fn take_over(env: &Env, credentials: &Credentials, keys: &KeyStore, told: &[u8]) -> Result<(), NodeError> {
    let root = RootCa::from_pem(&String::from_utf8_lossy(told), env.now())?;
    credentials.replace_root(root.clone())?;
    let digest = root.digest();
    let keys = keys.clone();
    blocking(move || Ok(keys.save_root(&root)?)).await?;
    tracing::info!(%digest, "new root certificates are trusted");
    Ok(())
}

/// Keeps what managers are told up to date.
pub(crate) async fn tell(
    credentials: Credentials,
    told: watch::Sender<Option<NodeTlsInfo>>,
    stop: CancellationToken,
) -> Result<(), NodeError> {
    let mut changes = credentials.subscribe();
    loop {
        let info = changes.borrow_and_update().tls_info();
        told.send_if_modified(|told| {
            let changed = told.as_ref() != Some(&info);
            *told = Some(info);
            changed
        });
        tokio::select! { biased; // stopping comes first
            () = stop.cancelled() => return Ok(()),
            changed = changes.changed() => if changed.is_err() {
                return Ok(());
            },
        }
    }
}

/// What managers are told at first.
pub(crate) fn first(credentials: &Credentials) -> watch::Sender<Option<NodeTlsInfo>> {
    watch::Sender::new(Some(credentials.trust().tls_info()))
}

#[cfg(test)]
mod tests;
