//! Drivers that speak the plugin protocol of Docker Engines: JSON, posted over a Unix socket.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{FutureExt as _, future::BoxFuture};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{ProvidedSecret, SecretDriver, SecretDrivers, SecretError, SecretRequest, post::post};

/// The method of the protocol.
const GET_SECRET: &str = "/SecretProvider.GetSecret";
/// Where the sockets of plugins lie.
const PLUGIN_SOCKETS: &str = "/run/docker/plugins";
/// How much of an answer that is none is repeated in the error, in bytes.
const SHOWN: usize = 200;

/// Plugins by name, each on a socket of its own. Every question is a connection of its own, so one that was restarted is
/// found again. One that hangs holds up only those who ask it.
#[derive(Debug, Default)]
pub struct PluginDrivers(BTreeMap<String, Arc<Plugin>>);

/// One plugin on a socket.
#[derive(Debug)]
struct Plugin {
    name: String,
    socket: PathBuf,
}

/// What a plugin answers.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(rename = "Value", borrow, default)]
    value: Option<Cow<'a, str>>,
    #[serde(rename = "Err", default)]
    err: Option<String>,
    #[serde(rename = "DoNotReuse", default)]
    do_not_reuse: Option<bool>,
}

impl PluginDrivers {
    /// The plugins at these sockets, by the names that secrets give as their driver.
    #[must_use]
    pub fn new(sockets: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        let plugin = |(name, socket): (String, PathBuf)| (name.clone(), Arc::new(Plugin { name, socket }));
        Self(sockets.into_iter().map(plugin).collect())
    }

    /// Where the plugin of that name listens, unless it was put elsewhere.
    #[must_use]
    pub fn default_socket(name: &str) -> PathBuf {
        Path::new(PLUGIN_SOCKETS).join(format!("{name}.sock"))
    }
}

impl SecretDrivers for PluginDrivers {
    fn find(&self, driver: &str) -> Option<Arc<dyn SecretDriver>> {
        self.0.get(driver).map(|plugin| Arc::clone(plugin) as Arc<dyn SecretDriver>)
    }
}

impl SecretDriver for Plugin {
    fn get(&self, request: SecretRequest) -> BoxFuture<'_, Result<ProvidedSecret, SecretError>> {
        async move {
            let unavailable = |why: String| SecretError::Unavailable(format!("secret driver {}: {why}", self.name));
            let body = serde_json::to_vec(&request).map_err(|error| unavailable(error.to_string()))?;
            let (status, answer) = post(&self.socket, GET_SECRET, body).await.map_err(unavailable)?;
            if !status.is_success() {
                let shown = String::from_utf8_lossy(&answer[..answer.len().min(SHOWN)]).trim().to_owned();
                return Err(unavailable(format!("{status}: {shown}")));
            }
            // The text of the error may repeat what it could not read.
            read(&answer).map_err(|why| match why {
                Wrong::NoAnswer => unavailable("what it answers is not of the protocol".to_owned()),
                Wrong::Refusal(text) => SecretError::Refused(format!("secret driver {}: {text}", self.name)),
            })
        }
        .boxed()
    }
}

/// Why an answer has no value.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    NoAnswer,
    Refusal(String),
}

fn read(answer: &[u8]) -> Result<ProvidedSecret, Wrong> {
    let answer: Answer<'_> = serde_json::from_slice(answer).map_err(|_| Wrong::NoAnswer)?;
    if let Some(error) = answer.err.filter(|error| !error.is_empty()) {
        return Err(Wrong::Refusal(error));
    }
    let value = match answer.value {
        Some(Cow::Borrowed(text)) => STANDARD.decode(text),
        Some(Cow::Owned(text)) => STANDARD.decode(Zeroizing::new(text).as_bytes()),
        None => Ok(Vec::new()),
    };
    let value = Zeroizing::new(value.map_err(|_| Wrong::NoAnswer)?);
    Ok(ProvidedSecret { value, do_not_reuse: answer.do_not_reuse.unwrap_or_default() })
}

#[cfg(test)]
mod tests;
