//! Networks that the engine has for itself: made when the first task needs them, removed with the last one.

use std::sync::Arc;

use swarmkit_executor::ExecError;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    engine::{Engine, EngineError, EngineNetwork},
    labels,
    request::LocalNetwork,
};

/// Sees to the networks of one executor. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Networks {
    engine: Engine,
    owner: Arc<str>,
    /// Held from the moment that a network is looked for until a container is in it, and while networks are removed:
    /// an engine does not count containers that have not been started.
    lock: Arc<Mutex<()>>,
}

/// What there is to do so that a network is there.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Make,
    /// An earlier network of that name is still there.
    Replace(String),
}

impl Networks {
    pub(crate) fn new(engine: Engine, owner: &str) -> Self {
        Self { engine, owner: owner.into(), lock: Arc::default() }
    }

    /// Sees to it that networks are there, and stay there until what is returned is dropped.
    pub(crate) async fn provide(&self, wanted: &[LocalNetwork]) -> Result<OwnedMutexGuard<()>, ExecError> {
        let guard = Arc::clone(&self.lock).lock_owned().await;
        for network in wanted {
            self.provide_one(network).await?;
        }
        Ok(guard)
    }

    async fn provide_one(&self, wanted: &LocalNetwork) -> Result<(), ExecError> {
        let all = self.engine.networks(None).await.map_err(EngineError::rejected)?;
        match need(&self.owner, wanted, &all)? {
            Need::Nothing => return Ok(()),
            Need::Make => {}
            Need::Replace(id) => {
                let used = self.engine.networks_of_tasks().await.map_err(EngineError::rejected)?;
                if all.iter().any(|known| known.id == id && used.contains(&known.of)) {
                    let text = format!("an earlier network {} still has tasks on this node", wanted.create.name);
                    return Err(ExecError::temporary(text));
                }
                self.engine.remove_network(&id).await.map_err(EngineError::rejected)?;
            }
        }
        tracing::info!(network = wanted.create.name, "making a network of this node");
        match self.engine.create_network(wanted.create.clone()).await {
            // Another executor was faster.
            Err(EngineError::Conflict(text)) if text.contains("already exists") => Ok(()),
            made => made.map_err(|error| match error.rejected() {
                ExecError::Rejected(cause) => {
                    ExecError::rejected(format!("making the network {}: {cause}", wanted.create.name))
                }
                other => other,
            }),
        }
    }

    /// Puts a container that was not started yet into those networks that it is not in yet.
    pub(crate) async fn connect(&self, container: &str, wanted: &[LocalNetwork]) -> Result<(), ExecError> {
        let found = self.engine.inspect(container).await.map_err(EngineError::rejected)?;
        let is_in = found.map(|container| container.networks).unwrap_or_default();
        for network in wanted.iter().filter(|network| !is_in.contains(&network.create.name)) {
            let endpoint = network.endpoint.clone();
            let connected = self.engine.connect_to(&network.create.name, container, endpoint).await;
            connected.map_err(EngineError::rejected)?;
        }
        Ok(())
    }

    /// Removes the networks of this executor that no container of a task is in any more.
    pub(crate) async fn sweep(&self) -> Result<(), ExecError> {
        let _guard = self.lock.lock().await;
        let ours = self.engine.networks(Some(format!("{}={}", labels::OWNER, self.owner))).await;
        let ours = ours.map_err(ExecError::temporary)?;
        if ours.is_empty() {
            return Ok(());
        }
        let used = self.engine.networks_of_tasks().await.map_err(ExecError::temporary)?;
        for network in ours.into_iter().filter(|network| !used.contains(&network.of)) {
            tracing::info!(network = network.name, "removing a network that no task is in");
            match self.engine.remove_network(&network.id).await {
                Err(EngineError::Away(reason)) => return Err(ExecError::temporary(reason)),
                Err(error) => tracing::warn!(network = network.name, %error, "the network stays"),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

/// Decides what to do for a network, given all that the engine has.
fn need(owner: &str, wanted: &LocalNetwork, all: &[EngineNetwork]) -> Result<Need, ExecError> {
    let name = &wanted.create.name;
    let named: Vec<_> = all.iter().filter(|known| known.name == *name).collect();
    let found = match named.as_slice() {
        [] => return Ok(Need::Make),
        [found] => found,
        [..] => return Err(ExecError::rejected(format!("the engine has more than one network {name}"))),
    };
    if found.owner == owner && found.of != wanted.id {
        return Ok(Need::Replace(found.id.clone()));
    }
    let driver = wanted.create.driver.as_deref().unwrap_or_default();
    if found.driver != driver {
        let text = format!("the engine has a network {name} with the driver {}, not {driver}", found.driver);
        return Err(ExecError::rejected(text));
    }
    Ok(Need::Nothing)
}

#[cfg(test)]
mod tests {
    use bollard::models::{EndpointSettings, NetworkCreateRequest};

    use super::*;

    fn wanted() -> LocalNetwork {
        let create = NetworkCreateRequest { name: "back".into(), driver: Some("bridge".into()), ..Default::default() };
        LocalNetwork { id: "net1".into(), create, endpoint: EndpointSettings::default() }
    }

    fn known(name: &str, driver: &str, owner: &str, of: &str) -> EngineNetwork {
        let text = str::to_owned;
        EngineNetwork { id: text("e1"), name: text(name), driver: text(driver), owner: text(owner), of: text(of) }
    }

    fn decided(all: &[EngineNetwork]) -> Result<Need, String> {
        need("o1", &wanted(), all).map_err(|error| error.to_string())
    }

    #[test]
    fn a_network_is_made_once_and_one_that_a_person_has_made_will_do() {
        assert_eq!(decided(&[known("front", "bridge", "", "")]), Ok(Need::Make));
        assert_eq!(decided(&[known("back", "bridge", "o1", "net1")]), Ok(Need::Nothing));
        assert_eq!(decided(&[known("back", "bridge", "o2", "net1")]), Ok(Need::Nothing));
        assert_eq!(decided(&[known("back", "bridge", "", "")]), Ok(Need::Nothing));
    }

    #[test]
    fn an_earlier_network_of_the_name_gives_way_and_another_kind_or_two_of_them_are_refused() {
        assert_eq!(decided(&[known("back", "macvlan", "o1", "net0")]), Ok(Need::Replace("e1".into())));
        let text = "the engine has a network back with the driver macvlan, not bridge";
        assert_eq!(decided(&[known("back", "macvlan", "", "")]).unwrap_err(), text);
        let twice = [known("back", "bridge", "", ""), known("back", "bridge", "", "")];
        assert_eq!(decided(&twice).unwrap_err(), "the engine has more than one network back");
    }
}
