//! What a cross certificate says, whom it makes trusted, and what cannot be cross-signed.

use x509_parser::{
    certification_request::X509CertificationRequest, extensions::ParsedExtension, prelude::FromDer as _,
};

use super::*;
use crate::{
    certificate::IssuerInfo,
    chain::{Expiry, signs, verify_chain},
    key::KeyPair,
    testing::{copy_of, env, fixture, manager, member, noon, root, root_with, worker},
};

/// What signs while a cluster changes from `old` to `new`.
fn rotating(old: &RootCa, new: &RootCa) -> RootCa {
    let cross = old.cross_sign(new.bundle()).unwrap();
    let trust = old.without_signer().with_intermediates(&cross, noon()).unwrap();
    trust.with_signer(&cross, copy_of(new.signing_key().unwrap()), &env()).unwrap()
}

fn together(roots: &[&RootCa]) -> RootCa {
    let bundle: String = roots.iter().map(|root| root.bundle()).collect();
    RootCa::from_pem(&bundle, noon()).unwrap()
}

#[test]
fn every_kind_of_key_signs_every_other_and_changes_issuer_and_signature_only() {
    const KEYS: [&str; 4] =
        [fixture!("p256-sec1.key"), fixture!("p384-sec1.key"), fixture!("rsa2048-pkcs1.key"), fixture!("rsa3072.key")];
    let roots = KEYS.map(root_with);
    for old in &roots {
        let theirs = parse(&old.roots()[0]).unwrap();
        for new in roots.iter().filter(|new| new.digest() != old.digest()) {
            let cross = pem_text::single_certificate(&old.cross_sign(new.bundle()).unwrap()).unwrap();
            let (cross, other) = (parse(&cross).unwrap(), parse(&new.roots()[0]).unwrap());
            let (fields, before) = (fields(&cross), fields(&other));
            assert_eq!(fields.len(), before.len());
            for (index, (now, then)) in fields.iter().zip(&before).enumerate() {
                assert!(now == then || index == 2 || index == 3, "field {index}");
            }
            assert_eq!(cross.signature_algorithm, theirs.signature_algorithm);
            assert_eq!(cross.tbs_certificate.signature, theirs.signature_algorithm);
            assert!(signs(&theirs, &cross));
            let rotating = rotating(old, new);
            member(&rotating, &worker()).verify(old, Expiry::Enforced, noon()).unwrap();
        }
    }
}

fn fields<'a>(certificate: &'a X509Certificate<'_>) -> Vec<&'a [u8]> {
    elements(certificate.tbs_certificate.as_ref()).unwrap()
}

#[test]
fn the_issuer_is_named_as_its_own_certificate_writes_it() {
    let old = RootCa::from_pem(fixture!("root-rsa.crt"), noon()).unwrap();
    let old = old.with_key(KeyPair::from_pem(fixture!("rsa2048-pkcs1.key")).unwrap(), &env()).unwrap();
    let cross = pem_text::single_certificate(&old.cross_sign(root().bundle()).unwrap()).unwrap();
    let name = parse(&old.roots()[0]).unwrap().subject().as_raw().to_vec();
    assert_eq!(parse(&cross).unwrap().issuer().as_raw(), name);
}

#[test]
fn a_leaf_of_the_new_root_is_trusted_by_the_old_one_through_the_cross_certificate() {
    let (old, new) = (root(), root());
    let leaf = member(&rotating(&old, &new), &worker());
    let cross = old.cross_sign(new.bundle()).unwrap();
    assert_eq!(leaf.chain().len(), 2);
    assert_eq!(parse(&leaf.chain()[1]).unwrap().tbs_certificate, parse_single(&cross).tbs_certificate);
    leaf.verify(&old, Expiry::Enforced, noon()).unwrap();
    let alone = verify_chain(&old, &leaf.chain()[..1], Expiry::Enforced, noon()).unwrap_err();
    assert!(matches!(alone, Error::UnknownAuthority), "{alone:?}");
}

fn parse_single(pem: &str) -> X509Certificate<'static> {
    let der: &'static [u8] = Vec::leak(pem_text::single_certificate(pem).unwrap().to_vec());
    parse(der).unwrap()
}

#[test]
fn the_same_leaf_is_trusted_by_the_new_root_with_and_without_the_cross_certificate() {
    let (old, new) = (root(), root());
    let leaf = member(&rotating(&old, &new), &worker());
    let said = [
        leaf.verify(&old, Expiry::Enforced, noon()).unwrap(),
        leaf.verify(&new, Expiry::Enforced, noon()).unwrap(),
        verify_chain(&new, &leaf.chain()[..1], Expiry::Enforced, noon()).unwrap(),
        verify_chain(&together(&[&old, &new]), leaf.chain(), Expiry::Enforced, noon()).unwrap(),
        verify_chain(&together(&[&root(), &old, &new]), &leaf.chain()[..1], Expiry::Enforced, noon()).unwrap(),
    ];
    let wanted = IssuerInfo::of_signer(new.bundle()).unwrap();
    assert!(said.iter().all(|issuer| *issuer == wanted), "{said:?}");
    assert_ne!(wanted, IssuerInfo::of_signer(old.bundle()).unwrap());
}

