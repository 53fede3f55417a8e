//! An authority outside of the cluster, without a network between.

use std::sync::Arc;

use futures_util::future::{BoxFuture, pending};
use parking_lot::Mutex;
use swarmkit_ca::{Authorities, ExternalCa, ExternalCaError, RootCa, SigningOrder};
use swarmkit_runtime::Env;
use tokio::sync::watch;

/// How an [`ExternalSigner`] answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    #[default]
    Well,
    /// It gives no answer that could be understood.
    Away,
    /// It never answers.
    Silent,
    /// It says no.
    Refusing,
    /// It signs for another node than it was asked for.
    Impostor,
}

/// Holds the key of a root that a cluster does not have. It does not look at addresses, so any that count will do. Clones
/// are the same one.
#[derive(Clone)]
pub struct ExternalSigner(Arc<Inner>);

struct Inner {
    env: Env,
    root: Mutex<RootCa>,
    mood: Mutex<Mood>,
    asked: watch::Sender<u64>,
}

impl ExternalSigner {
    /// Signs with `root`, which must hold its key.
    #[must_use]
    pub fn new(root: RootCa, env: &Env) -> Self {
        let (root, mood, asked) = (Mutex::new(root), Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Inner { env: env.clone(), root, mood, asked }))
    }

    /// From now on it answers so.
    pub fn turn(&self, mood: Mood) {
        *self.0.mood.lock() = mood;
    }

    /// From now on it signs with another root.
    pub fn sign_with(&self, root: RootCa) {
        *self.0.root.lock() = root;
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> watch::Receiver<u64> {
        self.0.asked.subscribe()
    }

    async fn answer(
        &self,
        authorities: &Authorities,
        sign: impl FnOnce(&RootCa, bool) -> Result<String, swarmkit_ca::Error>,
    ) -> Result<String, ExternalCaError> {
        let Some(url) = authorities.urls().first().cloned() else { return Err(ExternalCaError::NoUrls) };
        self.0.asked.send_modify(|asked| *asked += 1);
        let (mood, root) = (*self.0.mood.lock(), self.0.root.lock().clone());
        match mood {
            Mood::Away => Err(ExternalCaError::Unavailable { url, reason: "nobody answers".to_owned() }),
            Mood::Silent => pending().await,
            Mood::Refusing => Err(ExternalCaError::Refused { url, reason: "not today".to_owned() }),
            Mood::Well | Mood::Impostor => sign(&root, mood == Mood::Impostor)
                .map_err(|error| ExternalCaError::Refused { url, reason: error.to_string() }),
        }
    }
}

impl ExternalCa for ExternalSigner {
    fn sign<'a>(
        &'a self,
        authorities: &'a Authorities,
        order: &'a SigningOrder,
    ) -> BoxFuture<'a, Result<String, ExternalCaError>> {
        Box::pin(self.answer(authorities, |root, impostor| {
            let (mut identity, now) = (order.identity().clone(), self.0.env.now());
            if impostor {
                identity.node = "somebody-else".into();
            }
            let validity = order.validity(now).not_after.duration_since(now).expect("orders are for the future");
            root.issue(order.request(), &identity, validity, &self.0.env)
        }))
    }

    fn cross_sign<'a>(
        &'a self,
        authorities: &'a Authorities,
        root: &'a RootCa,
    ) -> BoxFuture<'a, Result<String, ExternalCaError>> {
        let target = root.bundle();
        Box::pin(self.answer(authorities, move |root, _| root.cross_sign(target)))
    }

    fn reach<'a>(&'a self, authorities: &'a Authorities) -> BoxFuture<'a, Result<(), ExternalCaError>> {
        Box::pin(async move {
            let Some(url) = authorities.urls().first().cloned() else { return Err(ExternalCaError::NoUrls) };
            let is_theirs = authorities.root().bundle() == self.0.root.lock().bundle();
            match *self.0.mood.lock() {
                Mood::Well | Mood::Refusing | Mood::Impostor if is_theirs => Ok(()),
                _ => Err(ExternalCaError::Unavailable { url, reason: "nobody answers".to_owned() }),
            }
        })
    }
}
