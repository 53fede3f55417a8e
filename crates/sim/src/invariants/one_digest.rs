//! Replicas at the same version hold the same, to the last bit: none ever finds that it differs from the leader.
//!
//! The other invariants compare what clients have written; this one sees everything that objects are made of.

use swarmkit_store::Divergence;

use super::{Verdict, broken};

/// What a replica has noticed.
///
/// # Errors
///
/// It differs.
pub fn check(replica: &str, divergence: Option<Divergence>) -> Verdict {
    let Some(Divergence { version, own, proposer }) = divergence else { return Ok(()) };
    broken("one digest", format!("at {} {replica} comes to {own}, and the leader came to {proposer}", version.0))
}

#[cfg(test)]
mod tests {
    use swarmkit_runtime::Env;
    use swarmkit_store::Store;

    use super::*;

    #[test]
    fn a_replica_that_differs_is_told() {
        let store = Store::local(Env::real());
        assert_eq!(check("n1", store.divergence()), Ok(()));
        swarmkit_testing::diverge(&store);
        let told = check("n1", store.divergence()).unwrap_err();
        assert!(told.what.starts_with("at 1 n1 comes to "), "{told}");
    }
}
