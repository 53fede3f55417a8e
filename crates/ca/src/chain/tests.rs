//! Chains in order, out of order and out of time.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer};

use super::*;
use crate::{
    der,
    issue::LEAF_VALIDITY_DEFAULT,
    key::{KeyPair, KeySource as _, SystemKeys},
    testing::{DAY, fixture, member, noon, root, worker},
};

/// A leaf below an authority below a root, with the days around noon in which each counts.
struct Three {
    root: RootCa,
    middle: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
}

fn three(middle: (i32, i32), leaf: (i32, i32)) -> Three {
    let root = root();
    let (authority, key) = make("authority", true, middle, &root.issuer());
    let issuer = Issuer::from_ca_cert_der(&authority, key).unwrap();
    let (leaf, _) = make("leaf", false, leaf, &issuer);
    Three { root, middle: authority, leaf }
}

fn make(
    name: &str,
    authority: bool,
    (from, to): (i32, i32),
    issuer: &Issuer<'_, KeyPair>,
) -> (CertificateDer<'static>, KeyPair) {
    let day = |offset: i32| match offset {
        0.. => noon() + DAY * offset.unsigned_abs(),
        _ => noon() - DAY * offset.unsigned_abs(),
    };
    let key = SystemKeys.generate().unwrap();
    let mut params = CertificateParams::default();
    params.not_before = day(from).into();
    params.not_after = day(to).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = if authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    (params.signed_by(&key, issuer).unwrap().der().clone(), key)
}

