//! Whether a driver keeps the obligations of [`SecretDriver`]: for those who write one.

use futures_util::future::join;

use crate::{SECRET_BYTES_LIMIT, SecretDriver, SecretRequest};

/// Asks for the secret that `wanted` names, again, for two tasks, and at the same time.
///
/// `wanted` is a request that the driver is to fulfil; `missing` is the name of a secret that it does not have.
///
/// # Panics
///
/// When an obligation is not kept, with what was expected. Values are not shown.
pub async fn all(driver: &dyn SecretDriver, wanted: &SecretRequest, missing: &str) {
    let of_task = |task: &str| SecretRequest { task_id: task.to_owned(), ..wanted.clone() };
    let first = driver.get(of_task("one")).await.expect("it provides the secret");
    assert!((1..SECRET_BYTES_LIMIT).contains(&first.value.len()), "a value has a size that a secret may have");
    let (again, other) = join(driver.get(of_task("one")), driver.get(of_task("two"))).await;
    let again = again.expect("it is asked again what it has answered");
    let other = other.expect("it is asked for another task");
    assert_eq!(first.do_not_reuse, again.do_not_reuse, "whether a value is for one task alone does not change");
    if !first.do_not_reuse {
        assert!(first.value == again.value, "the same value, whenever it is asked for");
        assert!(first.value == other.value, "the same value for all tasks, unless it says otherwise");
    }
    let missing = SecretRequest { secret_name: missing.to_owned(), ..wanted.clone() };
    assert!(driver.get(missing).await.is_err(), "a secret that it does not have is an error, not an empty value");
}
