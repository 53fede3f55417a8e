//! First contact: learning a cluster's roots from a manager that cannot be verified yet.

use std::time::{Duration, SystemTime};

use swarmkit_api::wire::{GetRootCaCertificateRequest, ca_client::CaClient};
use swarmkit_ca::{Error as CaError, RootCa, RootDigest};
use swarmkit_runtime::{Env, Spawner};
use tokio::time::Instant;
use tonic::{Code, Request, Status};

use crate::{
    channel::{Channel, ChannelOptions},
    clock::ClockReading,
    connect_error::ConnectError,
    tls::TlsTransport,
    transport::ServerRole,
};

/// How a text of tonic begins on an answer that comes from no gRPC server.
const NO_STATUS: &str = "grpc-status header missing";

/// Why a cluster's roots could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The manager could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Whoever is there speaks gRPC, and knows nothing of certificates.
    #[error("{address} speaks HTTP/2 and is no manager of a swarm")]
    NoManager {
        /// What was dialled.
        address: String,
    },
    /// It was reached, and has not answered. It may wait for its leader.
    #[error("{address} was reached and did not tell its root CA within {} ms", after.as_millis())]
    TooSlow {
        /// Which manager.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// It was reached and would not answer.
    #[error("{address} would not tell its root CA: {}", status.message())]
    Refused {
        /// Which manager.
        address: String,
        /// What it said.
        status: Box<Status>,
    },
    /// It told a bundle that is not the pinned one, or that cannot be used.
    #[error("{address}: {source}")]
    Roots {
        /// Which manager.
        address: String,
        /// What is wrong.
        source: CaError,
    },
}

impl FetchError {
    /// Whether trying again, here or elsewhere, can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::TooSlow { .. } => true,
            Self::Refused { status, .. } => {
                matches!(status.code(), Code::Unavailable | Code::Aborted | Code::ResourceExhausted)
            }
            Self::NoManager { .. } | Self::Roots { .. } => false,
        }
    }

    fn of(address: &str, after: Duration, status: Status) -> Self {
        let address = address.to_owned();
        match status.code() {
            Code::Unimplemented => Self::NoManager { address },
            _ if status.message().starts_with(NO_STATUS) => Self::NoManager { address },
            Code::DeadlineExceeded => Self::TooSlow { address, after },
            _ => Self::Refused { address, status: Box::new(status) },
        }
    }
}

/// What a manager says of itself to whoever asks. Nothing of it is proved.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// Who says so.
    pub address: String,
    /// The roots of its cluster (PEM).
    pub bundle: String,
    /// What the clocks say, if it told the time.
    pub clock: Option<ClockReading>,
}

impl Introduction {
    /// The cluster's roots. They must match `pin`, the digest in the join token; without one, whoever has answered is
    /// believed.
    ///
    /// # Errors
    ///
    /// [`FetchError::Roots`].
    pub fn root(&self, pin: Option<RootDigest>, now: SystemTime) -> Result<RootCa, FetchError> {
        match pin {
            Some(pin) => RootCa::from_pinned_pem(&self.bundle, pin, now),
            None => RootCa::from_pem(&self.bundle, now),
        }
        .map_err(|source| FetchError::Roots { address: self.address.clone(), source })
    }
}

/// Asks the manager at an address who it is, once. Its certificate is not verified.
///
/// # Errors
///
/// What stands in the way.
pub async fn introduce(address: &str, env: &Env, spawner: &Spawner) -> Result<Introduction, FetchError> {
    let transport = TlsTransport::unverified(env);
    let transport = transport.map_err(|source| FetchError::Roots { address: address.to_owned(), source })?;
    let after = ChannelOptions::default().connect_timeout;
    let options = ChannelOptions { unary_timeout: after, ..Default::default() };
    let channel = Channel::connect(&transport, address, ServerRole::Authority, &options, spawner).await?;
    let (asked, began) = (env.now(), Instant::now());
    let answer = CaClient::new(channel).get_root_ca_certificate(Request::new(GetRootCaCertificateRequest {})).await;
    let answer = answer.map_err(|status| FetchError::of(address, after, status))?;
    let clock = ClockReading::of(address, answer.metadata(), asked, began.elapsed());
    let bundle = String::from_utf8_lossy(&answer.into_inner().certificate).into_owned();
    Ok(Introduction { address: address.to_owned(), bundle, clock })
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
    introduce(address, env, spawner).await?.root(pin, env.now())
}
