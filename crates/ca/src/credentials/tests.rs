//! What may replace what a node shows and trusts.

use super::*;
use crate::{
    issue::LEAF_VALIDITY_DEFAULT,
    testing::{DAY, env, env_at, manager, member, noon, root, worker},
};

#[test]
fn a_renewal_changes_the_role_and_is_seen_by_subscribers() {
    let root = root();
    let credentials = Credentials::new(root.clone(), member(&root, &worker()), &env()).unwrap();
    let before = credentials.trust();
    let mut changes = credentials.subscribe();
    credentials.replace_certificate(member(&root, &manager())).unwrap();
    assert_eq!(credentials.identity(), manager());
    assert_eq!(before.identity(), &worker());
    assert!(changes.has_changed().unwrap());
    assert_eq!(changes.borrow_and_update().identity(), &manager());
}

#[test]
fn a_certificate_of_another_root_changes_nothing() {
    let root = root();
    let credentials = Credentials::new(root.clone(), member(&root, &worker()), &env()).unwrap();
    let changes = credentials.subscribe();
    let error = credentials.replace_certificate(member(&crate::testing::root(), &manager())).unwrap_err();
    assert!(matches!(error, Error::UnknownAuthority), "{error:?}");
    assert_eq!(credentials.identity(), worker());
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn roots_under_which_the_own_certificate_fails_are_refused() {
    let (root, other) = (root(), crate::testing::root());
    let credentials = Credentials::new(root.clone(), member(&root, &worker()), &env()).unwrap();
    let error = credentials.replace_root(other.clone()).unwrap_err();
    assert_eq!(error.to_string(), "new root CA does not match existing TLS credentials");
    let both = RootCa::from_pem(&format!("{}{}", root.bundle(), other.bundle()), noon()).unwrap();
    credentials.replace_root(both.clone()).unwrap();
    assert_eq!(credentials.trust().root().digest(), both.digest());
}

#[test]
fn an_expired_certificate_is_refused_unless_tolerated() {
    let root = root();
    let node = member(&root, &worker());
    let later = env_at(noon() + LEAF_VALIDITY_DEFAULT + DAY);
    assert!(matches!(Credentials::new(root.clone(), node.clone(), &later), Err(Error::Expired { .. })));
    assert!(Credentials::with_expiry(root, node, Expiry::Tolerated, &later).is_ok());
}
