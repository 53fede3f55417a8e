//! Images: when they are fetched, and that each is fetched once at a time.

mod progress;

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use parking_lot::Mutex;
use swarmkit_executor::ExecError;
use swarmkit_runtime::{Backoff, Env, Spawner};
use tokio::sync::{Semaphore, watch};

use self::progress::Layers;
use crate::{
    doing::Doing,
    engine::{Engine, EngineError, Pull},
};

/// How many images are fetched at a time; an engine fetches the parts of each side by side already.
const AT_ONCE: usize = 3;
/// How long a registry may be silent before the fetch is given up.
const SILENCE: Duration = Duration::from_secs(300);
/// How long to wait before a fetch is tried again, at first and at most.
const RETRY: Duration = Duration::from_millis(500);
const RETRY_CAP: Duration = Duration::from_secs(10);

/// When an image is fetched from its registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// For every task, so that a tag that was moved is noticed; if that fails, the image that is on the node will do.
    /// What is pinned by a digest is fetched only if it is missing.
    #[default]
    Always,
    /// Only if it is not on the node.
    Missing,
    /// Never: what is not on the node cannot be run there.
    Never,
}

/// How often a fetch is tried before the task is rejected, unless told otherwise.
pub const DEFAULT_PULL_TRIES: u32 = 5;

/// Where a fetch is.
#[derive(Clone, Debug)]
enum Fetch {
    /// Under way, with what there is to say of it.
    Goes(String),
    Ended(Result<(), EngineError>),
}

/// The fetches under way. They go on when whoever asked for them goes away, and are found when he comes back.
#[derive(Clone, Debug)]
pub(crate) struct Pulls {
    env: Env,
    tries: u32,
    running: Arc<Mutex<BTreeMap<Pull, watch::Receiver<Fetch>>>>,
    permits: Arc<Semaphore>,
}