#[test]
fn an_authority_says_who_its_certificates_name_as_their_signer() {
    let (old, new) = (root(), root());
    let cross = old.cross_sign(new.bundle()).unwrap();
    let external = old.without_signer().with_intermediates(&cross, noon()).unwrap();
    let wanted = IssuerInfo::of_signer(new.bundle()).unwrap();
    for authority in [&new, &new.without_signer(), &rotating(&old, &new), &external] {
        assert_eq!(*authority.issuer_info(), wanted);
    }
    let both = together(&[&old, &new]);
    assert_eq!(both.issuer_info(), old.issuer_info());
    let both = both.with_signer(new.bundle(), copy_of(new.signing_key().unwrap()), &env()).unwrap();
    assert_eq!(*both.issuer_info(), wanted);
    assert_eq!(both.without_signer().issuer_info(), old.issuer_info());
}

#[test]
fn the_intermediates_may_end_in_the_root_that_signed_them() {
    let (old, new) = (root(), root());
    let cross = old.cross_sign(new.bundle()).unwrap();
    for intermediates in [cross.clone(), cross.clone() + old.bundle()] {
        let trust = old.without_signer().with_intermediates(&intermediates, noon()).unwrap();
        let leaf = member(&trust.with_signer(&cross, copy_of(new.signing_key().unwrap()), &env()).unwrap(), &manager());
        assert!(leaf.chain_pem().ends_with(&intermediates));
        for trusted in [&old, &new] {
            assert_eq!(leaf.verify(trusted, Expiry::Enforced, noon()).unwrap(), *new.issuer_info());
        }
    }
}

#[test]
fn ten_rotations_in_a_row_are_each_trusted_by_the_root_before() {
    let mut old = root();
    for _ in 0..10 {
        let new = root();
        let leaf = member(&rotating(&old, &new), &worker());
        leaf.verify(&old, Expiry::Enforced, noon()).unwrap();
        leaf.verify(&new, Expiry::Enforced, noon()).unwrap();
        old = new;
    }
}

#[test]
fn leaves_and_garbage_and_several_certificates_are_not_cross_signed() {
    let (old, new) = (root(), root());
    let leaf = member(&new, &manager()).chain_pem();
    let error = old.cross_sign(&leaf).unwrap_err();
    assert!(matches!(error, Error::NotAnAuthority { .. }), "{error:?}");
    assert_eq!(error.to_string(), "the certificate of \"node2\" is no certificate authority's");
    let two = format!("{}{}", new.bundle(), old.bundle());
    for text in ["", "garbage", fixture!("p256-sec1.key"), &two] {
        let error = old.cross_sign(text).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{text}: {error:?}");
    }
    let error = old.cross_sign(fixture!("root-sha1.crt")).unwrap_err();
    assert!(matches!(error, Error::UnsupportedSignature { .. }), "{error:?}");
    assert!(matches!(old.without_signer().cross_sign(new.bundle()), Err(Error::NoSigner)));
}

fn operators_root() -> RootCa {
    let key = KeyPair::from_pem(fixture!("p256-sec1.key")).unwrap();
    RootCa::from_pem(fixture!("root-full-name.crt"), noon()).unwrap().with_key(key, &env()).unwrap()
}

#[test]
fn a_request_for_cross_signing_asks_for_the_name_and_the_key_of_the_authority() {
    for new in [root(), operators_root()] {
        let asked = new.cross_sign_request().unwrap();
        let block = pem::parse(&asked.request).unwrap();
        assert_eq!(block.tag(), "CERTIFICATE REQUEST");
        let (rest, request) = X509CertificationRequest::from_der(block.contents()).unwrap();
        assert!(rest.is_empty());
        crate::issue::public_key(&asked.request).unwrap();
        let certificate = parse(&new.roots()[0]).unwrap();
        let info = &request.certification_request_info;
        assert_eq!(info.subject.as_raw(), certificate.subject().as_raw());
        assert_eq!(info.subject_pki.raw, certificate.public_key().raw);
        let wanted = |extension: &&ParsedExtension<'_>| {
            matches!(extension, ParsedExtension::BasicConstraints(_) | ParsedExtension::SubjectAlternativeName(_))
        };
        let extensions: Vec<_> = request.requested_extensions().unwrap().collect();
        let own: Vec<_> = certificate.extensions().iter().map(X509Extension::parsed_extension).filter(wanted).collect();
        assert_eq!(extensions, own);
        assert_eq!(asked.basic_constraints, [0x30, 0x03, 0x01, 0x01, 0xff]);
    }
}

#[test]
fn a_request_for_cross_signing_tells_the_parts_of_the_name() {
    let asked = root().cross_sign_request().unwrap();
    assert_eq!((asked.common_name.as_str(), asked.names), ("swarm-ca", Vec::new()));
    let asked = operators_root().cross_sign_request().unwrap();
    let text = |text: &str| Some(text.to_owned());
    let name = CrossSignName {
        country: text("DE"),
        province: text("Berlin"),
        locality: text("Mitte"),
        organization: text("Example"),
        organizational_unit: text("Operations"),
    };
    assert_eq!((asked.common_name.as_str(), asked.names), ("operator root", vec![name]));
    assert!(matches!(root().without_signer().cross_sign_request(), Err(Error::NoSigner)));
}
