//! A transaction is seen whole or not at all: objects that are only written together are always equal.

use super::{Contents, Verdict, broken};

/// The objects `twins` are only ever written together.
///
/// # Errors
///
/// They differ.
pub fn check(state: &Contents, twins: [&str; 2]) -> Verdict {
    let [one, other] = twins.map(|key| state.get(key));
    if one == other {
        return Ok(());
    }
    broken("transactions are seen whole", format!("{twins:?} are {one:?} and {other:?}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn half_of_a_transaction_is_seen() {
        let whole = Contents::from([(Arc::from("a"), 1), (Arc::from("b"), 1)]);
        assert_eq!(check(&whole, ["a", "b"]), Ok(()));
        assert_eq!(check(&Contents::new(), ["a", "b"]), Ok(()));
        assert!(check(&Contents::from([(Arc::from("a"), 1)]), ["a", "b"]).is_err());
    }
}
