//! First contact: learning a cluster's roots from a manager that cannot be verified yet.

use std::sync::Arc;

use swarmkit_api::wire::{GetRootCaCertificateRequest, ca_client::CaClient};
use swarmkit_ca::{RootCa, RootDigest};
use swarmkit_runtime::{Env, Spawner};
use tonic::{Code, Request, Status};

use crate::{
    channel::{Channel, ChannelOptions},
    connect_error::ConnectError,
    tls::TlsTransport,
    transport::ServerRole,
};

/// Why a cluster's roots could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The manager could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It was reached and would not answer.
    #[error("{address} would not tell its root CA: {}", status.message())]
    Refused {
        /// Which manager.
        address: String,
        /// What it said.
        status: Status,
    },
    /// It told a bundle that is not the pinned one, or that cannot be used.
    #[error("{address}: {source}")]
    Roots {
        /// Which manager.
        address: String,
        /// What is wrong.
        source: swarmkit_ca::Error,
    },
}

impl FetchError {
    /// Whether trying again, here or elsewhere, can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Refused { status, .. } => {
                let passes = [Code::Unavailable, Code::Aborted, Code::DeadlineExceeded, Code::ResourceExhausted];
                passes.contains(&status.code())
            }
            Self::Roots { .. } => false,
        }
    }
}

/// Asks the manager at an address for the cluster's roots, once. Its certificate is not verified: the bundle it tells
/// must match `pin`, the digest in the join token. Without a pin, whoever answers is believed.
///
/// # Errors
///
/// What stands in the way.
pub async fn fetch_root(
    address: &str,
    pin: Option<RootDigest>,
    env: &Env,
    spawner: &Spawner,
) -> Result<RootCa, FetchError> {
    let roots = |source| FetchError::Roots { address: address.to_owned(), source };
    let transport = Arc::new(TlsTransport::unverified(env).map_err(roots)?);
    let options = ChannelOptions { unary_timeout: ChannelOptions::default().connect_timeout, ..Default::default() };
    let channel = Channel::connect(&*transport, address, ServerRole::Authority, &options, spawner).await?;
    let answer = CaClient::new(channel).get_root_ca_certificate(Request::new(GetRootCaCertificateRequest {})).await;
    let bundle =
        answer.map_err(|status| FetchError::Refused { address: address.to_owned(), status })?.into_inner().certificate;
    let bundle = String::from_utf8_lossy(&bundle);
    match pin {
        Some(pin) => RootCa::from_pinned_pem(&bundle, pin, env.now()),
        None => RootCa::from_pem(&bundle, env.now()),
    }
    .map_err(roots)
}
