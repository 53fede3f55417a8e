//! The client: each authority in its turn, until one has answered.

use futures_util::future::BoxFuture;
use swarmkit_ca::{Authorities, Credentials, ExternalCa, ExternalCaError, RootCa, SigningOrder};
use swarmkit_runtime::Env;

use crate::{
    cfssl::{Meaning, Question},
    https,
};

/// Asks authorities that speak CFSSL. Clones share the credentials.
#[derive(Clone, Debug)]
pub struct CfsslClient {
    env: Env,
    credentials: Credentials,
}

impl CfsslClient {
    /// Shows the certificate that `credentials` hold at the moment of each question.
    #[must_use]
    pub fn new(env: Env, credentials: Credentials) -> Self {
        Self { env, credentials }
    }

    async fn ask(&self, authorities: &Authorities, question: &Question) -> Result<String, ExternalCaError> {
        let body = question.to_json();
        let mut last = ExternalCaError::NoUrls;
        for url in authorities.urls() {
            match self.ask_one(url, body.clone(), &authorities.servers()).await {
                Ok(certificate) => return Ok(certificate),
                Err(error) => {
                    tracing::debug!(%error, "an external CA was asked in vain");
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn ask_one(&self, url: &str, body: Vec<u8>, servers: &[&RootCa]) -> Result<String, ExternalCaError> {
        let unavailable = |reason: String| ExternalCaError::Unavailable { url: url.to_owned(), reason };
        let tls = self.credentials.https_client(servers).map_err(|error| unavailable(error.to_string()))?;
        let (status, body) = https::post(url, body, tls, &self.env).await.map_err(unavailable)?;
        match Meaning::of(status, &body) {
            Meaning::Certificate(certificate) => Ok(certificate),
            Meaning::Refusal(reason) => Err(ExternalCaError::Refused { url: url.to_owned(), reason }),
            Meaning::Nonsense(reason) => Err(unavailable(reason)),
        }
    }
}

impl ExternalCa for CfsslClient {
    fn sign<'a>(
        &'a self,
        authorities: &'a Authorities,
        order: &'a SigningOrder,
    ) -> BoxFuture<'a, Result<String, ExternalCaError>> {
        Box::pin(async move { self.ask(authorities, &Question::for_node(order, self.env.now())).await })
    }

    fn cross_sign<'a>(
        &'a self,
        authorities: &'a Authorities,
        root: &'a RootCa,
    ) -> BoxFuture<'a, Result<String, ExternalCaError>> {
        Box::pin(async move {
            let request = root.cross_sign_request().map_err(|error| ExternalCaError::Refused {
                url: authorities.urls().first().cloned().unwrap_or_default(),
                reason: error.to_string(),
            })?;
            self.ask(authorities, &Question::for_authority(request)).await
        })
    }

    fn reach<'a>(&'a self, authorities: &'a Authorities) -> BoxFuture<'a, Result<(), ExternalCaError>> {
        Box::pin(async move {
            let mut last = ExternalCaError::NoUrls;
            for url in authorities.urls() {
                let unavailable = |reason: String| ExternalCaError::Unavailable { url: url.clone(), reason };
                let tls = self.credentials.https_client(&[authorities.root()]);
                let reached = match tls.map_err(|error| error.to_string()) {
                    Ok(tls) => https::reach(url, tls, &self.env).await,
                    Err(error) => Err(error),
                };
                match reached {
                    Ok(()) => return Ok(()),
                    Err(reason) => last = unavailable(reason),
                }
            }
            Err(last)
        })
    }
}
