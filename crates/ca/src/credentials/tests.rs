//! What may replace what a node shows and trusts.

use super::*;
use crate::{
    issue::LEAF_VALIDITY_DEFAULT,
    key::KeyPair,
    testing::{DAY, env, env_at, fixture, manager, member, noon, root, worker},
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

#[test]
fn watchers_see_roots_and_signers_change_and_one_that_ends_disturbs_nobody() {
    let (old, new) = (root(), root());
    let credentials = Credentials::new(old.clone(), member(&old, &worker()), &env()).unwrap();
    let (mut changes, ended) = (credentials.subscribe(), credentials.subscribe());
    drop(ended);
    let seen = |changes: &mut watch::Receiver<Arc<Trust>>| {
        assert!(changes.has_changed().unwrap());
        let trust = changes.borrow_and_update().clone();
        (trust.root().bundle().to_owned(), trust.issuer().clone(), trust.generation())
    };
    let both = RootCa::from_pem(&format!("{}{}", old.bundle(), new.bundle()), noon()).unwrap();
    credentials.replace_root(both.clone()).unwrap();
    assert_eq!(seen(&mut changes), (both.bundle().to_owned(), old.issuer_info().clone(), 1));
    credentials.replace_certificate(member(&new, &worker())).unwrap();
    assert_eq!(seen(&mut changes), (both.bundle().to_owned(), new.issuer_info().clone(), 2));
    credentials.replace_root(new.clone()).unwrap();
    assert_eq!(seen(&mut changes), (new.bundle().to_owned(), new.issuer_info().clone(), 3));
    drop(changes);
    credentials.replace_certificate(member(&new, &manager())).unwrap();
    assert_eq!((credentials.identity(), credentials.trust().generation()), (manager(), 4));
}

#[test]
fn a_chain_with_a_gap_is_refused_and_a_complete_one_is_not() {
    let trusted = RootCa::from_pem(fixture!("root-p521-sha512.crt"), noon()).unwrap();
    let (leaf, authority) = (fixture!("chain-manager.crt"), fixture!("chain-authority.crt"));
    let node = |chain: &[&str]| {
        let key = KeyPair::from_pem(fixture!("p256-sec1.key")).unwrap();
        Credentials::new(trusted.clone(), NodeCertificate::new(&chain.concat(), key).unwrap(), &env())
    };
    for complete in [&[leaf, authority][..], &[leaf, authority, trusted.bundle()]] {
        let credentials = node(complete).unwrap();
        assert_eq!(*credentials.trust().issuer(), IssuerInfo::of_signer(authority).unwrap());
    }
    assert!(matches!(node(&[leaf]), Err(Error::UnknownAuthority)));
    assert!(matches!(node(&[leaf, trusted.bundle()]), Err(Error::BrokenChain)));
}