impl Pulls {
    pub(crate) fn new(env: Env, tries: u32) -> Self {
        Self { env, tries: tries.max(1), running: Arc::default(), permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Sees to it that an image is on the node, as far as the policy says.
    pub(crate) async fn provide(
        &self,
        engine: &Engine,
        spawner: &Spawner,
        policy: PullPolicy,
        pull: &Pull,
        doing: &Doing,
    ) -> Result<(), ExecError> {
        let here = engine.has_image(&pull.image).await.map_err(EngineError::rejected)?;
        match (asks_registry(policy, &pull.image), here) {
            (Asks::Never, false) => {
                return Err(ExecError::rejected(format!("image {} is not on this node, and not fetched", pull.image)));
            }
            (Asks::Never | Asks::IfMissing, true) => return Ok(()),
            (Asks::IfMissing, false) | (Asks::Always, _) => {}
        }
        // An image that is here need not wait for its registry.
        let tries = if here { 1 } else { self.tries };
        match self.fetch(engine, spawner, pull, tries, doing).await {
            Ok(()) => Ok(()),
            Err(error) if here => {
                tracing::info!(image = pull.image, %error, "the image on this node will do");
                Ok(())
            }
            Err(EngineError::Away(error)) => Err(ExecError::temporary(format!("fetching {}: {error}", pull.image))),
            Err(error) => Err(ExecError::rejected(format!("fetching image {}: {error}", pull.image))),
        }
    }

    /// Fetches an image, or waits for a fetch that is under way.
    async fn fetch(
        &self,
        engine: &Engine,
        spawner: &Spawner,
        pull: &Pull,
        tries: u32,
        doing: &Doing,
    ) -> Result<(), EngineError> {
        let mut fetch = self.join_or_begin(engine, spawner, pull, tries);
        loop {
            match &*fetch.borrow_and_update() {
                Fetch::Goes(text) => doing.say(text),
                Fetch::Ended(end) => return end.clone(),
            }
            if fetch.changed().await.is_err() {
                return Err(EngineError::Away("the node stops".to_owned()));
            }
        }
    }

    fn join_or_begin(&self, engine: &Engine, spawner: &Spawner, pull: &Pull, tries: u32) -> watch::Receiver<Fetch> {
        let mut running = self.running.lock();
        if let Some(fetch) = running.get(pull) {
            return fetch.clone();
        }
        let (tell, fetch) = watch::channel(Fetch::Goes(format!("waiting to fetch {}", pull.image)));
        running.insert(pull.clone(), fetch.clone());
        drop(running);
        let (pulls, engine, pull) = (self.clone(), engine.clone(), pull.clone());
        spawner.spawn("pull", async move {
            let end = pulls.run(&engine, &pull, tries, &tell).await;
            pulls.running.lock().remove(&pull);
            tell.send_replace(Fetch::Ended(end));
        });
        fetch
    }

    /// Tries to fetch an image until it is here, or trying again is of no use.
    async fn run(
        &self,
        engine: &Engine,
        pull: &Pull,
        tries: u32,
        tell: &watch::Sender<Fetch>,
    ) -> Result<(), EngineError> {
        let mut backoff = Backoff::new(RETRY, RETRY_CAP, self.env.rng(&format!("docker-pull/{}", pull.image)));
        for left in (0..tries).rev() {
            let failed = match self.attempt(engine, pull, tell).await {
                Err(EngineError::Refused(reason)) if left > 0 && may_pass(&reason) => reason,
                end => return end,
            };
            tracing::info!(image = pull.image, failed, left, "cannot be fetched; trying again");
            tell.send_replace(Fetch::Goes(format!("cannot fetch {}, trying again: {failed}", pull.image)));
            self.env.sleep(backoff.next_delay()).await;
        }
        Err(EngineError::Refused("it was never tried".to_owned()))
    }

    async fn attempt(&self, engine: &Engine, pull: &Pull, tell: &watch::Sender<Fetch>) -> Result<(), EngineError> {
        let _permit = self.permits.acquire().await;
        tracing::info!(image = pull.image, "fetching");
        tell.send_replace(Fetch::Goes(format!("fetching {}", pull.image)));
        let mut layers = Layers::default();
        let mut messages = pin!(engine.pull(pull));
        loop {
            let next = tokio::time::timeout(SILENCE, messages.try_next()).await;
            match next.map_err(|_| EngineError::Refused("the registry has stopped answering".to_owned()))?? {
                None => return Ok(()),
                Some(message) => layers.absorb(&message),
            }
            if let Some(text) = layers.text() {
                tell.send_replace(Fetch::Goes(format!("fetching {}: {text}", pull.image)));
            }
        }
    }
}

/// Whether a fetch that failed for that reason may go well later. What the engine says is all there is to go by: it
/// passes on in the same way what a registry has refused and that it has not come so far as to ask it.
fn may_pass(reason: &str) -> bool {
    const FOR_GOOD: [&str; 9] = [
        "unauthorized",
        "authentication required",
        "no basic auth credentials",
        "access denied",
        "manifest unknown",
        "no matching manifest",
        "invalid reference",
        "unsupported",
        "no space left",
    ];
    let reason = reason.to_lowercase();
    !FOR_GOOD.iter().any(|words| reason.contains(words))
}

/// When the registry is asked for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Never,
    IfMissing,
    Always,
}

fn asks_registry(policy: PullPolicy, image: &str) -> Asks {
    match policy {
        _ if is_id(image) => Asks::Never,
        PullPolicy::Never => Asks::Never,
        PullPolicy::Missing => Asks::IfMissing,
        PullPolicy::Always if image.contains('@') => Asks::IfMissing,
        PullPolicy::Always => Asks::Always,
    }
}

/// An id names what is on a node already; no registry knows it.
fn is_id(image: &str) -> bool {
    let hex = image.strip_prefix("sha256:").unwrap_or(image);
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The image with a tag: without one a registry would give all that it has.
pub(crate) fn with_tag(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains([':', '@']) || is_id(image) { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_its_latest() {
        for (image, whole) in [
            ("nginx", "nginx:latest"),
            ("localhost:5000/nginx", "localhost:5000/nginx:latest"),
            ("localhost:5000/nginx:1.2", "localhost:5000/nginx:1.2"),
            ("nginx@sha256:00", "nginx@sha256:00"),
        ] {
            assert_eq!(with_tag(image), whole);
        }
    }

    #[test]
    fn what_cannot_have_changed_is_not_asked_for_again() {
        assert_eq!(asks_registry(PullPolicy::Always, "nginx:latest"), Asks::Always);
        assert_eq!(asks_registry(PullPolicy::Always, "nginx@sha256:00"), Asks::IfMissing);
        assert_eq!(asks_registry(PullPolicy::Missing, "nginx:latest"), Asks::IfMissing);
        assert_eq!(asks_registry(PullPolicy::Never, "nginx:latest"), Asks::Never);
        assert_eq!(asks_registry(PullPolicy::Always, &format!("sha256:{}", "0a".repeat(32))), Asks::Never);
    }

    #[test]
    fn what_a_registry_has_refused_is_not_asked_for_again_and_one_that_is_away_is() {
        let refused = [
            "pull access denied for a/b, repository does not exist or may require 'docker login'",
            "manifest for localhost:5000/a:1 not found: manifest unknown",
            "no matching manifest for linux/arm64 in the manifest list entries",
            "Get https://r/v2/: no basic auth credentials",
            "Get https://r/v2/: unauthorized: authentication required",
            "write /tmp/layer: no space left on device",
        ];
        assert!(refused.iter().all(|reason| !may_pass(reason)), "{refused:?}");
        let away = [
            "Get http://127.0.0.1:1/v2/: dial tcp 127.0.0.1:1: connect: connection refused",
            "Get https://r/v2/: net/http: TLS handshake timeout",
            "received unexpected HTTP status: 503 Service Unavailable",
            "toomanyrequests: You have reached your pull rate limit",
            "unexpected EOF",
            "the registry has stopped answering",
        ];
        assert!(away.iter().all(|reason| may_pass(reason)), "{away:?}");
    }
}
