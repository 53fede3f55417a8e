//! Asks secret drivers on behalf of the streams to nodes.
//!
//! Each question is a part of its own in the crew of the term, so a stream whose node reads slowly holds up no other one, and
//! a driver that hangs holds up only the tasks that need it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use swarmkit_api::{Secret, SecretId};
use swarmkit_runtime::{Env, Spawner};
use swarmkit_secret_drivers::{ProvidedSecret, SecretDrivers, SecretError, fetch};
use tokio::sync::{Semaphore, mpsc};

use crate::{
    assignments::{Provision, Want, own_id},
    config::{DRIVER_CALLS, DRIVER_CALLS_WAITING},
};

/// Where the streams of one term have drivers asked.
pub(crate) struct SecretDesk {
    env: Env,
    drivers: Arc<dyn SecretDrivers>,
    /// How many more questions each driver may be asked at once. Those that this manager has.
    places: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    spawner: Spawner,
}

/// What one stream has asked, and has yet to hear.
pub(crate) struct Asked {
    desk: Arc<SecretDesk>,
    answers: Option<(mpsc::Sender<Provision>, mpsc::Receiver<Provision>)>,
}

// === impl SecretDesk ===

impl SecretDesk {
    pub(crate) fn new(env: Env, drivers: Arc<dyn SecretDrivers>, spawner: Spawner) -> Self {
        Self { env, drivers, places: Mutex::default(), spawner }
    }

    /// Asks a driver. The answer is a provision in any case, unless nobody waits for it any more.
    fn ask(self: &Arc<Self>, want: Want, answers: mpsc::Sender<Provision>) {
        let (desk, stop) = (Arc::clone(self), self.spawner.stop().clone());
        drop(self.spawner.spawn("secret", async move {
            tokio::select! { biased; // a stream that is over, and a term, wait for no driver
                () = stop.cancelled() => {}
                () = answers.closed() => {}
                () = async {
                    let provision = desk.provision(&want).await;
                    // Whoever is gone needs no answer.
                    answers.send(provision).await.ok();
                } => {}
            }
        }));
    }

    async fn provision(&self, want: &Want) -> Provision {
        let Want { secret, task } = want;
        let provided = match self.fetch(want).await {
            Ok(provided) => Some(Arc::new(filled(want, provided))),
            Err(error) => {
                let name = secret.spec.annotations.as_ref().map(|named| named.name.as_str()).unwrap_or_default();
                let (service, driver) = (&task.service_annotations.name, secret.spec.driver.as_ref());
                let driver = driver.map(|driver| driver.name.as_str()).unwrap_or_default();
                tracing::warn!(task = %task.id, service, secret = name, driver, %error, "no value for a secret");
                None
            }
        };
        Provision { task: task.id.clone(), secret: secret.id.to_string(), provided }
    }

    async fn fetch(&self, want: &Want) -> Result<ProvidedSecret, SecretError> {
        let name = want.secret.spec.driver.as_ref().map(|driver| driver.name.as_str()).unwrap_or_default();
        let place = self.drivers.find(name).is_some().then(|| self.place(name));
        // It is never closed.
        let _place = match &place {
            Some(place) => place.acquire().await.ok(),
            None => None,
        };
        fetch(&*self.drivers, &want.secret, &want.task, &self.env).await
    }

    fn place(&self, driver: &str) -> Arc<Semaphore> {
        let new = || Arc::new(Semaphore::new(DRIVER_CALLS));
        Arc::clone(self.places.lock().entry(driver.to_owned()).or_insert_with(new))
    }
}

/// The secret as a node is given it: with its value, and under an id of its own if it is for one task alone.
fn filled(want: &Want, provided: ProvidedSecret) -> Secret {
    let mut secret = Secret::clone(&want.secret);
    if provided.do_not_reuse {
        secret.id = SecretId::from(own_id(secret.id.as_ref(), &want.task.id));
        secret.internal = true;
    }
    // Wiped when the last stream has sent it.
    Arc::make_mut(&mut secret.spec).data = Bytes::from_owner(provided.value);
    secret
}

// === impl Asked ===

impl Asked {
    pub(crate) fn new(desk: Arc<SecretDesk>) -> Self {
        Self { desk, answers: None }
    }

    pub(crate) fn ask(&mut self, wants: Vec<Want>) {
        for want in wants {
            let (answers, _) = self.answers.get_or_insert_with(|| mpsc::channel(DRIVER_CALLS_WAITING));
            self.desk.ask(want, answers.clone());
        }
    }

    /// What has been answered already.
    pub(crate) fn try_next(&mut self) -> Option<Provision> {
        self.answers.as_mut().and_then(|(_, answers)| answers.try_recv().ok())
    }

    /// The next answer. Waits until there is one, for ever if nothing was asked.
    pub(crate) async fn next(&mut self) -> Provision {
        if let Some((_, answers)) = &mut self.answers
            && let Some(provision) = answers.recv().await
        {
            return provision;
        }
        std::future::pending().await
    }
}
