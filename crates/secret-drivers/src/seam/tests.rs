//! How drivers are asked, with ones that are played.

use futures_util::FutureExt as _;
use swarmkit_api::{SecretId, TaskId, wire};

use super::*;

/// Answers with a value of a given length, or never.
#[derive(Debug)]
struct Played(Option<usize>);

impl SecretDrivers for Played {
    fn find(&self, driver: &str) -> Option<Arc<dyn SecretDriver>> {
        (driver == "vault").then(|| Arc::new(Played(self.0)) as Arc<dyn SecretDriver>)
    }
}

impl SecretDriver for Played {
    fn get(&self, _: SecretRequest) -> BoxFuture<'_, Result<ProvidedSecret, SecretError>> {
        match self.0 {
            Some(bytes) => {
                let provided = ProvidedSecret { value: Zeroizing::new(vec![7; bytes]), do_not_reuse: false };
                std::future::ready(Ok(provided)).boxed()
            }
            None => std::future::pending().boxed(),
        }
    }
}

async fn ask(drivers: &dyn SecretDrivers, driver: Option<&str>) -> Result<usize, SecretError> {
    let mut secret = Secret::new(SecretId::from("s1"));
    let driver = driver.map(|name| wire::Driver { name: name.into(), ..Default::default() });
    secret.spec = Arc::new(wire::SecretSpec { driver, ..Default::default() });
    let provided =
        fetch(drivers, &secret, &Task::new(TaskId::from("t1"), wire::TaskSpec::default()), &swarmkit_testing::env())
            .await;
    provided.map(|provided| provided.value.len())
}

#[tokio::test(start_paused = true)]
async fn a_value_has_the_size_that_a_secret_may_have() {
    for fine in [1, 511_999] {
        assert_eq!(ask(&Played(Some(fine)), Some("vault")).await, Ok(fine));
    }
    for wrong in [0, 512_000] {
        assert_eq!(ask(&Played(Some(wrong)), Some("vault")).await, Err(SecretError::BadSize(wrong)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_never_answers_is_given_up() {
    let before = tokio::time::Instant::now();
    assert_eq!(ask(&Played(None), Some("vault")).await, Err(SecretError::TimedOut(10)));
    assert_eq!(before.elapsed(), DRIVER_TIME);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_not_there_is_told_by_its_name() {
    let error = ask(&Played(None), Some("keeper")).await.unwrap_err();
    assert_eq!(error.to_string(), "this manager has no secret driver \"keeper\"; each manager needs it");
    assert_eq!(ask(&Played(None), None).await, Err(SecretError::NoDriver));
}

#[test]
fn what_was_provided_does_not_show_in_a_log() {
    let provided = ProvidedSecret { value: Zeroizing::new(b"hunter2".to_vec()), do_not_reuse: true };
    assert_eq!(format!("{provided:?}"), "ProvidedSecret { bytes: 7, do_not_reuse: true }");
}