impl Three {
    fn check(&self, chain: &[&CertificateDer<'static>], expiry: Expiry) -> Result<IssuerInfo, Error> {
        let chain: Vec<_> = chain.iter().map(|&der| der.clone()).collect();
        verify_chain(&self.root, &chain, expiry, noon())
    }
}

#[test]
fn a_chain_verifies_with_and_without_its_root_and_so_does_an_authority_alone() {
    let chain = three((-1, 10), (-1, 5));
    let issuer = chain.check(&[&chain.leaf, &chain.middle], Expiry::Enforced).unwrap();
    assert_eq!(issuer, issuer_info(&parse(&chain.middle).unwrap()));
    chain.check(&[&chain.leaf, &chain.middle, &chain.root.roots()[0]], Expiry::Enforced).unwrap();
    chain.check(&[&chain.middle], Expiry::Enforced).unwrap();
    chain.check(&[&chain.root.roots()[0]], Expiry::Enforced).unwrap();
}

#[test]
fn empty_incomplete_and_disordered_chains_fail() {
    let chain = three((-1, 10), (-1, 5));
    assert!(matches!(chain.check(&[], Expiry::Enforced), Err(Error::Malformed { .. })));
    let longer = CertificateDer::from([&chain.leaf[..], &[0]].concat());
    for garbage in [CertificateDer::from(&b"garbage"[..]), CertificateDer::from(&[][..]), longer] {
        assert!(matches!(chain.check(&[&garbage, &chain.middle], Expiry::Enforced), Err(Error::Malformed { .. })));
        assert!(matches!(chain.check(&[&chain.leaf, &garbage], Expiry::Enforced), Err(Error::Malformed { .. })));
    }
    assert!(matches!(chain.check(&[&chain.leaf], Expiry::Enforced), Err(Error::UnknownAuthority)));
    assert!(matches!(chain.check(&[&chain.middle, &chain.leaf], Expiry::Enforced), Err(Error::BrokenChain)));
    assert!(matches!(chain.check(&[&chain.leaf, &chain.root.roots()[0]], Expiry::Enforced), Err(Error::BrokenChain)));
}

#[test]
fn a_certificate_that_says_two_things_about_its_signature_is_malformed() {
    let chain = three((-1, 10), (-1, 5));
    let root = &chain.root.roots()[0];
    let fields = der::elements(&chain.leaf).unwrap();
    let other = crate::algorithm::Algorithm::EcdsaP384Sha384.of_signature();
    let changed = der::tagged(der::SEQUENCE, &[fields[0], &other, fields[2]]).to_vec();
    let changed = CertificateDer::from(changed);
    for chain in [[&changed, &chain.middle], [&changed, root]] {
        let chain: Vec<_> = chain.into_iter().cloned().collect();
        let error = verify_chain(&crate::testing::root(), &chain, Expiry::Enforced, noon()).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    }
}

#[test]
fn a_chain_of_another_program_verifies_by_its_keys() {
    let trusted = RootCa::from_pem(fixture!("root-p521-sha512.crt"), noon()).unwrap();
    let texts = [fixture!("chain-manager.crt"), fixture!("chain-authority.crt")];
    let chain = crate::pem_text::certificates(&texts.concat()).unwrap();
    verify_chain(&trusted, &chain, Expiry::Enforced, noon()).unwrap();
    verify_chain(&trusted, &chain[1..], Expiry::Enforced, noon()).unwrap();
    let other = RootCa::from_pem(fixture!("root-p256-sha512.crt"), noon()).unwrap();
    let error = verify_chain(&other, &chain, Expiry::Enforced, noon()).unwrap_err();
    assert!(matches!(error, Error::UnknownAuthority), "{error:?}");
}

#[test]
fn another_root_of_the_same_name_is_an_unknown_authority() {
    let leaf = member(&root(), &worker());
    let error = leaf.verify(&root(), Expiry::Enforced, noon()).unwrap_err();
    assert_eq!(error.to_string(), "certificate signed by unknown authority");
}

#[test]
fn what_is_over_is_refused_unless_tolerated() {
    let late_leaf = three((-20, 10), (-10, -5));
    let late_middle = three((-20, -5), (-10, 5));
    for (chain, position) in [(late_leaf, 1), (late_middle, 2)] {
        let members = [&chain.leaf, &chain.middle];
        let error = chain.check(&members, Expiry::Enforced).unwrap_err();
        assert!(matches!(error, Error::Expired { position: found, .. } if found == position), "{error}");
        // The root of these tests begins at noon: nothing that ended before was ever valid under it.
        let error = chain.check(&members, Expiry::Tolerated).unwrap_err();
        assert!(matches!(error, Error::UnknownAuthority | Error::NoCommonSpan), "{error}");
    }
    let leaf = member(&root(), &worker());
    assert!(matches!(leaf.verify(&root(), Expiry::Tolerated, noon()), Err(Error::UnknownAuthority)));
}

#[test]
fn an_expired_leaf_that_was_valid_under_its_root_is_tolerated_when_asked_for() {
    let root = root();
    let leaf = member(&root, &worker());
    let later = noon() + LEAF_VALIDITY_DEFAULT + DAY;
    assert!(matches!(leaf.verify(&root, Expiry::Enforced, later), Err(Error::Expired { position: 1, .. })));
    leaf.verify(&root, Expiry::Tolerated, later).unwrap();
}

#[test]
fn an_expired_authority_is_tolerated_when_all_were_valid_at_one_time() {
    let chain = three((-1, 10), (-1, 20));
    let members = [chain.leaf.clone(), chain.middle.clone()];
    for days in [15, 25] {
        let later = noon() + DAY * days;
        assert!(matches!(verify_chain(&chain.root, &members, Expiry::Enforced, later), Err(Error::Expired { .. })));
        verify_chain(&chain.root, &members, Expiry::Tolerated, later).unwrap();
    }
}

#[test]
fn members_that_were_never_valid_together_are_refused() {
    let chain = three((1, 5), (6, 9));
    let members = [chain.leaf.clone(), chain.middle.clone()];
    let error = verify_chain(&chain.root, &members, Expiry::Tolerated, noon() + DAY * 30).unwrap_err();
    let expected = "there is no time span for which all of the certificates, including a root, are valid";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn not_yet_valid_is_never_tolerated() {
    let early_leaf = three((-1, 10), (1, 5));
    let early_middle = three((1, 10), (-1, 5));
    for (chain, position) in [(early_leaf, 1), (early_middle, 2)] {
        for expiry in [Expiry::Enforced, Expiry::Tolerated] {
            let error = chain.check(&[&chain.leaf, &chain.middle], expiry).unwrap_err();
            assert!(matches!(error, Error::NotYetValid { position: found, .. } if found == position), "{error}");
        }
    }
}
