//! Images: when they are fetched, and that each is fetched once at a time.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use parking_lot::Mutex;
use swarmkit_executor::ExecError;
use swarmkit_runtime::Spawner;
use tokio::sync::{Semaphore, watch};

use crate::engine::{Engine, EngineError, Pull};

/// How many images are fetched at a time; an engine fetches the parts of each side by side already.
const AT_ONCE: usize = 3;
/// How long a registry may be silent before the fetch is given up.
const SILENCE: Duration = Duration::from_secs(300);

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

/// The end of a fetch, once there is one.
type Fetched = watch::Receiver<Option<Result<(), EngineError>>>;

/// The fetches under way. They go on when whoever asked for them goes away, and are found when he comes back.
#[derive(Clone, Debug)]
pub(crate) struct Pulls {
    running: Arc<Mutex<BTreeMap<Pull, Fetched>>>,
    permits: Arc<Semaphore>,
}

impl Pulls {
    pub(crate) fn new() -> Self {
        Self { running: Arc::default(), permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Sees to it that an image is on the node, as far as the policy says.
    pub(crate) async fn provide(
        &self,
        engine: &Engine,
        spawner: &Spawner,
        policy: PullPolicy,
        pull: &Pull,
    ) -> Result<(), ExecError> {
        let here = engine.has_image(&pull.image).await.map_err(EngineError::rejected)?;
        match (asks_registry(policy, &pull.image), here) {
            (Asks::Never, false) => {
                return Err(ExecError::rejected(format!("image {} is not on this node, and not fetched", pull.image)));
            }
            (Asks::Never | Asks::IfMissing, true) => return Ok(()),
            (Asks::IfMissing, false) | (Asks::Always, _) => {}
        }
        match self.fetch(engine, spawner, pull).await {
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
    async fn fetch(&self, engine: &Engine, spawner: &Spawner, pull: &Pull) -> Result<(), EngineError> {
        let mut fetched = self.join_or_begin(engine, spawner, pull);
        let end = fetched.wait_for(Option::is_some).await;
        end.ok().and_then(|end| end.clone()).unwrap_or_else(|| Err(EngineError::Away("the node stops".to_owned())))
    }

    fn join_or_begin(&self, engine: &Engine, spawner: &Spawner, pull: &Pull) -> Fetched {
        let mut running = self.running.lock();
        if let Some(fetched) = running.get(pull) {
            return fetched.clone();
        }
        let (end, fetched) = watch::channel(None);
        running.insert(pull.clone(), fetched.clone());
        drop(running);
        let (pulls, engine, pull) = (self.clone(), engine.clone(), pull.clone());
        spawner.spawn("pull", async move {
            let result = pulls.run(&engine, &pull).await;
            pulls.running.lock().remove(&pull);
            end.send_replace(Some(result));
        });
        fetched
    }

    async fn run(&self, engine: &Engine, pull: &Pull) -> Result<(), EngineError> {
        let _permit = self.permits.acquire().await;
        tracing::info!(image = pull.image, "fetching");
        let mut progress = pin!(engine.pull(pull));
        loop {
            let next = tokio::time::timeout(SILENCE, progress.try_next()).await;
            match next.map_err(|_| EngineError::Refused("the registry has stopped answering".to_owned()))?? {
                Some(step) => tracing::debug!(image = pull.image, step = step.status, part = step.id, "fetching"),
                None => return Ok(()),
            }
        }
    }
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
}
