//! The seam to secret drivers, and how they are asked.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use swarmkit_api::{Secret, Task};
use swarmkit_runtime::Env;
use zeroize::Zeroizing;

use crate::{SecretError, SecretRequest};

/// How long a driver may take for one value. A task waits so long at most; long enough for a vault that has to be
/// reached over a slow network.
pub const DRIVER_TIME: Duration = Duration::from_secs(10);
/// A value is shorter than this, in bytes. As upstream, and as for values that the cluster holds itself.
pub const SECRET_BYTES_LIMIT: usize = 500 * 1024;

/// Finds the driver that a secret names.
///
/// It is asked again for each value, so drivers may come and go.
pub trait SecretDrivers: fmt::Debug + Send + Sync + 'static {
    /// The driver of that name. `None`: this manager does not have it.
    fn find(&self, driver: &str) -> Option<Arc<dyn SecretDriver>>;
}

/// Provides the values of secrets.
///
/// # Obligations
///
/// - The same request may be made again, also after it was answered: streams to nodes break, and leaders change. Unless it
///   is [`ProvidedSecret::do_not_reuse`], the answer is the same for all tasks that use the secret.
/// - Questions may be asked at the same time.
/// - A call that is dropped, or not answered within [`DRIVER_TIME`], may go on or not; its answer is lost.
pub trait SecretDriver: Send + Sync + 'static {
    /// The value of a secret, for one task.
    fn get(&self, request: SecretRequest) -> BoxFuture<'_, Result<ProvidedSecret, SecretError>>;
}

/// What a driver provides.
#[derive(Clone, PartialEq, Eq)]
pub struct ProvidedSecret {
    /// The value itself, wiped when it is dropped.
    pub value: Zeroizing<Vec<u8>>,
    /// It is for that task alone: another one gets a value of its own.
    pub do_not_reuse: bool,
}

impl fmt::Debug for ProvidedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, do_not_reuse } = self;
        f.debug_struct("ProvidedSecret").field("bytes", &value.len()).field("do_not_reuse", do_not_reuse).finish()
    }
}

/// A manager without secret drivers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDrivers;

impl SecretDrivers for NoDrivers {
    fn find(&self, _: &str) -> Option<Arc<dyn SecretDriver>> {
        None
    }
}

/// Asks the driver that `secret` names for its value for `task`, within [`DRIVER_TIME`].
///
/// # Errors
///
/// Why there is none.
pub async fn fetch(
    drivers: &dyn SecretDrivers,
    secret: &Secret,
    task: &Task,
    env: &Env,
) -> Result<ProvidedSecret, SecretError> {
    let name = secret.spec.driver.as_ref().map(|driver| &driver.name).ok_or(SecretError::NoDriver)?;
    let driver = drivers.find(name).ok_or_else(|| SecretError::NotInstalled(name.clone()))?;
    let provided = tokio::select! { biased; // an answer that came in time counts
        provided = driver.get(SecretRequest::new(secret, task)) => provided?,
        () = env.sleep(DRIVER_TIME) => return Err(SecretError::TimedOut(DRIVER_TIME.as_secs())),
    };
    match provided.value.len() {
        1..SECRET_BYTES_LIMIT => Ok(provided),
        wrong => Err(SecretError::BadSize(wrong)),
    }
}

#[cfg(test)]
mod tests;
